//! One process that is tapped: what is known of it.

use std::collections::HashSet;

use super::plain::Sockets;
use crate::capture::Error;
use crate::capture::bpf::links::Arrival;
use crate::capture::procfs::image::Image;
use crate::capture::procfs::process::{FileId, Mapping, Process};
use crate::capture::procfs::target::{Target, has_tappable, refusals};

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
    pub(super) sockets: Sockets,
    /// Files that need not be opened again.
    pub(super) seen: HashSet<FileId>,
    /// Looks of `SETTLING_NS` that are done.
    pub(super) looks: usize,
    pub(super) arrival: Arrival,
    /// Since when the kernel side knows that it is tapped, `CLOCK_MONOTONIC` nanoseconds; 0 if that
    /// is since it began.
    pub(super) admitted_ns: u64,
    /// Until then nothing can have passed that should have been seen: its program began then, or a
    /// look had found nothing more to probe. The end of time before the first look at a process
    /// that was there before wstap.
    pub(super) accounted_ns: u64,
    /// It was counted as tapped late.
    pub(super) late: bool,
    /// It was said that it has TLS that is not tapped.
    pub(super) warned: bool,
    /// It was given by its pid: it is remembered when it has ended.
    pub(super) named: bool,
}

impl Member {
    /// Whether its TCP sockets are tapped.
    #[must_use]
    pub fn has_sockets(&self) -> bool {
        self.sockets.are_tapped()
    }

    /// The probes that a look asked for are in place since `placed_ns`, and the process ran
    /// meanwhile. `Some` the first time that it may have run without them, with the longest time
    /// that this may have been, in nanoseconds.
    pub(super) fn ran_unseen(&mut self, placed_ns: u64) -> Option<u64> {
        let unseen_ns = placed_ns.max(self.admitted_ns).saturating_sub(self.accounted_ns);
        if unseen_ns == 0 || std::mem::replace(&mut self.late, true) {
            return None;
        }
        Some(unseen_ns)
    }

    /// Its sockets are tapped, and its TLS cannot be.
    pub(super) fn say_what_is_not_seen(&mut self) {
        let Some(why) = refusals(&self.target.images) else { return };
        if !std::mem::replace(&mut self.warned, true) {
            let Process { pid, comm, .. } = &self.target.process;
            tracing::warn!(
                "pid {pid} ({comm}): {why}; only what its sockets carry without TLS is seen"
            );
        }
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

    /// Forgets files that are mapped no more and have no probes: a process may load new ones for
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
