//! What the first bytes of a value say, whatever the encoding.

use crate::matching::rules::json::field::{End, JsonType};

/// An encoding, by how it begins a value.
pub(super) trait Format {
    /// The head that `rest` begins with, and its length in bytes, at least one. What it announces
    /// may be longer than what there is.
    fn head(rest: &[u8]) -> Result<(Head, usize), End>;
}

/// What the first bytes of a value say. A length of `None` means: until a [`Head::Break`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head {
    /// The whole value.
    Scalar(Scalar),
    Text(Option<u64>),
    Bytes(Option<u64>),
    /// With as many elements.
    Array(Option<u64>),
    /// With as many pairs.
    Map(Option<u64>),
    /// Says something about the value that follows, which is the value.
    Tag,
    Break,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl Scalar {
    pub(super) fn json_type(self) -> JsonType {
        match self {
            Self::Null => JsonType::Null,
            Self::Bool(_) => JsonType::Bool,
            Self::Unsigned(_) | Self::Signed(_) | Self::Float(_) => JsonType::Number,
        }
    }
}
