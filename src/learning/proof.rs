//! The rule is tried on the sample that it was learned from, by the same machinery that will use it:
//! its numbers are the evidence.

use std::collections::BTreeMap;

use crate::event::{ConnId, Stamp, TargetId};
use crate::learning::messages::sample::{Group, Passed};
use crate::matching::{Hint, MatchLimits, Matching, Protocols};
use crate::observation::{FeedReading, Message, Observation, Outcome, OwnTime, SequenceStep, What};

/// What a rule makes of the feeds in a sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedEvidence {
    /// Messages with a time of their own.
    pub timed: u64,
    /// Messages whose time could not be read.
    pub untimed: u64,
    /// Nanoseconds from that time to when they passed: the least, the median, nine in ten, the most.
    pub lags_ns: [i64; 4],
    /// Messages with a number.
    pub numbered: u64,
    /// Channels that have numbers of their own, on all connections.
    pub channels: u64,
    /// Numbers that did not come.
    pub missing: u64,
    /// Messages before which numbers are missing.
    pub holes: u64,
    /// Numbers that came again.
    pub repeated: u64,
    /// Numbers that came late.
    pub backward: u64,
    /// How often numbers began anew.
    pub resets: u64,
    /// Numbers of which nothing can be said.
    pub unchecked: u64,
}

/// What a rule makes of a sample.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Requests.
    pub requests: u64,
    /// Of these, how many were answered, and not with an error.
    pub answered: u64,
    /// How many were answered with an error.
    pub errors: u64,
    /// How many had no answer yet, or lost it with their connection or in a gap.
    pub open: u64,
    /// Requests without an answer, and such as took the id of another.
    pub unanswered: u64,
    /// Further answers to requests that had one.
    pub further: u64,
    /// Answers to nothing that was asked.
    pub orphans: u64,
    /// Requests by method.
    pub methods: BTreeMap<String, u64>,
    /// Nanoseconds from requests to answers: the shortest, the median, nine in ten, the longest.
    pub times_ns: [u64; 4],
    /// What the messages that nobody asked for say.
    pub feed: FeedEvidence,
}

/// What is put in order when all has passed.
#[derive(Default)]
struct Times {
    turnarounds_ns: Vec<u64>,
    lags_ns: Vec<i64>,
}

/// Tries the rule; `None` where it cannot be loaded.
pub(super) fn of(name: &str, toml: &str, group: &Group) -> Option<Evidence> {
    let mut protocols = Protocols::builtin();
    protocols.add_toml(name, toml).ok()?;
    protocols.force(name).ok()?;
    let mut matching = Matching::new(protocols, MatchLimits::default());
    let mut evidence = Evidence::default();
    let mut times = Times::default();
    let mut take = |observation: &Observation<'_>| {
        let connection = group.connections.get(observation.conn.generation as usize);
        let wall_offset_ns = connection.map_or(0, |it| it.wall_offset_ns);
        evidence.take(observation, wall_offset_ns, &mut times);
    };
    let mut handles: Vec<_> = (0_u32..)
        .zip(&group.connections)
        .map(|(conn, known)| {
            let id = ConnId { tgid: 0, generation: conn, handle: 0, stream: 0 };
            let hint = Hint { role: known.role, mid_stream: known.mid_stream, ..Hint::default() };
            Some(matching.open(id, TargetId(0), hint, 0))
        })
        .collect();
    let mut last_ns = 0;
    for entry in &group.entries {
        let Some(slot) = handles.get_mut(entry.conn as usize) else { continue };
        let Some(handle) = slot.as_ref() else { continue };
        last_ns = last_ns.max(entry.at_ns);
        let role = group.connections[entry.conn as usize].role;
        match &entry.what {
            Passed::Message(kept) => {
                let message = Message {
                    direction: kept.direction,
                    message_type: kept.message_type,
                    frames: 1,
                    wire_length: kept.payload.len() as u64,
                    length: None,
                    compressed: false,
                    payload: &kept.payload,
                    tail: &kept.tail,
                    truncated: kept.truncated,
                    identical: false,
                };
                let stamp = Stamp { at_ns: entry.at_ns, tid: 0 };
                matching.message(handle, role, stamp, &message, &mut take);
            }
            Passed::Gap(direction) => matching.gap(handle, *direction, entry.at_ns, &mut take),
            Passed::Closed => {
                if let Some(handle) = slot.take() {
                    matching.close(handle, entry.at_ns, &mut take);
                }
            }
        }
    }
    matching.finish(last_ns, &mut take);
    evidence.times(times);
    Some(evidence)
}

