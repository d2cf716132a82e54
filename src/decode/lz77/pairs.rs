//! Messages of a direction beside the calls on a stream that they seem to have been for, and what
//! inflating them shows. Whether that is enough to be believed is left to `walk`.

use std::collections::VecDeque;

use super::digest::Digest;
use super::sample::Sample;
use super::stream::{Call, History, Stream};
use crate::decode::message::inflate::{Fault, Inflater, TRAILER};
use crate::event::Direction;
use crate::event::zlib::INPUT_BYTES;

/// How long nothing must have happened before a message and its call, in nanoseconds, for them to
/// belong together beyond doubt. Messages that are much alike have the same compressed bytes, so that
/// those of a while ago look like those of now, and a process may have some that wait in between.
/// One that has time to rest has none. Those that come in a burst behind the first one are told by it.
pub(super) const REST_NS: u64 = 2_000_000;

/// Messages, and the calls that they seem to have been for.
pub(super) struct Pairs<'a> {
    samples: &'a VecDeque<Sample>,
    direction: Direction,
    /// The place of the first message among the samples.
    pub(super) first: usize,
    /// One for each message, and the one after them.
    pub(super) calls: Vec<&'a Call>,
    /// Messages that came after a rest.
    pub(super) rested: usize,
}

/// Puts the samples from `first` on beside the calls from the one at `from` on. `None` if anything
/// speaks against it that can be seen without inflating.
pub(super) fn beside<'a>(
    stream: &'a Stream,
    from: usize,
    samples: &'a VecDeque<Sample>,
    first: usize,
    direction: Direction,
) -> Option<Pairs<'a>> {
    let (mut at, mut message, mut rested) = (from, first, 0);
    let mut calls = vec![stream.calls.get(at)?];
    while let Some(Sample { payload, .. }) = samples.get(message)
        && let Some(next) = after(stream, at, payload, direction)
    {
        rested += usize::from(is_after_rest(stream, at, samples, message, direction)?);
        calls.push(stream.calls.get(next)?);
        (at, message) = (next, message + 1);
    }
    // What comes next was begun, and must not contradict.
    if let Some(sample) = samples.get(message)
        && direction == Direction::Received
        && !begins_with(calls.last()?, &sample.payload)
    {
        return None;
    }
    Some(Pairs { samples, direction, first, calls, rested })
}

impl Pairs<'_> {
    pub(super) fn count(&self) -> usize {
        self.calls.len() - 1
    }

    /// Inflates the messages behind `window`. Returns the state behind the last one, and how many bytes of
    /// plaintext the process's own windows have shown. `None` if anything contradicts.
    pub(super) fn follow(&self, window: &History) -> Option<(Box<Inflater>, usize)> {
        let mut inflater = Box::new(Inflater::with_history(&window.bytes)?);
        let mut seen = 0;
        let samples = self.samples.range(self.first..self.first + self.count());
        for (pair, sample) in self.calls.windows(2).zip(samples) {
            let [call, next] = pair else { return None };
            seen += step(&mut inflater, call, next, &sample.payload, self.direction)?;
            if next.digest.is_some_and(|it| !holds(&inflater, it)) {
                return None;
            }
        }
        Some((inflater, seen))
    }
}

/// Whether the inflater's plaintext ends with a window of the process, in full.
fn holds(inflater: &Inflater, window: Digest) -> bool {
    inflater.last(window.length).is_some_and(|it| Digest::of(&it) == window)
}

