//! Probes, image by image: who has them, and when they go.
//!
//! A probe with a pid filter costs other processes nothing, but a process of its own each: three
//! links, and waiting for the kernel when they are removed. A probe without one costs every process
//! that maps the file a trap for each call, and wstap nothing more however many processes come and
//! go. So an image is probed process by process until there are [`FEW`] of them, and then once for
//! everyone. While both are in place a call is still reported once: the second entry finds the
//! first one's slot, the second return finds it empty.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::Error;
use super::image::Image;
use super::process::FileId;
use super::tap::{Attachment, Scope, Tap};

/// Processes that have probes of their own in one image: those now, and those of the last
/// [`WHILE_NS`].
const FEW: usize = 8;
const WHILE_NS: u64 = 10_000_000_000;
/// Probes for everyone stay this long after the last process, so that a restart finds them in
/// place. No longer: they hold the file, and so the mount, that it lies on.
const IDLE_NS: u64 = 30_000_000_000;

/// All probes in TLS libraries and dynamic loaders.
#[derive(Debug, Default)]
pub(super) struct Links {
    images: HashMap<FileId, ImageLinks>,
    undertaker: Undertaker,
}

/// The probes of one file.
#[derive(Debug, Default)]
struct ImageLinks {
    users: BTreeSet<u32>,
    own: BTreeMap<u32, Attachment>,
    everyone: Option<Attachment>,
    /// When probes of its own were last given to a process; the newest last.
    given_ns: Vec<u64>,
    idle_since_ns: u64,
}

impl Links {
    /// Probes the TLS library in `image` for process `pid`.
    pub(super) fn tap(
        &mut self,
        tap: &Tap<'_>,
        pid: u32,
        image: &Image,
        now_ns: u64,
    ) -> Result<(), Error> {
        let links = self.images.entry(image.file).or_default();
        if links.everyone.is_none() && !links.own.contains_key(&pid) {
            links.given_ns.retain(|given| now_ns.saturating_sub(*given) < WHILE_NS);
            if links.own.len().max(links.given_ns.len()) < FEW {
                links.own.insert(pid, tap.attach(Scope::Process(pid), image)?);
                links.given_ns.push(now_ns);
            } else {
                tracing::debug!("{}: probed for everyone from now on", image.path.display());
                links.everyone = Some(tap.attach(Scope::Everyone, image)?);
                std::mem::take(&mut links.own)
                    .into_values()
                    .for_each(|own| self.undertaker.bury(own));
            }
        }
        links.users.insert(pid);
        Ok(())
    }

    /// Probes the dynamic loader in `image`: always for everyone, because a process passes it only
    /// when it starts and when it loads a library.
    pub(super) fn watch_loader(
        &mut self,
        tap: &Tap<'_>,
        pid: u32,
        image: &Image,
    ) -> Result<(), Error> {
        let links = self.images.entry(image.file).or_default();
        if links.everyone.is_none() {
            links.everyone = Some(tap.attach_loader(image)?);
        }
        links.users.insert(pid);
        Ok(())
    }

    /// Process `pid` has ended.
    pub(super) fn forget(&mut self, pid: u32, now_ns: u64) {
        for links in self.images.values_mut() {
            if links.users.remove(&pid) && links.users.is_empty() {
                links.idle_since_ns = now_ns;
            }
            if let Some(own) = links.own.remove(&pid) {
                self.undertaker.bury(own);
            }
        }
        self.images.retain(|_, links| !links.users.is_empty() || links.everyone.is_some());
    }

    /// Removes the probes that have had no process for a while.
    pub(super) fn sweep(&mut self, now_ns: u64) {
        let is_idle = |links: &ImageLinks| {
            links.users.is_empty() && now_ns.saturating_sub(links.idle_since_ns) >= IDLE_NS
        };
        for (_, links) in self.images.extract_if(|_, links| is_idle(links)) {
            links.everyone.into_iter().for_each(|everyone| self.undertaker.bury(everyone));
        }
    }

    /// Removes every probe; returns when the last one is gone.
    pub(super) fn clear(&mut self) {
        self.images.clear();
        self.undertaker = Undertaker::default();
    }
}

/// Removes probes on a thread of its own: the kernel waits until no processor runs them any more,
/// and the ring buffer would fill meanwhile.
#[derive(Debug, Default)]
struct Undertaker {
    thread: Option<(Sender<Attachment>, thread::JoinHandle<()>)>,
}

impl Undertaker {
    fn bury(&mut self, attachment: Attachment) {
        if self.thread.is_none() {
            let (sender, receiver) = channel::<Attachment>();
            let spawned = thread::Builder::new()
                .name("wstap-detach".into())
                .spawn(move || receiver.into_iter().for_each(drop));
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
