//! The proof that a stream of zlib is the one that a direction of a connection goes through.
//!
//! A window alone proves nothing: DEFLATE inflates with a wrong one, too, into other bytes. So
//! messages are inflated with it, and everything that zlib itself shows at the calls for the same
//! messages must agree: the bytes of the input, how many bytes went in and out, and, with the second
//! look, the plaintext at the end of the process's own window. A second window, seen some messages
//! later, must be in full what the inflater holds by then. There must be one way only to put messages
//! and calls beside each other, in which each call lies in time where its message does: the first
//! message after a rest belongs to the first call after it.

use std::collections::VecDeque;
use std::ops::Range;

use super::digest::Digest;
use super::overlap::{Agreement, Way};
use super::sample::Sample;
use super::stream::{Call, History, Stream};
use crate::decode::message::inflate::{Fault, Inflater, TRAILER};
use crate::event::Direction;
use crate::event::zlib::INPUT_BYTES;

/// Messages that must have been inflated and then seen in the process's own window.
const LOOKS: usize = 2;

/// Bytes of plaintext that must have been seen there.
const SEEN_BYTES: usize = 24;

/// How long nothing must have happened before a message and its call, in nanoseconds, for them to
/// belong together beyond doubt. Messages that are much alike have the same compressed bytes, so that
/// those of a while ago look like those of now, and a process may have some that wait in between.
/// One that has time to rest has none. Those that come in a burst behind the first one are told by it.
pub(super) const REST_NS: u64 = 2_000_000;

/// Messages of a walk that must have come after such a rest.
const RESTED: usize = 2;

/// With so many of them there is no doubt left: each lies in time where its call does, and has its length.
const RESTED_FOR_CERTAIN: usize = 8;

/// How far the messages of a direction could be followed along a stream.
#[derive(Debug)]
pub(super) struct Walk {
    /// Its history ends with the last of `messages`.
    pub(super) inflater: Box<Inflater>,
    /// The messages, by their place among the samples.
    pub(super) messages: Range<usize>,
    /// How far back the stream may refer.
    pub(super) window_size: usize,
    /// Calls that had been missed when it began, on any stream.
    pub(super) missed: u32,
    /// Nothing that was taken for a sign of another stream can outweigh it.
    pub(super) is_certain: bool,
}

/// Whether a stream is that of a direction.
#[derive(Debug)]
pub(super) enum Proof {
    /// It is not, or not enough is known of it.
    None,
    /// It may be, and in more than one way.
    Doubtful,
    /// It explains the messages, in one way.
    Sound(Walk),
}

/// Follows the compressed messages `samples` of one direction along `stream`.
pub(super) fn prove(
    stream: &Stream,
    samples: &VecDeque<Sample>,
    direction: Direction,
    missed: u32,
) -> Proof {
    if stream.calls.len() <= LOOKS || samples.len() < LOOKS {
        return Proof::None;
    }
    let mut best: Option<(u64, Walk)> = None;
    for (from, call) in stream.calls.iter().enumerate() {
        let Some(window) = &call.window else { continue };
        let mut passed = 0_u64;
        for first in 0..samples.len() {
            // The same for all ways that put the same messages beside the same calls.
            let way = call.compressed.wrapping_sub(passed);
            passed += wire_bytes(&samples[first].payload);
            let Some(pairs) = beside(stream, from, samples, first, direction) else { continue };
            if !pairs.may_be_enough() {
                continue;
            }
            let agreement = Way { stream, samples, direction, start: way, missed }.agreement();
            if agreement == Agreement::None {
                continue;
            }
            let Some((inflater, seen)) = pairs.follow(window) else { continue };
            let Some(found) = pairs.walk(inflater, seen, window) else { continue };
            if agreement == Agreement::Unsure {
                return Proof::Doubtful;
            }
            match &best {
                Some((known, _)) if *known != way => return Proof::Doubtful,
                Some((_, known)) if known.messages.len() >= found.messages.len() => {}
                _ => best = Some((way, found)),
            }
        }
    }
    best.map_or(Proof::None, |(_, walk)| Proof::Sound(walk))
}

/// Whether it is worth while to try a proof: the last message of the stream may be one of these. What is
/// not worth while now may be so with a later call.
pub(super) fn is_promising(
    stream: &Stream,
    samples: &VecDeque<Sample>,
    direction: Direction,
) -> bool {
    let windows = stream.calls.iter().filter(|it| it.digest.is_some()).count();
    let Some(before) = stream.calls.len().checked_sub(2).and_then(|at| stream.calls.get(at)) else {
        return false;
    };
    let Some(last) = stream.calls.back() else { return false };
    let length = last.compressed.wrapping_sub(before.compressed);
    let may_be = |it: &Sample| match direction {
        Direction::Received => begins_with(before, &it.payload),
        Direction::Sent => wire_bytes(&it.payload) == length,
    };
    windows > 1 && samples.iter().rev().any(may_be)
}

/// Messages, and the calls that they seem to have been for.
pub(super) struct Pairs<'a> {
    samples: &'a VecDeque<Sample>,
    direction: Direction,
    /// The place of the first message among the samples.
    first: usize,
    /// One for each message, and the one after them.
    calls: Vec<&'a Call>,
    /// Messages that came after a rest.
    rested: usize,
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
    fn count(&self) -> usize {
        self.calls.len() - 1
    }

    /// Whether they may be enough to be believed, by what can be seen without inflating.
    fn may_be_enough(&self) -> bool {
        let has_second_window = self.calls.iter().skip(1).any(|it| it.digest.is_some());
        self.count() >= LOOKS && self.rested >= RESTED && has_second_window
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

    /// What was followed, if that is enough to be believed.
    fn walk(&self, inflater: Box<Inflater>, seen: usize, window: &History) -> Option<Walk> {
        let messages = self.first..self.first + self.count();
        let is_certain = self.rested >= RESTED_FOR_CERTAIN;
        let missed = self.calls.first()?.missed;
        let walk = Walk { inflater, messages, window_size: window.size, missed, is_certain };
        (self.may_be_enough() && seen >= SEEN_BYTES).then_some(walk)
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