/// Whether a message and its call come after a rest. `None` where they cannot be each other's: zlib is
/// called after a message was read and before one is written, and the first message after a rest
/// belongs to the first call after it.
pub(super) fn is_after_rest(
    stream: &Stream,
    call: usize,
    samples: &VecDeque<Sample>,
    message: usize,
    direction: Direction,
) -> Option<bool> {
    let message_at = |at: usize| samples.get(at).map(|it| it.at_ns);
    let call_at = |at: usize| stream.calls.get(at).map(|it| it.at_ns);
    let missed_before = |at: usize| stream.calls.get(at).map(|it| it.missed);
    let (passed_ns, called_ns) = (message_at(message)?, call_at(call)?);
    let (from_ns, to_ns) = match direction {
        Direction::Received => (passed_ns, called_ns),
        Direction::Sent => (called_ns, passed_ns),
    };
    if to_ns < from_ns {
        return None;
    }
    // What happened last before it, on either side.
    let earlier = |at: &usize, time: &dyn Fn(usize) -> Option<u64>| {
        (0..*at).rev().find(|&at| time(at).is_some_and(|it| it < from_ns))
    };
    let (earlier_message, earlier_call) =
        (earlier(&message, &message_at), earlier(&call, &call_at));
    let (Some(last_message), Some(last_call)) = (earlier_message, earlier_call) else {
        return Some(false);
    };
    let last_ns = message_at(last_message).max(call_at(last_call))?;
    if from_ns - last_ns < REST_NS {
        return Some(false);
    }
    let (is_first_message, is_first_call) = (last_message + 1 == message, last_call + 1 == call);
    if is_first_call && missed_before(call)? != missed_before(last_call)? {
        // The first call after the rest may be one of those that were missed.
        return Some(false);
    }
    let (is_first, is_own) = match direction {
        Direction::Received => (is_first_message, is_first_call),
        Direction::Sent => (is_first_call, is_first_message),
    };
    if is_first && !is_own { None } else { Some(is_first) }
}

/// Bytes of DEFLATE that a message is to zlib.
pub(super) fn wire_bytes(sample: &[u8]) -> u64 {
    (sample.len() + TRAILER.len()) as u64
}

/// The place of the call that comes after the one for this message, where what can be seen at once
/// agrees.
fn after(stream: &Stream, call: usize, sample: &[u8], direction: Direction) -> Option<usize> {
    let call = stream.calls.get(call)?;
    if direction == Direction::Received && !begins_with(call, sample) {
        return None;
    }
    stream.call_at(call.compressed.checked_add(wire_bytes(sample))?)
}

/// Whether the input of a call of `inflate` is this message, or its beginning.
pub(super) fn begins_with(call: &Call, sample: &[u8]) -> bool {
    let whole = || sample.iter().chain(&TRAILER);
    !call.input.is_empty()
        && call.input_len <= wire_bytes(sample)
        && whole().zip(&call.input).all(|(a, b)| a == b)
}

/// Inflates one message. Returns how many of its bytes the process's own window shows with the
/// `next` call; `None` if anything contradicts.
fn step(
    inflater: &mut Inflater,
    call: &Call,
    next: &Call,
    sample: &[u8],
    direction: Direction,
) -> Option<usize> {
    let length = next.plain.checked_sub(call.plain)?;
    if direction == Direction::Sent && length != call.input_len {
        return None;
    }
    let mut plain = Plain { length: 0, limit: length, beginning: Vec::new() };
    plain.inflate(inflater, sample).ok()?;
    let is_what_was_deflated =
        || call.input.len() as u64 <= length && plain.beginning.starts_with(&call.input);
    if plain.length != length || (direction == Direction::Sent && !is_what_was_deflated()) {
        return None;
    }
    if !inflater.ends_with(&next.tail) {
        return None;
    }
    Some(usize::try_from(length).unwrap_or(usize::MAX).min(next.tail.len()))
}

/// Inflates one message that nobody reads: it only moves the window on.
pub(super) fn pass(inflater: &mut Inflater, sample: &[u8], limit: u64) -> Result<(), Fault> {
    Plain { length: 0, limit, beginning: Vec::new() }.inflate(inflater, sample)
}

/// What is kept of an inflated message.
struct Plain {
    length: u64,
    limit: u64,
    beginning: Vec<u8>,
}

/// Plaintext is counted in pieces of this size.
const PIECE: usize = 16 << 10;

impl Plain {
    fn inflate(&mut self, inflater: &mut Inflater, sample: &[u8]) -> Result<(), Fault> {
        let input = [sample, &TRAILER].concat();
        let mut out = Vec::with_capacity(PIECE);
        inflater.inflate(&input, TRAILER.len(), &mut out, &mut |piece| self.take(piece))?;
        self.take(&out)
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let room = INPUT_BYTES - self.beginning.len().min(INPUT_BYTES);
        self.beginning.extend_from_slice(&piece[..piece.len().min(room)]);
        self.length += piece.len() as u64;
        if self.length > self.limit { Err(Fault::TooBig) } else { Ok(()) }
    }
}
