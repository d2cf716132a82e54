//! One direction of a connection that waits for its window, and the messages that passed meanwhile.

use std::collections::VecDeque;

use super::pairs;
use super::sample::Sample;
use super::vote::{Key, Vote};
use crate::decode::message::inflate::Inflater;
use crate::event::{Direction, Stamp};

/// Messages that are kept for a proof.
const SAMPLES_MAX: usize = 48;

/// Messages, and nanoseconds, after both of which a direction waits no longer.
const PATIENCE: u32 = 64;
const PATIENCE_NS: u64 = 20_000_000_000;

/// Each time that so many messages have passed, what was decided about other directions is doubted.
const RECONSIDER: u32 = 24;

/// A direction that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) direction: Direction,
    /// Its latest messages as they were compressed, one after the other.
    pub(super) samples: VecDeque<Sample>,
    /// The stream that it seems to go through, and how often in a row.
    pub(super) vote: Vote<Key>,
    /// Streams that were in the way of a proof when it was tried last.
    pub(super) held_by: Vec<Key>,
    /// Messages since it began to wait.
    messages: u32,
    since_ns: u64,
    /// Its window goes up to the last message that has passed.
    pub(super) ready: Option<Box<Inflater>>,
}

impl Waiting {
    pub(super) fn new(direction: Direction, since_ns: u64) -> Self {
        Self {
            direction,
            samples: VecDeque::new(),
            vote: Vote::default(),
            held_by: Vec::new(),
            messages: 0,
            since_ns,
            ready: None,
        }
    }

    /// It is not worth while to wait longer.
    pub(super) fn has_waited_in_vain(&self, now_ns: u64) -> bool {
        self.ready.is_none()
            && self.messages >= PATIENCE
            && now_ns.saturating_sub(self.since_ns) >= PATIENCE_NS
    }

    /// It has waited for so many messages that something may have gone wrong.
    pub(super) fn is_to_be_reconsidered(&self) -> bool {
        self.ready.is_none() && self.messages > 0 && self.messages.is_multiple_of(RECONSIDER)
    }

    /// One more message has passed. `limit` bounds what it may inflate to.
    pub(super) fn message(&mut self, payload: Vec<u8>, stamp: Stamp, limit: u64) {
        self.messages = self.messages.saturating_add(1);
        if let Some(inflater) = &mut self.ready {
            if pairs::pass(inflater, &payload, limit).is_err() {
                self.ready = None;
            }
            return;
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        let Stamp { at_ns, tid } = stamp;
        self.samples.push_back(Sample { payload, at_ns, tid, is_done: false });
    }

    /// A message has passed that is not here: nothing before it helps any more. True if a window was
    /// proven already.
    pub(super) fn hole(&mut self) -> bool {
        self.samples.clear();
        self.vote = Vote::default();
        self.ready.take().is_some()
    }

    /// The first message that zlib has not been called for and that `is` the one.
    pub(super) fn outstanding(&self, is: impl Fn(&[u8]) -> bool) -> Option<usize> {
        self.samples.iter().position(|it| !it.is_done && is(&it.payload))
    }

    /// zlib was called for this message, so for all before it, too.
    pub(super) fn has_done(&mut self, message: usize) {
        self.samples.iter_mut().take(message + 1).for_each(|it| it.is_done = true);
    }

    /// The window is proven as it was behind the first `done` of the samples.
    pub(super) fn prove(&mut self, mut inflater: Box<Inflater>, done: usize, limit: u64) {
        let rest = self.samples.iter().skip(done);
        let passed =
            rest.into_iter().all(|it| pairs::pass(&mut inflater, &it.payload, limit).is_ok());
        self.samples.clear();
        self.ready = passed.then_some(inflater);
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.samples.iter().map(|it| it.payload.capacity()).sum()
    }
}
