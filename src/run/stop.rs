//! What ends a session from outside: a signal, or a reader that has gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::mailbox::Mailbox;

/// Asks a session to end. Its clones are the same request.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    flag: Arc<AtomicBool>,
    /// Where the attaching thread of the session waits.
    mailbox: Arc<Mailbox>,
}

impl Stop {
    /// Asks the session to end.
    pub(super) fn ask(&self) {
        self.flag.store(true, Ordering::Release);
        self.mailbox.wake();
    }

    /// Whether it was asked to.
    pub(super) fn is_asked(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }

    /// The same as a flag, for those that look now and then.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// The mailbox of the session that this ends.
    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }
}
