//! One head of Erlang's External Term Format (erlang.org, "External Term Format").
//!
//! Crates for it read a whole term into a tree, so its heads are read here. An atom counts as a text,
//! but for those that stand for true, false and null. A tuple counts as an array.
//! Processes, ports, references and functions are not read: nobody puts them into a message of JSON's
//! kind.

use super::head::{Format, Head, Scalar, fixed, signed, unsigned};
use crate::matching::rules::json::field::End;

/// See the module.
pub(super) struct Etf;

/// What a message begins with.
const VERSION: u8 = 131;

/// Tags of terms.
mod tag {
    pub(super) const NEW_FLOAT: u8 = 70;
    pub(super) const BIT_BINARY: u8 = 77;
    pub(super) const COMPRESSED: u8 = 80;
    pub(super) const SMALL_INTEGER: u8 = 97;
    pub(super) const INTEGER: u8 = 98;
    pub(super) const FLOAT: u8 = 99;
    pub(super) const ATOM: u8 = 100;
    pub(super) const SMALL_TUPLE: u8 = 104;
    pub(super) const LARGE_TUPLE: u8 = 105;
    pub(super) const NIL: u8 = 106;
    pub(super) const STRING: u8 = 107;
    pub(super) const LIST: u8 = 108;
    pub(super) const BINARY: u8 = 109;
    pub(super) const SMALL_BIG: u8 = 110;
    pub(super) const LARGE_BIG: u8 = 111;
    pub(super) const SMALL_ATOM: u8 = 115;
    pub(super) const MAP: u8 = 116;
    pub(super) const ATOM_UTF8: u8 = 118;
    pub(super) const SMALL_ATOM_UTF8: u8 = 119;
}

impl Format for Etf {
    fn front(bytes: &[u8]) -> Result<usize, End> {
        match bytes {
            [] => Err(End::Cut),
            [VERSION, tag::COMPRESSED, ..] => Err(End::Unreadable),
            [VERSION, ..] => Ok(1),
            _ => Err(End::Malformed),
        }
    }

    fn head(rest: &[u8]) -> Result<(Head, usize), End> {
        let (&tag, behind) = rest.split_first().ok_or(End::Cut)?;
        let scalar = |scalar, bytes: usize| Ok((Head::Scalar(scalar), 1 + bytes));
        match tag {
            tag::SMALL_INTEGER => scalar(Scalar::Unsigned(unsigned::<1>(behind)?), 1),
            tag::INTEGER => scalar(Scalar::Signed(signed::<4>(behind)?), 4),
            tag::NEW_FLOAT => scalar(Scalar::Float(f64::from_be_bytes(fixed(behind)?)), 8),
            tag::FLOAT => scalar(Scalar::Float(written_float(behind)?), FLOAT_BYTES),
            tag::ATOM | tag::ATOM_UTF8 => atom(unsigned::<2>(behind)?, 2, behind),
            tag::SMALL_ATOM | tag::SMALL_ATOM_UTF8 => atom(unsigned::<1>(behind)?, 1, behind),
            tag::BINARY => Ok((Head::Text(Some(unsigned::<4>(behind)?)), 5)),
            tag::SMALL_BIG => big(unsigned::<1>(behind)?, 1, behind),
            tag::LARGE_BIG => big(unsigned::<4>(behind)?, 4, behind),
            tag::SMALL_TUPLE => Ok((Head::Array(Some(unsigned::<1>(behind)?)), 2)),
            tag::LARGE_TUPLE => Ok((Head::Array(Some(unsigned::<4>(behind)?)), 5)),
            tag::NIL => Ok((Head::Array(Some(0)), 1)),
            tag::STRING => Ok((Head::Octets(unsigned::<2>(behind)?), 3)),
            tag::LIST => Ok((Head::List(unsigned::<4>(behind)?), 5)),
            tag::MAP => Ok((Head::Map(Some(unsigned::<4>(behind)?)), 5)),
            // How many bits of the last byte count stands in front of the bytes.
            tag::BIT_BINARY => Ok((Head::Bytes(Some(unsigned::<4>(behind)?)), 6)),
            _ => Err(End::Malformed),
        }
    }
}

/// Bytes of a float that is written in digits.
const FLOAT_BYTES: usize = 31;

/// A float in digits, and zeros behind them.
fn written_float(behind: &[u8]) -> Result<f64, End> {
    let field = behind.get(..FLOAT_BYTES).ok_or(End::Cut)?;
    let digits = field.split(|&byte| byte == 0).next().unwrap_or_default();
    let digits = std::str::from_utf8(digits).map_err(|_| End::Malformed)?;
    digits.parse().map_err(|_| End::Malformed)
}

/// An atom whose length was read from the first `before` bytes.
fn atom(length: u64, before: usize, behind: &[u8]) -> Result<(Head, usize), End> {
    let text = Ok((Head::Text(Some(length)), 1 + before));
    // Longer or shorter than any that is no text.
    let Some(bytes @ 3..=5) = usize::try_from(length).ok() else { return text };
    let name = behind.get(before..before + bytes).ok_or(End::Cut)?;
    let scalar = match name {
        b"nil" | b"null" => Scalar::Null,
        b"true" => Scalar::Bool(true),
        b"false" => Scalar::Bool(false),
        _ => return text,
    };
    Ok((Head::Scalar(scalar), 1 + before + bytes))
}

/// A whole number of as many bytes as the first `before` bytes say: a sign, and the lowest byte first. One
/// that no integer here holds counts as its bytes, sign included.
fn big(length: u64, before: usize, behind: &[u8]) -> Result<(Head, usize), End> {
    let Some(bytes @ 0..=8) = usize::try_from(length).ok() else {
        return Ok((Head::Bytes(Some(length.saturating_add(1))), 1 + before));
    };
    let number = behind.get(before..before + 1 + bytes).ok_or(End::Cut)?;
    let (sign, digits) = number.split_first().ok_or(End::Cut)?;
    let size = digits.iter().rev().fold(0, |size, &byte| size << 8 | u64::from(byte));
    let scalar = match (sign, 0_i64.checked_sub_unsigned(size)) {
        (0, _) => Scalar::Unsigned(size),
        (_, Some(number)) => Scalar::Signed(number),
        (_, None) => return Ok((Head::Bytes(Some(length.saturating_add(1))), 1 + before)),
    };
    Ok((Head::Scalar(scalar), 1 + before + 1 + bytes))
}
