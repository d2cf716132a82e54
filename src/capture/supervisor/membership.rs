//! Who comes to be tapped, and who is no more: newcomers, children, other programs under the same
//! pid, ends.

use std::collections::HashSet;

use super::plain::Sockets;
use super::{Member, Roster};
use crate::capture::Error;
use crate::capture::bpf::Admission;
use crate::capture::bpf::links::Arrival;
use crate::capture::confine::privilege::Powers;
use crate::capture::procfs::cgroup;
use crate::capture::procfs::process::{self, Process};
use crate::capture::procfs::selector::Children;
use crate::capture::procfs::target::{Target, has_tappable};
use crate::event::TargetId;

impl Roster<'_, '_> {
    /// What the kernel side is told of a process of this target.
    pub(super) fn admission(&self, target: TargetId) -> Admission {
        let follow = self.selection.children() == Children::Follow;
        Admission { target, follow, hold: false, sockets: self.sockets.takes_newcomers() }
    }

    /// A process runs a program that is new to it.
    pub(super) fn executed(&mut self, pid: u32, target: Option<TargetId>, now_ns: u64) {
        let Ok(process) = Process::read(pid) else { return };
        // One that is remembered may have had this pid before.
        let Some(member) = self.members.get_mut(&pid).filter(|it| it.is(&process)) else {
            return match target {
                Some(target) => self.admit_or_warn(process, target, now_ns),
                None => self.consider(process, now_ns),
            };
        };
        let stays = self.selection.children() == Children::Follow
            || self.selection.matching(&process).is_some();
        if !stays {
            self.tap.dismiss(pid);
            return self.ended(pid, now_ns);
        }
        member.target.process = process;
        member.target.images.clear();
        member.target.companions.clear();
        member.seen.clear();
        member.up = false;
        member.sockets = Sockets::default();
        member.looks = 0;
        self.changed = true;
        self.look_at(pid, now_ns);
        self.settle(pid, now_ns);
    }

    /// Looks for processes that match and are not tapped yet, and for their descendants.
    pub(super) fn search(&mut self, now_ns: u64) {
        let follow = self.selection.children() == Children::Follow;
        if !self.selection.is_open() && !follow || self.powers == Powers::None {
            return;
        }
        let Ok(processes) = process::all() else { return };
        // Parents first, mostly; a child with a lower pid than its parent is found next time.
        for process in processes {
            match self.members.get(&process.pid) {
                Some(known) if known.is(&process) => continue,
                // Its end was not heard of, and another process has its pid now.
                Some(_) => {
                    self.tap.dismiss(process.pid);
                    self.ended(process.pid, now_ns);
                }
                None => {}
            }
            let parent =
                self.members.get(&process.parent).filter(|parent| follow && !parent.over());
            match parent.map(|parent| parent.target.id) {
                Some(target) => self.admit_or_warn(process, target, now_ns),
                None => self.consider(process, now_ns),
            }
        }
    }

    fn consider(&mut self, process: Process, now_ns: u64) {
        if self.powers == Powers::None {
            return;
        }
        if let Some(target) = self.selection.matching(&process) {
            self.admit_or_warn(process, target, now_ns);
        }
    }

    /// A child of a tapped process. The kernel side has admitted it already, and it has mapped what
    /// its parent has: it is probed at once, and looked at later.
    pub(super) fn enlist(&mut self, pid: u32, parent: u32, target: Option<TargetId>, now_ns: u64) {
        let Some(target) = target else { return };
        let inherited = self.members.get(&parent).map(|parent| parent.target.images.clone());
        let mut inherited = inherited.unwrap_or_default();
        inherited.retain(has_tappable);
        if self.powers == Powers::None {
            inherited.retain(|image| self.links.are_shared(image));
        }
        for image in &inherited {
            if let Err(error) = self.links.tap(self.tap, image, pid, Arrival::New, now_ns) {
                tracing::debug!("pid {pid}: {error}");
            }
        }
        // It may have ended, which the kernel will say next.
        let Ok(process) = Process::read(pid) else { return self.links.forget(pid, now_ns) };
        self.admit_or_warn(process, target, now_ns);
        if let (Powers::None, Some(member)) = (self.powers, self.members.get_mut(&pid)) {
            for image in inherited {
                member.take(image, Ok(true));
            }
        }
    }

    fn admit_or_warn(&mut self, process: Process, target: TargetId, now_ns: u64) {
        let (pid, comm) = (process.pid, process.comm.clone());
        if let Err(error) = self.admit(process, target, now_ns, false) {
            tracing::warn!("pid {pid} ({comm}) is not tapped: {error}");
        }
    }

    /// Taps a process from now on; `named` if it was given by its pid.
    pub(super) fn admit(
        &mut self,
        process: Process,
        target: TargetId,
        now_ns: u64,
        named: bool,
    ) -> Result<(), Error> {
        let pid = process.pid;
        // Without powers only those are taken up that the kernel side has admitted itself.
        if self.powers != Powers::None {
            let hold = self.is_held(pid);
            self.tap.admit(pid, Admission { hold, ..self.admission(target) })?;
        }
        let technique = if self.tap.flavour().multi { "uprobe_multi" } else { "perf_uprobe" };
        let member = Member {
            target: Target {
                id: target,
                process,
                images: Vec::new(),
                companions: Vec::new(),
                refused: Vec::new(),
            },
            up: false,
            technique,
            container: cgroup::container_id(pid),
            sockets: Sockets::default(),
            warned: false,
            seen: HashSet::new(),
            looks: 0,
            arrival: self.arrival,
            named,
        };
        self.members.insert(pid, member);
        self.changed = true;
        self.look_at(pid, now_ns);
        self.settle(pid, now_ns);
        Ok(())
    }

    /// A process is gone. One that was given by its pid is remembered.
    pub(super) fn ended(&mut self, pid: u32, now_ns: u64) {
        self.links.forget(pid, now_ns);
        self.releases.forget(pid);
        let Some(member) = self.members.get_mut(&pid) else { return };
        if member.up {
            tracing::debug!("pid {pid} has ended");
        }
        self.changed |= member.up;
        if member.named {
            member.up = false;
        } else {
            self.members.remove(&pid);
        }
    }
}
