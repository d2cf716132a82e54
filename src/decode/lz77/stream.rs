//! What the calls on one stream of zlib have shown.

use std::collections::VecDeque;

use super::vote::Vote;
use crate::event::Direction;
use crate::event::zlib::{INPUT_BYTES, RawStream, TAIL_BYTES, WINDOW_BYTES, Window};

/// Calls that are kept, the first of which has its window.
const CALLS_MAX: usize = 24;

/// Windows that are kept.
const WINDOWS_MAX: usize = 4;

/// One stream, from a call on whose window is known.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) calls: VecDeque<Call>,
    /// The direction that seems to go through it.
    pub(super) vote: Vote<u64>,
    /// The thread of a call to `deflate` whose message has not been seen yet.
    pub(super) outstanding: Option<u32>,
    /// A direction of a connection has it.
    pub(super) is_taken: bool,
}

/// One call, and how much of both sides of the stream had passed before it.
#[derive(Debug)]
pub(super) struct Call {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub(super) at_ns: u64,
    /// Bytes of DEFLATE.
    pub(super) compressed: u64,
    /// Bytes of plaintext.
    pub(super) plain: u64,
    pub(super) input_len: u64,
    pub(super) input: Box<[u8]>,
    /// The last of the plaintext.
    pub(super) tail: Box<[u8]>,
    pub(super) window: Option<History>,
}

/// All plaintext that a stream may refer to.
#[derive(Debug)]
pub(super) struct History {
    pub(super) bytes: Box<[u8]>,
    /// How far back it may refer.
    pub(super) size: usize,
}

impl Call {
    pub(super) fn new(look: &RawStream<'_>, direction: Direction, at_ns: u64) -> Self {
        let (compressed, plain) = match direction {
            Direction::Received => (look.total_in, look.total_out),
            Direction::Sent => (look.total_out, look.total_in),
        };
        Self {
            at_ns,
            compressed,
            plain,
            input_len: look.input_len,
            input: look.input[..look.input.len().min(INPUT_BYTES)].into(),
            tail: last(look.tail, TAIL_BYTES).into(),
            window: look.window.as_ref().map(History::new),
        }
    }
}

impl History {
    fn new(window: &Window<'_>) -> Self {
        let bytes = window.pieces.map(|piece| last(piece, WINDOW_BYTES)).concat();
        Self { bytes: last(&bytes, WINDOW_BYTES).into(), size: window.size.min(WINDOW_BYTES) }
    }
}

fn last(bytes: &[u8], count: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(count)..]
}

impl Stream {
    /// Keeps a call. Calls before the first one with a window are of no use, and are not kept.
    pub(super) fn call(&mut self, call: Call) {
        if self.calls.back().is_some_and(|last| call.compressed < last.compressed) {
            // Another stream at the same address.
            self.calls.clear();
            self.vote = Vote::default();
        }
        if self.calls.is_empty() && call.window.is_none() {
            return;
        }
        let windows = self.calls.iter().filter(|it| it.window.is_some()).count();
        let too_many = call.window.is_some() && windows >= WINDOWS_MAX;
        if too_many || self.calls.len() >= CALLS_MAX {
            self.forget_oldest();
        }
        if !self.calls.is_empty() || call.window.is_some() {
            self.calls.push_back(call);
        }
    }

    /// Drops the oldest window, and the calls up to the next one.
    fn forget_oldest(&mut self) {
        self.calls.pop_front();
        while self.calls.front().is_some_and(|call| call.window.is_none()) {
            self.calls.pop_front();
        }
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let windows = self.calls.iter().filter_map(|call| call.window.as_ref());
        let windows: usize = windows.map(|window| window.bytes.len()).sum();
        windows + self.calls.len() * (INPUT_BYTES + TAIL_BYTES)
    }

    /// The call before which `compressed` bytes of DEFLATE had passed, if it was seen.
    pub(super) fn call_at(&self, compressed: u64) -> Option<&Call> {
        self.calls.iter().find(|call| call.compressed == compressed)
    }
}
