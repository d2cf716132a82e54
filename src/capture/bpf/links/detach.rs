//! Removing probes.
//!
//! When a link is closed the kernel waits until no processor runs its program any more, which takes
//! some tens of milliseconds. So links are closed on threads of their own: neither the ring buffer
//! nor the next newcomer waits meanwhile. Each process has links of its own, so there are many of
//! them, and the waits go side by side.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::attachment::Attachment;
use crate::capture::confine::privilege::Powers;

/// Closes links in the background.
#[derive(Debug, Default)]
pub(in crate::capture) struct Detacher {
    thread: Option<(Sender<Attachment>, thread::JoinHandle<()>)>,
}

impl Detacher {
    /// Removes these probes soon.
    pub(in crate::capture) fn detach(&mut self, attachment: Attachment) {
        if self.thread.is_none() {
            let (sender, receiver) = channel();
            let thread = thread::Builder::new().name("wstap-detach".into());
            let spawned = thread.spawn(move || work(&receiver));
            self.thread = spawned.ok().map(|thread| (sender, thread));
        }
        // Without a thread the attachment is dropped here, which is slower and does the same.
        if let Some((sender, _)) = &self.thread {
            let _ = sender.send(attachment);
        }
    }

    /// Returns when everything that was to be removed is gone.
    pub(in crate::capture) fn finish(&mut self) {
        if let Some((sender, thread)) = self.thread.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

impl Drop for Detacher {
    fn drop(&mut self) {
        self.finish();
    }
}

fn work(receiver: &Receiver<Attachment>) {
    let _ = Powers::None.keep_only();
    // When a process ends, the probes of all its files come together.
    while let Ok(first) = receiver.recv() {
        Attachment::remove_all(std::iter::once(first).chain(receiver.try_iter()));
    }
}
