//! What is told of feeds: messages that come on their own, one after the other.

/// What a data message says of the feed that it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedReading {
    /// Nanoseconds since the data message before it on its connection, in its direction. `None` for
    /// the first one, and where others may have passed between that could not be seen.
    pub since_ns: Option<u64>,
    /// When it was made, by its own account.
    pub time: OwnTime,
    /// What its number says; `None` where it has none.
    pub sequence: Option<SequenceStep>,
}

impl FeedReading {
    /// Nothing but that it passed.
    pub const PLAIN: Self = Self { since_ns: None, time: OwnTime::Unstated, sequence: None };
}

/// The time that stands in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnTime {
    /// It has none, or no rule says where.
    #[default]
    Unstated,
    /// In nanoseconds since 1970, by the clock of whoever wrote it.
    At(i64),
    /// It should have one, and that cannot be read: it was cut off, or is no time.
    Unreadable,
}

/// What the number of a message says, next to the one before it in its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceStep {
    /// The channel has not been seen before.
    Begun,
    /// It follows.
    InOrder,
    /// So many numbers between the two did not come. Where a message only names the one before it,
    /// 1 for each time that this is another.
    Missing(u64),
    /// The number came before.
    Repeated,
    /// It should have come before the last one.
    Backward,
    /// The numbers begin anew: the message says so, or lies too far away to be late.
    Reset,
    /// Nothing can be said.
    Unchecked(Unchecked),
}

impl SequenceStep {
    /// As in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::InOrder => "in_order",
            Self::Missing(_) => "missing",
            Self::Repeated => "repeated",
            Self::Backward => "backward",
            Self::Reset => "reset",
            Self::Unchecked(_) => "unchecked",
        }
    }

    /// Numbers that did not come, where some did not.
    #[must_use]
    pub fn missing(self) -> Option<u64> {
        if let Self::Missing(missing) = self { Some(missing) } else { None }
    }

    /// It is a fault of the feed.
    #[must_use]
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Missing(_) | Self::Repeated | Self::Backward)
    }
}

/// Why nothing can be said of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unchecked {
    /// Messages before it may have been lost or unreadable to wstap. The channel begins anew.
    AfterGap,
    /// More channels than are followed.
    TooManyChannels,
    /// It was cut off, or is no number.
    Unreadable,
}
