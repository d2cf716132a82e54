//! What a rule says of feeds: where a message has its own time and its number.
//!
//! ```toml
//! [[rule]]
//! kind = "notification"
//! has = ["$.u"]
//! time = "$.E"
//! sequence = "$.u"
//! first = "$.U"
//! channel = "$.s"
//! ```
//!
//! The values are found in the same scan as everything else. What becomes of them is left to
//! `matching::feed`.

pub(super) mod time;

use super::json::slots::Slot;
use crate::observation::OwnTime;
use time::{TimeUnit, whole_number, without_quotes};

/// Nanoseconds since 1970 of a time as messages write it: a number of s, ms, us or ns, of which the unit
/// is found by its size, with quotes or without, or RFC 3339. `None` where it is no time.
#[must_use]
pub fn own_time_ns(token: &[u8]) -> Option<i64> {
    time::parse(token, None)
}

/// Most paths that together name a channel.
pub const CHANNEL_PARTS: usize = 3;

/// What a message says of the feed that it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::matching) struct FeedFields<'a> {
    pub(in crate::matching) time: OwnTime,
    pub(in crate::matching) sequence: SequenceField<'a>,
}

/// Its place in a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::matching) enum SequenceField<'a> {
    /// It has none.
    #[default]
    None,
    /// It has one, and that cannot be read, or not its channel.
    Unreadable,
    /// The raw tokens that name its channel, and its numbers.
    At { channel: [&'a [u8]; CHANNEL_PARTS], numbers: Numbers },
}

/// The numbers of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matching) struct Numbers {
    /// The first and the last one that it covers; the same in most feeds.
    pub(in crate::matching) first: i64,
    pub(in crate::matching) last: i64,
    /// The last one of the message before it, where it says so.
    pub(in crate::matching) previous: Option<i64>,
    /// From one number to the next; at least 1.
    pub(in crate::matching) step: u32,
    /// The numbers begin anew with it, by rule.
    pub(in crate::matching) resets: bool,
}

/// Where a message has all this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FeedRule {
    pub(super) time: Option<(Slot, Option<TimeUnit>)>,
    pub(super) sequence: Option<SequenceRule>,
}

/// Where a message has its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SequenceRule {
    pub(super) number: Slot,
    pub(super) first: Option<Slot>,
    pub(super) previous: Option<Slot>,
    /// At most [`CHANNEL_PARTS`].
    pub(super) channel: Vec<Slot>,
    pub(super) step: u32,
    pub(super) resets: bool,
}

/// A value that a rule asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// It is there: a string or a number, as it is written.
    Token(&'a [u8]),
    /// The message does not have it, or it is null.
    Absent,
    /// It is nothing of that kind, or the message was cut before it could be seen.
    Unreadable,
}

impl FeedRule {
    /// Reads what it asks for, given where to find a value.
    pub(super) fn read<'a>(&self, value: impl Fn(Slot) -> Asked<'a>) -> FeedFields<'a> {
        let time = self.time.map_or(OwnTime::Unstated, |(slot, unit)| match value(slot) {
            Asked::Absent => OwnTime::Unstated,
            Asked::Unreadable => OwnTime::Unreadable,
            Asked::Token(token) => {
                time::parse(token, unit).map_or(OwnTime::Unreadable, OwnTime::At)
            }
        });
        let sequence = self.sequence.as_ref().map_or(SequenceField::None, |rule| rule.read(value));
        FeedFields { time, sequence }
    }
}

impl SequenceRule {
    fn read<'a>(&self, value: impl Fn(Slot) -> Asked<'a>) -> SequenceField<'a> {
        let last = match value(self.number) {
            Asked::Absent => return SequenceField::None,
            found => integer(found),
        };
        // One that is not there is `Ok(None)`.
        let other = |slot: Option<Slot>| match slot.map(&value) {
            None | Some(Asked::Absent) => Ok(None),
            Some(found) => integer(found).map(Some).ok_or(()),
        };
        let mut channel = [&b""[..]; CHANNEL_PARTS];
        for (part, &slot) in channel.iter_mut().zip(&*self.channel) {
            match value(slot) {
                Asked::Token(token) => *part = token,
                Asked::Absent => {}
                Asked::Unreadable => return SequenceField::Unreadable,
            }
        }
        let (Some(last), Ok(first), Ok(previous)) = (last, other(self.first), other(self.previous))
        else {
            return SequenceField::Unreadable;
        };
        let first = first.unwrap_or(last);
        if first > last {
            return SequenceField::Unreadable;
        }
        let (step, resets) = (self.step, self.resets);
        SequenceField::At { channel, numbers: Numbers { first, last, previous, step, resets } }
    }
}

/// A whole number, with quotes or without.
#[inline]
fn integer(found: Asked<'_>) -> Option<i64> {
    match found {
        Asked::Token(token) if token.first().is_some_and(u8::is_ascii_digit) => {
            whole_number(token)?.try_into().ok()
        }
        Asked::Token(token) => marked_integer(token),
        _ => None,
    }
}

/// The same of a token with quotes or a sign.
#[inline(never)]
fn marked_integer(token: &[u8]) -> Option<i64> {
    let text = without_quotes(token);
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    let number = i64::try_from(whole_number(digits)?).ok()?;
    Some(sign * number)
}
