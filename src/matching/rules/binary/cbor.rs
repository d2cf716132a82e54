//! One head of CBOR, by `minicbor`.

use minicbor::data::Type;
use minicbor::decode::Decoder;
use minicbor::decode::info::Size;

use super::head::{Format, Head, Scalar};
use crate::matching::rules::json::field::End;

/// See the module.
pub(super) struct Cbor;

/// What ends an array, a map or a text that did not say its length (RFC 8949, section 3.2.1).
const BREAK: u8 = 0xff;

impl Format for Cbor {
    fn head(rest: &[u8]) -> Result<(Head, usize), End> {
        let first = *rest.first().ok_or(End::Cut)?;
        if first == BREAK {
            return Ok((Head::Break, 1));
        }
        let length = Size::head(first).map_err(|_| End::Malformed)?;
        let head = rest.get(..length).ok_or(End::Cut)?;
        let kind = Decoder::new(head).datatype().map_err(|_| End::Malformed)?;
        let size = Size::tail(head).map_err(|_| End::Malformed)?;
        let count = match size {
            Size::Bytes(count) | Size::Items(count) => Some(count),
            Size::Head | Size::Indef => None,
        };
        let told = match kind {
            Type::String | Type::StringIndef => Head::Text(count),
            Type::Bytes | Type::BytesIndef => Head::Bytes(count),
            Type::Array | Type::ArrayIndef => Head::Array(count),
            Type::Map | Type::MapIndef => Head::Map(count),
            Type::Tag => Head::Tag,
            kind => Head::Scalar(scalar(kind, head).ok_or(End::Malformed)?),
        };
        Ok((told, length))
    }
}

fn scalar(kind: Type, head: &[u8]) -> Option<Scalar> {
    let mut decoder = Decoder::new(head);
    Some(match kind {
        Type::Bool => Scalar::Bool(decoder.bool().ok()?),
        Type::Null | Type::Undefined | Type::Simple => Scalar::Null,
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Scalar::Unsigned(decoder.u64().ok()?),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => Scalar::Signed(decoder.i64().ok()?),
        Type::F32 => Scalar::Float(decoder.f32().ok()?.into()),
        Type::F64 => Scalar::Float(decoder.f64().ok()?),
        Type::F16 => Scalar::Float(half(head.get(1..)?.first_chunk()?)),
        _ => return None,
    })
}

/// A number of 16 bits (IEEE 754, binary16), which the crate reads only with another crate.
fn half(bytes: &[u8; 2]) -> f64 {
    let bits = u16::from_be_bytes(*bytes);
    let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        0x1f if mantissa == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (mantissa + 1024.0) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_is_what_the_standard_says() {
        for (bytes, number) in [
            ([0x3c, 0x00], 1.0),
            ([0xc4, 0x00], -4.0),
            ([0x7b, 0xff], 65_504.0),
            ([0x00, 0x01], 5.960_464_477_539_063e-8),
            ([0x7c, 0x00], f64::INFINITY),
        ] {
            assert_eq!(half(&bytes), number);
        }
    }
}
