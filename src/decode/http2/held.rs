//! DATA of a stream whose request or answer has not been seen: events of two threads may arrive
//! inverted.

use crate::decode::backlog::Backlog;
use crate::event::Stamp;

/// Content of one direction that waits to be decoded.
#[derive(Debug, Default)]
pub(super) struct Held {
    backlog: Backlog,
    /// Some of it was missed or did not fit.
    is_torn: bool,
}

impl Held {
    /// Keeps content, at most `limit` bytes of it.
    pub(super) fn push(&mut self, bytes: &[u8], stamp: Stamp, limit: usize) {
        if self.is_torn {
            return;
        }
        if self.backlog.bytes().len() + bytes.len() > limit {
            return self.tear();
        }
        self.backlog.push(bytes, stamp);
    }

    /// Content is missing.
    pub(super) fn tear(&mut self) {
        self.is_torn = true;
        self.backlog = Backlog::default();
    }

    /// What was kept; `None` if some of it is missing.
    pub(super) fn into_backlog(self) -> Option<Backlog> {
        (!self.is_torn).then_some(self.backlog)
    }

    /// Bytes that it takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.backlog.held_bytes()
    }
}
