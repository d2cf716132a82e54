//! The ring buffer, and the one that reads it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use libbpf_rs::{MapHandle, RingBuffer, RingBufferBuilder};

use super::wire::{self, Record};
use crate::capture::Error;

/// The ring buffer. It has one reader: what one has read, another does not see.
#[derive(Debug)]
pub struct Ring {
    pub(super) events: MapHandle,
    /// Ends of connections that found no room there. Read after the others: everything else about
    /// such a connection was reported before.
    pub(super) closings: MapHandle,
}

impl Ring {
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
            .map(|ring| Reader { ring })
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
}

/// Records handed out before [`Reader::read`] returns, so that its caller can read the clock.
const BATCH: usize = 4096;

impl Reader<'_> {
    /// Hands out what is there, at most a batch. `true` if there may be more.
    pub fn read(&self) -> bool {
        self.ring.consume_raw_n(BATCH) >= BATCH as i32
    }

    /// Waits until the kernel side asks to be read, or `timeout` has passed.
    pub fn wait(&self, timeout: Duration) {
        self.ring.poll_raw(timeout);
    }
}
