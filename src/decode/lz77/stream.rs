//! What the calls on one stream of zlib have shown.

use std::collections::VecDeque;

use super::digest::Digest;
use super::vote::Vote;
use crate::event::Direction;
use crate::event::zlib::{INPUT_BYTES, RawStream, TAIL_BYTES, WINDOW_BYTES, Window, ZlibCall};

/// Calls that are kept.
const CALLS_MAX: usize = 48;

/// Calls from one window that is kept to the next but one: two bursts of messages should fit between.
const SPAN: usize = 24;

/// How long a stream counts as used after a call.
const IN_USE_NS: u64 = 5_000_000_000;

/// One stream.
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
    /// When the latest call was, which need not be kept.
    pub(super) latest_ns: u64,
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
    /// Calls that were missed before it, on any stream.
    pub(super) missed: u32,
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
    pub(super) fn new(look: &RawStream<'_>, call: &ZlibCall<'_>) -> Self {
        let ZlibCall { direction, at_ns, missed, .. } = *call;
        let (compressed, plain) = match direction {
            Direction::Received => (look.total_in, look.total_out),
            Direction::Sent => (look.total_out, look.total_in),
        };
        let window = look.window.as_ref().map(History::new);
        Self {
            at_ns,
            missed,
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
    /// Keeps a call. Where memory is short (`is_full`), its window is not kept, and fewer calls are.
    pub(super) fn call(&mut self, mut call: Call, is_full: bool) {
        self.latest_ns = call.at_ns;
        let most = if is_full { CALLS_MAX / 4 } else { CALLS_MAX };
        if is_full {
            call.window = None;
        }
        if self.calls.back().is_some_and(|last| call.compressed < last.compressed) {
            // Another stream at the same address.
            self.calls.clear();
            self.vote = Vote::default();
        }
        while self.calls.len() >= most {
            self.calls.pop_front();
        }
        if call.window.is_some() {
            self.make_room_for_window(&mut call);
        }
        self.calls.push_back(call);
    }

    /// Two windows are kept. A third one takes the place of the oldest when that is of less use.
    fn make_room_for_window(&mut self, call: &mut Call) {
        let mut windows =
            self.calls.iter().enumerate().filter(|(_, it)| it.window.is_some()).map(|(at, _)| at);
        let (first, second) = (windows.next(), windows.next());
        let (Some(oldest), true) = (first, second.is_some()) else {
            self.needs_window = false;
            return;
        };
        if self.needs_window || self.calls.len() - oldest >= SPAN {
            self.calls[oldest].window = None;
            self.needs_window = false;
        } else {
            call.window = None;
        }
    }

    /// It was called a short time ago.
    pub(super) fn is_in_use(&self, now_ns: u64) -> bool {
        self.calls.back().is_some_and(|it| it.at_ns.saturating_add(IN_USE_NS) > now_ns)
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
