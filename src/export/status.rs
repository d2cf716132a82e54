//! What wstap is doing now: targets, probes, readiness. `run` writes it.
//!
//! [`Status`] is shared between `run`, which writes it, and HTTP, which reads it. It holds plain
//! facts; what they are called as metrics stands in the catalogue.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::event::Loss;

/// Facts about the present, written by one and read by many.
#[derive(Debug, Default)]
pub struct Status {
    // A lock of the standard library is enough: it is never held across an await or an encoding.
    now: RwLock<Snapshot>,
}

impl Status {
    /// Changes the facts; readers see all of the change or none.
    pub fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.now.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// A copy of the facts.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether [`Snapshot::ready`] is set.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.now.read().unwrap_or_else(PoisonError::into_inner).ready
    }
}

/// The facts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// Probes are attached to at least one target and events are being read.
    pub ready: bool,
    /// The selectors of the command line, in the order of their `TargetId`s.
    pub targets: Vec<Target>,
    /// Attached probes and those that could not be attached, each function once per library.
    pub probes: Vec<Probe>,
}

/// A selector and the processes it found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    /// Value of the `target` label.
    pub name: String,
    /// The processes; empty while waiting for one.
    pub processes: Vec<Process>,
    /// Processes since the start, ended ones included, that ran before their probes were in place.
    pub tapped_late: u64,
    /// When the request was asked that has waited for longest, in seconds since 1970; `None` where
    /// none waits.
    pub oldest_pending: Option<f64>,
    /// Files of its processes in which traffic may pass that is not seen.
    pub not_seen: NotSeen,
    /// Systemd units in which a process of it has run, outside of containers: at most 100. A unit stays when
    /// its processes have ended, so that its end shows.
    #[serde(skip)]
    pub units: BTreeSet<String>,
}

/// Executable files of processes in which traffic may pass that is not seen, by what keeps it from
/// being seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotSeen {
    /// The file could not be read or was refused, so a TLS library in it is not known.
    pub unreadable: u64,
    /// The probes in its TLS library could not be placed.
    pub unprobed: u64,
    /// Its TLS library cannot be tapped.
    pub refused: u64,
}

impl NotSeen {
    /// Each reason and its number.
    #[must_use]
    pub fn by_reason(&self) -> [(&'static str, u64); 3] {
        let Self { unreadable, unprobed, refused } = *self;
        [("unreadable", unreadable), ("unprobed", unprobed), ("refused", refused)]
    }
}

/// Units of a target that are remembered.
const UNITS_MAX: usize = 100;

impl Target {
    /// Adds a process.
    pub fn push(&mut self, process: Process) {
        let unit = &process.unit;
        let is_service = !unit.is_empty() && process.container_id.is_empty();
        if is_service && self.units.len() < UNITS_MAX && !self.units.contains(unit) {
            self.units.insert(unit.clone());
        }
        self.processes.push(process);
    }

    /// Whether one of its processes is alive and tapped.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.processes.iter().any(|process| process.up)
    }
}

/// A process that was or is tapped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// `/proc/PID/comm`.
    pub comm: String,
    /// Path of the executable as the process sees it.
    pub exe: String,
    /// TLS library, for example `openssl`.
    pub tls_library: String,
    /// Its version as far as it is known, else empty.
    pub tls_version: String,
    /// Id of the container that it runs in, as far as engines print it; empty outside of one.
    pub container: String,
    /// The whole id.
    pub container_id: String,
    /// Uid of the Kubernetes pod that it runs in; empty outside of one.
    pub pod_uid: String,
    /// The systemd unit that it runs in; empty outside of one.
    pub unit: String,
    /// Alive and tapped.
    pub up: bool,
}

/// One function that wstap wants to probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// The TLS library that it belongs to, for example `openssl`; `kernel` for tracepoints.
    pub stack: String,
    /// File name of the library or executable, without its folder.
    pub library: String,
    /// Function name, for example `SSL_write`.
    pub function: String,
    /// How it is attached, for example `uprobe_multi`.
    pub technique: String,
    /// Attached sites; 0 where attaching failed, or where the target has ended.
    pub attached: u32,
}

/// Where the loss counters of the capture side are read: at each scrape, from any thread.
pub trait LossCounters: Send + Sync {
    /// The present totals, one for each reason that can happen; zeros included.
    fn read(&self) -> Vec<Loss>;
}

/// Loss counters that several readers share.
#[derive(Clone)]
pub(crate) struct SharedLosses(pub(crate) Arc<dyn LossCounters>);

impl SharedLosses {
    pub(crate) fn read(&self) -> Vec<Loss> {
        self.0.read()
    }
}

impl fmt::Debug for SharedLosses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedLosses")
    }
}

/// A source without a kernel (a replay, a test) loses nothing and has no reasons.
impl LossCounters for () {
    fn read(&self) -> Vec<Loss> {
        Vec::new()
    }
}

impl<F: Fn() -> Vec<Loss> + Send + Sync> LossCounters for F {
    fn read(&self) -> Vec<Loss> {
        self()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_up_while_one_of_its_processes_is() {
        let process = |up| Process { up, ..Process::default() };
        let target = |processes| Target { processes, ..Target::default() };
        assert!(!target(vec![]).is_up());
        assert!(!target(vec![process(false)]).is_up());
        assert!(target(vec![process(false), process(true)]).is_up());
    }

    #[test]
    fn a_status_is_not_ready_until_it_is_said_to_be() {
        let status = Status::default();
        assert!(!status.is_ready());
        status.update(|now| now.ready = true);
        assert!(status.is_ready());
    }
}
