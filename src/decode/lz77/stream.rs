//! What the calls on one stream of zlib have shown.

use std::collections::VecDeque;

use super::digest::Digest;
use super::vote::Vote;
use crate::event::Direction;
use crate::event::zlib::{INPUT_BYTES, RawStream, TAIL_BYTES, WINDOW_BYTES, Window};

/// Calls that are kept, the first of which has its window.
const CALLS_MAX: usize = 48;

/// Calls from one window that is kept to the next but one: two bursts of messages should fit between.
const SPAN: usize = 24;

/// How long a stream counts as used after a call.
const IN_USE_NS: u64 = 5_000_000_000;

/// One stream, from a call on whose window is known.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) calls: VecDeque<Call>,
    /// The direction that seems to go through it.
    pub(super) vote: Vote<u64>,
    /// The thread of a call to `deflate` whose message has not been seen yet.
    pub(super) outstanding: Option<u32>,
    /// The next window is to be kept, however many there are.
    pub(super) needs_window: bool,
    /// A direction of a connection has it.
    pub(super) is_taken: bool,
    /// The latest call, which need not be kept: when it was, and how many bytes of DEFLATE had passed.
    pub(super) latest: Option<(u64, u64)>,
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
    /// All that the stream may refer to, of some of the calls that showed it,
    pub(super) window: Option<History>,
    /// and of all of them in short.
    pub(super) digest: Option<Digest>,
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
        let window = look.window.as_ref().map(History::new);
        Self {
            at_ns,
            compressed,
            plain,
            input_len: look.input_len,
            input: look.input[..look.input.len().min(INPUT_BYTES)].into(),
            tail: last(look.tail, TAIL_BYTES).into(),
            digest: window.as_ref().map(|it| Digest::of(&it.bytes)),
            window,
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
    /// Where memory is short (`is_full`), no window is kept any more, and fewer calls are.
    pub(super) fn call(&mut self, mut call: Call, is_full: bool) {
        self.latest = Some((call.at_ns, call.compressed));
        let most = if is_full { CALLS_MAX / 4 } else { CALLS_MAX };
        if is_full {
            call.window = None;
        }
        if self.calls.back().is_some_and(|last| call.compressed < last.compressed) {
            // Another stream at the same address.
            self.calls.clear();
            self.vote = Vote::default();
        }
        if self.calls.is_empty() && call.window.is_none() {
            return;
        }
        while self.calls.len() >= most {
            self.forget_oldest();
        }
        let is_second = self.calls.iter().filter(|it| it.window.is_some()).count() > 1;
        if call.window.is_some() && is_second {
            if self.calls.len() >= SPAN || self.needs_window {
                self.forget_oldest();
            } else {
                call.window = None;
            }
        }
        self.needs_window &= call.window.is_none();
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

    /// It was called a short time ago.
    pub(super) fn is_in_use(&self, now_ns: u64) -> bool {
        self.calls.back().is_some_and(|it| it.at_ns.saturating_add(IN_USE_NS) > now_ns)
    }

    /// Too little is known of it to say whose it is: no proof is possible before the second window. It
    /// may be that of a direction on which `passed` bytes of DEFLATE have passed since `since_ns`.
    pub(super) fn may_yet_be(&self, since_ns: u64, passed: u64) -> bool {
        let windows = self.calls.iter().filter(|it| it.digest.is_some()).count();
        let is_possible = |(at_ns, compressed)| at_ns >= since_ns && compressed >= passed;
        windows < 2 && self.latest.is_some_and(is_possible)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let windows = self.calls.iter().filter_map(|call| call.window.as_ref());
        let windows: usize = windows.map(|window| window.bytes.len()).sum();
        windows + self.calls.len() * (INPUT_BYTES + TAIL_BYTES)
    }

    /// The place of the call before which `compressed` bytes of DEFLATE had passed, if it was seen.
    pub(super) fn call_at(&self, compressed: u64) -> Option<usize> {
        let at = self.calls.partition_point(|call| call.compressed < compressed);
        self.calls.get(at).is_some_and(|call| call.compressed == compressed).then_some(at)
    }
}
