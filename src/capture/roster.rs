//! Who is tapped: finds the processes that are meant, follows what becomes of them, and keeps their
//! probes.
//!
//! The kernel tells of forks, execs, late libraries and exits as they happen. Because a message can
//! be lost, and because a process may come to match without any (it renames itself, or is moved
//! into a control group), everything is also looked at again every few seconds.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;

use super::Error;
use super::cgroup;
use super::command::Releases;
use super::image::{Image, Planner};
use super::kernel;
use super::lifecycle::{Change, Lifecycle};
use super::links::{Arrival, Links, Spread};
use super::plain::{Circumstances, Plain, SocketTap, Sockets};
use super::privilege::Powers;
use super::process::{self, FileId, Mapping, Process};
use super::selector::{Children, Selection};
use super::tap::{Admission, Attachment, Tap};
use super::targets::{Target, has_tappable, no_tls, refusals, unreadable};
use crate::decode::event::{ConnId, TargetId};

/// A process that has just begun is looked at again after so long, and then with all others: its
/// loader may have been through before a probe was on it.
const SETTLING_NS: [u64; 4] = [3_000_000, 15_000_000, 60_000_000, 240_000_000];
/// Everything is looked at again this often, in case a message was lost.
const NET_NS: u64 = 5_000_000_000;

/// A process that is or was tapped.
#[derive(Debug)]
pub struct Member {
    /// Who it is, and its images with a TLS library.
    pub target: Target,
    /// It lives, and at least one of its images is probed, or its sockets are.
    pub up: bool,
    /// How its probes are attached, for people.
    pub technique: &'static str,
    /// Id of the container that it runs in.
    pub container: Option<String>,
    sockets: Sockets,
    /// Files that need not be opened again.
    seen: HashSet<FileId>,
    /// Looks of [`SETTLING_NS`] that are done.
    looks: usize,
    arrival: Arrival,
    /// It was said that it has TLS that is not tapped.
    warned: bool,
    /// It was given by its pid: it is remembered when it has ended.
    named: bool,
}

/// The processes that are tapped, and all their probes.
pub struct Roster<'tap, 'obj> {
    tap: &'tap Tap<'obj>,
    planner: Planner,
    selection: Selection,
    links: Links,
    sockets: SocketTap,
    _watch: Attachment,
    members: BTreeMap<u32, Member>,
    /// Processes to look at, by time.
    due: BTreeSet<(u64, u32)>,
    next_net_ns: u64,
    unheard: u64,
    changed: bool,
    /// Of who is found now.
    arrival: Arrival,
    powers: Powers,
    /// The command is stopped while it is looked at: there is power left to attach.
    holds: bool,
    releases: Releases,
}

impl<'tap, 'obj> Roster<'tap, 'obj> {
    /// Finds and taps every process that is meant. From here on no newcomer is missed. `powers` is
    /// what will be left for later, see [`Roster::settle_for`].
    ///
    /// # Errors
    ///
    /// A process that was given by its pid is gone or may not be looked into, or the kernel
    /// refuses.
    pub fn new(
        tap: &'tap Tap<'obj>,
        planner: Planner,
        selection: Selection,
        plain: Plain,
        powers: Powers,
        now_ns: u64,
    ) -> Result<Self, Error> {
        if kernel::sees_all_processes() == Some(false) {
            return Err(Error::Kernel(
                "/proc shows the processes of a container only, and the kernel numbers them \
                 otherwise; give wstap the host's pid namespace (docker run --pid=host, in \
                 Kubernetes hostPID: true)"
                    .into(),
            ));
        }
        // Where nothing can be attached later, children must find probes in place.
        let spread = if powers == Powers::None && selection.children() == Children::Follow {
            Spread::Everyone
        } else {
            Spread::Fewest
        };
        let mut roster = Self {
            tap,
            planner,
            selection,
            links: Links::new(spread),
            sockets: SocketTap::new(plain),
            // Before anyone is looked for: who comes in between is then found twice, not never.
            _watch: tap.watch_processes()?,
            members: BTreeMap::new(),
            due: BTreeSet::new(),
            next_net_ns: now_ns + NET_NS,
            unheard: 0,
            changed: true,
            arrival: Arrival::Found,
            powers: Powers::All,
            holds: powers != Powers::None,
            releases: Releases::default(),
        };
        if plain == Plain::On {
            roster.sockets.attach(tap)?;
        }
        for (comm, target) in roster.selection.comms() {
            tap.admit_comm(comm, roster.admission(target))?;
        }
        let named: Vec<_> = roster.selection.pids().collect();
        for (pid, target) in named {
            let process = Process::read(pid).map_err(|_| Error::NoSuchProcess(pid))?;
            roster.admit(process, target, now_ns, true)?;
        }
        roster.search(now_ns);
        roster.arrival = Arrival::New;
        Ok(roster)
    }

