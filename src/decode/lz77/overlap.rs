//! Whether the messages of a direction and the calls on a stream agree wherever both were seen, not
//! only where a proof begins and ends.
//!
//! Connections that say much the same have the same compressed bytes for some messages in a row, and
//! differ before and behind them. A stream that does not go on as the direction does is not its own.
//! That can be said only where no call was missed: what the kernel side could not report it counts,
//! and each call says how many those were.

use std::collections::VecDeque;

use super::pairs::{REST_NS, begins_with, beside, is_after_rest, wire_bytes};
use super::sample::Sample;
use super::stream::{Call, Stream};
use crate::event::Direction;

/// How the messages and the calls agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// Wherever both were seen.
    Whole,
    /// Where they do not, calls were missed.
    Unsure,
    /// Not at all: the stream is not that of the direction, or the messages are not beside their calls.
    None,
}

/// A way to put messages beside calls: the first message begins where `start` bytes of DEFLATE had
/// passed on the stream.
pub(super) struct Way<'a> {
    pub(super) stream: &'a Stream,
    pub(super) samples: &'a VecDeque<Sample>,
    pub(super) direction: Direction,
    pub(super) start: u64,
    /// Calls that were missed up to now, on any stream.
    pub(super) missed: u32,
}

/// Whether nothing that was seen speaks against it that the direction goes through the stream. Windows
/// are not needed for that.
pub(super) fn may_be(
    stream: &Stream,
    samples: &VecDeque<Sample>,
    direction: Direction,
    missed: u32,
) -> bool {
    let (Some(first), Some(last)) = (samples.front(), samples.back()) else { return true };
    if stream.latest_ns < first.at_ns {
        return false;
    }
    if stream.calls.back().is_none_or(|it| it.missed != missed) {
        return true;
    }
    // What has passed on the stream when the latest message begins that has its call by now.
    let mut passed: u64 = samples.iter().map(|it| wire_bytes(&it.payload)).sum();
    for sample in samples.iter().rev() {
        passed -= wire_bytes(&sample.payload);
        let start = |call: &Call| call.compressed.wrapping_sub(passed);
        let way = |call| Way { stream, samples, direction, start: start(call), missed };
        if stream.calls.iter().map(way).any(|it| it.is_possible()) {
            return true;
        }
        let may_come = last.at_ns.saturating_sub(sample.at_ns) < REST_NS;
        if direction == Direction::Sent || !may_come {
            return false;
        }
    }
    true
}

impl Way<'_> {
    /// Nothing speaks against it.
    fn is_possible(&self) -> bool {
        self.agreement() != Agreement::None && !self.is_refuted()
    }

    /// A window of the stream shows that it is another one.
    fn is_refuted(&self) -> bool {
        let mut at = self.start;
        for message in 0..self.samples.len() {
            if let Some(call) = self.stream.call_at(at)
                && let Some(window) = &self.stream.calls[call].window
                && let Some(pairs) =
                    beside(self.stream, call, self.samples, message, self.direction)
                && pairs.follow(window).is_none()
            {
                return true;
            }
            at = at.wrapping_add(wire_bytes(&self.samples[message].payload));
        }
        false
    }

    /// Compares every message with its call.
    pub(super) fn agreement(&self) -> Agreement {
        let mut agreement = Agreement::Whole;
        let mut at = self.start;
        for message in 0..self.samples.len() {
            match self.of_message(message, at) {
                Agreement::Whole => {}
                Agreement::Unsure => agreement = Agreement::Unsure,
                Agreement::None => return Agreement::None,
            }
            at = at.wrapping_add(wire_bytes(&self.samples[message].payload));
        }
        match self.of_next_message(at) {
            Agreement::Whole => agreement,
            other => other,
        }
    }

    /// Compares the message that will come next, before which `at` bytes will have passed, with its call.
    fn of_next_message(&self, at: u64) -> Agreement {
        let (calls, last) = (&self.stream.calls, self.samples.back());
        let (Some(first), Some(latest), Some(last)) = (calls.front(), calls.back(), last) else {
            return Agreement::Unsure;
        };
        if (at.wrapping_sub(first.compressed) as i64) < 0 || at > latest.compressed {
            return Agreement::Whole;
        }
        let Some(call) = self.stream.call_at(at) else { return self.of_gap(at) };
        let waits_inside = self.direction == Direction::Sent && last.at_ns > calls[call].at_ns;
        if waits_inside && self.comes_after_rest(call) { Agreement::None } else { Agreement::Whole }
    }

    /// Nothing happened for a while before the call. A process that has time to rest has no message
    /// that waits inside.
    fn comes_after_rest(&self, call: usize) -> bool {
        let called_ns = self.stream.calls[call].at_ns;
        let before = call.checked_sub(1).and_then(|it| self.stream.calls.get(it));
        let Some(before) = before else { return false };
        let passed = self.samples.iter().map(|it| it.at_ns).filter(|&it| it < called_ns).max();
        called_ns.saturating_sub(before.at_ns.max(passed.unwrap_or(0))) >= REST_NS
    }

    /// Compares a message, before which `at` bytes had passed, with its call.
    fn of_message(&self, message: usize, at: u64) -> Agreement {
        let calls = &self.stream.calls;
        let (Some(first), Some(last)) = (calls.front(), calls.back()) else {
            return Agreement::Unsure;
        };
        // The start may lie before the first byte of the stream, as it were: then it wraps.
        let from_first = at.wrapping_sub(first.compressed) as i64;
        if from_first < 0 {
            return Agreement::Whole;
        }
        if at > last.compressed {
            return self.of_message_behind(message, last);
        }
        let Some(call) = self.stream.call_at(at) else { return self.of_gap(at) };
        let is_input = self.direction == Direction::Sent
            || begins_with(&calls[call], &self.samples[message].payload);
        let is_in_time =
            || is_after_rest(self.stream, call, self.samples, message, self.direction).is_some();
        if is_input && is_in_time() { Agreement::Whole } else { Agreement::None }
    }

    /// No call was seen for a message, though some were before it and behind it.
    fn of_gap(&self, at: u64) -> Agreement {
        let calls = &self.stream.calls;
        let behind = calls.partition_point(|it| it.compressed < at);
        let around = behind.checked_sub(1).and_then(|it| calls.get(it)).zip(calls.get(behind));
        if around.is_some_and(|(one, next)| one.missed == next.missed) {
            Agreement::None
        } else {
            Agreement::Unsure
        }
    }

    /// No call was seen for a message since the `last` one on the stream. One that was read may have its
    /// call still before it, but not across a rest.
    fn of_message_behind(&self, message: usize, last: &Call) -> Agreement {
        let (Some(sample), Some(latest)) = (self.samples.get(message), self.samples.back()) else {
            return Agreement::Unsure;
        };
        let may_come = latest.at_ns.saturating_sub(sample.at_ns) < REST_NS;
        if self.direction == Direction::Received && may_come {
            return Agreement::Whole;
        }
        if self.missed == last.missed { Agreement::None } else { Agreement::Unsure }
    }
}
