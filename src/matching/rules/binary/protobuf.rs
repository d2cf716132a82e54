//! Protocol Buffers without their schema: fields by their numbers, read with `protobuf`.
//!
//! The encoding does not tell a text from a message inside of a message. What a path goes into is a
//! message; anything else of that kind is a text where it is UTF-8, and bytes where it is not.
//! Integers are signed ones of 64 bits. Where a field is repeated, the first counts. A field with the
//! value 0 is often not sent at all, so it is missing.

use protobuf::CodedInputStream;
use protobuf::rt::WireType;

use super::head::Scalar;
use super::report::Report;
use super::token::Tokens;
use crate::matching::rules::json::field::{End, JsonType, Sink};
use crate::matching::rules::json::wanted::{Entry, Node, Wanted};
use crate::matching::rules::text::Wholeness;

/// Reads `bytes` from their start and reports to `sink` what is wanted. Nothing in a message says where it
/// ends, so where there is only its beginning, more fields may follow any of them.
pub(super) fn scan<'a>(
    wanted: &Wanted,
    bytes: &'a [u8],
    wholeness: Wholeness,
    tokens: Tokens<'a>,
    sink: &mut impl Sink<'a>,
) -> End {
    let mut scan = Scan { report: Report::new(tokens, sink) };
    let ended = scan.fields(bytes, 0, &wanted.root).and_then(|()| match wholeness {
        Wholeness::Whole => scan.report.nothing_more(&wanted.root, bytes.len()),
        Wholeness::Cut => Err(End::Cut),
    });
    ended.err().unwrap_or(End::Complete)
}

struct Scan<'a, 's, S> {
    report: Report<'a, 's, S>,
}

/// A value as it stands in the message.
enum Value<'a> {
    Number(i64),
    Bytes(&'a [u8]),
}

impl<'a, S: Sink<'a>> Scan<'a, '_, S> {
    /// Reads the message `bytes`, which begins behind `before` bytes of the whole.
    fn message(&mut self, bytes: &'a [u8], before: usize, node: &Node) -> Result<(), End> {
        self.fields(bytes, before, node)?;
        self.report.nothing_more(node, before + bytes.len())
    }

    fn fields(&mut self, bytes: &'a [u8], before: usize, node: &Node) -> Result<(), End> {
        let mut stream = CodedInputStream::from_bytes(bytes);
        // An error is where the bytes end too early or make no sense: the crate does not say which.
        while let Some(tag) = stream.read_raw_tag_or_eof().map_err(|_| End::Cut)? {
            let value = value(&mut stream, bytes, tag & 7)?;
            let entry = node.by_index(tag >> 3);
            let seen = before + position(&stream);
            if let Some(entry) = entry {
                self.field(value, seen, entry)?;
            }
        }
        Ok(())
    }

    fn field(&mut self, value: Value<'a>, seen: usize, entry: &Entry) -> Result<(), End> {
        match value {
            Value::Number(number) => {
                let write = |tokens: &mut Tokens<'a>| tokens.scalar(Scalar::Signed(number));
                self.report.tell(entry, JsonType::Number, seen, write)?;
            }
            Value::Bytes(bytes) => match &entry.below {
                Some(node) => {
                    self.report.tell(entry, JsonType::Object, seen, |_| &[])?;
                    // What is no message has no fields.
                    if let Err(End::Stopped(seen)) = self.message(bytes, seen - bytes.len(), node) {
                        return Err(End::Stopped(seen));
                    }
                }
                None => self.report.tell(entry, JsonType::String, seen, |tokens| {
                    if std::str::from_utf8(bytes).is_ok() {
                        tokens.text(bytes)
                    } else {
                        tokens.bytes(bytes)
                    }
                })?,
            },
        }
        self.report.nothing_below(entry, seen)
    }
}

/// The value of a field of this wire type. Groups, which nobody writes any more, are not read.
fn value<'a>(
    stream: &mut CodedInputStream<'_>,
    bytes: &'a [u8],
    wire_type: u32,
) -> Result<Value<'a>, End> {
    let number = match WireType::new(wire_type).ok_or(End::Malformed)? {
        WireType::Varint => stream.read_raw_varint64().map(u64::cast_signed),
        WireType::Fixed64 => stream.read_raw_little_endian64().map(u64::cast_signed),
        WireType::Fixed32 => stream.read_raw_little_endian32().map(i64::from),
        WireType::LengthDelimited => {
            let length = stream.read_raw_varint32().map_err(|_| End::Cut)?;
            let start = position(stream);
            stream.skip_raw_bytes(length).map_err(|_| End::Cut)?;
            let value = bytes.get(start..position(stream)).ok_or(End::Cut)?;
            return Ok(Value::Bytes(value));
        }
        WireType::StartGroup | WireType::EndGroup => return Err(End::Malformed),
    };
    number.map(Value::Number).map_err(|_| End::Cut)
}

fn position(stream: &CodedInputStream<'_>) -> usize {
    usize::try_from(stream.pos()).unwrap_or(usize::MAX)
}
