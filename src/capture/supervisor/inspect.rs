//! Inspecting a process: what it has mapped, and what its sockets are.

use std::io;
use std::time::{Duration, Instant};

use super::member::unread::{FILES_MAX, INSPECTION_MAX, Next};
use super::plain::Circumstances;
use super::supervise::Supervisor;
use crate::capture::clock::monotonic_ns;
use crate::capture::confine::privilege::Powers;
use crate::capture::procfs::planner::{BRIEF, PATIENT};
use crate::capture::procfs::process::{self, Mapping};
use crate::capture::procfs::{shared_memory, translator};

/// A process that has just begun is inspected again after so long, and then with all others: its
/// loader may have run before a probe was on it.
const EARLY_NS: [u64; 4] = [3_000_000, 15_000_000, 60_000_000, 240_000_000];

/// An image that is still being planned is asked for again after this long.
const SOON_NS: u64 = 10_000_000;

/// What an inspection of the files of a process has found.
#[derive(Clone, Copy, Debug)]
struct Findings {
    /// Since when the last probe that was asked for is in place, `CLOCK_MONOTONIC` nanoseconds.
    placed_ns: Option<u64>,
    /// No file is left for later.
    is_complete: bool,
}

impl Supervisor<'_, '_> {
    /// Plans the next inspection of a process that has begun lately.
    pub(super) fn plan_early_inspection(&mut self, pid: u32, now_ns: u64) {
        let Some(member) = self.members.get_mut(pid) else { return };
        if let Some(pause) = EARLY_NS.get(member.early_inspections) {
            member.early_inspections += 1;
            self.agenda.plan(pid, now_ns + pause);
        }
    }

    /// Inspects every process, and finds those that have ended without a report.
    pub(super) fn inspect_all(&mut self, now_ns: u64) {
        for pid in self.members.pids() {
            let is_alive = self.members.get(pid).is_some_and(|it| it.target.process.is_alive());
            if is_alive {
                self.look_at_home(pid);
                self.inspect(pid, now_ns);
            } else {
                self.ended_unheard(pid);
            }
        }
    }

    /// Probes the files that the process has mapped and that were not read yet.
    pub(super) fn inspect(&mut self, pid: u32, now_ns: u64) {
        let Some(member) = self.members.get_mut(pid) else { return };
        if let Some(until_ns) = member.unread.rests_until(now_ns) {
            return self.agenda.plan(pid, until_ns);
        }
        let (began, began_ns) = (Instant::now(), monotonic_ns());
        // If this fails, the process has just ended, and the kernel will report it.
        let Ok(mappings) = process::executable_files(pid) else { return };
        member.forget_unmapped(&mappings);
        if let Some(translator) = translator::of(&member.target.process, &mappings) {
            let is_new = member.leave_to(translator);
            self.probes.remove(pid);
            self.members.note_change(is_new);
            return self.inspect_sockets(pid, now_ns);
        }
        let unread = member.unread.count();
        let changed = member.check_executed(&mappings);
        self.members.note_change(changed);
        if self.powers == Powers::None {
            return;
        }
        // Before its calls are seen.
        self.look_for_shared_memory(pid, &mappings);
        let findings = self.inspect_files(pid, &mappings, began, now_ns);
        let segments = mappings.iter().map(|mapping| mapping.segments.len()).sum();
        if let Some(member) = self.members.get_mut(pid) {
            let changed = unread != member.unread.count();
            member.say_what_is_refused();
            member.unread.rest_after(began.elapsed(), segments, now_ns);
            self.members.note_change(changed);
        }
        // Before the account of this inspection is closed.
        self.inspect_sockets(pid, now_ns);
        self.account(pid, findings, began_ns);
    }

    /// Tells the kernel side which memory the process shares with others, if it may have taken some into use:
    /// its TLS library is new, or others of its libraries are.
    fn look_for_shared_memory(&mut self, pid: u32, mappings: &[Mapping]) {
        let Some(member) = self.members.get(pid) else { return };
        if mappings.iter().all(|mapping| member.seen.contains(&mapping.file)) {
            return;
        }
        // If this fails, the process has just ended.
        let Ok(memory) = shared_memory::of(pid) else { return };
        if let Err(error) = self.memories.share(self.tap, pid, memory) {
            tracing::warn!("pid {pid}: {error}");
        }
    }

