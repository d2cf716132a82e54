//! News of processes, and what the kernel counts of it and does not report.
//!
//! A report that found no room in the ring buffer is only counted, and so is an event that the
//! kernel's tracepoints have missed. After either, all processes must be inspected.

use crate::capture::Error;
use crate::capture::bpf::{Attachment, Tap};

/// The kernel's counts are read this often.
const COUNT_NS: u64 = 500_000_000;

/// Lets the kernel report forks, execs and exits, and reads what it could not report.
#[derive(Debug)]
pub(super) struct News {
    _reports: Attachment,
    /// Reports that found no room.
    unheard: u64,
    /// See [`Tap::perhaps_missed`].
    missed: u64,
    next_count_ns: u64,
    /// A person was told that some connections are not followed.
    warned_of_bound: bool,
}

impl News {
    /// Reports begin.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub(super) fn subscribe(tap: &Tap<'_>, now_ns: u64) -> Result<Self, Error> {
        Ok(Self {
            _reports: tap.watch_processes()?,
            unheard: 0,
            missed: 0,
            next_count_ns: now_ns,
            warned_of_bound: false,
        })
    }

    /// Whether a report may have been lost since this was last asked.
    pub(super) fn may_be_incomplete(&mut self, tap: &Tap<'_>, now_ns: u64) -> bool {
        let unheard = tap.unheard();
        let is_unheard = std::mem::replace(&mut self.unheard, unheard) != unheard;
        if now_ns < self.next_count_ns {
            return is_unheard;
        }
        self.next_count_ns = now_ns + COUNT_NS;
        self.warn_of_bound(tap);
        let missed = tap.perhaps_missed();
        let is_missed = missed > self.missed;
        if is_missed {
            tracing::debug!("at most {missed} forks, execs and exits were missed so far");
            self.missed = missed;
        }
        is_unheard || is_missed
    }

    /// Says once that there are more connections than are followed.
    fn warn_of_bound(&mut self, tap: &Tap<'_>) {
        if self.warned_of_bound || tap.calls_not_followed() == 0 {
            return;
        }
        self.warned_of_bound = true;
        tracing::warn!(
            "{} connections are open, and no more are followed: what passes on others is only counted \
             in wstap_lost_bytes_total{{reason=\"too_many_connections\"}}; --connections raises the \
             bound",
            tap.connections_max()
        );
    }
}
