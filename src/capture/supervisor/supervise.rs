//! Acts on what the kernel reports about processes, and does what is due.

use std::collections::HashSet;

use super::agenda::Agenda;
use super::command::Releases;
use super::homes::{Homes, Move};
use super::member::memory::Memories;
use super::member::{Arrival, Late, Member, Start};
use super::members::Members;
use super::news::News;
use super::plain::{Plain, SocketTap};
use super::probes::Probes;
use crate::capture::bpf::Tap;
use crate::capture::bpf::lifecycle::{Change, Lifecycle};
use crate::capture::confine::privilege::Powers;
use crate::capture::procfs::cgroup::Home;
use crate::capture::procfs::planner::Planner;
use crate::capture::procfs::process::Process;
use crate::capture::procfs::selector::Selection;
use crate::capture::procfs::target::{no_tls, survey, unreadable};
use crate::capture::{Error, clock, kernel};
use crate::event::ConnId;

/// How long a process that has just begun is given to load its libraries.
const LOADING_NS: u64 = 2_000_000_000;

/// A stop of the command that has not come yet is looked for this often.
const STOP_NS: u64 = 10_000_000;

/// Keeps the processes that are meant tapped. Each part knows one matter and none of the others.
pub struct Supervisor<'tap, 'obj> {
    pub(super) tap: &'tap Tap<'obj>,
    /// Which processes are meant.
    pub(super) selection: Selection,
    /// The privileges that are left to attach with.
    pub(super) powers: Powers,
    /// What can be tapped in a file.
    pub(super) planner: Planner,
    /// Who is tapped.
    pub(super) members: Members,
    /// What is placed in them.
    pub(super) probes: Probes,
    /// Memory that some of them share.
    pub(super) memories: Memories,
    /// The programs on TCP sockets.
    pub(super) sockets: SocketTap,
    /// When to inspect whom.
    pub(super) agenda: Agenda,
    /// What the kernel reports, and what it could not report.
    news: News,
    /// The command that wstap started, while it is stopped. `None` where nothing can be attached after
    /// the start: then it is not stopped either.
    pub(super) releases: Option<Releases>,
    /// Processes that have ended without a report.
    pub(super) unheard_ends: Vec<u32>,
    /// Those of them whose report may still come, because it was not read yet: at most one for each pid.
    pub(super) ends_to_hear: HashSet<u32>,
    /// Who wants to hear where the processes are at home.
    homes: Option<Homes>,
}

impl<'tap, 'obj> Supervisor<'tap, 'obj> {
    /// Finds and taps every process that is meant. From here on no newcomer is missed. `powers` are
    /// those that will be left for later, see [`Supervisor::keep_only`].
    ///
    /// # Errors
    ///
    /// A process that was given by its pid is gone or may not be read, or the kernel refuses.
    pub fn new(
        tap: &'tap Tap<'obj>,
        planner: Planner,
        selection: Selection,
        plain: Plain,
        powers: Powers,
        homes: Option<Homes>,
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
        let mut supervisor = Self {
            tap,
            selection,
            powers: Powers::All,
            planner,
            members: Members::new(),
            probes: Probes::default(),
            memories: Memories::default(),
            sockets: SocketTap::new(plain),
            agenda: Agenda::new(now_ns),
            // Reports begin before the search, so a process that begins meanwhile is found twice
            // and not missed.
            news: News::subscribe(tap, now_ns)?,
            releases: (powers != Powers::None).then(Releases::default),
            unheard_ends: Vec::new(),
            ends_to_hear: HashSet::new(),
            homes,
        };
        supervisor.tap_selected(plain, now_ns)?;
        supervisor.members.arrival = Arrival::New;
        Ok(supervisor)
    }

    /// Tells whoever listens what has become of a process.
    pub(super) fn tell_home(&self, pid: u32, what: Move) {
        if let Some(homes) = &self.homes {
            homes.tell(pid, what);
        }
    }

    /// Looks again where a process is at home: it may have been moved.
    pub(super) fn look_at_home(&mut self, pid: u32) {
        let Some(member) = self.members.get_mut(pid) else { return };
        let home = Home::of(pid);
        // Of one that has just ended nothing can be read.
        if home == member.home || !member.target.process.is_alive() {
            return;
        }
        member.home.clone_from(&home);
        let target = member.target.id;
        self.members.note_change(true);
        self.tell_home(pid, Move::To(target, home));
    }

