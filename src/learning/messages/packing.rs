//! How application messages are packed into WebSocket messages: one each, several behind one
//! another, as SockJS does it, or in a binary encoding.

use crate::learning::messages::json;
use crate::learning::messages::sample::{Group, Kept, Passed};
use crate::matching::Encoding;
use crate::observation::MessageType;

/// What has to be undone before a message can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::learning) enum Packing {
    /// Nothing: one JSON text each.
    #[default]
    Plain,
    /// Each message ends with 0x1e.
    RecordSeparator,
    /// JSON texts on lines.
    Newline,
    /// An array of messages.
    Array,
    /// Strings in an array of SockJS.
    SockJs,
    /// Binary messages are in this encoding.
    Encoded(Encoding),
}

/// Messages that are looked at to find it out.
const LOOK: usize = 200;

impl Packing {
    /// How the messages of `group` are packed.
    pub(in crate::learning) fn of(group: &Group) -> Self {
        let whole = group.entries.iter().filter_map(|entry| match &entry.what {
            Passed::Message(kept) if !kept.truncated => Some(kept),
            _ => None,
        });
        let whole: Vec<&Kept> = whole.take(LOOK).collect();
        if let Some(encoding) = encoding(&whole) {
            return Self::Encoded(encoding);
        }
        let messages: Vec<&[u8]> = whole.iter().map(|kept| &*kept.payload).collect();
        let share = |is: &dyn Fn(&[u8]) -> bool| {
            messages.iter().filter(|text| is(text)).count() * 10 >= messages.len() * 9
        };
        if messages.is_empty() {
            return Self::Plain;
        }
        if share(&|text| text.ends_with(b"\x1e")) {
            return Self::RecordSeparator;
        }
        let is_sockjs = |text: &[u8]| sockjs(text).is_some() || text == b"o" || text == b"h";
        if messages.iter().any(|text| text.starts_with(b"a[\"")) && share(&is_sockjs) {
            return Self::SockJs;
        }
        if share(&|text| text.starts_with(b"[{") && json::is_whole(text)) {
            return Self::Array;
        }
        let several = |text: &&&[u8]| !json::is_whole(text) && text.contains(&b'\n');
        let on_lines = |text: &[u8]| text.split(|&byte| byte == b'\n').all(is_object_or_empty);
        if messages.iter().any(|text| several(&text)) && share(&on_lines) {
            return Self::Newline;
        }
        Self::Plain
    }

    /// The keys of the rule language that undo it.
    pub(in crate::learning) fn as_toml(self) -> Option<&'static str> {
        Some(match self {
            Self::Plain => return None,
            Self::RecordSeparator => "split = \"record-separator\"",
            Self::Newline => "split = \"newline\"",
            Self::Array => "split = \"array\"",
            Self::SockJs => "unwrap = \"sockjs\"",
            Self::Encoded(Encoding::MessagePack) => "unwrap = \"msgpack\"",
            Self::Encoded(Encoding::Cbor) => "unwrap = \"cbor\"",
            Self::Encoded(Encoding::Etf) => "unwrap = \"etf\"",
            Self::Encoded(Encoding::Protobuf) => "unwrap = \"protobuf\"",
        })
    }

    /// Calls `found` for each application message in `kept`.
    pub(in crate::learning) fn each(self, kept: &Kept, found: &mut dyn FnMut(&[u8])) {
        let text = &*kept.payload;
        match self {
            Self::Plain => found(text),
            Self::RecordSeparator => parts(text, 0x1e, found),
            Self::Newline => parts(text, b'\n', found),
            Self::Array => match serde_json::from_slice::<Vec<serde_json::Value>>(text) {
                Ok(values) => values.iter().for_each(|value| found(value.to_string().as_bytes())),
                Err(_) => found(text),
            },
            Self::SockJs => match sockjs(text) {
                Some(texts) => texts.iter().for_each(|text| found(text.as_bytes())),
                None => found(text),
            },
            Self::Encoded(encoding) if kept.message_type == MessageType::Binary => {
                match encoding.as_json(text) {
                    Some(json) => found(&json),
                    None => found(text),
                }
            }
            Self::Encoded(_) => found(text),
        }
    }
}

/// The encoding of messages that are binary for the most part, if nearly all of those are in it. That all
/// bytes of a message are one value tells the encodings from each other.
fn encoding(messages: &[&Kept]) -> Option<Encoding> {
    let is_binary = |kept: &&&Kept| kept.message_type == MessageType::Binary;
    let binary: Vec<&&Kept> = messages.iter().filter(is_binary).collect();
    if binary.is_empty() || binary.len() * 2 < messages.len() {
        return None;
    }
    let is_json = binary.iter().any(|kept| json::is_whole(&kept.payload));
    let fits = |encoding: &Encoding| {
        let read = binary.iter().filter(|kept| encoding.as_json(&kept.payload).is_some());
        read.count() * 10 >= binary.len() * 9
    };
    let known = [Encoding::MessagePack, Encoding::Cbor, Encoding::Etf];
    if is_json { None } else { known.into_iter().find(fits) }
}

fn parts(text: &[u8], end: u8, found: &mut dyn FnMut(&[u8])) {
    text.split(|&byte| byte == end).filter(|part| !part.is_empty()).for_each(found);
}

fn is_object_or_empty(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace) || (text.starts_with(b"{") && json::is_whole(text))
}

/// The texts in a message of SockJS.
fn sockjs(text: &[u8]) -> Option<Vec<String>> {
    let array = text.strip_prefix(b"a").unwrap_or(text);
    array.starts_with(b"[\"").then(|| serde_json::from_slice(array).ok()).flatten()
}
