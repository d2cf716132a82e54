//! Processes that ran before their probes were in place, though wstap was there when they began.
//!
//! Most newcomers find the probes in place. The first process that needs a probe does not: placing
//! it takes the kernel milliseconds, on a busy machine a second, and the process runs meanwhile.
//! The same holds for TCP sockets that a process opens between two inspections.
//! What it sends and receives meanwhile reaches no counter, and nobody knows whether there was
//! anything. So such processes are counted, and the log names the first one. On a busy machine some
//! have ended before wstap comes to them; they are counted as well.

use std::collections::BTreeMap;

use crate::capture::procfs::process::Process;
use crate::event::TargetId;

/// How many there were.
#[derive(Debug, Default)]
pub struct Late {
    by_target: BTreeMap<TargetId, u64>,
}

impl Late {
    /// The processes of this target that were tapped late.
    #[must_use]
    pub fn of(&self, target: TargetId) -> u64 {
        self.by_target.get(&target).copied().unwrap_or(0)
    }

    /// Counts a process that may have run for up to `unseen_ns` nanoseconds before its probes were
    /// in place.
    pub(in crate::capture::supervisor) fn count(
        &mut self,
        process: &Process,
        target: TargetId,
        unseen_ns: u64,
    ) {
        let Process { pid, comm, .. } = process;
        let unseen_ms = unseen_ns as f64 / 1e6;
        let what = format!(
            "pid {pid} ({comm}) ran for up to {unseen_ms:.1} ms before its probes were in place"
        );
        self.add(target, &what);
    }

    /// Counts a process that has ended before it was inspected.
    pub(in crate::capture::supervisor) fn count_ended(&mut self, pid: u32, target: TargetId) {
        self.add(target, &format!("pid {pid} ended before its probes were in place"));
    }

    fn add(&mut self, target: TargetId, what: &str) {
        let is_first = self.by_target.is_empty();
        *self.by_target.entry(target).or_insert(0) += 1;
        if is_first {
            tracing::warn!(
                "{what}; what it sent and received by then is not counted. \
                 wstap_processes_tapped_late_total counts such processes; the next ones are not \
                 named here (-v names them)"
            );
        } else {
            tracing::debug!("{what}; it is counted as tapped late");
        }
    }
}