    /// Says why nothing of a process that was given by its pid can be tapped, if so.
    ///
    /// # Errors
    ///
    /// That is the case.
    pub fn require_reason(&mut self) -> Result<(), Error> {
        for (pid, target) in self.selection.pids() {
            if self.selection.holds(pid) {
                continue;
            }
            if self.members.values().any(|member| member.up && member.target.id == target) {
                continue;
            }
            let process = Process::read(pid).map_err(|_| Error::NoSuchProcess(pid))?;
            let survey = super::targets::survey(&mut self.planner, pid)
                .map_err(|error| unreadable(&process, &error))?;
            return Err(no_tls(&process, &survey, self.sockets_left_alone()));
        }
        Ok(())
    }

    /// Why the sockets of a process without TLS are not tapped.
    fn sockets_left_alone(&self) -> &str {
        match (self.sockets.policy, self.sockets.refusal()) {
            (Plain::Off, _) => "its TCP sockets are left alone (--plain off)",
            (_, Some(refusal)) => refusal,
            (_, None) => "it has no TCP socket",
        }
    }

    /// Takes up what has passed on a socket: TLS, or something else.
    pub fn learn(&mut self, conn: ConnId, encrypted: bool) {
        let Some(inode) = conn.socket() else { return };
        let Some(member) = self.members.get_mut(&conn.tgid) else { return };
        if encrypted && !member.has_tls() && !std::mem::replace(&mut member.warned, true) {
            let Process { pid, comm, .. } = &member.target.process;
            tracing::warn!(
                "pid {pid} ({comm}): TLS passes on its sockets, and wstap has not found a library \
                 in it that it could tap; only what is not encrypted is seen"
            );
        }
        member.sockets.learn(inode, encrypted);
    }

