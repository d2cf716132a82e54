//! The proof that a stream of zlib is the one that a direction of a connection goes through.
//!
//! A window alone proves nothing: DEFLATE inflates with a wrong one, too, into other bytes. So
//! messages are inflated with it, and everything that zlib itself shows at the calls for the same
//! messages must agree: the bytes of the input, how many bytes went in and out, and, with the second
//! look, the plaintext at the end of the process's own window. A second window, seen some messages
//! later, must be in full what the inflater holds by then. There must be one way only to put messages
//! and calls beside each other, in which each call lies in time where its message does, and nothing
//! else in between.

use std::collections::VecDeque;
use std::ops::Range;

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
/// One that has time to rest has none.
const REST_NS: u64 = 2_000_000;

/// Messages of a walk that must have come after such a rest.
const RESTED: usize = 2;

/// How far the messages of a direction could be followed along a stream.
#[derive(Debug)]
pub(super) struct Walk {
    /// Its history ends with the last of `messages`.
    pub(super) inflater: Box<Inflater>,
    /// The messages, by their place among the samples.
    pub(super) messages: Range<usize>,
    /// How far back the stream may refer.
    pub(super) window_size: usize,
    /// Bytes that were inflated and then seen in the process's own window.
    seen: usize,
    /// Messages that came after a rest.
    rested: usize,
    /// All that the inflater holds was compared with a later window of the process.
    is_compared: bool,
}

impl Walk {
    /// Whether there is enough to be believed.
    fn is_proof(&self) -> bool {
        let has_passed_enough = self.messages.len() >= LOOKS && self.seen >= SEEN_BYTES;
        has_passed_enough && self.rested >= RESTED && self.is_compared
    }
}

/// Whether a stream is that of a direction.
#[derive(Debug)]
pub(super) enum Proof {
    /// Not by what has been seen so far.
    None,
    /// It may be, and in more than one way.
    Doubtful,
    /// It explains the messages, in one way.
    Sound(Walk),
}

/// Follows the compressed messages `samples` of one direction along `stream`.
pub(super) fn prove(stream: &Stream, samples: &VecDeque<Sample>, direction: Direction) -> Proof {
    if stream.calls.len() <= LOOKS || samples.len() < LOOKS {
        return Proof::None;
    }
    let mut best: Option<(u64, Walk)> = None;
    for call in &stream.calls {
        let Some(window) = &call.window else { continue };
        let mut passed = 0_u64;
        for first in 0..samples.len() {
            // The same for all ways that put the same messages beside the same calls.
            let way = call.compressed.wrapping_sub(passed);
            passed += wire_bytes(&samples[first].payload);
            let found = walk(stream, call, window, samples, first, direction);
            let Some(found) = found.filter(Walk::is_proof) else { continue };
            match &best {
                Some((known, _)) if *known != way => return Proof::Doubtful,
                Some((_, known)) if known.messages.len() >= found.messages.len() => {}
                _ => best = Some((way, found)),
            }
        }
    }
    best.map_or(Proof::None, |(_, walk)| Proof::Sound(walk))
}

/// Follows the samples from `first` on, which `call` is for, and before which the stream had this
/// window.
fn walk<'a>(
    stream: &'a Stream,
    mut call: &'a Call,
    window: &History,
    samples: &VecDeque<Sample>,
    first: usize,
    direction: Direction,
) -> Option<Walk> {
    // Most streams are turned away here, before anything is inflated.
    after(stream, call, &samples.get(first)?.payload, direction)?;
    let inflater = Box::new(Inflater::with_history(&window.bytes)?);
    let window_size = window.size;
    let messages = first..first;
    let mut walk = Walk { inflater, messages, window_size, seen: 0, rested: 0, is_compared: false };
    while let Some(Sample { payload, .. }) = samples.get(walk.messages.end)
        && let Some(next) = after(stream, call, payload, direction)
    {
        let is_rested = is_together(stream, call, samples, walk.messages.end, direction)?;
        walk.rested += usize::from(is_rested);
        walk.seen += step(&mut walk.inflater, call, next, payload, direction)?;
        walk.messages.end += 1;
        if let Some(window) = &next.window {
            if !walk.inflater.ends_with(&window.bytes) {
                return None;
            }
            walk.is_compared = true;
        }
        call = next;
    }
    // What comes next was begun, and must not contradict.
    if let Some(sample) = samples.get(walk.messages.end)
        && direction == Direction::Received
        && !begins_with(call, &sample.payload)
    {
        return None;
    }
    Some(walk)
}

/// Whether a message and its call come after a rest. `None` where they cannot be each other's: zlib is
/// called after a message was read and before one is written, and nothing else lies in between.
fn is_together(
    stream: &Stream,
    call: &Call,
    samples: &VecDeque<Sample>,
    message: usize,
    direction: Direction,
) -> Option<bool> {
    let passed_ns = samples.get(message)?.at_ns;
    let (from_ns, to_ns) = match direction {
        Direction::Received => (passed_ns, call.at_ns),
        Direction::Sent => (call.at_ns, passed_ns),
    };
    let others = || {
        let messages = samples.iter().enumerate().filter(|&(at, _)| at != message);
        let calls = stream.calls.iter().filter(|it| it.compressed != call.compressed);
        messages.map(|(_, it)| it.at_ns).chain(calls.map(|it| it.at_ns))
    };
    if to_ns < from_ns || others().any(|at_ns| at_ns >= from_ns && at_ns <= to_ns) {
        return None;
    }
    let before = others().filter(|&at_ns| at_ns < from_ns).max();
    Some(before.is_some_and(|at_ns| from_ns - at_ns >= REST_NS))
}

/// Bytes of DEFLATE that a message is to zlib.
fn wire_bytes(sample: &[u8]) -> u64 {
    (sample.len() + TRAILER.len()) as u64
}

/// The call that comes after the one for this message, where what can be seen at once agrees.
fn after<'a>(
    stream: &'a Stream,
    call: &Call,
    sample: &[u8],
    direction: Direction,
) -> Option<&'a Call> {
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
