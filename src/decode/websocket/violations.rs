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
        // Every frame passes here, so the bits are put together without a loop.
        let bit = |at: u32, is_broken: bool| u16::from(is_broken) << at;
        Self(
            bit(0, !header.minimal)
                | bit(1, !header.fin & header.control)
                | bit(2, header.control & (header.length > CONTROL_MAX))
                | bit(3, (expected.masked == Some(true)) & !masked)
                | bit(4, (expected.masked == Some(false)) & masked)
                | bit(5, !expected.any_rsv & (header.rsv23 | (header.rsv1 & !rsv1)))
                | bit(6, !expected.any_rsv & (header.opcode == Opcode::Reserved))
                | bit(7, expected.closing & header.opcode.is_data()),
        )
    }

    /// None is broken.
    pub(super) fn is_none(self) -> bool {
        self == Self::default()
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
        if violations.is_none() {
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

    #[test]
    fn each_bit_has_the_label_of_its_rule() {
        let header = Header {
            fin: false,
            rsv1: false,
            rsv23: true,
            opcode: Opcode::Reserved,
            control: true,
            mask: None,
            length: 1000,
            minimal: false,
        };
        let expected = Expected { masked: Some(true), rsv1: false, any_rsv: false, closing: true };
        let all = Violations::of(&header, &expected);
        let unmasked = [0, 1, 2, 3, 5, 6].map(|rule| RULES[rule]);
        assert_eq!(all.reasons().collect::<Vec<_>>(), unmasked);
        let data = Header {
            fin: true,
            rsv23: false,
            opcode: Opcode::Text,
            control: false,
            mask: Some([0; 4]),
            minimal: true,
            ..header
        };
        let after_close = Violations::of(&data, &Expected { masked: Some(false), ..expected });
        let masked = [ProtocolError::MaskUnexpected, ProtocolError::DataAfterClose];
        assert_eq!(after_close.reasons().collect::<Vec<_>>(), masked);
    }

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
