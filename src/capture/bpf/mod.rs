//! The tap itself: the loaded BPF programs, and what is read from them.
//!
//! A [`Tap`] lives on the stack of the thread that attaches; its [`Ring`] is read by another, so that
//! what passes while probes are being placed does not wait. Probes are gone when their
//! [`Attachment`] is dropped, or when the process ends, in whatever way: the kernel owns them.

mod attach;
pub mod hint;
pub mod lifecycle;
pub(in crate::capture) mod links;
mod load;
mod missed;
mod shared;
mod skeleton;
pub mod socket;
mod tapped;
mod wire;

use std::cell::{Cell, OnceCell, RefCell};
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::time::Duration;

use libbpf_rs::{MapHandle, OpenObject, RingBuffer, RingBufferBuilder};

use super::Error;
use crate::event::{ConnId, Event, Loss};
use hint::Steering;
use lifecycle::Lifecycle;
use shared::Shared;
use skeleton::TracerSkel;
use socket::SocketPrograms;

pub use attach::Attachment;
pub use load::{FLAVOURS, Flavour, with_best, with_tap};
pub use tapped::Admission;

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
    /// How soon the reader hears of a record.
    pub wakeup: Wakeup,
    /// Hear of every program that is run, not only by tapped processes.
    pub watch_execs: bool,
}

impl Settings {
    /// The fill of the ring buffer that wakes the reader; 0: every record does.
    pub(super) fn wake_bytes(&self) -> u64 {
        match self.wakeup {
            Wakeup::Batched => u64::from(self.ring_bytes / 8),
            Wakeup::Immediate => 0,
        }
    }
}

/// How soon the reader hears of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// When its timer fires, or the ring buffer is an eighth full: nearly free for the target.
    Batched,
    /// At once: for interactive views.
    Immediate,
}

/// Loaded programs and their maps.
pub struct Tap<'obj> {
    skel: TracerSkel<'obj>,
    flavour: Flavour,
    shared: Shared<'obj>,
    settings: Settings,
    /// The programs on sockets, once there was a reason to load them, and the room for them.
    sockets: OnceCell<SocketPrograms<'obj>>,
    room: Cell<Option<&'obj mut MaybeUninit<OpenObject>>>,
}

/// One thing that the ring buffer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A call that passed bytes, or the end of a connection.
    Passed(Event<'a>),
    /// TLS passes on this socket. Nothing more is told of it.
    Encrypted(ConnId),
    /// Something has become of a process.
    Process(Lifecycle),
}

impl Tap<'_> {
    /// How the programs were loaded.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// Forks, execs, loads and exits that could not be reported since the start.
    #[must_use]
    pub fn unheard(&self) -> u64 {
        self.shared.losses().process_records
    }

    /// Connections that are followed at the same time, at most.
    #[must_use]
    pub fn connections_max(&self) -> u32 {
        self.settings.connections
    }

    /// Calls on connections that are not followed, because there are too many.
    #[must_use]
    pub fn calls_not_followed(&self) -> u64 {
        self.shared.losses().too_many_calls
    }

    /// The ring buffer, for the thread that is to read it.
    ///
    /// # Errors
    ///
    /// There is no file descriptor left for it.
    pub fn ring(&self) -> Result<Ring, Error> {
        let share = || {
            let events = MapHandle::try_from(&self.skel.maps.events)?;
            let closings = MapHandle::try_from(&self.skel.maps.closings)?;
            Ok(Ring { events, closings })
        };
        share().map_err(|error: libbpf_rs::Error| {
            Error::Other(format!("failed to share the ring buffer: {error}"))
        })
    }

    /// The words that tell the kernel side where frames begin.
    ///
    /// # Errors
    ///
    /// The map cannot be mapped.
    pub fn steering(&self) -> Result<Steering, Error> {
        Steering::map(&self.skel.maps.steering)
            .map_err(|error| Error::Other(format!("failed to map the steering words: {error}")))
    }

    /// What the kernel side lost, for any thread to look at.
    #[must_use]
    pub fn losses(&self) -> Losses<'_> {
        Losses { shared: &self.shared }
    }
}

/// What the kernel side lost. Read from mapped memory, so no privilege is needed.
#[derive(Clone, Copy, Debug)]
pub struct Losses<'tap> {
    shared: &'tap Shared<'tap>,
}

impl Losses<'_> {
    /// So far, by reason.
    #[must_use]
    pub fn now(&self) -> [Loss; 6] {
        wire::losses(&self.shared.losses())
    }
}

/// The ring buffer. It has one reader: what one has read, another does not see.
#[derive(Debug)]
pub struct Ring {
    events: MapHandle,
    /// Ends of connections that found no room there. Read after the others: everything else about
    /// such a connection was reported before.
    closings: MapHandle,
}

impl Ring {
    /// Hands every record to `sink`, in the order in which the kernel reserved them.
    ///
    /// # Errors
    ///
    /// The ring buffer cannot be mapped.
    pub fn reader<'sink>(
        &self,
        sink: impl FnMut(&Record<'_>) + 'sink,
    ) -> Result<Reader<'sink>, Error> {
        let sink = Rc::new(RefCell::new(sink));
        let other_sink = Rc::clone(&sink);
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&self.events, move |record| hand_to(&mut *sink.borrow_mut(), record))
            .and_then(|builder| {
                builder.add(&self.closings, move |record| {
                    hand_to(&mut *other_sink.borrow_mut(), record)
                })
            })
            .and_then(|builder| std::mem::take(builder).build())
            .map(|ring| Reader { ring })
            .map_err(|error| Error::Other(format!("failed to map the ring buffer: {error}")))
    }
}

/// Hands on what a ring buffer record says. Returns what makes libbpf go on.
fn hand_to(sink: &mut impl FnMut(&Record<'_>), record: &[u8]) -> i32 {
    match wire::record(record) {
        Some(record) => sink(&record),
        None => tracing::error!("a record of {} bytes is not ours", record.len()),
    }
    0
}

/// Reads the ring buffer.
#[derive(Debug)]
pub struct Reader<'sink> {
    ring: RingBuffer<'sink>,
}

/// Records handed out before [`Reader::read`] returns to let its caller look at the clock.
const BATCH: usize = 4096;

impl Reader<'_> {
    /// Hands out what is there, at most a batch. `true` if there may be more.
    pub fn read(&self) -> bool {
        self.ring.consume_raw_n(BATCH) >= BATCH as i32
    }

    /// Waits until the kernel side asks to be read, or `timeout` has passed.
    pub fn wait(&self, timeout: Duration) {
        self.ring.poll_raw(timeout);
    }
}
