//! Looking into a process: what it has mapped, and what its sockets are.

use std::time::{Duration, Instant};

use super::Roster;
use super::plain::Circumstances;
use super::unread::{FILES_MAX, LOOK_MAX, Next};
use crate::capture::Error;
use crate::capture::bpf::Tap;
use crate::capture::bpf::links::Links;
use crate::capture::clock::monotonic_ns;
use crate::capture::confine::privilege::Powers;
use crate::capture::procfs::image::Image;
use crate::capture::procfs::planner::{BRIEF, PATIENT};
use crate::capture::procfs::process;
use crate::capture::procfs::target::has_tappable;
use crate::capture::procfs::translator;

/// A process that has just begun is looked at again after so long, and then with all others: its
/// loader may have been through before a probe was on it.
const SETTLING_NS: [u64; 4] = [3_000_000, 15_000_000, 60_000_000, 240_000_000];

/// An image that is still being planned is asked for again after this long.
const SOON_NS: u64 = 10_000_000;

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
                self.ended(pid);
            }
        }
    }

    /// Probes what the process has mapped and nobody has looked into.
    pub(super) fn look_at(&mut self, pid: u32, now_ns: u64) {
        let (is_held, patience) = (self.is_held(pid), self.patience(pid));
        let Some(member) = self.members.get_mut(&pid) else { return };
        if let Some(until_ns) = member.unread.rests_until(now_ns) {
            self.due.insert((until_ns, pid));
            return;
        }
        let look = Instant::now();
        let (looked_ns, mut placed_ns, mut all) = (monotonic_ns(), None, true);
        // A process that has just ended: the kernel will say so.
        let Ok(mappings) = process::executable_files(pid) else { return };
        let unread = member.unread.count();
        let count = mappings.iter().map(|mapping| mapping.segments.len()).sum();
        member.forget_unmapped(&mappings);
        if let Some(translator) = translator::of(&member.target.process, &mappings) {
            self.links.forget(pid);
            self.changed |= member.leave_to(translator);
            return self.look_at_sockets(pid, now_ns);
        }
        self.changed |= member.check_executed(&mappings);
        if self.powers == Powers::None {
            return;
        }
        for mapping in mappings {
            if member.seen.contains(&mapping.file) {
                continue;
            }
            if member.seen.len() >= FILES_MAX {
                member.unread.has_too_many(&member.target.process);
                break;
            }
            if patience == BRIEF && look.elapsed() > LOOK_MAX {
                self.due.insert((now_ns + SOON_NS, pid));
                all = false;
                break;
            }
            member.seen.insert(mapping.file);
            match self.planner.image(pid, &mapping, patience) {
                Ok(image) => {
                    member.unread.was_read(mapping.file);
                    let probed = probe(self.tap, &mut self.links, &image, pid);
                    if probed.is_ok() {
                        self.foresight.learn(pid, &image);
                    }
                    placed_ns = placed_ns.max(probed.as_ref().copied().unwrap_or(None));
                    self.changed |= member.take(image, probed.map(|since| since.is_some()));
                }
                Err(error) => match member.unread.note(&member.target.process, &mapping, &error) {
                    Next::Never => {}
                    Next::Later => {
                        member.seen.remove(&mapping.file);
                    }
                    Next::Soon => {
                        member.seen.remove(&mapping.file);
                        self.due.insert((now_ns + SOON_NS, pid));
                        all = false;
                    }
                },
            }
        }
        self.changed |= unread != member.unread.count();
        member.say_what_is_refused();
        member.unread.rest_after(look.elapsed(), count, now_ns);
        // One that is held is stopped until the look is over.
        let placed_ns = placed_ns.filter(|_| !is_held);
        if let Some(unseen_ns) = placed_ns.and_then(|placed_ns| member.ran_unseen(placed_ns)) {
            self.late.count(&member.target.process, member.target.id, unseen_ns);
            self.changed = true;
        }
        if all {
            member.accounted_ns = looked_ns;
        }
        self.look_at_sockets(pid, now_ns);
    }

    /// How long the tap waits for one image of a process: at the start nothing else is to be done,
    /// and a process that is stopped must not go on before it is probed.
    fn patience(&self, pid: u32) -> Duration {
        if self.powers == Powers::All || self.is_held(pid) { PATIENT } else { BRIEF }
    }

    /// Taps the sockets of a process if there is reason to, or lets them be.
    fn look_at_sockets(&mut self, pid: u32, now_ns: u64) {
        let Some(member) = self.members.get_mut(&pid) else { return };
        if member.is_32_bit() {
            return;
        }
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
pub(super) fn probe(
    tap: &Tap<'_>,
    links: &mut Links,
    image: &Image,
    pid: u32,
) -> Result<Option<u64>, Error> {
    if image.plan.loader_notifier.is_some() {
        links.watch_loader(tap, image, pid)?;
    }
    if !has_tappable(image) {
        return Ok(None);
    }
    links.tap(tap, image, pid).map(Some)
}
