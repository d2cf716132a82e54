//! Counts of a socket, or of an NSPR layer, that is not known to be a WebSocket yet.
//!
//! Most sockets of a process are no WebSockets and must not be counted. Those that turn out to be
//! WebSockets are counted from their first byte, so their counts wait here.

use crate::event::Direction;
use crate::observation::{GapReason, What};

/// Counts that are emitted only if the connection proves to be a WebSocket.
#[derive(Clone, Debug, Default)]
pub(super) struct DeferredCounts {
    wire: [u64; 2],
    skipped: [u64; 2],
    gaps: [[u64; GapReason::ALL.len()]; 2],
}

impl DeferredCounts {
    /// Keeps `what` if it is a count; says whether it is one.
    #[inline(never)]
    pub(super) fn keep(&mut self, what: &What<'_>) -> bool {
        let (kept, bytes) = match *what {
            What::Wire { direction, bytes } => (&mut self.wire[direction.index()], bytes),
            What::Skipped { direction, bytes } => (&mut self.skipped[direction.index()], bytes),
            What::Gap { direction, bytes, reason } => {
                (&mut self.gaps[direction.index()][reason as usize], bytes)
            }
            _ => return false,
        };
        *kept += bytes;
        true
    }

    /// Emits the kept counts: the connection is a WebSocket.
    pub(super) fn tell(&self, mut emit: impl FnMut(What<'static>)) {
        for direction in Direction::BOTH {
            let index = direction.index();
            if self.wire[index] > 0 {
                emit(What::Wire { direction, bytes: self.wire[index] });
            }
            if self.skipped[index] > 0 {
                emit(What::Skipped { direction, bytes: self.skipped[index] });
            }
            for &reason in GapReason::ALL {
                let bytes = self.gaps[index][reason as usize];
                if bytes > 0 {
                    emit(What::Gap { direction, bytes, reason });
                }
            }
        }
    }
}