impl Evidence {
    fn take(&mut self, observation: &Observation<'_>, wall_offset_ns: i64, times: &mut Times) {
        let passed_ns = i128::from(observation.at_ns) + i128::from(wall_offset_ns);
        let turnarounds_ns = &mut times.turnarounds_ns;
        match &observation.what {
            What::Message { reading, .. } => {
                let said = reading.feed.unwrap_or_default();
                self.feed.take(&said, passed_ns, &mut times.lags_ns);
            }
            What::Further { feed, .. } => self.feed.take(feed, passed_ns, &mut times.lags_ns),
            What::Started { method, .. } => {
                self.requests += 1;
                // The matching bounds the number of methods.
                *self.methods.entry((*method).to_owned()).or_default() += 1;
            }
            What::Exchange(exchange) => {
                turnarounds_ns.extend(exchange.turnaround_ns);
                *match exchange.outcome {
                    Outcome::Matched => &mut self.answered,
                    Outcome::Error => &mut self.errors,
                    Outcome::Expired | Outcome::Duplicate => &mut self.unanswered,
                    _ => &mut self.open,
                } += 1;
            }
            What::StreamItem { .. } => self.further += 1,
            What::Orphan { .. } => self.orphans += 1,
            _ => {}
        }
    }

    fn times(&mut self, times: Times) {
        self.times_ns = shares(times.turnarounds_ns);
        self.feed.lags_ns = shares(times.lags_ns);
    }

    /// Requests and answers are what `other` makes of them.
    pub(super) fn has_the_exchanges_of(&self, other: &Self) -> bool {
        let exchanges = |it: &Self| {
            [it.requests, it.answered, it.errors, it.open, it.unanswered, it.further, it.orphans]
        };
        exchanges(self) == exchanges(other)
    }

    /// Nearly all requests were answered, and nearly all answers were to requests.
    pub(super) fn is_convincing(&self) -> bool {
        let answered = self.answered + self.errors;
        let settled = answered + self.unanswered;
        answered >= crate::learning::search::doubts::LEAST_ANSWERED as u64
            && answered * 100 >= settled * 85
            && self.open * 5 <= self.requests
            && self.orphans * 10 <= answered
    }
}

/// The least, the median, nine in ten, the most.
fn shares<T: Copy + Default + Ord>(mut all: Vec<T>) -> [T; 4] {
    all.sort_unstable();
    let at = |share: usize| all.get(all.len().saturating_sub(1) * share / 100);
    [0, 50, 90, 100].map(|share| at(share).copied().unwrap_or_default())
}

impl FeedEvidence {
    fn take(&mut self, said: &FeedReading, passed_ns: i128, lags_ns: &mut Vec<i64>) {
        match said.time {
            OwnTime::Unstated => {}
            OwnTime::Unreadable => self.untimed += 1,
            OwnTime::At(own_ns) => {
                self.timed += 1;
                let lag_ns = passed_ns - i128::from(own_ns);
                lags_ns.push(lag_ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
            }
        }
        let Some(step) = said.sequence else { return };
        self.numbered += 1;
        match step {
            SequenceStep::Begun => self.channels += 1,
            SequenceStep::InOrder => {}
            SequenceStep::Missing(missing) => {
                self.holes += 1;
                self.missing += missing;
            }
            SequenceStep::Repeated => self.repeated += 1,
            SequenceStep::Backward => self.backward += 1,
            SequenceStep::Reset => self.resets += 1,
            SequenceStep::Unchecked(_) => self.unchecked += 1,
        }
    }

    /// Times and numbers, of what has some, are nearly all in order.
    pub(super) fn is_convincing(&self) -> bool {
        let checked = self.numbered.saturating_sub(self.channels + self.unchecked);
        let odd = self.holes + self.repeated + self.backward + self.resets;
        let is_numbered = self.numbered == 0 || (checked > 0 && odd * 100 <= checked * 15);
        let is_timed = self.untimed * 20 <= self.timed;
        is_numbered && is_timed && self.timed + self.numbered > 0
    }
}
