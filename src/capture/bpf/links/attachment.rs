//! Probes that are in place, and their removal.

use std::sync::{Mutex, PoisonError};
use std::thread;

use libbpf_rs::Link;

use crate::capture::clock::monotonic_ns;
use crate::capture::confine::privilege::Powers;

/// Probes in one image; they are removed when this is dropped, which waits for the kernel.
#[derive(Debug)]
pub struct Attachment {
    /// The links that hold the probes.
    links: Vec<Link>,
    since_ns: u64,
}

impl Attachment {
    /// Removes all of these, and returns when the last probe is gone. For each link the kernel
    /// waits until no processor runs its program any more, which takes some tens of milliseconds.
    /// One after the other, the probes of some hundred files would take a minute. So several
    /// threads wait side by side.
    pub(in crate::capture) fn remove_all(attachments: impl Iterator<Item = Self>) {
        let links: Vec<Link> = attachments.flat_map(|it| it.links).collect();
        // This thread closes links as well. Where no other thread can be started, it closes all.
        let others = links.len().min(REMOVERS_MAX).saturating_sub(1);
        let links = Mutex::new(links);
        thread::scope(|scope| {
            for _ in 0..others {
                let thread = thread::Builder::new().name("wstap-detach".into());
                let started = thread.spawn_scoped(scope, || {
                    let _ = Powers::None.keep_only();
                    close(&links);
                });
                if started.is_err() {
                    break;
                }
            }
            close(&links);
        });
    }

    /// To be called as soon as the last link is made.
    pub(in crate::capture) fn new(links: Vec<Link>) -> Self {
        Self { links, since_ns: monotonic_ns() }
    }

    /// Since when all of them are in place, `CLOCK_MONOTONIC` nanoseconds.
    pub(in crate::capture) fn since_ns(&self) -> u64 {
        self.since_ns
    }
}

/// Threads that close links side by side.
const REMOVERS_MAX: usize = 128;

fn close(links: &Mutex<Vec<Link>>) {
    loop {
        // The lock is released before the link is closed.
        let next = links.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(link) = next else { return };
        drop(link);
    }
}
