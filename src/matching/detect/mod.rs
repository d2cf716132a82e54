//! Which protocol a connection speaks.
//!
//! In this order: the user says so; the server accepted a subprotocol that stands for one; the
//! content says so. Content decides when
//!
//! - a message has a shape that no other protocol has (`"jsonrpc":"2.0"` at the top), or
//! - a message fits the rules of a protocol whose path the connection was opened with, or
//! - a message answers an earlier one: it went the other way, fits the same protocol, has the same
//!   id, and one of the two has a shape that is not common to many protocols.
//!
//! Until then the requests that each protocol would see are kept, for each apart, and played back
//! to the matching when one of them is chosen, so that no request is lost. Where one message
//! decides for several, the one wins that has explained most messages, and among equals the first
//! in the list: the user's own, then the special before the general.
//!
//! What content decided is on trial for a while (see [`Trial`]), and given up where it explains
//! too little.

mod claims;
mod looks;
mod trial;

use crate::event::Direction;

use super::protocols::ProtocolIndex;
use super::rules::{CodecMemory, Kind, Proof, Protocol, Reading, RequestName, Text};

use claims::Claims;
use looks::{Look, Looks};

pub(super) use claims::{Claim, Passed};
pub(super) use trial::{Finding, Trial};

/// The search for a connection's protocol.
#[derive(Debug, Default)]
pub(super) struct Detector {
    /// The protocol that the path hints at.
    hinted: Option<ProtocolIndex>,
    looks: Looks,
    /// Protocols that had a reading for a message.
    candidates: Vec<Candidate>,
    /// Protocols that were given up.
    refused: Vec<ProtocolIndex>,
}

#[derive(Debug)]
struct Candidate {
    protocol: ProtocolIndex,
    claims: Claims,
}

/// What a look at a message came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// The protocol, if that is known now.
    pub(super) protocol: Option<Choice>,
    /// Requests that had to go because there were too many.
    pub(super) dropped: u32,
    /// Some protocol could read the message.
    pub(super) is_read: bool,
}

/// A protocol that was chosen, and whether that is final.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) protocol: ProtocolIndex,
    pub(super) is_certain: bool,
}

impl Detector {
    pub(super) fn hinted(hinted: Option<ProtocolIndex>) -> Self {
        Self { hinted, ..Self::default() }
    }

    /// After a protocol was given up: it is not chosen again.
    pub(super) fn without(mut refused: Vec<ProtocolIndex>, protocol: ProtocolIndex) -> Self {
        refused.push(protocol);
        Self { refused, ..Self::default() }
    }

    /// The protocols that were given up.
    pub(super) fn refused(&self) -> &[ProtocolIndex] {
        &self.refused
    }

    /// Looks at a message. Without `room` nothing more is kept than each candidate is assured of.
    pub(super) fn look(
        &mut self,
        protocols: &mut [Protocol],
        passed: Passed,
        text: Text<'_>,
        scratch: &mut Vec<u8>,
        room: bool,
    ) -> Seen {
        let mut seen = Seen::default();
        if text.payload.is_empty() {
            return seen;
        }
        let look = self.looks.take(passed.direction, text.payload);
        let mut best: Option<(Proof, u32, ProtocolIndex)> = None;
        for (index, protocol) in (0..).zip(protocols) {
            if self.refused.contains(&index)
                || (look == Look::Claimants && !self.awaits_answer(index, passed.stamp.at_ns))
            {
                continue;
            }
            let mut claims = Vec::new();
            let mut proof = Proof::None;
            let mut reads = false;
            // A decoder with a memory starts afresh: what it would remember may not be its own.
            let mut memory = CodecMemory::default();
            protocol.read(text, scratch, &mut memory, &mut |reading| {
                reads = true;
                proof = proof.max(self.proof_of(index, passed.direction, &reading));
                claims.extend(Claim::of(passed, reading));
            });
            if !reads {
                continue;
            }
            seen.is_read = true;
            let explained = self.explained(index, claims, room, &mut seen.dropped);
            let beats = |(other, most, _)| (proof, explained) > (other, most);
            if proof != Proof::None && best.is_none_or(beats) {
                best = Some((proof, explained, index));
            }
        }
        seen.protocol = best
            .map(|(proof, _, protocol)| Choice { protocol, is_certain: proof == Proof::Certain });
        seen
    }

    /// What was kept for the protocol that was chosen, oldest first, without what the message
    /// said that it was chosen for.
    pub(super) fn into_claims(self, chosen: ProtocolIndex) -> Vec<Claim> {
        let candidate = self.candidates.into_iter().find(|it| it.protocol == chosen);
        candidate.map(|it| it.claims.into_claims()).unwrap_or_default()
    }

    /// Bytes were lost: nothing that was kept can be relied on.
    pub(super) fn forget(&mut self) {
        self.candidates.clear();
    }

    /// There is something new to look for.
    pub(super) fn look_again(&mut self) {
        self.looks = Looks::default();
    }

    /// Bytes that it keeps.
    pub(super) fn bytes(&self) -> usize {
        self.candidates.iter().map(|it| it.claims.bytes()).sum()
    }

    /// Nothing that passed `direction` looked like any protocol, and looking has become rare.
    pub(super) fn has_given_up(&self, direction: Direction) -> bool {
        self.looks.are_rare(direction) && self.candidates.iter().all(|it| !it.claims.awaits())
    }

    /// What a reading says about whether the connection speaks `protocol`.
    fn proof_of(
        &self,
        protocol: ProtocolIndex,
        direction: Direction,
        reading: &Reading<'_>,
    ) -> Proof {
        if reading.traits.proof == Proof::Certain {
            return Proof::Certain;
        }
        if self.hinted == Some(protocol) || self.is_answer(protocol, direction, reading) {
            return Proof::Likely;
        }
        Proof::None
    }

    /// Whether a reading answers a request that `protocol` claims.
    fn is_answer(
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
        let asked = self.claims(protocol).and_then(|claims| claims.asked(direction, name));
        asked.is_some_and(|says_something| says_something || reading.traits.proof != Proof::None)
    }

    /// Whether `protocol` claims a request that may still be answered.
    fn awaits_answer(&mut self, protocol: ProtocolIndex, now_ns: u64) -> bool {
        let candidate = self.candidates.iter_mut().find(|it| it.protocol == protocol);
        candidate.is_some_and(|it| {
            it.claims.expire(now_ns);
            it.claims.awaits()
        })
    }

    fn claims(&self, protocol: ProtocolIndex) -> Option<&Claims> {
        self.candidates.iter().find(|it| it.protocol == protocol).map(|it| &it.claims)
    }

    /// Keeps what a protocol read in one message; returns how many messages it has explained.
    fn explained(
        &mut self,
        protocol: ProtocolIndex,
        new: Vec<Claim>,
        room: bool,
        dropped: &mut u32,
    ) -> u32 {
        let known = self.candidates.iter().position(|it| it.protocol == protocol);
        let at = known.unwrap_or_else(|| {
            self.candidates.push(Candidate { protocol, claims: Claims::default() });
            self.candidates.len() - 1
        });
        let claims = &mut self.candidates[at].claims;
        *dropped += claims.keep(new, room);
        claims.explained
    }
}
