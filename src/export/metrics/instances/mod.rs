//! Whose series an observation moves: those of its target, or those of an instance of it.
//!
//! Where labels tell the processes or connections of a target apart, each combination of their values is an
//! instance. Some of the values come from outside, so their number is bounded: beyond the bound they are
//! folded into `__other__`, and that is counted and said. An instance in which nothing is open gives way to
//! a new one.
//!
//! This module only keeps the numbers of instances. Their series are left to `metrics`.

mod label;

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

pub use self::label::{Home, InstanceLabel};
use super::row::Owner;
use crate::event::ConnId;
use crate::observation::{Observation, Open, What};

/// Instances of a target whose host and path are known: peers choose these. Each takes some 240 KiB, and
/// nearly as much again while it is scraped.
const BY_CONNECTION_MAX: usize = 50;

/// Instances of a target that only processes make.
const BY_PROCESS_MAX: usize = 100;

/// Bytes of a host or a path that can be a label.
const TEXT_MAX: usize = 128;

/// An instance in which nothing was open or passed for this long gives way where there is no room.
const IDLE_NS: u64 = 600_000_000_000;

/// Processes and connections that have ended and are remembered: something may still be told of them.
const ENDED_MAX: usize = 1_024;

/// What is beyond a bound.
const OTHER: &str = "__other__";

/// Name of the series for a target that was not announced; it should never appear.
const UNKNOWN_TARGET: &str = "__unknown__";

/// Where the series of a new instance go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind all others.
    Next,
    /// In the place of this one, which is over.
    InsteadOf(usize),
}

/// Makes the series of a new instance.
type Begin<'a> = &'a mut dyn FnMut(Place, &Owner);

#[derive(Debug)]
struct Target {
    name: Box<str>,
    /// Labels that tell its instances apart.
    labels: Vec<InstanceLabel>,
    /// By the values of all labels; the number of each.
    known: FxHashMap<Owner, usize>,
    /// How many of them have a host or a path that is known.
    by_connection: usize,
    /// The instance without any value.
    plain: Option<usize>,
    /// A person was told that there is no more room.
    warned: bool,
}

impl Target {
    /// Whether one more instance may begin of those whose host and path are known, or of the others.
    fn has_room(&self, by_connection: bool) -> bool {
        match by_connection {
            true => self.by_connection < BY_CONNECTION_MAX,
            false => self.known.len() - self.by_connection < BY_PROCESS_MAX,
        }
    }
}

#[derive(Debug)]
struct Instance {
    target: usize,
    owner: Owner,
    by_connection: bool,
    /// WebSocket connections that are open.
    open: usize,
    /// When something was last observed, `CLOCK_MONOTONIC` nanoseconds.
    last_ns: u64,
}

#[derive(Debug)]
struct Process {
    home: Arc<Home>,
    has_ended: bool,
    /// Its target and instance, as long as no host or path is known.
    at: Option<(usize, usize)>,
}

#[derive(Debug)]
struct Connection {
    at: usize,
    is_open: bool,
}

/// The instances of all targets, numbered.
#[derive(Debug)]
pub(super) struct Instances {
    /// Labels that any target has, in order.
    labels: Vec<InstanceLabel>,
    /// In `TargetId` order, and behind them one for all others.
    targets: Vec<Target>,
    instances: Vec<Instance>,
    processes: FxHashMap<u32, Process>,
    ended: VecDeque<u32>,
    /// WebSocket connections, where any target has labels.
    connections: FxHashMap<ConnId, Connection>,
    left: VecDeque<ConnId>,
    /// Labels whose values were folded since this was last taken.
    folded: Vec<&'static str>,
    /// When the last observation was made, `CLOCK_MONOTONIC` nanoseconds.
    now_ns: u64,
}

