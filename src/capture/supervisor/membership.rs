//! Which processes begin and stop being tapped: newcomers, children, processes that run another
//! program, and those that end.

use super::homes::Move;
use super::member::unread::Unread;
use super::member::{Arrival, Member, Start};
use super::plain::Sockets;
use super::supervise::Supervisor;
use crate::capture::bpf::Admission;
use crate::capture::bpf::lifecycle::Lifecycle;
use crate::capture::confine::privilege::Powers;
use crate::capture::procfs::cgroup::Home;
use crate::capture::procfs::process::{self, Process};
use crate::capture::procfs::selector::Children;
use crate::capture::procfs::target::has_tappable;
use crate::capture::procfs::translator;
use crate::capture::{Error, clock};
use crate::event::TargetId;

impl Supervisor<'_, '_> {
    /// What to tell the kernel side about a process of this target.
    pub(super) fn admission(&self, target: TargetId) -> Admission {
        let follow = self.selection.children() == Children::Follow;
        Admission { target, follow, hold: false, sockets: self.sockets.takes_newcomers() }
    }

    /// A process runs another program now.
    pub(super) fn executed(&mut self, message: &Lifecycle, now_ns: u64) {
        let (pid, began_ns) = (message.pid, message.at_ns);
        self.ends_to_hear.remove(&pid);
        let Ok(process) = Process::read(pid) else { return };
        if translator::by_program(&process).is_some() {
            // Before anything else: it is going to read the code that they are in.
            self.probes.remove(pid);
        } else if message.target.is_some() || self.members.get(pid).is_some() {
            self.probes.place_ahead(self.tap, pid, self.powers != Powers::None);
        }
        // One that is remembered may have had this pid before.
        let Some(member) = self.members.get_mut(pid).filter(|it| it.is(&process)) else {
            let start = Start { began_ns, late: false, named: false, forked_ns: None };
            return match message.target {
                Some(target) => self.admit_or_warn(process, target, now_ns, start),
                None => self.consider(process, now_ns, start),
            };
        };
        let since_admission = self.sockets.is_attached() && self.tap.taps_sockets(pid);
        let stays = self.selection.children() == Children::Follow
            || self.selection.matching(&process).is_some();
        if !stays {
            self.tap.dismiss(pid);
            return self.ended(pid);
        }
        member.target.process = process;
        member.target.images.clear();
        member.target.companions.clear();
        member.translator = None;
        member.seen.clear();
        member.unread = Unread::default();
        member.unprobed.clear();
        member.refused.clear();
        member.up = false;
        member.sockets = Sockets::new(since_admission);
        member.early_inspections = 0;
        member.accounted_ns = began_ns;
        member.forked_ns = None;
        self.members.note_change(true);
        self.look_at_home(pid);
        self.inspect(pid, now_ns);
        self.plan_early_inspection(pid, now_ns);
    }

    /// Looks for processes that match and are not tapped yet, and for their descendants.
    pub(super) fn search(&mut self, now_ns: u64) {
        let follow = self.selection.children() == Children::Follow;
        if !self.selection.is_open() && !follow || self.powers == Powers::None {
            return;
        }
        let Ok(processes) = process::all() else { return };
        // Parents come before their children, mostly. A child with a lower pid than its parent is
        // found in the next round.
        for process in processes {
            match self.members.get(process.pid) {
                Some(known) if known.is(&process) => continue,
                // Its end was not reported, and another process has its pid now.
                Some(_) => self.ended_unheard(process.pid),
                None => {}
            }
            let parent = self.members.get(process.parent).filter(|parent| follow && !parent.over());
            let began_ns = clock::of_boot_ticks(process.start_ticks);
            let start = Start { began_ns, late: false, named: false, forked_ns: None };
            match parent.map(|parent| parent.target.id) {
                Some(target) => self.admit_or_warn(process, target, now_ns, start),
                None => self.consider(process, now_ns, start),
            }
        }
    }

    fn consider(&mut self, process: Process, now_ns: u64, start: Start) {
        if self.powers == Powers::None {
            return;
        }
        if let Some(target) = self.selection.matching(&process) {
            self.admit_or_warn(process, target, now_ns, start);
        }
    }

    /// The dynamic loader of a process has mapped something. The process calls nothing in it before
    /// the loader has reported that.
    pub(super) fn loaded(&mut self, message: &Lifecycle, now_ns: u64) {
        let Some(member) = self.members.get_mut(message.pid) else { return };
        member.accounted_ns = member.accounted_ns.max(message.at_ns);
        self.inspect(message.pid, now_ns);
    }

