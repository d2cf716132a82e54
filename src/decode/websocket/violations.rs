//! The rules of RFC 6455 that a frame header breaks, and whether it can be a header at all.
//!
//! A header that breaks a rule still says how long its frame is. So the rule is counted, and
//! decoding goes on behind the frame: peers exist that tolerate each of these. Bytes that are no
//! headers break several rules at once, and each time others. [`Plausibility`] notices that.

use crate::decode::frame::header::{CONTROL_MAX, Header};
use crate::observation::{Opcode, ProtocolError};

/// What is allowed in one direction now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Frames are masked; `None` where either may be.
    pub(super) masked: Option<bool>,
    /// A message may be compressed.
    pub(super) rsv1: bool,
    /// An extension that is not known here may give any reserved bit or opcode a meaning.
    pub(super) any_rsv: bool,
    /// A close frame has passed.
    pub(super) closing: bool,
}

/// The rules that one header breaks: a bit for each entry of [`RULES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Violations(u16);

/// In the order in which they are told.
const RULES: [ProtocolError; 8] = [
    ProtocolError::LengthNotMinimal,
    ProtocolError::ControlFragmented,
    ProtocolError::ControlTooLong,
    ProtocolError::MaskMissing,
    ProtocolError::MaskUnexpected,
    ProtocolError::RsvUnexpected,
    ProtocolError::OpcodeReserved,
    ProtocolError::DataAfterClose,
];

/// All but the last: that one says nothing of how a header looks.
const OF_THE_HEADER: u16 = 0x7f;

impl Violations {
    pub(super) fn of(header: &Header, expected: &Expected) -> Self {
        let masked = header.mask.is_some();
        let starts_message = matches!(header.opcode, Opcode::Text | Opcode::Binary);
        // "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and
        // non-first fragments of a data message" (RFC 7692, section 6).
        let rsv1 = starts_message && expected.rsv1;
        let broken = [
            !header.minimal,
            !header.fin && header.control,
            header.control && header.length > CONTROL_MAX,
            expected.masked == Some(true) && !masked,
            expected.masked == Some(false) && masked,
            !expected.any_rsv && (header.rsv23 || (header.rsv1 && !rsv1)),
            !expected.any_rsv && header.opcode == Opcode::Reserved,
            expected.closing && header.opcode.is_data(),
        ];
        Self(broken.iter().rev().fold(0, |bits, &broken| bits << 1 | u16::from(broken)))
    }

    /// Their labels.
    pub(super) fn reasons(self) -> impl Iterator<Item = ProtocolError> {
        RULES.into_iter().enumerate().filter(move |(at, _)| self.0 >> at & 1 != 0).map(|(_, it)| it)
    }

    fn of_the_header(self) -> Self {
        Self(self.0 & OF_THE_HEADER)
    }

    fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// Headers in a row that break rules before all of them may be taken for something else.
const ROW_MIN: u32 = 8;

/// Doubt at which a row is taken for something else.
const DOUBT_MAX: u32 = 4;

/// Combinations of broken rules that are remembered.
const COMBINATIONS_MAX: usize = 6;

/// Whether the last headers of a direction can have been headers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Plausibility {
    /// Headers since the last one that broke no rule.
    row: u32,
    /// One for each rule that a header of the row broke beside another one. The same combination
    /// counts once: a peer that always breaks the same rules is a peer.
    doubt: u32,
    seen: [Violations; COMBINATIONS_MAX],
}

impl Plausibility {
    /// Takes note of one more header. False if nothing plausible has followed for too long.
    pub(super) fn allows(&mut self, violations: Violations) -> bool {
        let violations = violations.of_the_header();
        if violations == Violations::default() {
            if self.row > 0 {
                *self = Self::default();
            }
            return true;
        }
        self.row = self.row.saturating_add(1);
        if violations.count() > 1 && !self.seen.contains(&violations) {
            if let Some(free) = self.seen.iter_mut().find(|it| **it == Violations::default()) {
                *free = violations;
            }
            self.doubt = self.doubt.saturating_add(violations.count() - 1);
        }
        self.row < ROW_MIN || self.doubt < DOUBT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(rules: &[usize]) -> Violations {
        Violations(rules.iter().fold(0, |bits, rule| bits | 1 << rule))
    }

    #[test]
    fn a_peer_that_breaks_the_same_rules_for_ever_is_believed() {
        let mut plausibility = Plausibility::default();
        assert!((0..10_000).all(|_| plausibility.allows(bits(&[5]))));
        assert!((0..10_000).all(|_| plausibility.allows(bits(&[5, 6]))));
    }

    #[test]
    fn bytes_that_break_other_rules_each_time_are_not() {
        let mut plausibility = Plausibility::default();
        let row = [&[5, 6][..], &[1, 5], &[1, 5, 6], &[5], &[4, 5]];
        let believed = row.iter().cycle().take_while(|it| plausibility.allows(bits(it))).count();
        assert_eq!(believed as u32, ROW_MIN - 1);
    }

    #[test]
    fn a_header_that_breaks_no_rule_ends_the_doubt() {
        let mut plausibility = Plausibility::default();
        for _ in 0..100 {
            for rules in [&[5, 6][..], &[1, 5], &[1, 5, 6], &[]] {
                assert!(plausibility.allows(bits(rules)));
            }
        }
    }
}
