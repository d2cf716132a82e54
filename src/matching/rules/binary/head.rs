//! What the first bytes of a value say, whatever the encoding.

use crate::matching::rules::json::field::{End, JsonType};

/// An encoding, by how it begins a value.
pub(super) trait Format {
    /// Bytes in front of the message's value, where `bytes` is the message or its beginning.
    fn front(_bytes: &[u8]) -> Result<usize, End> {
        Ok(0)
    }

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
    /// The same, and behind them a value that ends them.
    List(u64),
    /// As many numbers of a byte each.
    Octets(u64),
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

/// The first `N` bytes.
pub(super) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], End> {
    bytes.first_chunk().copied().ok_or(End::Cut)
}

/// A big-endian number of `N` bytes, at most eight.
pub(super) fn unsigned<const N: usize>(bytes: &[u8]) -> Result<u64, End> {
    let number = fixed::<N>(bytes)?;
    Ok(number.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// The same with the sign in its highest bit.
pub(super) fn signed<const N: usize>(bytes: &[u8]) -> Result<i64, End> {
    let unused = 64 - 8 * N as u32;
    Ok((unsigned::<N>(bytes)? << unused).cast_signed() >> unused)
}
