//! Many requests at once, with every outcome known beforehand.

use std::collections::HashMap;

use super::*;
use crate::observation::Outcome;

const REQUESTS: usize = 1_000_000;
const OUTSTANDING: usize = 10_000;

/// One in this many is never answered.
const UNANSWERED: usize = 100;

/// One answer in this many is an error.
const FAILED: usize = 10;

/// What a waiting request takes, at most: its entry and its share of the index.
const REQUEST_BYTES: usize = 128;

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
    // The table grows by doubling, and the unanswered wait to the end.
    let most = OUTSTANDING + REQUESTS / UNANSWERED;
    let bytes = tap.matching.interpreter.correlator.pending_bytes();
    assert!(bytes <= 2 * most * REQUEST_BYTES, "{bytes} bytes for {most} requests");
}

/// Requests that nobody answers, on more connections than all of them together may keep.
#[test]
fn all_connections_together_keep_so_many_requests_and_no_more() {
    let MatchLimits { pending_total, pending_per_connection, .. } = MatchLimits::default();
    assert_eq!((pending_total, pending_per_connection), (262_144, 4_096));
    let mut protocols = Protocols::builtin();
    protocols.force("jsonrpc").unwrap();
    let mut tap = Tap::with_limits(protocols, MatchLimits::default());
    let mut counted = Counted::default();
    let excess = 10_000;
    for id in 0..pending_total + excess {
        tap.at.conn.generation = (id % 100) as u32;
        tap.text(Direction::Sent, &ask(id), &mut |observation| counted.count(observation));
        counted.assert_balance(&tap);
    }
    assert_eq!(tap.matching.pending(TargetId(0)), pending_total);
    assert_eq!(counted.outcomes, HashMap::from([(Outcome::Evicted, excess as u64)]));
    assert_eq!(counted.others, excess as u64, "each eviction is told");
    let bytes = tap.matching.interpreter.correlator.pending_bytes();
    assert!(bytes <= pending_total * REQUEST_BYTES, "{bytes} bytes");
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
        tap.text(direction, text, &mut |observation| self.count(observation));
        self.assert_balance(tap);
    }

    fn assert_balance(&self, tap: &Tap) {
        let ended: u64 = self.outcomes.values().sum();
        assert_eq!(self.started, ended + tap.matching.pending(TargetId(0)) as u64);
    }

    fn count(&mut self, observation: &Observation<'_>) {
        match &observation.what {
            What::Message { .. } => {}
            What::Started { .. } => self.started += 1,
            What::Exchange(exchange) => {
                *self.outcomes.entry(exchange.outcome).or_default() += 1;
                self.turnaround_ns += exchange.turnaround_ns.unwrap_or(0);
            }
            _ => self.others += 1,
        }
    }
}
