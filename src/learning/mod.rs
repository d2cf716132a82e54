//! Finds out of what passes which value identifies a request and its answer, and which number and which
//! time say that a feed is whole and fresh. Writes it down as rules; or says why there are none.
//!
//! ```text
//!   Observation -> messages -> search -----------> rules -> proof --> Finding
//!                  a bounded   what comes back,    TOML     the engine
//!                  sample      and is it an id?             counts
//!                           -> feeds
//!                              what goes on by itself
//! ```
//!
//! It reads no clock and no file, and it remembers a bounded sample. It knows JSON, also several texts
//! in one message and what is JSON in MessagePack, CBOR or Erlang's terms, and texts; any other binary message is refused
//! with that reason. To tap, to print and to use the
//! rule is left to others.

mod draft;
mod feeds;
mod finding;
mod ids;
mod messages;
mod proof;
mod rules;
mod search;
#[cfg(test)]
mod tests;

pub use finding::{FeedPlaces, Finding, IdPlaces, Learned, Refusal, Suspect, Verdict};
pub use messages::sample::LearnLimits;
pub use proof::{Evidence, FeedEvidence};
pub use search::doubts::{Doubt, LEAST_ANSWERED};

use crate::observation::Observation;
use messages::sample::Sample;

/// Watches, and says what it has learned.
#[derive(Debug)]
pub struct Learner {
    sample: Sample,
}

impl Learner {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(limits: LearnLimits) -> Self {
        Self { sample: Sample::new(limits) }
    }

    /// Wall clock minus the clock of the observations to come, in nanoseconds: what a time in a message is
    /// compared with. Unless it is given, times are not found.
    pub fn set_wall_offset_ns(&mut self, wall_offset_ns: i64) {
        self.sample.wall_offset_ns = wall_offset_ns;
    }

    /// Takes what passed into the sample.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        self.sample.observe(observation);
    }

    /// A group of connections has said as much as is kept, or there is no room for more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sample.is_full()
    }

    /// Messages of the connections that have said most.
    #[must_use]
    pub fn most_messages(&self) -> usize {
        self.sample.groups.iter().map(|group| group.messages).max().unwrap_or(0)
    }

    /// Hands out the sample, and goes on with an empty one of the same connections.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self { sample: self.sample.take() }
    }

    /// Messages of connections that were too many to be followed.
    #[must_use]
    pub fn strangers(&self) -> u64 {
        self.sample.strangers
    }

    /// What was learned of each group of connections, in the order in which they were met. Takes a
    /// time that the bounds of the sample bound.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut names = Vec::new();
        let groups = self.sample.groups.iter().filter(|group| group.messages > 0);
        groups.map(|group| draft::finding(group, &mut names)).collect()
    }
}
