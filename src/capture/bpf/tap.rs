//! The loaded programs, and what can be asked of them at any time.
//!
//! [`super::load`] loads them, [`super::links`] attaches them, and [`super::tapped`] says which
//! processes they report.

use std::cell::{Cell, OnceCell};
use std::mem::MaybeUninit;

use libbpf_rs::{MapHandle, OpenObject};

use super::hint::Steering;
use super::programs::tracepoints::{self, Pair};
use super::ring::Ring;
use super::settings::{Flavour, Settings};
use super::shared::Shared;
use super::skeleton::TracerSkel;
use super::socket::SocketPrograms;
use super::wire;
use crate::capture::Error;
use crate::event::Loss;

/// Loaded programs and their maps.
pub struct Tap<'obj> {
    pub(super) skel: TracerSkel<'obj>,
    pub(super) flavour: Flavour,
    pub(super) shared: Shared<'obj>,
    pub(super) settings: Settings,
    /// The programs on sockets, once they are loaded; `room` is the memory for them.
    pub(super) sockets: OnceCell<SocketPrograms<'obj>>,
    pub(super) room: Cell<Option<&'obj mut MaybeUninit<OpenObject>>>,
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

    /// An upper bound for the forks, execs and exits, of any process, that were not reported.
    /// Needs no privilege.
    #[must_use]
    pub fn perhaps_missed(&self) -> u64 {
        let pairs = tracepoints::of_processes(&self.skel.progs);
        pairs.iter().map(Pair::missed_at_most).sum()
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
            Ring::new(events, closings)
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

    /// Asks the kernel side to wake the reader.
    #[must_use]
    pub fn alarm(&self) -> Alarm<'_> {
        Alarm { shared: &self.shared }
    }

    /// What the kernel side lost. Any thread may read it.
    #[must_use]
    pub fn losses(&self) -> Losses<'_> {
        Losses { shared: &self.shared }
    }
}

/// Wakes a reader that sleeps for long because nothing comes. Needs no privilege.
#[derive(Clone, Copy, Debug)]
pub struct Alarm<'tap> {
    shared: &'tap Shared<'tap>,
}

impl Alarm<'_> {
    /// The next record that is written wakes the reader, however few there are. To be called before
    /// the last look at the ring buffer.
    pub fn set(&self) {
        self.shared.set_reader_sleeps();
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
    pub fn now(&self) -> [Loss; 7] {
        wire::losses(&self.shared.losses())
    }

    /// The same as [`Tap::unheard`].
    #[must_use]
    pub fn unheard(&self) -> u64 {
        self.shared.losses().process_records
    }
}
