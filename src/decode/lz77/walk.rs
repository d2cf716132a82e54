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

use super::overlap::{Agreement, Way};
use super::pairs::{Pairs, begins_with, beside, wire_bytes};
use super::sample::Sample;
use super::stream::{History, Stream};
use crate::decode::message::inflate::Inflater;
use crate::event::Direction;

/// Messages that must have been inflated and then seen in the process's own window.
const LOOKS: usize = 2;

/// Bytes of plaintext that must have been seen there.
const SEEN_BYTES: usize = 24;

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

impl Pairs<'_> {
    /// Whether they may be enough to be believed, by what can be seen without inflating.
    fn may_be_enough(&self) -> bool {
        let has_second_window = self.calls.iter().skip(1).any(|it| it.digest.is_some());
        self.count() >= LOOKS && self.rested >= RESTED && has_second_window
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
