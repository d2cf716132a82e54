//! What one protocol would read in the messages of a connection whose protocol is not known yet.
//!
//! Each candidate keeps its own, so that none takes another's room.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use foldhash::fast::{FixedState, RandomState};

use crate::event::{Direction, Stamp};
use crate::matching::key::KeptName;
use crate::matching::rules::{Kind, Proof, Reading, RequestName, RuleTraits};

/// Most requests that one candidate keeps. The oldest go first.
const MAX_REQUESTS: usize = 4_096;

/// Most readings of other kinds that it keeps: answers that came before their requests.
const MAX_OTHERS: usize = 32;

/// Requests that a candidate may keep even where all connections together have no more room.
const ASSURED_REQUESTS: usize = 32;

/// A request without an answer for longer is forgotten.
const ANSWER_NS: u64 = 60_000_000_000;

/// When and which way the message at hand went.
#[derive(Clone, Copy, Debug)]
pub(in crate::matching) struct Passed {
    pub(in crate::matching) stamp: Stamp,
    pub(in crate::matching) direction: Direction,
}

/// What a message would be if the connection spoke the candidate's protocol.
#[derive(Debug)]
pub(in crate::matching) struct Claim {
    pub(in crate::matching) passed: Passed,
    pub(in crate::matching) traits: RuleTraits,
    pub(in crate::matching) name: KeptName,
    pub(in crate::matching) method: Option<Box<[u8]>>,
}

/// The claims of one candidate.
#[derive(Debug, Default)]
pub(super) struct Claims {
    requests: VecDeque<Claim>,
    others: VecDeque<Claim>,
    /// By the hashes of what the requests are named by.
    asked: HashMap<u64, Asked, RandomState>,
    /// Bytes on the heap, about.
    bytes: usize,
    /// How many requests and others the newest message brought.
    newest: [usize; 2],
    /// Messages that the protocol had a reading for, whether kept or not.
    pub(super) explained: u32,
}

/// Requests of one name.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    count: u32,
    /// One of them has a shape that is not common to many protocols.
    says_something: bool,
}

impl Claims {
    /// The requests that a message of `direction` may answer by this name: `None` if there are
    /// none, else whether the shape of one says something.
    pub(super) fn asked(&self, direction: Direction, name: RequestName<'_>) -> Option<bool> {
        if self.asked.is_empty() {
            return None;
        }
        self.asked.get(&hash(direction.opposite(), name)).map(|asked| asked.says_something)
    }

    /// Whether requests wait for an answer here.
    pub(super) fn awaits(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps the readings of one message. Returns how many requests had to go for them. Without
    /// `room` in all, the candidate does not grow beyond what it is assured of.
    pub(super) fn keep(&mut self, new: Vec<Claim>, room: bool) -> u32 {
        self.explained = self.explained.saturating_add(1);
        let requests = new.iter().filter(|claim| claim.traits.kind == Kind::Request).count();
        self.newest = [requests, new.len() - requests];
        new.into_iter().map(|claim| u32::from(self.keep_one(claim, room))).sum()
    }

    fn keep_one(&mut self, claim: Claim, room: bool) -> bool {
        self.bytes += claim.bytes();
        if claim.traits.kind != Kind::Request {
            self.others.push_back(claim);
            if self.others.len() > MAX_OTHERS
                && let Some(oldest) = self.others.pop_front()
            {
                self.bytes -= oldest.bytes();
            }
            return false;
        }
        let asked = self.asked.entry(claim.hash()).or_default();
        asked.count += 1;
        asked.says_something |= claim.traits.proof != Proof::None;
        self.requests.push_back(claim);
        let most = if room { MAX_REQUESTS } else { ASSURED_REQUESTS };
        let is_full = self.requests.len() > most;
        if is_full {
            self.drop_oldest();
        }
        is_full
    }

    /// Forgets requests that have expired at `now_ns`.
    pub(super) fn expire(&mut self, now_ns: u64) {
        let is_over = |claim: &Claim| claim.passed.stamp.at_ns.saturating_add(ANSWER_NS) <= now_ns;
        while self.requests.front().is_some_and(is_over) {
            self.drop_oldest();
        }
    }

    /// All but what the newest message brought, in the order in which it passed.
    pub(super) fn into_claims(mut self) -> Vec<Claim> {
        let [requests, others] = self.newest;
        self.requests.truncate(self.requests.len().saturating_sub(requests));
        self.others.truncate(self.others.len().saturating_sub(others));
        let mut claims: Vec<Claim> = self.requests.into_iter().chain(self.others).collect();
        claims.sort_by_key(|claim| claim.passed.stamp.at_ns);
        claims
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.requests.pop_front() else { return };
        self.bytes -= oldest.bytes();
        let hash = oldest.hash();
        if let Some(asked) = self.asked.get_mut(&hash) {
            asked.count -= 1;
            if asked.count == 0 {
                self.asked.remove(&hash);
            }
        }
    }
}

impl Claim {
    /// A reading that concerns a request; others are not kept.
    pub(super) fn of(passed: Passed, reading: Reading<'_>) -> Option<Self> {
        Some(Self {
            passed,
            traits: reading.traits,
            name: reading.name?.into(),
            method: reading.method.map(|method| method.into_owned().into()),
        })
    }

    fn hash(&self) -> u64 {
        hash(self.passed.direction, self.name.as_ref())
    }

    fn bytes(&self) -> usize {
        let method = self.method.as_ref().map_or(0, |method| method.len());
        // The entry in `asked` is a hash and a count.
        size_of::<Self>() + self.name.heap_bytes() + method + 24
    }
}

/// What stands for a name among the claims of one candidate.
pub(super) fn hash(asked: Direction, name: RequestName<'_>) -> u64 {
    let state = FixedState::with_seed(asked.index() as u64);
    match name {
        RequestName::Id { id, scope } => state.hash_one((id, scope)),
        RequestName::Queue(queue) => state.hash_one(queue),
    }
}
