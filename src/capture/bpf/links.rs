//! Probes, image by image: who has them, and when they go.
//!
//! A probe with a pid filter costs other processes nothing, but wstap a set of links for each
//! process and a wait for the kernel whenever one ends, and it is in place only after the process
//! has begun. A probe without one costs every process that maps the file a trap for each call, but
//! wstap nothing however many processes come and go, and a newcomer is tapped from its first byte.
//!
//! So an image is probed process by process as long as there are few and they stay, and for
//! everyone while newcomers come. While both are in place a call is still reported once: the second
//! entry finds the first one's slot, and the second return finds it empty.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::Error;
use crate::capture::bpf::{Attachment, Scope, Tap};
use crate::capture::confine::privilege::Powers;
use crate::capture::procfs::image::Image;
use crate::capture::procfs::process::FileId;
use crate::capture::procfs::target::has_tappable;

/// Processes that have probes of their own in one image.
const FEW: usize = 8;
/// So long after the last newcomer the processes that are there get probes of their own again.
const CALM_NS: u64 = 60_000_000_000;
/// Probes for everyone stay this long after the last process, so that a restart finds them in
/// place. No longer: they hold the file, and so the mount, that it lies on.
const IDLE_NS: u64 = 30_000_000_000;

/// How far probes reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::capture) enum Spread {
    /// To as few processes as can be.
    #[default]
    Fewest,
    /// To everyone, from the beginning and for good.
    Everyone,
}

/// Since when a process is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture) enum Arrival {
    /// It was there before wstap.
    Found,
    /// It has come since: others may follow.
    New,
}

/// All probes in TLS libraries and dynamic loaders.
#[derive(Debug, Default)]
pub(in crate::capture) struct Links {
    images: HashMap<FileId, ImageLinks>,
    spread: Spread,
    undertaker: Undertaker,
}

/// The probes of one file.
#[derive(Debug, Default)]
struct ImageLinks {
    /// The processes that map it, and how each leads to it.
    users: BTreeMap<u32, Image>,
    own: BTreeMap<u32, Attachment>,
    everyone: Option<Attachment>,
    last_newcomer_ns: u64,
    idle_since_ns: u64,
}

impl Links {
    /// No probes yet.
    pub(in crate::capture) fn new(spread: Spread) -> Self {
        Self { spread, ..Self::default() }
    }

    /// Probes the TLS library in `image` for process `pid`. Returns since when its probes are in
    /// place, `CLOCK_MONOTONIC` nanoseconds.
    pub(in crate::capture) fn tap(
        &mut self,
        tap: &Tap<'_>,
        image: &Image,
        pid: u32,
        arrival: Arrival,
        now_ns: u64,
    ) -> Result<u64, Error> {
        let links = self.images.entry(image.file).or_default();
        if arrival == Arrival::New {
            links.last_newcomer_ns = now_ns;
        }
        if links.everyone.is_none() && !links.own.contains_key(&pid) {
            let alone = arrival == Arrival::Found && links.own.len() < FEW;
            if alone && self.spread == Spread::Fewest {
                links.own.insert(pid, tap.attach(Scope::Process(pid), image)?);
            } else {
                tracing::debug!("{}: probed for everyone from now on", image.path.display());
                links.everyone = Some(tap.attach(Scope::Everyone, image)?);
                self.undertaker.bury_all(&mut links.own);
            }
        }
        links.users.insert(pid, image.clone());
        Ok(links.since_ns(pid))
    }

    /// Whether a newcomer that maps this image is tapped already.
    pub(in crate::capture) fn are_shared(&self, image: &Image) -> bool {
        self.images.get(&image.file).is_some_and(|links| links.everyone.is_some())
    }

    /// Probes the dynamic loader in `image`: always for everyone, because a process passes it only
    /// when it starts and when it loads a library.
    pub(in crate::capture) fn watch_loader(
        &mut self,
        tap: &Tap<'_>,
        pid: u32,
        image: &Image,
    ) -> Result<(), Error> {
        let links = self.images.entry(image.file).or_default();
        if links.everyone.is_none() {
            links.everyone = Some(tap.attach_loader(image)?);
        }
        links.users.insert(pid, image.clone());
        Ok(())
    }

