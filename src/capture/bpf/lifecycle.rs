//! What the two sides tell each other about processes: userspace says which ones are tapped, and the
//! kernel side reports what becomes of them at the moment it happens.

use crate::event::TargetId;

/// A change of a process. The kernel side reports changes of tapped processes, and every exec where
/// a selector may match the new program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// The target that it is tapped for; `None` if it is not tapped.
    pub target: Option<TargetId>,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// What happened.
    pub change: Change,
}

/// The kinds of [`Lifecycle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has just begun, as a child of a tapped process, and is tapped from its first
    /// instruction.
    Forked {
        /// The process that it is a copy of.
        parent: u32,
    },
    /// It runs another program now.
    Executed,
    /// Its dynamic loader has mapped or unmapped a library.
    Loaded,
    /// Its last thread has ended. No event of it follows.
    Exited,
}

/// What userspace tells the kernel side about a process that is to be tapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The target that it belongs to.
    pub target: TargetId,
    /// Its children are tapped, too, from their first instruction.
    pub follow: bool,
    /// It is stopped whenever it runs a new program or loads a library, until it gets a SIGCONT.
    pub hold: bool,
    /// Its TCP sockets are tapped, too.
    pub sockets: bool,
}
