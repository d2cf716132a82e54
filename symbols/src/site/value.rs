//! What can be known of a register or a stack slot.

/// What is known of a register or a stack slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value {
    /// Nothing.
    Unknown,
    /// The function's argument of this index, all 64 bits.
    Arg(u8),
    /// The low 32 bits of an argument, extended.
    ArgLow(u8),
    /// The stack pointer at entry, plus this many bytes.
    Stack(i64),
    /// The low 32 bits are 0 or negative.
    NotPositive,
    /// The low 32 bits are what call number `.0` returned.
    Result(usize),
    /// The low 32 bits are 0 or negative, or are what call number `call` left where its argument
    /// `arg` points.
    Count {
        /// Number of the call.
        call: usize,
        /// Index of its argument.
        arg: u8,
    },
    /// What the object that the first argument points to holds at this offset, all 64 bits.
    Field(u16),
    /// What a table holds that such a field points to.
    Method(Method),
}

/// A function that is called through a table: the first argument points to an object, which points to
/// the table. Both offsets are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Method {
    /// Where in the object the table's address is.
    pub(crate) table: u16,
    /// Where in the table the function's address is.
    pub(crate) slot: u16,
}

impl Value {
    /// What holds for both `self` and `other`.
    pub(super) fn either(self, other: Self) -> Self {
        match (self, other) {
            _ if self == other => self,
            (Self::NotPositive, Self::Result(_) | Self::Count { .. }) => other,
            (Self::Result(_) | Self::Count { .. }, Self::NotPositive) => self,
            _ => Self::Unknown,
        }
    }

    /// The low 32 bits, extended one way or the other.
    pub(super) fn low_half(self) -> Self {
        match self {
            Self::Arg(index) => Self::ArgLow(index),
            Self::Stack(_) | Self::Field(_) | Self::Method(_) => Self::Unknown,
            other => other,
        }
    }
}
