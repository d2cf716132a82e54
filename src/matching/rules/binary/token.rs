//! Values of a binary message written as JSON would write them.
//!
//! Only values that rules ask for are written, each once, into memory that is there before.

use std::io::{self, Write};

use super::head::Scalar;
use crate::matching::rules::json::slots::MAX_SLOTS;
use crate::matching::rules::reading::MAX_ID_BYTES;

/// Longest token. Of a longer text only its beginning is written, which is too long for an id.
const MAX_TOKEN_BYTES: usize = 2 * MAX_ID_BYTES;

/// Beyond it a float does not hold every whole number.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// Room for the values of one message.
pub(super) struct Tokens<'a> {
    room: &'a mut [u8],
}

impl<'a> Tokens<'a> {
    /// Takes `memory`, and makes it as large as it has to be.
    pub(super) fn new(memory: &'a mut Vec<u8>) -> Self {
        let size = MAX_SLOTS * MAX_TOKEN_BYTES;
        if memory.len() < size {
            memory.resize(size, 0);
        }
        Self { room: memory }
    }

    /// A number, true, false or null.
    ///
    /// A float that is a whole number is written as one: libraries for JavaScript write large
    /// integers as floats, and its peer may write the same id as an integer.
    pub(super) fn scalar(&mut self, scalar: Scalar) -> &'a [u8] {
        let written = |mut room: &mut [u8]| {
            let size = room.len();
            // There is room for any number.
            let _ = write_scalar(scalar, &mut room);
            size - room.len()
        };
        self.take(written)
    }

    /// A text in quotes, with what JSON has to escape.
    pub(super) fn text(&mut self, text: &[u8]) -> &'a [u8] {
        self.take(|room| {
            let Some((quote, inside)) = room.split_first_mut() else { return 0 };
            *quote = b'"';
            let end = 1 + escaped(text, inside);
            room[end] = b'"';
            end + 1
        })
    }

    /// Bytes, as a text of their hexadecimal digits.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &'a [u8] {
        self.take(|mut room| {
            let size = room.len();
            let fitting = bytes.len().min((size - 2) / 2);
            let _ = room.write_all(b"\"");
            for byte in &bytes[..fitting] {
                let _ = write!(room, "{byte:02x}");
            }
            let _ = room.write_all(b"\"");
            size - room.len()
        })
    }

    /// What `write` writes into the room of one token; it returns the number of bytes.
    fn take(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> &'a [u8] {
        let room = std::mem::take(&mut self.room);
        let Some((token, rest)) = room.split_at_mut_checked(MAX_TOKEN_BYTES) else { return &[] };
        self.room = rest;
        let length = write(token);
        &token[..length]
    }
}

/// Writes a number, true, false or null.
pub(super) fn write_scalar(scalar: Scalar, out: &mut impl Write) -> io::Result<()> {
    match scalar {
        Scalar::Null => out.write_all(b"null"),
        Scalar::Bool(truth) => write!(out, "{truth}"),
        Scalar::Unsigned(number) => write!(out, "{number}"),
        Scalar::Signed(number) => write!(out, "{number}"),
        Scalar::Float(number) => match whole(number) {
            Some(number) => write!(out, "{number}"),
            None => write!(out, "{number:e}"),
        },
    }
}

fn whole(number: f64) -> Option<i64> {
    // Within the bound, the conversion loses nothing.
    (number.fract() == 0.0 && number.abs() < MAX_WHOLE).then_some(number as i64)
}

/// Writes `text` into `room` but for its last byte, as far as it goes; returns how many bytes.
fn escaped(text: &[u8], room: &mut [u8]) -> usize {
    let room_bytes = room.len().saturating_sub(1);
    let is_plain = |&byte: &u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.len() <= room_bytes && text.iter().all(is_plain) {
        room[..text.len()].copy_from_slice(text);
        return text.len();
    }
    let mut rest = &mut room[..room_bytes];
    for byte in text {
        let room = rest.len();
        let result = match byte {
            b'"' | b'\\' if room >= 2 => rest.write_all(&[b'\\', *byte]),
            0..b' ' if room >= 6 => write!(rest, "\\u{byte:04x}"),
            byte if is_plain(byte) && room >= 1 => rest.write_all(&[*byte]),
            _ => break,
        };
        debug_assert!(result.is_ok());
    }
    room_bytes - rest.len()
}
