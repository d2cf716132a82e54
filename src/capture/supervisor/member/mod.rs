//! One process that is tapped: what is known of it.

mod late;
pub(super) mod memory;
pub(super) mod unread;

use std::collections::HashSet;

use unread::Unread;

use super::plain::Sockets;
use crate::capture::Error;
use crate::capture::procfs::cgroup::Home;
use crate::capture::procfs::image::Image;
use crate::capture::procfs::process::{self, FileId, Mapping, Process};
use crate::capture::procfs::target::{A_32_BIT_PROGRAM, Target, has_tappable, refusals};
use crate::capture::procfs::translator;
use crate::event::TargetId;

pub use late::Late;

/// Which was there first, wstap or the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It was there before wstap.
    Found,
    /// It began after wstap.
    New,
}

/// How a process comes to be tapped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// When its program began, `CLOCK_MONOTONIC` nanoseconds. Not used if the process was there
    /// before wstap.
    pub(super) began_ns: u64,
    /// It was counted as tapped late.
    pub(super) late: bool,
    /// It was given by its pid.
    pub(super) named: bool,
    /// It began as a copy of its parent at this time, and has run no program of its own since.
    pub(super) forked_ns: Option<u64>,
}

/// A process that has run no program of its own for so long is taken for a worker.
const FORK_NS: u64 = 5_000_000_000;

/// Whoever forks in order to run another program mostly does so within this time.
const SPAWN_NS: u64 = 50_000_000;

/// A process that is or was tapped.
#[derive(Debug)]
pub struct Member {
    /// Who it is, and its images with a TLS library.
    pub target: Target,
    /// It lives, and at least one of its images is probed, or its sockets are.
    pub up: bool,
    /// How its probes are attached, for people.
    pub technique: &'static str,
    /// Its container, pod and unit.
    pub home: Home,
    pub(super) sockets: Sockets,
    pub(super) unread: Unread,
    /// Images whose probes could not be placed. What passes through them is not seen.
    pub(super) unprobed: HashSet<FileId>,
    /// Images whose refusal was reported.
    pub(super) refused: HashSet<FileId>,
    /// Files that need not be opened again.
    pub(super) seen: HashSet<FileId>,
    /// A file of it is still being planned.
    pub(super) is_being_planned: bool,
    /// How many of the early inspections of a process that has just begun are done.
    pub(super) early_inspections: usize,
    /// Since when the kernel side taps it, `CLOCK_MONOTONIC` nanoseconds; 0 if it does so since the
    /// process began.
    pub(super) admitted_ns: u64,
    /// Nothing was missed up to this time: its program began then, or an inspection found nothing
    /// more to probe. `u64::MAX` before the first inspection of a process that was there before
    /// wstap.
    pub(super) accounted_ns: u64,
    /// It was counted as tapped late.
    pub(super) late: bool,
    /// A warning has said that it has TLS that is not tapped.
    pub(super) warned: bool,
    /// The program that translates its code, so that it gets no probes.
    pub(super) translator: Option<&'static str>,
    /// It began as a copy of its parent at this time, `CLOCK_MONOTONIC` nanoseconds, and has run no
    /// program of its own since.
    pub(super) forked_ns: Option<u64>,
    /// It was given by its pid: it is remembered when it has ended.
    pub(super) named: bool,
}

impl Member {
    /// A process of which only the identity is known yet.
    pub(super) fn new(id: TargetId, process: Process, technique: &'static str, home: Home) -> Self {
        Self {
            home,
            target: Target {
                id,
                process,
                images: Vec::new(),
                companions: Vec::new(),
                refused: Vec::new(),
            },
            up: false,
            technique,
            sockets: Sockets::default(),
            unread: Unread::default(),
            unprobed: HashSet::new(),
            refused: HashSet::new(),
            seen: HashSet::new(),
            is_being_planned: false,
            early_inspections: 0,
            translator: None,
            admitted_ns: 0,
            accounted_ns: 0,
            late: false,
            warned: false,
            named: false,
            forked_ns: None,
        }
    }

    /// Whether no probe of this image is missing.
    #[must_use]
    pub fn is_probed(&self, image: &Image) -> bool {
        !self.unprobed.contains(&image.file)
    }

    /// How many of its executable files could not be read.
    #[must_use]
    pub fn unread_files(&self) -> usize {
        self.unread.count()
    }

    /// How many of its executable files hold, or may hold, a TLS library whose plaintext is not seen:
    /// they could not be read, or probed, or a library in them cannot be tapped.
    #[must_use]
    pub fn files_not_seen(&self) -> usize {
        let is_refused = |image: &&Image| image.plan.libraries.iter().any(|it| !it.is_tappable());
        let is_unseen = |image: &&Image| is_refused(image) || !self.is_probed(image);
        self.unread.count() + self.target.images.iter().filter(is_unseen).count()
    }