    /// Process `pid` has ended.
    pub(in crate::capture) fn forget(&mut self, pid: u32, now_ns: u64) {
        for links in self.images.values_mut() {
            if links.users.remove(&pid).is_some() && links.users.is_empty() {
                links.idle_since_ns = now_ns;
            }
            if let Some(own) = links.own.remove(&pid) {
                self.undertaker.bury(own);
            }
        }
        self.images.retain(|_, links| !links.users.is_empty() || links.everyone.is_some());
    }

    /// Removes the probes that have had no process for a while, and goes back from probes for
    /// everyone where no newcomer comes any more.
    pub(in crate::capture) fn sweep(&mut self, tap: &Tap<'_>, now_ns: u64) {
        let is_idle = |links: &ImageLinks| {
            links.users.is_empty() && now_ns.saturating_sub(links.idle_since_ns) >= IDLE_NS
        };
        for (_, links) in self.images.extract_if(|_, links| is_idle(links)) {
            links.everyone.into_iter().for_each(|everyone| self.undertaker.bury(everyone));
        }
        for links in self.images.values_mut().filter(|links| links.is_calm(now_ns)) {
            if let Err(error) = links.part(tap) {
                tracing::debug!("still probed for everyone: {error}");
                self.undertaker.bury_all(&mut links.own);
            } else if let Some(everyone) = links.everyone.take() {
                self.undertaker.bury(everyone);
            }
        }
    }

    /// Removes every probe; returns when the last one is gone.
    pub(in crate::capture) fn clear(&mut self) {
        let images = std::mem::take(&mut self.images).into_values();
        Attachment::remove_all(
            images.flat_map(|image| image.own.into_values().chain(image.everyone)),
        );
        self.undertaker = Undertaker::default();
    }
}

impl ImageLinks {
    /// Since when process `pid` is probed; the end of time where it is not.
    fn since_ns(&self, pid: u32) -> u64 {
        let attachments = self.everyone.iter().chain(self.own.get(&pid));
        attachments.map(Attachment::since_ns).min().unwrap_or(u64::MAX)
    }

    /// Whether probes for everyone serve a few processes that stay.
    fn is_calm(&self, now_ns: u64) -> bool {
        let tls = self.users.values().next().is_some_and(has_tappable);
        self.everyone.is_some()
            && tls
            && self.users.len() <= FEW
            && now_ns.saturating_sub(self.last_newcomer_ns) >= CALM_NS
    }

    /// Gives each process probes of its own.
    fn part(&mut self, tap: &Tap<'_>) -> Result<(), Error> {
        for (&pid, image) in &self.users {
            self.own.insert(pid, tap.attach(Scope::Process(pid), image)?);
        }
        Ok(())
    }
}

/// Removes probes on a thread of its own: the kernel waits until no processor runs them any more,
/// and the ring buffer would fill meanwhile.
#[derive(Debug, Default)]
struct Undertaker {
    thread: Option<(Sender<Attachment>, thread::JoinHandle<()>)>,
}

impl Undertaker {
    fn bury_all(&mut self, attachments: &mut BTreeMap<u32, Attachment>) {
        std::mem::take(attachments).into_values().for_each(|it| self.bury(it));
    }

    fn bury(&mut self, attachment: Attachment) {
        if self.thread.is_none() {
            let (sender, receiver) = channel::<Attachment>();
            let spawned = thread::Builder::new().name("wstap-detach".into()).spawn(move || {
                let _ = Powers::None.keep_only();
                // When a process ends, all its files' probes come together.
                while let Ok(first) = receiver.recv() {
                    Attachment::remove_all(std::iter::once(first).chain(receiver.try_iter()));
                }
            });
            self.thread = spawned.ok().map(|thread| (sender, thread));
        }
        // Without a thread it is dropped here: slower, and as right.
        if let Some((sender, _)) = &self.thread {
            let _ = sender.send(attachment);
        }
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.thread.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}
