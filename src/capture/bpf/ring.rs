//! The ring buffer, and the one that reads it.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use libbpf_rs::{MapHandle, RingBuffer, RingBufferBuilder};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::wire::{self, Record};
use crate::capture::Error;

/// The ring buffer. It has one reader: what one has read, another does not see.
#[derive(Debug)]
pub struct Ring {
    events: MapHandle,
    /// Ends of connections that found no room there. Read after the others: everything else about
    /// such a connection was reported before.
    closings: MapHandle,
    waker: Waker,
}

/// Wakes a reader from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// From now on [`Reader::wait`] does not wait any more.
    pub fn wake(&self) {
        // It fails where the number has reached its end: then it was woken before.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

impl Ring {
    pub(super) fn new(events: MapHandle, closings: MapHandle) -> libbpf_rs::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let waker = eventfd(0, flags).map_err(io::Error::from)?;
        Ok(Self { events, closings, waker: Waker(Arc::new(waker)) })
    }

    /// Wakes the reader.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Hands every record to `sink`, in the order in which the kernel reserved them.
    ///
    /// # Errors
    ///
    /// The ring buffer cannot be mapped.
    pub fn reader<'sink>(
        &self,
        sink: impl FnMut(&Record<'_>) + 'sink,
    ) -> Result<Reader<'sink>, Error> {
        let sink = Rc::new(RefCell::new(sink));
        let other_sink = Rc::clone(&sink);
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&self.events, move |record| hand_to(&mut *sink.borrow_mut(), record))
            .and_then(|builder| {
                builder.add(&self.closings, move |record| {
                    hand_to(&mut *other_sink.borrow_mut(), record)
                })
            })
            .and_then(|builder| std::mem::take(builder).build())
            .map(|ring| Reader { ring, waker: self.waker() })
            .map_err(|error| Error::Other(format!("failed to map the ring buffer: {error}")))
    }
}

/// Hands one record to `sink`. Returns the value that makes libbpf go on.
fn hand_to(sink: &mut impl FnMut(&Record<'_>), record: &[u8]) -> i32 {
    match wire::record(record) {
        Some(record) => sink(&record),
        None => {
            tracing::error!("a record of {} bytes is of no kind that wstap knows", record.len())
        }
    }
    0
}

/// Reads the ring buffer.
#[derive(Debug)]
pub struct Reader<'sink> {
    ring: RingBuffer<'sink>,
    waker: Waker,
}

/// Records handed out before [`Reader::read`] returns, so that its caller can read the clock.
const BATCH: usize = 4096;

impl Reader<'_> {
    /// Hands out what is there, at most a batch. `true` if there may be more.
    pub fn read(&self) -> bool {
        self.ring.consume_raw_n(BATCH) >= BATCH as i32
    }

    /// Waits until the kernel side asks to be read, until it was woken by a [`Waker`], or until
    /// `timeout` has passed.
    pub fn wait(&self, timeout: Duration) {
        // SAFETY: libbpf keeps the descriptor open as long as the ring buffer lives.
        let ring = unsafe { BorrowedFd::borrow_raw(self.ring.epoll_fd()) };
        let mut fds = [
            PollFd::from_borrowed_fd(ring, PollFlags::IN),
            PollFd::from_borrowed_fd(self.waker.0.as_fd(), PollFlags::IN),
        ];
        let timeout = Timespec::try_from(timeout).ok();
        // A signal ends the wait early, which does no harm.
        let _ = poll(&mut fds, timeout.as_ref());
    }
}
