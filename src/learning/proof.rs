//! The rule is tried on the sample that it was learned from, by the same machinery that will use it:
//! its numbers are the evidence.

use std::collections::BTreeMap;

use crate::event::{ConnId, Stamp, TargetId};
use crate::learning::messages::sample::{Group, Passed};
use crate::matching::{Hint, MatchLimits, Matching, Protocols};
use crate::observation::{Message, Observation, Outcome, What};

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
}

/// Tries the rule; `None` where it cannot be loaded.
pub(super) fn of(name: &str, toml: &str, group: &Group) -> Option<Evidence> {
    let mut protocols = Protocols::builtin();
    protocols.add_toml(name, toml).ok()?;
    protocols.force(name).ok()?;
    let mut matching = Matching::new(protocols, MatchLimits::default());
    let mut evidence = Evidence::default();
    let mut times = Vec::new();
    let mut take = |observation: &Observation<'_>| evidence.take(observation, &mut times);
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
                matching.message(handle, role, stamp, message, &mut take);
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
    fn take(&mut self, observation: &Observation<'_>, times: &mut Vec<u64>) {
        match &observation.what {
            What::Started { method, .. } => {
                self.requests += 1;
                // The matching bounds the number of methods.
                *self.methods.entry((*method).to_owned()).or_default() += 1;
            }
            What::Exchange(exchange) => {
                times.extend(exchange.turnaround_ns);
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

    fn times(&mut self, mut times: Vec<u64>) {
        times.sort_unstable();
        let at = |share: usize| times.get((times.len().saturating_sub(1)) * share / 100);
        self.times_ns = [0, 50, 90, 100].map(|share| at(share).copied().unwrap_or(0));
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
