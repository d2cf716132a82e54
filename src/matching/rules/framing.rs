//! Several application messages in one WebSocket message, and wrappings around them.

use memchr::{memchr, memchr2};
use protobuf::CodedInputStream;
use serde::Deserialize;

use super::binary::Encoding;
use super::json::scan::elements;
use super::json::token::unescape;
use super::text::{Text, Wholeness};
use super::unwrap::{jupyter_object, phoenix_array, sockjs_array, without_mime};
use crate::observation::MessageType;

/// How application messages are packed into WebSocket messages.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::matching) struct Framing {
    pub(super) unwrap: Unwrap,
    pub(super) split: Split,
    pub(super) prefix: Prefix,
}

/// A wrapping to take off first.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Unwrap {
    #[default]
    None,
    /// SockJS: `a["…","…"]` from the server, `["…","…"]` from the client. A message that is not
    /// wrapped so is passed on as it is.
    Sockjs,
    /// The parts of a Jupyter message of subprotocol v1 (jupyter-server, "WebSocket protocols"):
    /// a count of offsets and the offsets, all 64-bit little-endian, then the channel and the
    /// JSON texts they point to. Text messages are passed on as they are.
    JupyterV1,
    /// The binary form of a Phoenix message (phoenix, `v2_json_serializer.ex`): a kind, the lengths
    /// of its texts in a byte each, the texts, the data. Text messages are passed on as they are.
    PhoenixV2,
    /// A MIME type in front of the JSON text of a binary message, and its length in a byte
    /// (TinkerPop, "Graph Driver Provider Requirements"). Text messages are passed on as they are.
    Mime,
    /// Binary messages are MessagePack. Text messages, and binary ones that are JSON, are passed on as they are;
    /// so it is with the next four.
    Msgpack,
    /// Binary messages are CBOR.
    Cbor,
    /// Binary messages are one or the other, whichever a rule holds for.
    MsgpackOrCbor,
    /// Binary messages are terms of Erlang's.
    Etf,
    /// Binary messages are Protocol Buffers, of which paths name fields by their numbers: `$[1][2]`.
    Protobuf,
    /// Some text in front of JSON, without brackets. A message without JSON is passed on as it is.
    AfterText,
}

/// What stands in front of each of several messages in a binary one.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Prefix {
    /// Nothing: one message.
    #[default]
    None,
    /// Its length in bytes, in groups of seven bits, the lowest first.
    Varint,
}

/// Bytes in front of JSON that may be another text.
const MAX_FRONT_BYTES: usize = 256;

/// What stands between messages.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Split {
    /// Nothing: one message each.
    #[default]
    None,
    /// Each message ends with 0x1e.
    RecordSeparator,
    /// Each message but the last ends with a line feed.
    Newline,
    /// A message may be a JSON array of messages.
    Array,
}

impl Framing {
    /// Calls `found` for each application message in `text`.
    pub(super) fn each<'a>(
        self,
        text: Text<'a>,
        scratch: &mut Vec<u8>,
        found: &mut dyn FnMut(Text<'_>),
    ) {
        match self.unwrap {
            Unwrap::None => self.split.each(text, found),
            Unwrap::Sockjs => match sockjs_array(text.payload) {
                Some(array) => self.each_string(text, array, scratch, found),
                None => self.split.each(text, found),
            },
            Unwrap::JupyterV1 if text.message_type == MessageType::Binary => {
                if jupyter_object(text.payload, scratch).is_some() {
                    found(Text { payload: scratch, ..text });
                }
            }
            Unwrap::PhoenixV2 if text.message_type == MessageType::Binary => {
                if phoenix_array(text, scratch).is_some() {
                    found(Text { payload: scratch, wholeness: Wholeness::Whole, ..text });
                }
            }
            Unwrap::Mime if text.message_type == MessageType::Binary => {
                let payload = without_mime(text.payload).unwrap_or(text.payload);
                self.split.each(Text { payload, ..text }, found);
            }
            Unwrap::AfterText => {
                let payload = after_text(text.payload).unwrap_or(text.payload);
                self.split.each(Text { payload, ..text }, found);
            }
            Unwrap::JupyterV1
            | Unwrap::PhoenixV2
            | Unwrap::Mime
            | Unwrap::Msgpack
            | Unwrap::Cbor
            | Unwrap::MsgpackOrCbor
            | Unwrap::Etf
            | Unwrap::Protobuf => self.split.each(text, found),
        }
    }