    /// A tapped process has a new child. The kernel side taps it already, and it has mapped what
    /// its parent has. So it is probed at once, and inspected later.
    pub(super) fn forked(&mut self, message: &Lifecycle, parent: u32, now_ns: u64) {
        let Some(target) = message.target else { return };
        let (pid, began_ns) = (message.pid, message.at_ns);
        self.ends_to_hear.remove(&pid);
        let inherited = self.members.get(parent).map(|parent| parent.target.images.clone());
        let mut inherited = inherited.unwrap_or_default();
        // A child of a program that may copy its own code is left until it runs a program of its own. The
        // probes would still be there when that one begins, and be copied. (Node.js never forks for
        // another purpose.)
        inherited.retain(|image| has_tappable(image) && !image.plan.may_copy_itself);
        let mut placed_ns = began_ns;
        for image in &inherited {
            match self.probes.inherit(self.tap, image, pid) {
                Ok(since_ns) => placed_ns = placed_ns.max(since_ns),
                Err(error) => {
                    // It may have ended already.
                    placed_ns = placed_ns.max(clock::monotonic_ns());
                    tracing::debug!("pid {pid}: {error}");
                }
            }
        }
        // It is counted before it is read: it may have ended already.
        let late = placed_ns > began_ns;
        if late {
            self.count_late(pid, parent, target, placed_ns - began_ns);
        }
        // If this fails it has ended, and the kernel will report that next.
        let Ok(process) = Process::read(pid) else { return self.probes.remove(pid) };
        self.admit_or_warn(
            process,
            target,
            now_ns,
            Start { began_ns, late, named: false, forked_ns: Some(began_ns) },
        );
    }

    /// Counts a child that ran without probes for up to `unseen_ns` nanoseconds. It has its
    /// parent's name.
    fn count_late(&mut self, pid: u32, parent: u32, target: TargetId, unseen_ns: u64) {
        let Some(parent) = self.members.get(parent) else { return };
        if !self.members.get(pid).is_some_and(|known| known.late) {
            let child = Process { pid, ..parent.target.process.clone() };
            self.members.count_late(&child, target, unseen_ns);
        }
    }

    fn admit_or_warn(&mut self, process: Process, target: TargetId, now_ns: u64, start: Start) {
        let (pid, comm) = (process.pid, process.comm.clone());
        if let Err(error) = self.admit(process, target, now_ns, start) {
            tracing::warn!("pid {pid} ({comm}) is not tapped: {error}");
        }
    }

    /// Taps a process from now on.
    pub(super) fn admit(
        &mut self,
        process: Process,
        target: TargetId,
        now_ns: u64,
        start: Start,
    ) -> Result<(), Error> {
        let pid = process.pid;
        let home = Home::of(pid);
        // Before anything of it can be seen.
        self.tell_home(pid, Move::To(target, home.clone()));
        let mut admitted_ns = 0;
        // Without powers wstap can only follow processes that the kernel side has admitted itself.
        if self.powers != Powers::None {
            let hold = self.is_held(pid);
            if self.tap.admit(pid, Admission { hold, ..self.admission(target) })? {
                admitted_ns = clock::monotonic_ns();
            }
        }
        let known = self.members.get(pid).filter(|known| known.is(&process));
        let late = start.late || known.is_some_and(|known| known.late);
        let technique = if self.tap.flavour().multi { "uprobe_multi" } else { "perf_uprobe" };
        let accounted_ns = match self.members.arrival {
            Arrival::Found => u64::MAX,
            Arrival::New => start.began_ns,
        };
        let since_admission = self.sockets.is_attached() && self.tap.taps_sockets(pid);
        let member = Member {
            sockets: Sockets::new(since_admission),
            admitted_ns,
            accounted_ns,
            late,
            named: start.named,
            forked_ns: start.forked_ns,
            ..Member::new(target, process, technique, home)
        };
        self.members.insert(member);
        self.inspect(pid, now_ns);
        self.plan_early_inspection(pid, now_ns);
        Ok(())
    }

    /// A process is gone, and the kernel side has not told.
    pub(super) fn ended_unheard(&mut self, pid: u32) {
        self.tap.dismiss(pid);
        self.unheard_ends.push(pid);
        self.ends_to_hear.insert(pid);
        self.ended(pid);
    }

    /// The kernel side tells that a process is gone. One that was selected, and that wstap never came to, is
    /// counted. A child that runs a program for which nobody asked is not: most have no TLS.
    pub(super) fn exited(&mut self, message: &Lifecycle) {
        let pid = message.pid;
        let is_known = self.ends_to_hear.remove(&pid);
        let uncounted = match self.members.get(pid) {
            None if is_known => None,
            None => message.target,
            Some(member) if member.late || !member.is_uninspected() => None,
            Some(member) => {
                let selected = self.selection.matching(&member.target.process);
                selected.map(|_| member.target.id)
            }
        };
        if let Some(target) = uncounted.filter(|_| self.powers != Powers::None) {
            self.members.count_ended(pid, target);
        }
        self.ended(pid);
    }

    /// A process is gone. One that was given by its pid is remembered.
    pub(super) fn ended(&mut self, pid: u32) {
        self.probes.remove(pid);
        if let Some(releases) = &mut self.releases {
            releases.forget(pid);
        }
        self.memories.leave(self.tap, pid);
        self.members.end(pid);
        self.tell_home(pid, Move::Ended);
    }
}
