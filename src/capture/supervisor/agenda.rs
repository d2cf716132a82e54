//! When to inspect which process, and when to inspect all of them.

use std::collections::BTreeSet;

/// All processes are inspected this often, in case a report was lost.
const ROUND_NS: u64 = 5_000_000_000;

/// What is due, and when. Times are `CLOCK_MONOTONIC` nanoseconds.
#[derive(Debug)]
pub(super) struct Agenda {
    /// Single processes, by time.
    due: BTreeSet<(u64, u32)>,
    next_round_ns: u64,
}

impl Agenda {
    /// The first round was just done.
    pub(super) fn new(now_ns: u64) -> Self {
        Self { due: BTreeSet::new(), next_round_ns: now_ns + ROUND_NS }
    }

    /// Process `pid` is to be inspected at `at_ns`.
    pub(super) fn plan(&mut self, pid: u32, at_ns: u64) {
        self.due.insert((at_ns, pid));
    }

    /// All are to be inspected as soon as possible.
    pub(super) fn plan_round(&mut self) {
        self.next_round_ns = 0;
    }

    /// When something is due next.
    pub(super) fn next_ns(&self) -> u64 {
        self.due.first().map_or(self.next_round_ns, |&(due_ns, _)| due_ns.min(self.next_round_ns))
    }

    /// Whether anything is due.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        self.is_round_due(now_ns) || self.due.first().is_some_and(|&(due_ns, _)| due_ns <= now_ns)
    }

    /// Whether all are to be inspected now.
    pub(super) fn is_round_due(&self, now_ns: u64) -> bool {
        now_ns >= self.next_round_ns
    }

    /// The next process that is due, which is taken off the list.
    pub(super) fn take_next(&mut self, now_ns: u64) -> Option<u32> {
        let &(due_ns, pid) = self.due.first()?;
        if due_ns > now_ns {
            return None;
        }
        self.due.pop_first();
        Some(pid)
    }

    /// A round begins.
    pub(super) fn begin_round(&mut self, now_ns: u64) {
        self.next_round_ns = now_ns + ROUND_NS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_taken_in_the_order_of_time_and_once() {
        let mut agenda = Agenda::new(0);
        agenda.plan(7, 20);
        agenda.plan(8, 10);
        assert!(!agenda.is_due(9));
        assert_eq!(agenda.next_ns(), 10);
        assert!(agenda.is_due(20));
        let taken: Vec<u32> = std::iter::from_fn(|| agenda.take_next(20)).collect();
        assert_eq!(taken, [8, 7]);
        assert!(!agenda.is_due(20));
    }

    #[test]
    fn a_round_is_due_after_its_period_and_at_once_where_a_report_was_lost() {
        let mut agenda = Agenda::new(0);
        assert!(!agenda.is_round_due(ROUND_NS - 1));
        assert!(agenda.is_round_due(ROUND_NS));
        agenda.begin_round(ROUND_NS);
        assert!(!agenda.is_due(ROUND_NS));
        agenda.plan_round();
        assert!(agenda.is_due(ROUND_NS));
    }
}