    /// Taps the processes that are there.
    fn tap_selected(&mut self, plain: Plain, now_ns: u64) -> Result<(), Error> {
        // Sockets come first: once TLS is tapped, the bytes on its sockets must be known to be TLS.
        if plain != Plain::Off {
            self.sockets.attach(self.tap).or_else(|error| self.sockets.excuse(error))?;
        }
        for (comm, target) in self.selection.comms() {
            self.tap.admit_comm(comm, self.admission(target))?;
        }
        let named: Vec<_> = self.selection.pids().collect();
        for (pid, target) in named {
            let process = Process::read(pid).map_err(|_| Error::NoSuchProcess(pid))?;
            let start = Start { began_ns: 0, late: false, named: true, forked_ns: None };
            self.admit(process, target, now_ns, start)?;
        }
        self.search(now_ns);
        Ok(())
    }

    /// Fails if nothing in a process that was given by its pid can be tapped.
    ///
    /// # Errors
    ///
    /// The error says why.
    pub fn require_reason(&mut self) -> Result<(), Error> {
        for (pid, target) in self.selection.pids() {
            if self.selection.holds(pid) {
                continue;
            }
            if self.members.iter().any(|member| member.up && member.target.id == target) {
                continue;
            }
            let process = Process::read(pid).map_err(|_| Error::NoSuchProcess(pid))?;
            let found = survey(&mut self.planner, pid);
            let found = found.map_err(|error| unreadable(&process, &error))?;
            return Err(no_tls(&process, &found, self.sockets_left_alone()));
        }
        Ok(())
    }

    /// Whether a process that was given by its pid began so lately that it may still be loading its
    /// libraries.
    #[must_use]
    pub fn may_be_loading(&self, now_ns: u64) -> bool {
        let began_ns = |member: &Member| clock::of_boot_ticks(member.target.process.start_ticks);
        let mut named = self.selection.pids().filter_map(|(pid, _)| self.members.get(pid));
        named.any(|member| now_ns.saturating_sub(began_ns(member)) < LOADING_NS)
    }

    /// Fails if nothing is tapped: a name may be misspelt.
    ///
    /// # Errors
    ///
    /// The error says how many processes match.
    pub fn require_match(&self) -> Result<(), Error> {
        if self.is_up() {
            return Ok(());
        }
        Err(Error::NoTarget(match self.members.iter().count() {
            0 => "no running process matches; `wstap ps` lists those that can be tapped, and \
                  `wstap ps --json` their containers"
                .into(),
            count => format!(
                "{count} running processes match, and none of them has a TLS library or a TCP \
                 socket that can be tapped; `wstap ps` says why"
            ),
        }))
    }

    /// Why the sockets of a process without TLS are not tapped.
    fn sockets_left_alone(&self) -> &str {
        match (self.sockets.policy, self.sockets.refusal()) {
            (Plain::Off, _) => "its TCP sockets are left alone (--plain off)",
            (_, Some(refusal)) => refusal,
            (_, None) => "it has no TCP socket",
        }
    }

    /// Notes what a socket carries: TLS, or something else.
    pub fn learn(&mut self, conn: ConnId, encrypted: bool) {
        let Some(inode) = conn.socket() else { return };
        let Some(member) = self.members.get_mut(conn.tgid) else { return };
        if encrypted && !member.has_tls() && !std::mem::replace(&mut member.warned, true) {
            let Process { pid, comm, .. } = &member.target.process;
            tracing::warn!(
                "pid {pid} ({comm}): its sockets carry TLS, and wstap has found no library in it that \
                 it can tap; only what is not encrypted is seen"
            );
        }
        member.sockets.learn(inode, encrypted);
    }

