//! What was learned of the connections of one group.

use super::proof::Evidence;
use crate::learning::search::doubts::Doubt;

/// What was learned of connections that were opened alike.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The request target that they have in common, without what differs; empty where it was not seen.
    pub path: String,
    /// How many there were.
    pub connections: usize,
    /// Messages in the sample.
    pub messages: usize,
    /// Messages that the sample had no room for.
    pub left_out: u64,
    /// The protocol of wstap's own that could read most of them, and how many.
    pub recognised: Option<(String, u64)>,
    /// The rule, or why there is none.
    pub verdict: Verdict,
}

/// A rule, or why there is none.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// There is one.
    Learned(Box<Learned>),
    /// There is none.
    Refused(Refusal),
}

/// A rule, and what speaks for it.
#[derive(Clone, Debug)]
pub struct Learned {
    /// Its name.
    pub name: String,
    /// The protocol in the rule language.
    pub toml: String,
    /// Where ids stand; none where only feeds were found.
    pub ids: Vec<IdPlaces>,
    /// Why there are none.
    pub without_ids: Option<Refusal>,
    /// What nobody asks for: where it has its times and its numbers.
    pub feeds: Vec<FeedPlaces>,
    /// What it makes of the sample.
    pub evidence: Evidence,
}

/// Where an id stands in requests and in their answers.
#[derive(Clone, Debug)]
pub struct IdPlaces {
    /// `client` or `server`: who asks.
    pub from: &'static str,
    /// Its path in the request.
    pub asked: String,
    /// Its path in the answer.
    pub answered: String,
}

/// Where the messages of a feed have their time, their number, or both.
#[derive(Clone, Debug)]
pub struct FeedPlaces {
    /// `client` or `server`: whose messages they are.
    pub from: &'static str,
    /// Path of the time.
    pub time: Option<String>,
    /// Path of the number, or of the last one that a message covers.
    pub number: Option<String>,
    /// Path of the first number that a message covers.
    pub first: Option<String>,
    /// Path of the number of the message before.
    pub previous: Option<String>,
    /// Paths of what has numbers of its own.
    pub channel: Vec<String>,
}

/// Why there is no rule.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// A sentence.
    pub reason: String,
    /// Values that come back and are no ids, those that come back most first.
    pub suspects: Vec<Suspect>,
}

/// A pair of places whose values come back, and why they are no ids.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// The places.
    pub places: IdPlaces,
    /// How many values came back.
    pub values: usize,
    /// Why they are no ids.
    pub doubt: Doubt,
}
