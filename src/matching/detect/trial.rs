//! Whether the protocol that content decided on keeps its promise.
//!
//! One request with one answer may be a coincidence of shapes. So the first requests of such a
//! connection are followed: if most of them find no answer although answers come, the protocol is
//! given up, and another one may take its place.

use super::claims::hash;
use crate::event::Direction;
use crate::matching::protocols::ProtocolIndex;
use crate::matching::rules::RequestName;

/// The trial is passed with this many answers, if few requests have none.
const ENOUGH_ANSWERS: u32 = 64;

/// Requests that may be overtaken by an answer to a later one without being suspicious.
const RECENT: usize = 16;

/// Answers to recent requests before what they overtook counts.
const ENOUGH_OVERTAKINGS: u32 = 32;

/// Requests that ended without an answer before they count.
const ENOUGH_UNANSWERED: u32 = 4;

/// The requests of a connection since its protocol was decided.
#[derive(Debug)]
pub(in crate::matching) struct Trial {
    /// Protocols that were given up before.
    pub(in crate::matching) refused: Vec<ProtocolIndex>,
    asked: u32,
    answered: u32,
    /// Answers to one of the most recent requests.
    overtakings: u32,
    /// Hashes of the names of the most recent requests; the next one goes to `asked % RECENT`.
    recent: [u64; RECENT],
}

/// The result of the trial so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matching) enum Finding {
    Open,
    Passed,
    Failed,
}

impl Trial {
    pub(in crate::matching) fn new(refused: Vec<ProtocolIndex>) -> Self {
        Self { refused, asked: 0, answered: 0, overtakings: 0, recent: [0; RECENT] }
    }

    /// A request began.
    pub(in crate::matching) fn asked(&mut self, direction: Direction, name: RequestName<'_>) {
        self.recent[self.asked as usize % RECENT] = hash(direction, name);
        self.asked = self.asked.saturating_add(1);
    }

    /// A request of `direction` was answered.
    pub(in crate::matching) fn answered(&mut self, direction: Direction, name: RequestName<'_>) {
        self.answered = self.answered.saturating_add(1);
        let hash = hash(direction, name);
        if let Some(recent) = self.recent.iter_mut().find(|recent| **recent == hash) {
            *recent = 0;
            self.overtakings = self.overtakings.saturating_add(1);
        }
    }

    /// The finding, where `pending` requests of the connection wait now.
    ///
    /// A burst of any length, answered in any order, is no failure: overtaking counts only while
    /// new requests keep coming.
    pub(in crate::matching) fn finding(&self, pending: usize) -> Finding {
        let pending = u32::try_from(pending).unwrap_or(u32::MAX);
        let unanswered = self.asked.saturating_sub(self.answered).saturating_sub(pending);
        let overtaken = pending.saturating_sub(RECENT as u32);
        let is_broken = unanswered >= ENOUGH_UNANSWERED && unanswered > self.answered;
        let is_ignored = self.overtakings >= ENOUGH_OVERTAKINGS && overtaken > self.answered;
        if is_broken || is_ignored {
            Finding::Failed
        } else if self.answered >= ENOUGH_ANSWERS && 4 * unanswered < self.answered {
            Finding::Passed
        } else {
            Finding::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: &[u8]) -> RequestName<'_> {
        RequestName::Id { id, scope: b"" }
    }

    #[test]
    fn a_burst_that_is_answered_from_its_end_is_no_failure() {
        let mut trial = Trial::new(Vec::new());
        let ids: Vec<Vec<u8>> = (0..1_000_u32).map(|n| n.to_string().into_bytes()).collect();
        ids.iter().for_each(|id| trial.asked(Direction::Sent, name(id)));
        for (answered, id) in ids.iter().rev().enumerate() {
            trial.answered(Direction::Sent, name(id));
            assert_ne!(trial.finding(999 - answered), Finding::Failed, "{answered}");
        }
    }

    #[test]
    fn a_protocol_that_finds_one_answer_in_three_fails() {
        let mut trial = Trial::new(Vec::new());
        let mut pending = 0;
        for n in 0..120_u32 {
            let id = n.to_string().into_bytes();
            trial.asked(Direction::Sent, name(&id));
            pending += 1;
            if n % 3 == 0 {
                trial.answered(Direction::Sent, name(&id));
                pending -= 1;
            }
        }
        assert_eq!(trial.finding(pending), Finding::Failed);
    }

    #[test]
    fn one_that_is_answered_passes() {
        let mut trial = Trial::new(Vec::new());
        for n in 0..ENOUGH_ANSWERS {
            let id = n.to_string().into_bytes();
            trial.asked(Direction::Sent, name(&id));
            assert_eq!(trial.finding(1), Finding::Open);
            trial.answered(Direction::Sent, name(&id));
        }
        assert_eq!(trial.finding(0), Finding::Passed);
    }
}
