//! What becomes of processes, as the kernel tells it at the moment it happens.

use crate::decode::event::TargetId;

/// A process has changed. Only of tapped processes, and of any that runs a new program where a
/// selector may match it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// The target that it is tapped for; meaningless for [`Change::Executed`] by a stranger.
    pub target: TargetId,
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
    Executed {
        /// What it is called now.
        comm: Comm,
    },
    /// Its dynamic loader has mapped or unmapped a library.
    Loaded,
    /// Its last thread has ended. No event of it follows.
    Exited,
}

/// A process's name as the kernel keeps it: at most 15 bytes, then NUL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// The name without what follows it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comm_ends_at_its_first_nul_or_is_full() {
        assert_eq!(Comm(*b"nginx\0garbage\0\0\0").as_bytes(), b"nginx");
        assert_eq!(Comm(*b"0123456789abcdef").as_bytes(), b"0123456789abcdef");
        assert_eq!(Comm::default().as_bytes(), b"");
    }
}