impl Instances {
    /// `targets` are their names and labels, in `TargetId` order.
    pub(super) fn new<'a>(
        targets: impl IntoIterator<Item = (&'a str, &'a [InstanceLabel])>,
    ) -> Self {
        let unknown = (UNKNOWN_TARGET, &[] as &[InstanceLabel]);
        let target = |(name, labels): (&str, &[InstanceLabel])| Target {
            name: name.into(),
            labels: labels.to_vec(),
            known: FxHashMap::default(),
            by_connection: 0,
            plain: None,
            warned: false,
        };
        let targets: Vec<Target> = targets.into_iter().chain([unknown]).map(target).collect();
        let is_used = |label: &InstanceLabel| targets.iter().any(|it| it.labels.contains(label));
        Self {
            labels: InstanceLabel::ALL.into_iter().filter(is_used).collect(),
            targets,
            instances: Vec::new(),
            processes: FxHashMap::default(),
            ended: VecDeque::new(),
            connections: FxHashMap::default(),
            left: VecDeque::new(),
            folded: Vec::new(),
            now_ns: 0,
        }
    }

    /// The names of the labels that series have behind `target`.
    pub(super) fn label_names(&self) -> Vec<&'static str> {
        self.labels.iter().map(|label| label.as_str()).collect()
    }

    /// Begins the instances that are known in advance: one for each target without labels.
    pub(super) fn begin_all(&mut self, begin: Begin<'_>) {
        for target in 0..self.targets.len() - 1 {
            if self.targets[target].labels.is_empty() {
                self.plain(target, 0, begin);
            }
        }
    }

    /// A process of a target is going to be tapped, or has moved to this home.
    pub(super) fn arrived(&mut self, target: u16, pid: u32, home: Home, begin: Begin<'_>) {
        let target = usize::from(target).min(self.targets.len() - 1);
        let home = Arc::new(home);
        let at = self.instance(target, &home, None, self.now_ns, begin);
        self.processes.insert(pid, Process { home, has_ended: false, at: Some((target, at)) });
    }

    /// A process is a copy of its parent, and at home where that is.
    pub(super) fn forked(&mut self, pid: u32, parent: u32) {
        if self.processes.get(&pid).is_some_and(|known| !known.has_ended) {
            return;
        }
        let Some(parent) = self.processes.get(&parent) else { return };
        let (home, at) = (Arc::clone(&parent.home), parent.at);
        self.processes.insert(pid, Process { home, has_ended: false, at });
    }

    /// A process has ended. It is remembered for a while.
    pub(super) fn ended(&mut self, pid: u32) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.has_ended = true;
        self.ended.push_back(pid);
        if self.ended.len() > ENDED_MAX
            && let Some(pid) = self.ended.pop_front()
            && self.processes.get(&pid).is_some_and(|process| process.has_ended)
        {
            self.processes.remove(&pid);
        }
    }

    /// The labels whose values were folded since the last call, each as often as that was.
    pub(super) fn take_folded(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.folded)
    }

    /// The number of the instance whose series the observation moves.
    pub(super) fn find(&mut self, observation: &Observation<'_>, begin: Begin<'_>) -> usize {
        let target = usize::from(observation.target.0).min(self.targets.len() - 1);
        let conn = observation.conn;
        self.now_ns = self.now_ns.max(observation.at_ns);
        let at_ns = self.now_ns;
        if self.targets[target].labels.is_empty() {
            return self.plain(target, at_ns, begin);
        }
        let at = match (&observation.what, self.connections.get(&conn)) {
            (_, Some(known)) => known.at,
            (What::Open(open), None) => {
                let at = self.opened(target, conn.tgid, open, at_ns, begin);
                self.connections.insert(conn, Connection { at, is_open: false });
                at
            }
            (_, None) => self.of_process(target, conn.tgid, at_ns, begin),
        };
        if let What::State { from, to } = &observation.what {
            self.state(conn, at, (from.is_some(), to.is_some()));
        }
        self.instances[at].last_ns = at_ns;
        at
    }

    /// A connection is among those that are counted from now on, or no longer. What is told of it later
    /// must move the same series.
    fn state(&mut self, conn: ConnId, at: usize, is_counted: (bool, bool)) {
        match is_counted {
            (false, true) => {
                self.connections.insert(conn, Connection { at, is_open: true });
                self.instances[at].open += 1;
            }
            (true, false) => {
                if let Some(connection) = self.connections.get_mut(&conn) {
                    connection.is_open = false;
                }
                self.instances[at].open = self.instances[at].open.saturating_sub(1);
                self.left.push_back(conn);
                self.forget_left();
            }
            _ => {}
        }
    }

    fn forget_left(&mut self) {
        if self.left.len() > ENDED_MAX
            && let Some(conn) = self.left.pop_front()
            && self.connections.get(&conn).is_some_and(|connection| !connection.is_open)
        {
            self.connections.remove(&conn);
        }
    }

    /// The instance of a target without labels, and of a process whose home is not known.
    fn plain(&mut self, target: usize, at_ns: u64, begin: Begin<'_>) -> usize {
        if let Some(at) = self.targets[target].plain {
            return at;
        }
        let at = self.instance(target, &Home::default(), None, at_ns, begin);
        self.targets[target].plain = Some(at);
        at
    }

    fn of_process(&mut self, target: usize, pid: u32, at_ns: u64, begin: Begin<'_>) -> usize {
        let Some(process) = self.processes.get(&pid) else {
            return self.plain(target, at_ns, begin);
        };
        match process.at {
            Some((of, at)) if of == target => at,
            _ => {
                let home = Arc::clone(&process.home);
                let at = self.instance(target, &home, None, at_ns, begin);
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.at = Some((target, at));
                }
                at
            }
        }
    }

    fn opened(
        &mut self,
        target: usize,
        pid: u32,
        open: &Open<'_>,
        at_ns: u64,
        begin: Begin<'_>,
    ) -> usize {
        let labels = &self.targets[target].labels;
        if !labels.iter().any(|label| label.is_of_connections()) {
            return self.of_process(target, pid, at_ns, begin);
        }
        let host = open.host.map(str::to_ascii_lowercase).unwrap_or_default();
        let names = [host.as_str(), open.path.unwrap_or_default()];
        let home = self.processes.get(&pid).map(|process| Arc::clone(&process.home));
        self.instance(target, &home.unwrap_or_default(), Some(names), at_ns, begin)
    }

    /// The instance with these values, if need be a new one. `names` are the host and the path, where they
    /// are known.
    fn instance(
        &mut self,
        target: usize,
        home: &Home,
        names: Option<[&str; 2]>,
        at_ns: u64,
        begin: Begin<'_>,
    ) -> usize {
        if let Some(names) = names.filter(|names| names.iter().any(|name| !name.is_empty())) {
            if names.iter().all(|name| name.len() <= TEXT_MAX) {
                let owner = self.owner(target, home, names);
                if let Some(at) = self.number(target, owner, true, at_ns, begin) {
                    return at;
                }
            }
            self.fold(target, |label| label.is_of_connections());
            let owner = self.owner(target, home, [OTHER; 2]);
            if let Some(at) = self.number(target, owner, false, at_ns, begin) {
                return at;
            }
        } else {
            let owner = self.owner(target, home, [""; 2]);
            if let Some(at) = self.number(target, owner, false, at_ns, begin) {
                return at;
            }
        }
        self.fold(target, |_| true);
        let owner = self.other(target);
        match self.targets[target].known.get(&owner) {
            Some(&at) => at,
            // It is one more than there is room for, and the last.
            None => {
                let by_connection = false;
                let instance = Instance { target, owner, by_connection, open: 0, last_ns: at_ns };
                self.begin(instance, None, begin)
            }
        }
    }

    fn owner(&self, target: usize, home: &Home, [host, path]: [&str; 2]) -> Owner {
        let own = &self.targets[target];
        let value = |label: &InstanceLabel| match label {
            _ if !own.labels.contains(label) => "",
            InstanceLabel::Host => host,
            InstanceLabel::Path => path,
            label => home.value(*label),
        };
        [&*own.name].into_iter().chain(self.labels.iter().map(value)).map(Into::into).collect()
    }

    /// The instance of everything that there is no room for.
    fn other(&self, target: usize) -> Owner {
        let own = &self.targets[target];
        let value = |label: &InstanceLabel| if own.labels.contains(label) { OTHER } else { "" };
        [&*own.name].into_iter().chain(self.labels.iter().map(value)).map(Into::into).collect()
    }

    /// The number of an instance, if it is known or there is room for it.
    fn number(
        &mut self,
        target: usize,
        owner: Owner,
        by_connection: bool,
        at_ns: u64,
        begin: Begin<'_>,
    ) -> Option<usize> {
        if let Some(&at) = self.targets[target].known.get(&owner) {
            return Some(at);
        }
        let over = match self.targets[target].has_room(by_connection) {
            true => None,
            false => Some(self.idle(target, by_connection, at_ns)?),
        };
        let instance = Instance { target, owner, by_connection, open: 0, last_ns: at_ns };
        Some(self.begin(instance, over, begin))
    }

    /// The instance that has been idle for longest, if there is one.
    fn idle(&self, target: usize, by_connection: bool, at_ns: u64) -> Option<usize> {
        let is_idle = |it: &&(usize, &Instance)| {
            let it = it.1;
            it.target == target
                && it.by_connection == by_connection
                && it.open == 0
                && at_ns.saturating_sub(it.last_ns) >= IDLE_NS
        };
        let idle = self.instances.iter().enumerate();
        idle.filter(|it| is_idle(&it)).min_by_key(|(_, it)| it.last_ns).map(|(at, _)| at)
    }

    /// Begins an instance, in the place of the one that is `over` if there is one.
    fn begin(&mut self, instance: Instance, over: Option<usize>, begin: Begin<'_>) -> usize {
        let (target, owner) = (instance.target, Arc::clone(&instance.owner));
        begin(over.map_or(Place::Next, Place::InsteadOf), &owner);
        let at = over.unwrap_or(self.instances.len());
        match over {
            Some(at) => {
                let before = std::mem::replace(&mut self.instances[at], instance);
                self.targets[target].known.remove(&before.owner);
                self.forget(at);
            }
            None => {
                self.targets[target].by_connection += usize::from(instance.by_connection);
                self.instances.push(instance);
            }
        }
        self.targets[target].known.insert(owner, at);
        at
    }

    /// An instance is over: nobody is in it.
    fn forget(&mut self, at: usize) {
        for process in self.processes.values_mut() {
            process.at = process.at.filter(|&(_, of)| of != at);
        }
        for target in &mut self.targets {
            target.plain = target.plain.filter(|&of| of != at);
        }
        self.connections.retain(|_, connection| connection.at != at);
    }

    /// Counts and says that values of a target's labels are folded.
    fn fold(&mut self, target: usize, is_folded: impl Fn(InstanceLabel) -> bool) {
        let own = &mut self.targets[target];
        let labels = own.labels.iter().copied().filter(|&label| is_folded(label));
        let names: Vec<&str> = labels.map(InstanceLabel::as_str).collect();
        self.folded.extend(&names);
        if !std::mem::replace(&mut own.warned, true) {
            tracing::warn!(
                "target {}: some values of the labels {} are counted together as {OTHER}, because there \
                 are more than {BY_PROCESS_MAX} places or {BY_CONNECTION_MAX} hosts and paths, or they are \
                 longer than {TEXT_MAX} bytes; \
                 wstap_label_overflow_total counts them",
                own.name,
                names.join(", ")
            );
        }
    }
}

#[cfg(test)]
mod series_tests;
#[cfg(test)]
mod tests;
