//! All processes that are tapped.

use std::collections::BTreeMap;

use super::member::{Arrival, Late, Member};
use crate::capture::procfs::process::Process;
use crate::event::TargetId;

/// The processes that are tapped, and those that have ended and are remembered.
#[derive(Debug)]
pub(super) struct Members {
    by_pid: BTreeMap<u32, Member>,
    /// Whether processes that are found now were there before wstap.
    pub(super) arrival: Arrival,
    late: Late,
    /// What is tapped has changed since it was last asked for.
    changed: bool,
}

impl Members {
    /// Nobody. What is found first was there before wstap.
    pub(super) fn new() -> Self {
        Self {
            by_pid: BTreeMap::new(),
            arrival: Arrival::Found,
            late: Late::default(),
            changed: true,
        }
    }

    /// The member with this pid.
    pub(super) fn get(&self, pid: u32) -> Option<&Member> {
        self.by_pid.get(&pid)
    }

    /// The member with this pid, to be changed.
    pub(super) fn get_mut(&mut self, pid: u32) -> Option<&mut Member> {
        self.by_pid.get_mut(&pid)
    }

    /// All, in order of pid.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_pid.values()
    }

    /// The pids of all, in order.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.by_pid.keys().copied().collect()
    }

    /// Adds a process, or replaces what was known of it.
    pub(super) fn insert(&mut self, member: Member) {
        self.by_pid.insert(member.target.process.pid, member);
        self.changed = true;
    }

    /// A process is gone. One that was given by its pid is remembered.
    pub(super) fn end(&mut self, pid: u32) {
        let Some(member) = self.by_pid.get_mut(&pid) else { return };
        if member.up {
            tracing::debug!("pid {pid} has ended");
        }
        self.changed |= member.up;
        if member.named {
            member.up = false;
        } else {
            self.by_pid.remove(&pid);
        }
    }

    /// Notes whether what is tapped has changed.
    pub(super) fn note_change(&mut self, changed: bool) {
        self.changed |= changed;
    }

    /// Whether what is tapped has changed since [`Members::take_change`] was last asked.
    pub(super) fn has_changed(&self) -> bool {
        self.changed
    }

    /// `true` once after each change of what is tapped.
    pub(super) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The processes that ran before their probes were in place.
    pub(super) fn late(&self) -> &Late {
        &self.late
    }

    /// Counts a process that may have run without probes for so long, in nanoseconds.
    pub(super) fn count_late(&mut self, process: &Process, target: TargetId, unseen_ns: u64) {
        self.late.count(process, target, unseen_ns);
        self.changed = true;
    }

    /// Counts a process that has ended before it was inspected.
    pub(super) fn count_ended(&mut self, pid: u32, target: TargetId) {
        self.late.count_ended(pid, target);
        self.changed = true;
    }
}
