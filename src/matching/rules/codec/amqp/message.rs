//! Properties of a message in a transfer (AMQP 1.0, part 3, section 3.2.4): what tells a request
//! of the application and its answer.

use super::value::{Reader, Value};
use crate::matching::rules::reading::MAX_ID_BYTES;

/// Descriptors of sections.
const PROPERTIES: u64 = 0x73;

/// Sections that may stand in front of the properties, and they themselves.
const SECTIONS: std::ops::RangeInclusive<u64> = 0x70..=PROPERTIES;

/// Ids of a message, as they are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    /// Of a message that asks for an answer.
    pub(super) asks: Option<Vec<u8>>,
    /// Of the message that it answers.
    pub(super) answers: Option<Vec<u8>>,
}

impl Properties {
    /// Reads them from the beginning of a message; without any where there are none.
    pub(super) fn read(payload: &[u8]) -> Self {
        let mut reader = Reader::new(payload);
        loop {
            let code = reader.described();
            let Ok(Some(code)) = code else { return Self::default() };
            let Ok(value) = reader.primitive() else { return Self::default() };
            if code == PROPERTIES {
                return Self::of(value).unwrap_or_default();
            }
            if !SECTIONS.contains(&code) {
                return Self::default();
            }
        }
    }

    fn of(properties: Value<'_>) -> Option<Self> {
        let Value::List(list) = properties else { return None };
        let [id, _user, _to, _subject, reply_to, correlation] = list.fields().ok()?;
        let asks = if reply_to.is_null() { None } else { token(id) };
        Some(Self { asks, answers: token(correlation) })
    }
}

/// An id as it is compared: a text in quotes, bytes by their digits, a number.
fn token(id: Value<'_>) -> Option<Vec<u8>> {
    match id {
        Value::Number(number) => Some(number.to_string().into_bytes()),
        Value::Text(text) if text.len() < MAX_ID_BYTES => Some([b"\"", text, b"\""].concat()),
        Value::Bytes(bytes) if bytes.len() < MAX_ID_BYTES / 2 => {
            let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0') as u8;
            let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]);
            Some(b"0x".iter().copied().chain(digits).collect())
        }
        _ => None,
    }
}