    /// The encodings that `text` may be in, where it is not JSON.
    pub(super) fn encodings(self, text: Text<'_>) -> &'static [Encoding] {
        if text.message_type != MessageType::Binary {
            return &[];
        }
        // In none of the encodings is a message of more than one byte that begins so.
        let is_json = matches!(text.payload, [b'{' | b'[', 0..0x80, ..]);
        if is_json { &[] } else { self.unwrap.encodings() }
    }

    /// Calls `found` for each message in `text`, which is in one of the [encodings](Self::encodings).
    pub(super) fn each_encoded(self, text: Text<'_>, found: &mut dyn FnMut(Text<'_>)) {
        if self.prefix == Prefix::None {
            return found(text);
        }
        let mut rest = text.payload;
        while !rest.is_empty() {
            let mut stream = CodedInputStream::from_bytes(rest);
            let Ok(length) = stream.read_raw_varint32() else { return };
            let start = usize::try_from(stream.pos()).unwrap_or(rest.len());
            let behind = rest.get(start..).unwrap_or_default();
            let part = behind.split_at_checked(length as usize);
            let (payload, after) = part.unwrap_or((behind, b""));
            let wholeness = if part.is_some() { Wholeness::Whole } else { text.wholeness };
            found(Text { payload, wholeness, ..text });
            rest = after;
        }
    }

    /// The message that `beginning` begins is one application message, as it is.
    pub(in crate::matching) fn is_single(self, beginning: Text<'_>) -> bool {
        let is_wrapped = match self.unwrap {
            Unwrap::None => false,
            Unwrap::Sockjs | Unwrap::AfterText => true,
            Unwrap::Msgpack
            | Unwrap::Cbor
            | Unwrap::MsgpackOrCbor
            | Unwrap::Etf
            | Unwrap::Protobuf => false,
            Unwrap::JupyterV1 | Unwrap::PhoenixV2 | Unwrap::Mime => {
                beginning.message_type == MessageType::Binary
            }
        };
        if !self.encodings(beginning).is_empty() {
            return self.prefix == Prefix::None;
        }
        let is_split = match self.split {
            Split::None => false,
            Split::Array => beginning.payload.trim_ascii_start().starts_with(b"["),
            Split::RecordSeparator | Split::Newline => true,
        };
        !is_wrapped && !is_split
    }

    /// Further application messages may have stood in what is missing of `text`.
    pub(in crate::matching) fn hides_more(self, text: Text<'_>) -> bool {
        if text.wholeness == Wholeness::Whole {
            return false;
        }
        if text.message_type != MessageType::Text {
            return !self.encodings(text).is_empty() && self.prefix != Prefix::None;
        }
        match self.split {
            Split::None => self.unwrap == Unwrap::Sockjs,
            Split::Array => text.payload.trim_ascii_start().starts_with(b"["),
            Split::RecordSeparator | Split::Newline => true,
        }
    }

    /// The strings of a SockJS array. One that was cut is dropped: where it ends is not known.
    fn each_string(
        self,
        text: Text<'_>,
        array: &[u8],
        scratch: &mut Vec<u8>,
        found: &mut dyn FnMut(Text<'_>),
    ) {
        for (string, wholeness) in elements(array) {
            let inside = string.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
            let (Some(inside), Wholeness::Whole) = (inside, wholeness) else { continue };
            let Some(unescaped) = unescape(inside) else { continue };
            scratch.clear();
            scratch.extend_from_slice(unescaped.as_bytes());
            self.split.each(Text { payload: scratch, wholeness: Wholeness::Whole, ..text }, found);
        }
    }
}

impl Unwrap {
    pub(super) fn encodings(self) -> &'static [Encoding] {
        match self {
            Self::Msgpack => &[Encoding::MessagePack],
            Self::Cbor => &[Encoding::Cbor],
            Self::MsgpackOrCbor => &[Encoding::MessagePack, Encoding::Cbor],
            Self::Etf => &[Encoding::Etf],
            Self::Protobuf => &[Encoding::Protobuf],
            _ => &[],
        }
    }
}

/// The JSON in `payload` behind a text.
fn after_text(payload: &[u8]) -> Option<&[u8]> {
    let front = &payload[..payload.len().min(MAX_FRONT_BYTES)];
    payload.get(memchr2(b'{', b'[', front)?..)
}

impl Split {
    fn each<'a>(self, text: Text<'a>, found: &mut dyn FnMut(Text<'_>)) {
        match self {
            Self::None => found(text),
            Self::RecordSeparator => each_between(text, 0x1e, found),
            Self::Newline => each_between(text, b'\n', found),
            Self::Array => match text.payload.trim_ascii_start() {
                array @ [b'[', ..] => {
                    for (payload, wholeness) in elements(array) {
                        found(Text { payload, wholeness, ..text });
                    }
                }
                _ => found(text),
            },
        }
    }
}

fn each_between(text: Text<'_>, separator: u8, found: &mut dyn FnMut(Text<'_>)) {
    let mut rest = text.payload;
    while let Some(end) = memchr(separator, rest) {
        found(Text { payload: &rest[..end], wholeness: Wholeness::Whole, ..text });
        rest = &rest[end + 1..];
    }
    if !rest.is_empty() {
        found(Text { payload: rest, ..text });
    }
}
