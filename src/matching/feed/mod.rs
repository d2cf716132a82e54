//! What is kept of each connection as a feed: when a data message last passed, and the last number of
//! each of its channels.
//!
//! A feed is all that passes one way. What a message says of it is read by `rules`; here it becomes a
//! [`FeedReading`]. What wstap itself lost or could not read is never taken for a fault of the feed:
//! after [`Feed::lose`] the interval and every channel of that direction begin anew.

mod heartbeats;
mod sequence;

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::event::Direction;
use crate::observation::{FeedReading, SequenceStep, Unchecked};

use super::rules::{CHANNEL_PARTS, FeedFields, Numbers, SequenceField, equal};
pub use heartbeats::is_heartbeat;
pub(super) use heartbeats::looks_like_a_heartbeat;
use sequence::Run;

/// Stands between the parts of a name, for 1 and 23 are not 12 and 3. No token of JSON has this byte.
const PART_BORDER: u8 = 0;

/// Longest name of a channel, all its parts together.
const MAX_CHANNEL_BYTES: usize = 256;

/// How many channels may be followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChannelLimits {
    pub(super) per_connection: usize,
    /// More channels that may be followed on all connections together.
    pub(super) room: usize,
}

/// What is kept of one connection.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// By direction, when the last data message passed; 0 where none did, or others may have since.
    last_ns: [u64; 2],
    /// When the last one passed in either direction, or the connection was met.
    active_ns: u64,
    is_quiet: bool,
    /// By direction; made when the first number comes.
    channels: [Option<Box<Channels>>; 2],
}

/// The channels of one direction.
#[derive(Debug, Default)]
struct Channels {
    by_name: HashTable<Channel>,
    hasher: RandomState,
    /// Grows whenever messages may have been lost or could not be read.
    losses: u32,
}

#[derive(Debug)]
struct Channel {
    hash: u64,
    /// Its raw tokens, as [`joined`] puts them together.
    name: Box<[u8]>,
    /// `Channels::losses` when its last number came.
    losses: u32,
    run: Run,
}

impl Feed {
    /// Of a connection that is met now.
    pub(super) fn new(at_ns: u64) -> Self {
        Self { active_ns: at_ns, ..Self::default() }
    }

    /// A data message passed that is no heartbeat. Returns the time since the one before it, where
    /// nothing can have passed between.
    #[inline]
    pub(super) fn passed(&mut self, direction: Direction, at_ns: u64) -> Option<u64> {
        let last_ns = std::mem::replace(&mut self.last_ns[direction.index()], at_ns);
        self.active_ns = at_ns;
        (last_ns > 0).then(|| at_ns.saturating_sub(last_ns))
    }

    /// What `fields` of a message say.
    pub(super) fn read(
        &mut self,
        direction: Direction,
        fields: &FeedFields<'_>,
        limits: ChannelLimits,
    ) -> FeedReading {
        let sequence = match fields.sequence {
            SequenceField::None => None,
            SequenceField::Unreadable => {
                self.lose_numbers(direction);
                Some(SequenceStep::Unchecked(Unchecked::Unreadable))
            }
            SequenceField::At { channel, numbers } => {
                let known = self.channels[direction.index()].as_mut();
                let step = known.and_then(|channels| channels.step(channel, numbers));
                Some(step.unwrap_or_else(|| self.begin(direction, channel, numbers, limits)))
            }
        };
        FeedReading { since_ns: None, time: fields.time, sequence }
    }

    /// The first number of a channel.
    #[inline(never)]
    fn begin(
        &mut self,
        direction: Direction,
        name: [&[u8]; CHANNEL_PARTS],
        numbers: Numbers,
        limits: ChannelLimits,
    ) -> SequenceStep {
        if name.into_iter().map(<[u8]>::len).sum::<usize>() > MAX_CHANNEL_BYTES {
            return SequenceStep::Unchecked(Unchecked::Unreadable);
        }
        if self.channel_count() >= limits.per_connection || limits.room == 0 {
            return SequenceStep::Unchecked(Unchecked::TooManyChannels);
        }
        let channels = self.channels[direction.index()].get_or_insert_default();
        let hash = channels.hash(name);
        let (name, losses, run) = (joined(name), channels.losses, Run::new(numbers));
        let channel = Channel { hash, name, losses, run };
        channels.by_name.insert_unique(hash, channel, |known| known.hash);
        SequenceStep::Begun
    }