    /// The processes, in order of pid.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Whether any process is tapped now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.members.values().any(|member| member.up)
    }

    /// Whether a process may still come to match, or to load a TLS library.
    #[must_use]
    pub fn may_grow(&self) -> bool {
        self.selection.is_open()
            || self.members.values().any(|member| member.target.process.is_alive())
    }

    /// `true` once after each change of what is tapped.
    pub fn has_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Lets go of the capabilities that are not needed from here on. Without any, only processes
    /// that share a library with the others are still taken up.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn settle_for(&mut self, powers: Powers) -> Result<(), Error> {
        self.powers = powers;
        powers.settle().map_err(|error| Error::Other(format!("cannot drop privileges: {error}")))
    }

    /// Takes up what the kernel tells.
    pub fn hear(&mut self, message: &Lifecycle, now_ns: u64) {
        let _raised = self.powers.raise();
        let pid = message.pid;
        match message.change {
            Change::Forked { parent } => self.enlist(pid, parent, message.target, now_ns),
            Change::Executed => self.executed(pid, message.target, now_ns),
            Change::Loaded => self.look_at(pid, now_ns),
            Change::Exited => self.ended(pid, now_ns),
        }
        let stops = matches!(message.change, Change::Executed | Change::Loaded);
        if stops && self.is_held(pid) {
            self.releases.release(pid, now_ns);
        }
    }

    /// Does what is due. To be called often: it costs nothing when nothing is.
    pub fn tend(&mut self, now_ns: u64) {
        self.releases.tend(now_ns);
        let unheard = self.tap.unheard();
        let net = now_ns >= self.next_net_ns || unheard != self.unheard;
        if !net && self.due.first().is_none_or(|&(due_ns, _)| due_ns > now_ns) {
            return;
        }
        let _raised = self.powers.raise();
        while let Some(&(due_ns, pid)) = self.due.first() {
            if due_ns > now_ns {
                break;
            }
            self.due.pop_first();
            self.look_at(pid, now_ns);
            self.settle(pid, now_ns);
        }
        if !net {
            return;
        }
        self.unheard = unheard;
        self.next_net_ns = now_ns + NET_NS;
        self.look_at_all(now_ns);
        self.search(now_ns);
        self.links.sweep(self.tap, now_ns);
        if !self.members.values().any(|member| member.sockets.are_tapped())
            && self.sockets.policy == Plain::Auto
        {
            self.sockets.detach();
        }
    }

    /// Removes every probe. Returns when no program runs any more.
    pub fn detach(&mut self) {
        self.sockets.detach();
        self.links.clear();
    }

    fn admission(&self, target: TargetId) -> Admission {
        let follow = self.selection.children() == Children::Follow;
        Admission { target, follow, hold: false, sockets: self.sockets.takes_newcomers() }
    }

    /// Whether the kernel side stops process `pid` whenever what it has mapped changes.
    fn is_held(&self, pid: u32) -> bool {
        self.holds && self.selection.holds(pid)
    }

    fn executed(&mut self, pid: u32, target: Option<TargetId>, now_ns: u64) {
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
    fn search(&mut self, now_ns: u64) {
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
    fn enlist(&mut self, pid: u32, parent: u32, target: Option<TargetId>, now_ns: u64) {
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

    fn admit(
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
            target: Target { id: target, process, images: Vec::new(), companions: Vec::new() },
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

    /// Plans the next look at a process that has begun lately.
    fn settle(&mut self, pid: u32, now_ns: u64) {
        let Some(member) = self.members.get_mut(&pid) else { return };
        if let Some(pause) = SETTLING_NS.get(member.looks) {
            member.looks += 1;
            self.due.insert((now_ns + pause, pid));
        }
    }

    fn look_at_all(&mut self, now_ns: u64) {
        let pids: Vec<u32> = self.members.keys().copied().collect();
        for pid in pids {
            let alive = self.members.get(&pid).is_some_and(|it| it.target.process.is_alive());
            if alive {
                self.look_at(pid, now_ns);
            } else {
                self.tap.dismiss(pid);
                self.ended(pid, now_ns);
            }
        }
    }

    /// Probes what the process has mapped and nobody has looked into.
    fn look_at(&mut self, pid: u32, now_ns: u64) {
        let Some(member) = self.members.get_mut(&pid) else { return };
        // A process that has just ended: the kernel will say so.
        let Ok(mappings) = process::executable_files(pid) else { return };
        member.forget_unmapped(&mappings);
        if self.powers == Powers::None {
            return;
        }
        for mapping in mappings {
            if !member.seen.insert(mapping.file) {
                continue;
            }
            match self.planner.image(pid, &mapping) {
                Ok(image) => {
                    let probed =
                        probe(self.tap, &mut self.links, &image, pid, member.arrival, now_ns);
                    self.changed |= member.take(image, probed);
                }
                Err(error) => unopened(pid, &mapping, &error),
            }
        }
        self.look_at_sockets(pid, now_ns);
    }

    /// Taps the sockets of a process if there is reason to, or lets them be.
    fn look_at_sockets(&mut self, pid: u32, now_ns: u64) {
        let Some(member) = self.members.get_mut(&pid) else { return };
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
                self.changed = true;
                if wanted && !member.has_tls() {
                    member.say_what_is_not_seen();
                }
            }
            Err(error) => {
                tracing::debug!("pid {pid}: {error}");
                member.sockets.tapped = Some(false);
            }
        }
    }

    fn ended(&mut self, pid: u32, now_ns: u64) {
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

impl Member {
    /// Whether its TCP sockets are tapped.
    #[must_use]
    pub fn has_sockets(&self) -> bool {
        self.sockets.are_tapped()
    }

    /// Its sockets are tapped, and its TLS cannot be.
    fn say_what_is_not_seen(&mut self) {
        let Some(why) = refusals(&self.target.images) else { return };
        if !std::mem::replace(&mut self.warned, true) {
            let Process { pid, comm, .. } = &self.target.process;
            tracing::warn!(
                "pid {pid} ({comm}): {why}; only what its sockets carry without TLS is seen"
            );
        }
    }

    fn has_tls(&self) -> bool {
        self.target.images.iter().any(has_tappable)
    }

    /// Whether `process` is this one, and not a later one with its pid.
    fn is(&self, process: &Process) -> bool {
        self.target.process.start_ticks == process.start_ticks
    }

    /// Whether it has ended and is only remembered.
    fn over(&self) -> bool {
        !self.target.process.is_alive()
    }

    /// Forgets files that are mapped no more and have no probes: a process may load new ones for
    /// as long as it runs.
    fn forget_unmapped(&mut self, mappings: &[Mapping]) {
        if self.seen.len() > mappings.len() {
            let mapped = mappings.iter().map(|mapping| mapping.file);
            let probed = self.target.images.iter().map(|image| image.file);
            let kept: HashSet<FileId> = mapped.chain(probed).collect();
            self.seen.retain(|file| kept.contains(file));
        }
    }

    /// Keeps an image that has a TLS library. `true` if that changes what is tapped.
    fn take(&mut self, image: Image, probed: Result<bool, Error>) -> bool {
        let pid = self.target.process.pid;
        match probed {
            Ok(true) => {
                tracing::debug!("pid {pid}: {} is tapped", image.path.display());
                self.up = true;
            }
            Ok(false) => {}
            Err(_) if self.over() => return false,
            Err(error) => tracing::warn!("pid {pid}: {error}"),
        }
        if image.plan.libraries.is_empty() {
            let Some(companion) = image.plan.companion.clone() else { return false };
            let is_new = !self.target.companions.contains(&companion);
            if is_new {
                self.target.companions.push(companion);
            }
            return is_new;
        }
        self.target.images.push(image);
        true
    }
}

/// Places the probes that `image` asks for; `true` if plaintext passes them.
fn probe(
    tap: &Tap<'_>,
    links: &mut Links,
    image: &Image,
    pid: u32,
    arrival: Arrival,
    now_ns: u64,
) -> Result<bool, Error> {
    if image.plan.loader_notifier.is_some() {
        links.watch_loader(tap, pid, image)?;
    }
    let tappable = has_tappable(image);
    if tappable {
        links.tap(tap, image, pid, arrival, now_ns)?;
    }
    Ok(tappable)
}

fn unopened(pid: u32, mapping: &Mapping, error: &io::Error) {
    if error.kind() != io::ErrorKind::NotFound {
        tracing::debug!("pid {pid}: {} is not looked into: {error}", mapping.path.display());
    }
}