    /// Whether everything that can be tapped in it is tapped: it lives, and no probe is missing.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.up && self.unprobed.is_empty() && (self.has_tls() || self.has_sockets())
    }

    /// Whether it runs a 32-bit program, which is not tapped. Says so the first time.
    pub(super) fn is_32_bit(&mut self) -> bool {
        let Process { pid, comm, .. } = &self.target.process;
        let is_32_bit = process::is_32_bit(*pid);
        if is_32_bit && !std::mem::replace(&mut self.warned, true) {
            tracing::warn!("pid {pid} ({comm}) is not tapped: {A_32_BIT_PROGRAM}");
        }
        is_32_bit
    }

    /// Whether its TCP sockets are tapped.
    #[must_use]
    pub fn has_sockets(&self) -> bool {
        self.sockets.are_tapped()
    }

    /// The process ran while an inspection placed its probes, which are complete since `placed_ns`.
    /// The first time that it may have run without them, returns how long at most, in nanoseconds.
    pub(super) fn ran_unseen(&mut self, placed_ns: u64) -> Option<u64> {
        let unseen_ns = placed_ns.max(self.admitted_ns).saturating_sub(self.accounted_ns);
        if unseen_ns == 0 || std::mem::replace(&mut self.late, true) {
            return None;
        }
        Some(unseen_ns)
    }

    /// Whether the program that it runs has never been inspected.
    pub(super) fn is_uninspected(&self) -> bool {
        self.seen.is_empty() && self.unread.count() == 0 && self.translator.is_none()
    }

    /// Warns that its sockets are tapped, and that its TLS cannot be.
    pub(super) fn say_what_is_not_seen(&mut self) {
        let Some(why) = refusals(&self.target.images) else { return };
        if !std::mem::replace(&mut self.warned, true) {
            let Process { pid, comm, .. } = &self.target.process;
            tracing::warn!(
                "pid {pid} ({comm}): {why}; only what its sockets carry without TLS is seen"
            );
        }
    }

    /// Names each TLS library of a tapped process that cannot be tapped itself: it may be the one
    /// that carries the traffic.
    pub(super) fn say_what_is_refused(&mut self) {
        if !self.up {
            return;
        }
        for image in &self.target.images {
            let Some(why) = refusals(std::slice::from_ref(image)) else { continue };
            if self.refused.insert(image.file) {
                let Process { pid, comm, .. } = &self.target.process;
                tracing::warn!("pid {pid} ({comm}): {why}; what passes through it is not seen");
            }
        }
    }

    /// Refuses the libraries that the process does not execute from their file any more. `true` if
    /// there are any.
    pub(super) fn check_executed(&mut self, mappings: &[Mapping]) -> bool {
        let (mut changed, pid) = (false, self.target.process.pid);
        for image in self.target.images.iter_mut().filter(|image| has_tappable(image)) {
            let mapping = mappings.iter().find(|mapping| mapping.file == image.file);
            changed |= mapping.is_some_and(|mapping| image.keep_executed(pid, mapping));
        }
        changed
    }

    /// The process runs in a program that translates its code, which would fail because of probes.
    /// Warns the first time, and returns `false` if that is known already.
    pub(super) fn leave_to(&mut self, translator: &'static str) -> bool {
        if self.translator.replace(translator).is_some() {
            return false;
        }
        let Process { pid, comm, .. } = &self.target.process;
        tracing::warn!("pid {pid} ({comm}) gets no probes: {}", translator::why(translator));
        true
    }

    /// Whether probes in this image have to wait. The process was forked lately and may be about to run
    /// another program, in which they would do harm: one that copies its own code, and the probes with it
    /// (Node.js forks for no other purpose), or one that reads the dynamic loader as data.
    pub(super) fn is_too_young_for(&self, image: &Image, now_ns: u64) -> bool {
        let Some(forked_ns) = self.forked_ns else { return false };
        let age_ns = now_ns.saturating_sub(forked_ns);
        let is_loader = image.plan.loader_notifier.is_some();
        (image.plan.may_copy_itself && age_ns < FORK_NS) || (is_loader && age_ns < SPAWN_NS)
    }

    /// Whether it has a TLS library that can be tapped.
    pub(super) fn has_tls(&self) -> bool {
        self.target.images.iter().any(has_tappable)
    }

    /// Whether `process` is this one, and not a later one with its pid.
    pub(super) fn is(&self, process: &Process) -> bool {
        self.target.process.start_ticks == process.start_ticks
    }

    /// Whether it has ended and is only remembered.
    pub(super) fn over(&self) -> bool {
        !self.target.process.is_alive()
    }

    /// Forgets files that are no longer mapped and have no probes: a process may load new ones for
    /// as long as it runs.
    pub(super) fn forget_unmapped(&mut self, mappings: &[Mapping]) {
        if self.seen.len() > mappings.len() {
            let mapped = mappings.iter().map(|mapping| mapping.file);
            let probed = self.target.images.iter().map(|image| image.file);
            let kept: HashSet<FileId> = mapped.chain(probed).collect();
            self.seen.retain(|file| kept.contains(file));
        }
    }

    /// Keeps an image that has a TLS library. `true` if that changes what is tapped.
    pub(super) fn take(&mut self, image: Image, probed: Result<bool, Error>) -> bool {
        let pid = self.target.process.pid;
        match probed {
            Ok(true) => {
                tracing::debug!("pid {pid}: {} is tapped", image.path.display());
                self.up = true;
                self.unprobed.remove(&image.file);
            }
            Ok(false) => {}
            Err(_) if self.over() => return false,
            Err(error) => {
                // It is tried again when all processes are inspected next.
                self.seen.remove(&image.file);
                if self.unprobed.insert(image.file) {
                    tracing::warn!("pid {pid}: {error}; what passes through it is not seen");
                }
            }
        }
        if image.plan.libraries.is_empty() {
            let Some(companion) = image.plan.companion.clone() else { return false };
            let is_new = !self.target.companions.contains(&companion);
            if is_new {
                self.target.companions.push(companion);
            }
            return is_new;
        }
        let known = self.target.images.iter_mut().find(|it| it.file == image.file);
        match known {
            Some(known) => *known = image,
            None => self.target.images.push(image),
        }
        true
    }
}
