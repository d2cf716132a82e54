//! Messages in a binary encoding: where the wanted fields stand, told in the words of JSON.
//!
//! `scan` walks over MessagePack, CBOR and Erlang's terms alike, in place and only as far as the rules
//! need. `msgpack`, `cbor` and `etf` read one head each, the first two with the crates for their encodings.
//! `protobuf` walks by the numbers of fields. `report` tells what either walk has found. `token` writes the
//! few values that are wanted as JSON would write them, so that conditions and ids mean the same in every
//! encoding. `as_json` writes a whole message so, for whoever looks for rules. What rules make of the fields
//! is left to `json::rules`.
//!
//! No walk calls itself deeper than a path has steps, and `as_json` no deeper than 32, whatever the message says.

mod as_json;
mod cbor;
mod etf;
mod head;
mod msgpack;
mod protobuf;
mod report;
mod scan;
#[cfg(test)]
mod tests;
mod token;

use super::json::field::{End, Sink};
use super::json::wanted::Wanted;
use super::text::Wholeness;
use token::Tokens;

/// How a binary message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// MessagePack (github.com/msgpack/msgpack, `spec.md`).
    MessagePack,
    /// CBOR (RFC 8949).
    Cbor,
    /// Erlang's External Term Format.
    Etf,
    /// Protocol Buffers (protobuf.dev, "Encoding"), without their schema: a path names fields by their numbers.
    Protobuf,
}

impl Encoding {
    /// `bytes` as JSON, if they are one array or map of this encoding and nothing else.
    pub(crate) fn as_json(self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::MessagePack => as_json::as_json::<msgpack::MessagePack>(bytes),
            Self::Cbor => as_json::as_json::<cbor::Cbor>(bytes),
            Self::Etf => as_json::as_json::<etf::Etf>(bytes),
            // Its fields have no names, and texts look like messages.
            Self::Protobuf => None,
        }
    }

    /// Reads `bytes`, which are all of a message or its beginning, from their start and reports to `sink`
    /// what is `wanted`. The values are written into `room`, which grows to a fixed size.
    pub(super) fn scan<'a>(
        self,
        wanted: &Wanted,
        bytes: &'a [u8],
        wholeness: Wholeness,
        room: &'a mut Vec<u8>,
        sink: &mut impl Sink<'a>,
    ) -> End {
        let tokens = Tokens::new(room);
        match self {
            Self::MessagePack => scan::scan::<msgpack::MessagePack>(wanted, bytes, tokens, sink),
            Self::Cbor => scan::scan::<cbor::Cbor>(wanted, bytes, tokens, sink),
            Self::Etf => scan::scan::<etf::Etf>(wanted, bytes, tokens, sink),
            Self::Protobuf => protobuf::scan(wanted, bytes, wholeness, tokens, sink),
        }
    }
}
