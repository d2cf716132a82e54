//! Puts lines in order of time.
//!
//! What several threads do reaches wstap in another order than that of its times: a message that is
//! sent has the time at which its call began, and is seen when the call has ended. So each line waits
//! until something is seen that is [`DELAY_NS`] later, or until nothing comes any more. When that is,
//! observations and ticks tell, never a clock: a replay has the same order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A line comes in order if what it is about is seen no later than this after what followed it. The
/// longest thing that is late by itself is a request that expires: a tick finds it.
const DELAY_NS: i128 = 300_000_000;

/// Bytes that may wait. Beyond them the oldest lines go on before their time.
const BYTES_MAX: usize = 16 << 20;

/// Lines that wait for others which may stand before them.
#[derive(Debug, Default)]
pub(super) struct Order {
    lines: BinaryHeap<Reverse<Waiting>>,
    bytes: usize,
    /// Lines so far: those of one time stay as they came.
    count: u64,
    /// The latest time there is.
    latest_ns: i128,
    /// Something was observed since the last tick.
    is_busy: bool,
}

/// A line, ordered by time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at_ns: i128,
    number: u64,
    text: Vec<u8>,
}

impl Order {
    /// Something of this time was observed, whether it has a line or not.
    pub(super) fn observed(&mut self, at_ns: i128) {
        self.latest_ns = self.latest_ns.max(at_ns);
        self.is_busy = true;
    }

    /// Takes in a line.
    pub(super) fn push(&mut self, at_ns: i128, text: Vec<u8>) {
        self.bytes += text.len();
        self.lines.push(Reverse(Waiting { at_ns, number: self.count, text }));
        self.count += 1;
    }

    /// It is so late now. What was seen last stands for the time as long as something comes, because
    /// more may wait to be seen.
    pub(super) fn tick(&mut self, now_ns: i128) {
        if !std::mem::take(&mut self.is_busy) {
            self.latest_ns = self.latest_ns.max(now_ns);
        }
    }

    /// The next line that nothing can precede any more.
    pub(super) fn pop_due(&mut self) -> Option<Vec<u8>> {
        let Reverse(first) = self.lines.peek()?;
        let is_due = self.latest_ns.saturating_sub(first.at_ns) >= DELAY_NS;
        if is_due || self.bytes > BYTES_MAX { self.pop() } else { None }
    }

    /// The next line of all that wait.
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let Reverse(line) = self.lines.pop()?;
        self.bytes = self.bytes.saturating_sub(line.text.len());
        Some(line.text)
    }

    /// No line waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i128 = 1_000_000;

    fn take(order: &mut Order, at_ms: i128, text: &str) {
        order.observed(at_ms * MS);
        order.push(at_ms * MS, text.into());
    }

    fn due(order: &mut Order) -> String {
        let lines = std::iter::from_fn(|| order.pop_due());
        lines.map(|line| String::from_utf8(line).expect("text")).collect()
    }

    #[test]
    fn lines_come_in_order_of_time_and_those_of_one_time_as_they_came() {
        let mut order = Order::default();
        for (at_ms, text) in [(1_000, "b"), (990, "a"), (1_000, "c"), (1_200, "e"), (1_100, "d")] {
            take(&mut order, at_ms, text);
        }
        assert_eq!(due(&mut order), "", "each may have one before it");
        order.observed(1_400 * MS);
        assert_eq!(due(&mut order), "abcd");
        order.observed(1_500 * MS);
        assert_eq!(due(&mut order), "e");
        assert!(order.is_empty());
    }

    #[test]
    fn what_is_later_than_the_delay_comes_at_once() {
        let mut order = Order::default();
        take(&mut order, 1_000, "b");
        order.observed(2_000 * MS);
        assert_eq!(due(&mut order), "b");
        take(&mut order, 900, "a");
        assert_eq!(due(&mut order), "a");
    }

    #[test]
    fn the_clock_counts_only_when_nothing_comes() {
        let mut order = Order::default();
        take(&mut order, 1_000, "a");
        order.tick(9_000 * MS);
        assert_eq!(due(&mut order), "", "more of that time may be under way");
        order.tick(9_250 * MS);
        assert_eq!(due(&mut order), "a");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut order = Order::default();
        let long = "x".repeat(BYTES_MAX / 4);
        (0..5).for_each(|at_ms| take(&mut order, at_ms, &long));
        assert_eq!(due(&mut order).len(), long.len());
        let rest: Vec<_> = std::iter::from_fn(|| order.pop()).collect();
        assert_eq!((rest.len(), order.bytes), (4, 0));
    }
}