    /// Reads and probes the files that were not read yet.
    fn inspect_files(
        &mut self,
        pid: u32,
        mappings: &[Mapping],
        began: Instant,
        now_ns: u64,
    ) -> Findings {
        let patience = self.patience(pid);
        let mut findings = Findings { placed_ns: None, is_complete: true };
        for mapping in mappings {
            let Some(member) = self.members.get_mut(pid) else { break };
            if member.seen.contains(&mapping.file) {
                continue;
            }
            if member.seen.len() >= FILES_MAX {
                member.unread.has_too_many(&member.target.process);
                break;
            }
            if patience == BRIEF && began.elapsed() > INSPECTION_MAX {
                self.agenda.plan(pid, now_ns + SOON_NS);
                findings.is_complete = false;
                break;
            }
            member.seen.insert(mapping.file);
            match self.planner.image(pid, mapping, patience) {
                Ok(image) if member.is_too_young_for(&image, now_ns) => {
                    // It is probed with the next inspection, unless it runs another program by then.
                    member.seen.remove(&mapping.file);
                }
                Ok(image) => {
                    member.unread.was_read(mapping.file);
                    let probed = self.probes.place(self.tap, &image, pid);
                    let placed_ns = probed.as_ref().copied().unwrap_or(None);
                    findings.placed_ns = findings.placed_ns.max(placed_ns);
                    let changed = member.take(image, probed.map(|since| since.is_some()));
                    self.members.note_change(changed);
                }
                Err(error) => {
                    findings.is_complete &= self.leave_unread(pid, mapping, &error, now_ns);
                }
            }
        }
        findings
    }

    /// A file could not be read. `false` if it is to be asked for again soon.
    fn leave_unread(
        &mut self,
        pid: u32,
        mapping: &Mapping,
        error: &io::Error,
        now_ns: u64,
    ) -> bool {
        let Some(member) = self.members.get_mut(pid) else { return true };
        match member.unread.note(&member.target.process, mapping, error) {
            Next::Never => true,
            Next::Later => {
                member.seen.remove(&mapping.file);
                true
            }
            Next::Soon => {
                member.seen.remove(&mapping.file);
                self.agenda.plan(pid, now_ns + SOON_NS);
                false
            }
        }
    }

    /// Counts the process if it ran before its probes were in place. `began_ns` is when its inspection
    /// began.
    fn account(&mut self, pid: u32, findings: Findings, began_ns: u64) {
        // The command is stopped until the inspection is over, so it misses nothing.
        let placed_ns = findings.placed_ns.filter(|_| !self.is_held(pid));
        let Some(member) = self.members.get_mut(pid) else { return };
        let unseen_ns = placed_ns.and_then(|placed_ns| member.ran_unseen(placed_ns));
        member.is_being_planned = !findings.is_complete;
        if findings.is_complete {
            member.accounted_ns = began_ns;
        }
        if let Some(unseen_ns) = unseen_ns {
            let (process, target) = (member.target.process.clone(), member.target.id);
            self.members.count_late(&process, target, unseen_ns);
        }
    }

    /// Counts the process if it may have used sockets before they were tapped, which they are from now
    /// on, or since it was admitted.
    fn account_sockets(&mut self, pid: u32) {
        let is_held = self.is_held(pid);
        let Some(member) = self.members.get_mut(pid).filter(|_| !is_held) else { return };
        let tapped_ns = if std::mem::take(&mut member.sockets.since_admission) {
            member.admitted_ns
        } else {
            monotonic_ns()
        };
        if let Some(unseen_ns) = member.ran_unseen(tapped_ns) {
            let (process, target) = (member.target.process.clone(), member.target.id);
            self.members.count_late(&process, target, unseen_ns);
        }
    }

    /// How long the tap waits for one image of a process: at the start nothing else is to be done,
    /// and a process that is stopped must not go on before it is probed.
    fn patience(&self, pid: u32) -> Duration {
        if self.powers == Powers::All || self.is_held(pid) { PATIENT } else { BRIEF }
    }

    /// Taps the sockets of a process if there is reason to, or leaves them alone.
    fn inspect_sockets(&mut self, pid: u32, now_ns: u64) {
        let Some(member) = self.members.get_mut(pid) else { return };
        if member.is_32_bit() {
            return;
        }
        let now = Circumstances {
            policy: self.sockets.policy,
            has_tls: member.has_tls(),
            is_newborn: self.selection.holds(pid),
            now_ns,
        };
        let wanted = member.sockets.are_wanted(pid, now);
        if member.sockets.tapped == Some(wanted) {
            return;
        }
        let attached = if wanted { self.sockets.attach(self.tap) } else { Ok(()) };
        match attached.and_then(|()| self.tap.tap_sockets(pid, wanted)) {
            Ok(()) => {
                tracing::debug!("pid {pid}: sockets tapped: {wanted}");
                member.sockets.tapped = Some(wanted);
                member.up |= wanted;
                if wanted && !member.has_tls() {
                    member.say_what_is_not_seen();
                }
                self.members.note_change(true);
                if wanted {
                    self.account_sockets(pid);
                }
            }
            Err(error) => {
                tracing::debug!("pid {pid}: {error}");
                member.sockets.tapped = Some(false);
            }
        }
    }
}
