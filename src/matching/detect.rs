//! Which protocol a connection speaks.
//!
//! In this order: the user says so; the server accepted a subprotocol that stands for one; the
//! content says so. Content decides when
//!
//! - a message has a shape that no other protocol has (`"jsonrpc":"2.0"` at the top), or
//! - a message fits the rules of a protocol whose path the connection was opened with, or
//! - a message answers an earlier one: it went the other way, fits the same protocol, and has the
//!   same id.
//!
//! Until then the requests that each protocol would see are kept, and played back to the matching
//! when one of them is chosen, so that the first request is not lost. Where several protocols
//! qualify with one message, the first in the list wins: the user's own, then the special before
//! the general.

use crate::event::{Direction, Stamp};

use super::key::KeptName;
use super::protocols::ProtocolIndex;
use super::rules::{Kind, MqttStream, Proof, Protocol, Reading, RequestName, RuleTraits, Text};

/// Messages of each direction that are all looked at, before looking becomes rare.
const CLOSE_LOOKS: u32 = 64;

/// After that, one message in this many is looked at.
const LOOK_INTERVAL: u32 = 32;

/// For this long after a possible request, every message of the other direction is looked at, by
/// the protocols only that it would be a request of.
const ANSWER_NS: u64 = 60_000_000_000;

/// Most readings that are kept while the protocol is not known. The oldest go first, requests last.
const MAX_KEPT: usize = 32;

/// Most bytes of ids and methods that are kept with them.
const MAX_KEPT_BYTES: usize = 2 << 10;

/// The search for a connection's protocol.
#[derive(Debug, Default)]
pub(super) struct Detector {
    /// The protocol that the path hints at.
    hinted: Option<ProtocolIndex>,
    looks: [Looks; 2],
    kept: Vec<Kept>,
}

/// When to look at the messages of one direction.
#[derive(Debug)]
struct Looks {
    left: u32,
    skipped: u32,
}

impl Default for Looks {
    fn default() -> Self {
        Self { left: CLOSE_LOOKS, skipped: 0 }
    }
}

/// What a message would be if the connection spoke `protocol`.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) protocol: ProtocolIndex,
    pub(super) passed: Passed,
    pub(super) traits: RuleTraits,
    pub(super) name: KeptName,
    pub(super) method: Option<Box<[u8]>>,
}

/// When and which way the message at hand went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    pub(super) stamp: Stamp,
    pub(super) direction: Direction,
}

impl Detector {
    pub(super) fn hinted(hinted: Option<ProtocolIndex>) -> Self {
        Self { hinted, ..Self::default() }
    }

    /// Looks at a message; returns the protocol if that is now known.
    pub(super) fn look(
        &mut self,
        protocols: &mut [Protocol],
        passed: Passed,
        text: Text<'_>,
        scratch: &mut Vec<u8>,
    ) -> Option<ProtocolIndex> {
        let Passed { direction, stamp: Stamp { at_ns, .. } } = passed;
        let look = self.looks[direction.index()].take();
        if text.payload.is_empty() || (look == Look::ForAnswers && self.kept.is_empty()) {
            return None;
        }
        let mut new = Vec::new();
        for (index, protocol) in (0..).zip(protocols) {
            if look == Look::ForAnswers && !self.awaits_answer(index, direction, at_ns) {
                continue;
            }
            let mut decided = false;
            // A decoder with a memory starts afresh: what it would remember may not be its own.
            let mut mqtt = MqttStream::default();
            protocol.read(text, scratch, &mut mqtt, &mut |reading| {
                decided |= reading.traits.proof == Proof::Certain
                    || self.hinted == Some(index)
                    || self.is_answered_by(index, direction, &reading);
                new.extend(Kept::of(index, passed, reading));
            });
            if decided {
                return Some(index);
            }
        }
        self.keep(new);
        None
    }

    /// What was kept for the protocol that was chosen, oldest first. The message that decided is
    /// not among it.
    pub(super) fn into_kept(self, chosen: ProtocolIndex) -> impl Iterator<Item = Kept> {
        self.kept.into_iter().filter(move |kept| kept.protocol == chosen)
    }

    /// Bytes were lost: nothing that was kept can be relied on.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
    }

    /// Nothing that passed `direction` looked like any protocol, and looking has become rare.
    pub(super) fn has_given_up(&self, direction: Direction) -> bool {
        self.looks[direction.index()].left == 0 && self.kept.is_empty()
    }

    fn is_answered_by(
        &self,
        protocol: ProtocolIndex,
        direction: Direction,
        reading: &Reading<'_>,
    ) -> bool {
        // An order in which something is asked and answered proves nothing.
        let Some(name @ RequestName::Id { .. }) = reading.name else { return false };
        if !matches!(reading.traits.kind, Kind::Response | Kind::Error) {
            return false;
        }
        self.kept.iter().any(|kept| {
            kept.protocol == protocol
                && kept.traits.kind == Kind::Request
                && kept.passed.direction != direction
                && kept.name.as_ref() == name
        })
    }

    /// Whether a message of `direction` may answer a request that `protocol` saw lately.
    fn awaits_answer(&self, protocol: ProtocolIndex, direction: Direction, at_ns: u64) -> bool {
        self.kept.iter().any(|kept| {
            kept.protocol == protocol
                && kept.traits.kind == Kind::Request
                && kept.passed.direction != direction
                && at_ns < kept.passed.stamp.at_ns.saturating_add(ANSWER_NS)
        })
    }

    fn keep(&mut self, new: Vec<Kept>) {
        self.kept.extend(new);
        let bytes = |kept: &[Kept]| kept.iter().map(Kept::heap_bytes).sum::<usize>();
        while self.kept.len() > MAX_KEPT || bytes(&self.kept) > MAX_KEPT_BYTES {
            let answer = self.kept.iter().position(|kept| kept.traits.kind != Kind::Request);
            self.kept.remove(answer.unwrap_or(0));
        }
    }
}

/// How a message is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// By every protocol.
    Full,
    /// By those that wait for an answer.
    ForAnswers,
}

impl Looks {
    fn take(&mut self) -> Look {
        if self.left > 0 {
            self.left -= 1;
            return Look::Full;
        }
        self.skipped = (self.skipped + 1) % LOOK_INTERVAL;
        if self.skipped == 0 { Look::Full } else { Look::ForAnswers }
    }
}

impl Kept {
    fn of(protocol: ProtocolIndex, passed: Passed, reading: Reading<'_>) -> Option<Self> {
        Some(Self {
            protocol,
            passed,
            traits: reading.traits,
            name: reading.name?.into(),
            method: reading.method.map(|method| method.into_owned().into()),
        })
    }

    fn heap_bytes(&self) -> usize {
        self.name.heap_bytes() + self.method.as_ref().map_or(0, |method| method.len())
    }
}