    /// The processes, in order of pid.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter()
    }

    /// The processes that ran before their probes were in place.
    #[must_use]
    pub fn late(&self) -> &Late {
        self.members.late()
    }

    /// Whether a file of any process is still being read or planned, so that it has no probes yet.
    #[must_use]
    pub fn is_planning(&self) -> bool {
        self.members.iter().any(|member| member.is_being_planned && !member.over())
    }

    /// Whether any process is tapped now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.members.iter().any(|member| member.up)
    }

    /// Whether a process may still begin to match, or load a TLS library.
    #[must_use]
    pub fn may_grow(&self) -> bool {
        self.selection.is_open()
            || self.members.iter().any(|member| member.target.process.is_alive())
    }

    /// `true` once after each change of what is tapped.
    pub fn has_changed(&mut self) -> bool {
        self.members.take_change()
    }

    /// Whether what is tapped has changed since [`Supervisor::has_changed`] was last asked.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.members.has_changed()
    }

    /// Processes that have ended without a report, since the last call.
    pub fn take_unheard_ends(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.unheard_ends)
    }

    /// When something is due next, `CLOCK_MONOTONIC` nanoseconds.
    #[must_use]
    pub fn rests_until(&self, now_ns: u64) -> u64 {
        match &self.releases {
            Some(releases) if releases.are_awaited() => now_ns + STOP_NS,
            _ => self.agenda.next_ns(),
        }
    }

    /// Drops the capabilities that are not needed from here on. Without any, no further probe can
    /// be placed.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub fn keep_only(&mut self, powers: Powers) -> Result<(), Error> {
        self.powers = powers;
        powers
            .keep_only()
            .map_err(|error| Error::Other(format!("cannot drop privileges: {error}")))?;
        self.planner.keep_only(powers);
        Ok(())
    }

    /// Does what a report of the kernel asks for.
    pub fn hear(&mut self, message: &Lifecycle, now_ns: u64) {
        let _raised = self.powers.raise();
        let pid = message.pid;
        match message.change {
            Change::Forked { parent } => self.forked(message, parent, now_ns),
            Change::Executed => self.executed(message, now_ns),
            Change::Loaded => self.loaded(message, now_ns),
            Change::Exited => self.exited(message),
        }
        let stops = matches!(message.change, Change::Executed | Change::Loaded);
        if stops && self.selection.holds(pid) {
            self.let_go(pid, now_ns);
        }
    }

    /// Lets the command go on that is stopped, unless a file that it has mapped is still being planned:
    /// it would run without probes.
    fn let_go(&mut self, pid: u32, now_ns: u64) {
        let Some(releases) = &mut self.releases else { return };
        let is_planned = self.members.get(pid).is_none_or(|member| !member.is_being_planned);
        releases.hold_back(pid, !is_planned);
        if is_planned {
            releases.release(pid, now_ns);
        }
    }

    /// A report may have been lost, so the next [`Supervisor::poll`] inspects all processes.
    pub fn has_missed_something(&mut self) {
        self.agenda.plan_round();
    }

    /// Does what is due. To be called often: it costs nothing when nothing is.
    pub fn poll(&mut self, now_ns: u64) {
        if let Some(releases) = &mut self.releases {
            releases.poll(now_ns);
        }
        if self.news.may_be_incomplete(self.tap, now_ns) {
            self.agenda.plan_round();
        }
        if !self.agenda.is_due(now_ns) {
            return;
        }
        let _raised = self.powers.raise();
        while let Some(pid) = self.agenda.take_next(now_ns) {
            self.inspect(pid, now_ns);
            self.plan_early_inspection(pid, now_ns);
            if self.releases.as_ref().is_some_and(|it| it.is_held_back(pid)) {
                self.let_go(pid, now_ns);
            }
        }
        if self.agenda.is_round_due(now_ns) {
            self.agenda.begin_round(now_ns);
            self.inspect_all(now_ns);
            self.search(now_ns);
            self.leave_sockets_alone();
        }
    }

    /// Removes the programs on sockets if no process needs them.
    fn leave_sockets_alone(&mut self) {
        let is_needed = self.members.iter().any(|member| member.sockets.are_tapped());
        if !is_needed && self.sockets.policy == Plain::Auto {
            self.sockets.detach();
        }
    }

    /// Removes every probe. Returns when no program runs any more.
    pub fn detach(&mut self) {
        self.sockets.detach();
        self.probes.clear();
    }

    /// Whether the kernel side stops process `pid` whenever what it has mapped changes.
    pub(super) fn is_held(&self, pid: u32) -> bool {
        self.releases.is_some() && self.selection.holds(pid)
    }
}
