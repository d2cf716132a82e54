//! What the kernel side is set to: sizes, and the form in which its programs are loaded.
//!
//! Both BPF objects have the same settings (`bpf/maps.bpf.h`, `bpf/process.bpf.h`). They are filled
//! in here, and nowhere else.

use super::skeleton;
use crate::event::{LONG_BYTES, NARROW_BYTES};

/// Sizes of the kernel side.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Ring buffer, bytes; a power of two of at least 64 KiB.
    pub ring_bytes: u32,
    /// Payload bytes copied of each message.
    pub window_bytes: u32,
    /// Connections that are followed at the same time. A connection beyond that is not followed, and
    /// its calls are counted. One whose TCP socket is tapped beside its TLS takes two places.
    pub connections: u32,
    /// How soon the reader gets a record.
    pub wakeup: Wakeup,
    /// Report every program that any process begins to run, not only those of tapped processes.
    pub watch_execs: bool,
}

impl Settings {
    /// Little memory, and enough to see in which form the programs load.
    pub const TRIAL: Self = Self {
        ring_bytes: 64 << 10,
        window_bytes: 4096,
        connections: 16,
        wakeup: Wakeup::Batched,
        watch_execs: false,
    };

    /// The fill of the ring buffer that wakes the reader; 0: every record does.
    pub(super) fn wake_bytes(&self) -> u64 {
        match self.wakeup {
            Wakeup::Batched => u64::from(self.ring_bytes / 8),
            Wakeup::Immediate => 0,
        }
    }
}

/// How soon the reader gets a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// When its timer fires, or the ring buffer is an eighth full: nearly free for the target.
    Batched,
    /// At once: for interactive views.
    Immediate,
}

/// How the programs were loaded: the best that this kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flavour {
    /// Attached with `uprobe_multi` links (6.6 and newer); otherwise a perf event for each probe.
    pub multi: bool,
    /// Sleepable, so that buffers that are paged out can be read, and `lockdown=confidentiality`
    /// does not matter (6.1).
    pub sleepable: bool,
    /// Memory that is not paged out is read without preparing for a page fault, which is cheaper.
    /// `lockdown=confidentiality` forbids it.
    pub reads_at_once: bool,
    /// `bpf_loop` bounds the work for one call (5.17); otherwise calls beyond about 350 KiB are
    /// cut.
    pub bounded_loop: bool,
}

impl Flavour {
    /// Names of what this kernel has of what not every kernel has.
    #[must_use]
    pub fn features(self) -> Vec<&'static str> {
        let all = [
            ("uprobe_multi", self.multi),
            ("sleepable uprobes", self.sleepable),
            ("bpf_loop", self.bounded_loop),
        ];
        all.into_iter().filter_map(|(name, has)| has.then_some(name)).collect()
    }
}

/// The best form comes first. Each is tried until one loads.
pub const FLAVOURS: [Flavour; 9] = [
    Flavour { multi: true, sleepable: true, reads_at_once: true, bounded_loop: true },
    Flavour { multi: true, sleepable: true, reads_at_once: false, bounded_loop: true },
    Flavour { multi: true, sleepable: false, reads_at_once: true, bounded_loop: true },
    Flavour { multi: false, sleepable: true, reads_at_once: true, bounded_loop: true },
    Flavour { multi: false, sleepable: true, reads_at_once: false, bounded_loop: true },
    Flavour { multi: false, sleepable: true, reads_at_once: true, bounded_loop: false },
    Flavour { multi: false, sleepable: true, reads_at_once: false, bounded_loop: false },
    Flavour { multi: false, sleepable: false, reads_at_once: true, bounded_loop: true },
    Flavour { multi: false, sleepable: false, reads_at_once: true, bounded_loop: false },
];

/// The settings of a BPF object that is open and not loaded yet. They cannot be changed later.
pub(super) trait ReadOnlyData {
    /// Fills all of them in. The verifier drops the branches that they switch off.
    fn fill_in(&mut self, settings: &Settings, flavour: Flavour);
}

/// The two objects have the same variables, and a generated type for each.
macro_rules! same_settings {
    ($($rodata:ty),+) => { $(
        impl ReadOnlyData for $rodata {
            fn fill_in(&mut self, settings: &Settings, flavour: Flavour) {
                self.window_bytes = settings.window_bytes;
                self.long_bytes = LONG_BYTES;
                self.narrow_bytes = NARROW_BYTES as u64;
                self.wake_bytes = settings.wake_bytes();
                self.connections_max = settings.connections;
                self.watch_execs = settings.watch_execs;
                self.sleepable = flavour.sleepable;
                self.reads_at_once = flavour.reads_at_once;
                self.has_loop = flavour.bounded_loop;
            }
        }
    )+ };
}

same_settings!(skeleton::types::rodata, skeleton::socket::types::rodata);