    /// Messages of `direction` may have been lost.
    pub(super) fn lose(&mut self, direction: Direction) {
        self.last_ns[direction.index()] = 0;
        self.lose_numbers(direction);
    }

    /// A message of `direction` passed whose numbers, if it has any, cannot be read.
    pub(super) fn lose_numbers(&mut self, direction: Direction) {
        if let Some(channels) = &mut self.channels[direction.index()] {
            channels.losses = channels.losses.wrapping_add(1);
        }
    }

    /// Channels that are followed.
    pub(super) fn channel_count(&self) -> usize {
        Direction::BOTH.into_iter().map(|direction| self.channels(direction)).sum()
    }

    /// Returns how many there were.
    pub(super) fn forget_channels(&mut self) -> usize {
        let count = self.channel_count();
        self.channels = Default::default();
        count
    }

    fn channels(&self, direction: Direction) -> usize {
        self.channels[direction.index()].as_ref().map_or(0, |channels| channels.by_name.len())
    }

    /// Whether it has become quiet, or is not any more, since the last call: silent for longer than
    /// `limit_ns`.
    pub(super) fn changes_quiet(&mut self, now_ns: u64, limit_ns: u64) -> Option<bool> {
        let is_quiet = now_ns.saturating_sub(self.active_ns) > limit_ns;
        let was_quiet = std::mem::replace(&mut self.is_quiet, is_quiet);
        (is_quiet != was_quiet).then_some(is_quiet)
    }

    /// It was said to be quiet, and is taken back.
    pub(super) fn leaves_quiet(&mut self) -> bool {
        std::mem::take(&mut self.is_quiet)
    }
}

impl Channels {
    /// The next number of a channel; `None` where that is not known.
    #[inline]
    fn step(&mut self, name: [&[u8]; CHANNEL_PARTS], numbers: Numbers) -> Option<SequenceStep> {
        let hash = self.hash(name);
        let is_it = |channel: &Channel| is_joined(&channel.name, name);
        if let Some(channel) = self.by_name.find_mut(hash, is_it) {
            let has_lost = std::mem::replace(&mut channel.losses, self.losses) != self.losses;
            return Some(channel.run.step(numbers, has_lost));
        }
        None
    }

    fn hash(&self, name: [&[u8]; CHANNEL_PARTS]) -> u64 {
        let mut state = self.hasher.build_hasher();
        let [first, rest @ ..] = name;
        state.write(first);
        rest.into_iter().filter(|part| !part.is_empty()).for_each(|part| state.write(part));
        state.finish()
    }
}

/// The name that these parts make: as it is where there is one, else with [`PART_BORDER`] between them.
fn joined(parts: [&[u8]; CHANNEL_PARTS]) -> Box<[u8]> {
    match parts {
        [first, [], []] => first.into(),
        parts => parts.join(&PART_BORDER).into(),
    }
}

/// Whether `name` is what [`joined`] makes of `parts`.
fn is_joined(name: &[u8], parts: [&[u8]; CHANNEL_PARTS]) -> bool {
    let [first, rest @ ..] = parts;
    // Most channels have a name in one part.
    if rest.iter().all(|part| part.is_empty()) {
        return equal(name, first);
    }
    let Some(mut left) = name.strip_prefix(first) else { return false };
    for part in rest {
        let [PART_BORDER, behind @ ..] = left else { return false };
        let Some(behind) = behind.strip_prefix(part) else { return false };
        left = behind;
    }
    left.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_whose_parts_make_the_same_text_are_told_apart() {
        let names: [[&[u8]; CHANNEL_PARTS]; 4] =
            [[b"1", b"23", b""], [b"12", b"3", b""], [b"123", b"", b""], [b"1", b"", b"23"]];
        for (at, one) in names.into_iter().enumerate() {
            for (other_at, other) in names.into_iter().enumerate() {
                assert_eq!(is_joined(&joined(one), other), at == other_at, "{at} {other_at}");
            }
        }
    }
}
