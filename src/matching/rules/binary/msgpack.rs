//! One head of MessagePack, by the markers of `rmp`.

use rmp::Marker;

use super::head::{Format, Head, Scalar, fixed, signed, unsigned};
use crate::matching::rules::json::field::End;

/// See the module.
pub(super) struct MessagePack;

impl Format for MessagePack {
    #[inline]
    fn head(rest: &[u8]) -> Result<(Head, usize), End> {
        let marker = Marker::from_u8(*rest.first().ok_or(End::Cut)?);
        let behind = &rest[1..];
        let scalar = |scalar, bytes: usize| Ok((Head::Scalar(scalar), 1 + bytes));
        let text = |length, bytes: usize| Ok((Head::Text(Some(length)), 1 + bytes));
        let bytes = |length, bytes: usize| Ok((Head::Bytes(Some(length)), 1 + bytes));
        match marker {
            Marker::Null => scalar(Scalar::Null, 0),
            Marker::True => scalar(Scalar::Bool(true), 0),
            Marker::False => scalar(Scalar::Bool(false), 0),
            Marker::FixPos(number) => scalar(Scalar::Unsigned(number.into()), 0),
            Marker::FixNeg(number) => scalar(Scalar::Signed(number.into()), 0),
            Marker::U8 => scalar(Scalar::Unsigned(unsigned::<1>(behind)?), 1),
            Marker::U16 => scalar(Scalar::Unsigned(unsigned::<2>(behind)?), 2),
            Marker::U32 => scalar(Scalar::Unsigned(unsigned::<4>(behind)?), 4),
            Marker::U64 => scalar(Scalar::Unsigned(unsigned::<8>(behind)?), 8),
            Marker::I8 => scalar(Scalar::Signed(signed::<1>(behind)?), 1),
            Marker::I16 => scalar(Scalar::Signed(signed::<2>(behind)?), 2),
            Marker::I32 => scalar(Scalar::Signed(signed::<4>(behind)?), 4),
            Marker::I64 => scalar(Scalar::Signed(signed::<8>(behind)?), 8),
            Marker::F32 => scalar(Scalar::Float(f32::from_be_bytes(fixed(behind)?).into()), 4),
            Marker::F64 => scalar(Scalar::Float(f64::from_be_bytes(fixed(behind)?)), 8),
            Marker::FixStr(length) => text(length.into(), 0),
            Marker::Str8 => text(unsigned::<1>(behind)?, 1),
            Marker::Str16 => text(unsigned::<2>(behind)?, 2),
            Marker::Str32 => text(unsigned::<4>(behind)?, 4),
            Marker::Bin8 => bytes(unsigned::<1>(behind)?, 1),
            Marker::Bin16 => bytes(unsigned::<2>(behind)?, 2),
            Marker::Bin32 => bytes(unsigned::<4>(behind)?, 4),
            Marker::FixArray(length) => Ok((Head::Array(Some(length.into())), 1)),
            Marker::Array16 => Ok((Head::Array(Some(unsigned::<2>(behind)?)), 3)),
            Marker::Array32 => Ok((Head::Array(Some(unsigned::<4>(behind)?)), 5)),
            Marker::FixMap(length) => Ok((Head::Map(Some(length.into())), 1)),
            Marker::Map16 => Ok((Head::Map(Some(unsigned::<2>(behind)?)), 3)),
            Marker::Map32 => Ok((Head::Map(Some(unsigned::<4>(behind)?)), 5)),
            // The type of an extension is a byte in front of its content.
            Marker::FixExt1 => bytes(1, 1),
            Marker::FixExt2 => bytes(2, 1),
            Marker::FixExt4 => bytes(4, 1),
            Marker::FixExt8 => bytes(8, 1),
            Marker::FixExt16 => bytes(16, 1),
            Marker::Ext8 => bytes(unsigned::<1>(behind)?, 2),
            Marker::Ext16 => bytes(unsigned::<2>(behind)?, 3),
            Marker::Ext32 => bytes(unsigned::<4>(behind)?, 5),
            Marker::Reserved => Err(End::Malformed),
        }
    }
}
