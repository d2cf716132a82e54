//! Who is tapped: finds the processes that are meant, follows what becomes of them, and keeps their
//! probes.
//!
//! The kernel tells of forks, execs, late libraries and exits as they happen. Because a message can
//! be lost, and because a process may come to match without any (it renames itself, or is moved
//! into a control group), everything is also looked at again every few seconds.

pub mod command;
mod foresight;
mod inspect;
mod keeper;
mod late;
mod member;
mod membership;
pub mod plain;
mod unread;

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use super::bpf::lifecycle::{Change, Lifecycle};
use super::bpf::links::Links;
use super::bpf::{Attachment, Tap};
use super::confine::privilege::Powers;
use super::kernel;
use super::procfs::planner::Planner;
use super::procfs::process::Process;
use super::procfs::selector::Selection;
use super::procfs::target::{no_tls, unreadable};
use crate::event::ConnId;
use command::Releases;
use foresight::Foresight;
use member::Arrival;
use membership::Start;
use plain::{Plain, SocketTap};

pub use late::Late;
pub use member::Member;

/// Everything is looked at again this often, in case a message was lost.
const NET_NS: u64 = 5_000_000_000;

/// The kernel's count of what was missed is read this often.
const COUNT_NS: u64 = 250_000_000;

/// The processes that are tapped, and all their probes.
pub struct Roster<'tap, 'obj> {
    tap: &'tap Tap<'obj>,
    planner: Planner,
    selection: Selection,
    links: Links,
    foresight: Foresight,
    sockets: SocketTap,
    _watch: Attachment,
    members: BTreeMap<u32, Member>,
    /// Processes to look at, by time.
    due: BTreeSet<(u64, u32)>,
    next_net_ns: u64,
    unheard: u64,
    /// See [`Tap::perhaps_missed`].
    missed: u64,
    next_count_ns: u64,
    late: Late,
    /// It was said that there are connections that are not followed.
    warned_of_bound: bool,
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
        let mut roster = Self {
            tap,
            planner,
            selection,
            links: Links::default(),
            foresight: Foresight::default(),
            sockets: SocketTap::new(plain),
            // Before anyone is looked for: who comes in between is then found twice, not never.
            _watch: tap.watch_processes()?,
            members: BTreeMap::new(),
            due: BTreeSet::new(),
            next_net_ns: now_ns + NET_NS,
            unheard: 0,
            missed: 0,
            next_count_ns: now_ns,
            late: Late::default(),
            warned_of_bound: false,
            changed: true,
            arrival: Arrival::Found,
            powers: Powers::All,
            holds: powers != Powers::None,
            releases: Releases::default(),
        };
        // First of all: once TLS is tapped, what its sockets carry must be known for TLS.
        if plain != Plain::Off {
            roster.sockets.attach(tap).or_else(|error| roster.sockets.excuse(error))?;
        }
        for (comm, target) in roster.selection.comms() {
            tap.admit_comm(comm, roster.admission(target))?;
        }
        let named: Vec<_> = roster.selection.pids().collect();
        for (pid, target) in named {
            let process = Process::read(pid).map_err(|_| Error::NoSuchProcess(pid))?;
            roster.admit(
                process,
                target,
                now_ns,
                Start { began_ns: 0, late: false, named: true },
            )?;
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
            let survey = super::procfs::target::survey(&mut self.planner, pid)
                .map_err(|error| unreadable(&process, &error))?;
            return Err(no_tls(&process, &survey, self.sockets_left_alone()));
        }
        Ok(())
    }

    /// Says that nothing is tapped, if so: a name may be misspelt.
    ///
    /// # Errors
    ///
    /// That is the case.
    pub fn require_match(&self) -> Result<(), Error> {
        if self.is_up() {
            return Ok(());
        }
        Err(Error::NoTarget(match self.members.len() {
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

    /// The processes that ran before their probes were in place.
    #[must_use]
    pub fn late(&self) -> &Late {
        &self.late
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
        powers
            .keep_only()
            .map_err(|error| Error::Other(format!("cannot drop privileges: {error}")))?;
        self.planner.keep_only(powers);
        Ok(())
    }

    /// Takes up what the kernel tells.
    pub fn hear(&mut self, message: &Lifecycle, now_ns: u64) {
        let _raised = self.powers.raise();
        let pid = message.pid;
        match message.change {
            Change::Forked { parent } => self.enlist(message, parent, now_ns),
            Change::Executed => self.executed(message, now_ns),
            Change::Loaded => self.loaded(message, now_ns),
            Change::Exited => self.ended(pid),
        }
        let stops = matches!(message.change, Change::Executed | Change::Loaded);
        if stops && self.is_held(pid) {
            self.releases.release(pid, now_ns);
        }
    }

    /// Something may have become of a process that was not told: everything is looked at again with
    /// the next [`Roster::tend`].
    pub fn has_missed_something(&mut self) {
        self.next_net_ns = 0;
    }

    /// Does what is due. To be called often: it costs nothing when nothing is.
    pub fn tend(&mut self, now_ns: u64) {
        self.releases.tend(now_ns);
        self.count_misses(now_ns);
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
        if !self.members.values().any(|member| member.sockets.are_tapped())
            && self.sockets.policy == Plain::Auto
        {
            self.sockets.detach();
        }
    }

    /// Looks again soon where news of a process may have been missed.
    fn count_misses(&mut self, now_ns: u64) {
        if now_ns < self.next_count_ns {
            return;
        }
        self.next_count_ns = now_ns + COUNT_NS;
        self.warn_of_bound();
        let missed = self.tap.perhaps_missed();
        if missed > self.missed {
            tracing::debug!("forks, execs or exits may have been missed, {missed} in all at most");
            self.missed = missed;
            self.has_missed_something();
        }
    }

    /// Says once that there are more connections than are followed.
    fn warn_of_bound(&mut self) {
        if self.warned_of_bound || self.tap.calls_not_followed() == 0 {
            return;
        }
        self.warned_of_bound = true;
        tracing::warn!(
            "{} connections are open, and no more are followed: what passes on others is only counted \
             in wstap_lost_bytes_total{{reason=\"too_many_connections\"}}; --connections raises the \
             bound",
            self.tap.connections_max()
        );
    }

    /// Removes every probe. Returns when no program runs any more.
    pub fn detach(&mut self) {
        self.sockets.detach();
        self.links.clear();
    }

    /// Whether the kernel side stops process `pid` whenever what it has mapped changes.
    fn is_held(&self, pid: u32) -> bool {
        self.holds && self.selection.holds(pid)
    }
}
