//! What a socket, or a layer of NSPR, has carried before it is known to be a WebSocket.
//!
//! A process has such of all kinds. Only those that turn out to be WebSockets are counted, but they are
//! from their first byte on: until then, counts are kept here.

use crate::event::Direction;
use crate::observation::{GapReason, What};

/// Counts that may never be told.
#[derive(Clone, Debug, Default)]
pub(super) struct DeferredCounts {
    wire: [u64; 2],
    skipped: [u64; 2],
    gaps: [[u64; GapReason::ALL.len()]; 2],
}

impl DeferredCounts {
    /// Keeps what is only a count. Hands back what is not.
    pub(super) fn keep<'a>(&mut self, what: What<'a>) -> Option<What<'a>> {
        let (kept, bytes) = match what {
            What::Wire { direction, bytes } => (&mut self.wire[direction.index()], bytes),
            What::Skipped { direction, bytes } => (&mut self.skipped[direction.index()], bytes),
            What::Gap { direction, bytes, reason } => {
                (&mut self.gaps[direction.index()][reason as usize], bytes)
            }
            other => return Some(other),
        };
        *kept += bytes;
        None
    }

    /// It is a WebSocket: tells what was kept.
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
