//! Looking into a process: what it has mapped, and what its sockets are.

use std::io;

use super::Roster;
use super::plain::Circumstances;
use crate::capture::Error;
use crate::capture::bpf::Tap;
use crate::capture::bpf::links::{Arrival, Links};
use crate::capture::clock::monotonic_ns;
use crate::capture::confine::privilege::Powers;
use crate::capture::procfs::image::{Image, is_refusal};
use crate::capture::procfs::process::{self, Mapping};
use crate::capture::procfs::target::has_tappable;

/// A process that has just begun is looked at again after so long, and then with all others: its
/// loader may have been through before a probe was on it.
const SETTLING_NS: [u64; 4] = [3_000_000, 15_000_000, 60_000_000, 240_000_000];

impl Roster<'_, '_> {
    /// Plans the next look at a process that has begun lately.
    pub(super) fn settle(&mut self, pid: u32, now_ns: u64) {
        let Some(member) = self.members.get_mut(&pid) else { return };
        if let Some(pause) = SETTLING_NS.get(member.looks) {
            member.looks += 1;
            self.due.insert((now_ns + pause, pid));
        }
    }

    /// Looks into every process, and learns which have ended without a word.
    pub(super) fn look_at_all(&mut self, now_ns: u64) {
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
    pub(super) fn look_at(&mut self, pid: u32, now_ns: u64) {
        let is_held = self.is_held(pid);
        let Some(member) = self.members.get_mut(&pid) else { return };
        let (looked_ns, mut placed_ns) = (monotonic_ns(), None);
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
                    placed_ns = placed_ns.max(probed.as_ref().copied().unwrap_or(None));
                    self.changed |= member.take(image, probed.map(|since| since.is_some()));
                }
                Err(error) => unopened(pid, &mapping, &error),
            }
        }
        // One that is held is stopped until the look is over.
        let placed_ns = placed_ns.filter(|_| !is_held);
        if let Some(unseen_ns) = placed_ns.and_then(|placed_ns| member.ran_unseen(placed_ns)) {
            self.late.count(&member.target.process, member.target.id, unseen_ns);
            self.changed = true;
        }
        member.accounted_ns = looked_ns;
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
}

/// Places the probes that `image` asks for. Returns since when those are in place that plaintext
/// passes, if there are any.
fn probe(
    tap: &Tap<'_>,
    links: &mut Links,
    image: &Image,
    pid: u32,
    arrival: Arrival,
    now_ns: u64,
) -> Result<Option<u64>, Error> {
    if image.plan.loader_notifier.is_some() {
        links.watch_loader(tap, pid, image)?;
    }
    if !has_tappable(image) {
        return Ok(None);
    }
    links.tap(tap, image, pid, arrival, now_ns).map(Some)
}

fn unopened(pid: u32, mapping: &Mapping, error: &io::Error) {
    if is_refusal(error) {
        tracing::warn!("pid {pid}: {:?} is not looked into: {error}", mapping.path);
    } else if error.kind() != io::ErrorKind::NotFound {
        tracing::debug!("pid {pid}: {} is not looked into: {error}", mapping.path.display());
    }
}
