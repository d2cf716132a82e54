//! Many requests at once, with every outcome known beforehand.

use std::collections::HashMap;

use super::*;
use crate::decode::observation::Outcome;

/// A debug build takes a smaller share.
const REQUESTS: usize = if cfg!(debug_assertions) { 250_000 } else { 1_000_000 };
const OUTSTANDING: usize = 10_000;

/// One in this many is never answered.
const UNANSWERED: usize = 100;

/// One answer in this many is an error.
const FAILED: usize = 10;

/// A generator of numbers that are the same on every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Ten connections, up to ten thousand requests waiting, answered in random order: each is counted
/// as exactly what it was.
#[test]
fn a_million_requests_are_accounted_for_one_by_one() {
    let mut protocols = Protocols::builtin();
    protocols.force("jsonrpc").unwrap();
    let mut tap = Tap::with_limits(protocols, MatchLimits::default());
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut waiting: Vec<(usize, u64)> = Vec::with_capacity(OUTSTANDING);
    let mut expected: HashMap<Outcome, u64> = HashMap::new();
    let mut expected_ns = 0;
    let mut counted = Counted::default();
    for id in 0..REQUESTS {
        tap.at.at_ns += 1_000;
        counted.pass(&mut tap, id, Direction::Sent, &ask(id));
        if id % UNANSWERED == 0 {
            *expected.entry(Outcome::Expired).or_default() += 1;
        } else {
            waiting.push((id, tap.at.at_ns));
        }
        let last = id + 1 == REQUESTS;
        while waiting.len() >= OUTSTANDING || (last && !waiting.is_empty()) {
            let (id, asked_ns) = waiting.swap_remove(numbers.below(waiting.len()));
            tap.at.at_ns += 1_000;
            let (outcome, text) = if id % FAILED == 1 {
                (Outcome::Error, format!(r#"{{"jsonrpc":"2.0","error":{{}},"id":{id}}}"#))
            } else {
                (Outcome::Matched, reply(id))
            };
            *expected.entry(outcome).or_default() += 1;
            expected_ns += tap.at.at_ns - asked_ns;
            counted.pass(&mut tap, id, Direction::Received, &text);
        }
    }
    let now_ns = tap.at.at_ns + 60 * SECOND_NS;
    tap.matching.tick(now_ns, &mut |observation| counted.count(observation));
    assert_eq!(counted.started, REQUESTS as u64);
    assert_eq!(counted.outcomes, expected);
    assert_eq!(counted.turnaround_ns, expected_ns);
    assert_eq!(counted.others, 0, "no orphan, no eviction");
    assert_eq!(tap.matching.pending(TargetId(0)), 0);
}

#[derive(Default)]
struct Counted {
    started: u64,
    outcomes: HashMap<Outcome, u64>,
    turnaround_ns: u64,
    others: u64,
}

impl Counted {
    fn pass(&mut self, tap: &mut Tap, id: usize, direction: Direction, text: &str) {
        tap.at.conn.generation = ((id + id / UNANSWERED) % 10) as u32;
        let message = message(direction, text.as_bytes(), MessageType::Text, Wholeness::Whole);
        tap.matching.message(tap.at, message, &mut |observation| self.count(observation));
    }

    fn count(&mut self, observation: &Observation<'_>) {
        match &observation.what {
            What::Message(_) => {}
            What::Started { .. } => self.started += 1,
            What::Exchange(exchange) => {
                *self.outcomes.entry(exchange.outcome).or_default() += 1;
                self.turnaround_ns += exchange.turnaround_ns.unwrap_or(0);
            }
            _ => self.others += 1,
        }
    }
}
