//! JSON values as stretches of text: where one ends, and what a string says.
//!
//! Positions are indexes into the text; a text that ends before the value does is [`End::Cut`].

use memchr::{memchr2, memchr3};

use super::field::End;

/// Position after what was read, or why there is none.
pub(in crate::matching::rules) type Position = Result<usize, End>;

/// The text of a JSON string, given what stands between its quotes; `None` if it is not one.
pub(in crate::matching::rules) fn unescape(inside: &[u8]) -> Option<String> {
    let mut quoted = Vec::with_capacity(inside.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(inside);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).ok()
}

#[inline]
pub(in crate::matching::rules) fn space_end(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = text.get(at) {
        at += 1;
    }
    at
}

/// Position after the value at `at`, whatever it is.
pub(in crate::matching::rules) fn value_end(text: &[u8], at: usize) -> Position {
    match text.get(at) {
        None => Err(End::Cut),
        Some(b'"') => string_end(text, at),
        Some(b'{' | b'[') => container_end(text, at),
        Some(b't') => word_end(text, at, b"true"),
        Some(b'f') => word_end(text, at, b"false"),
        Some(b'n') => word_end(text, at, b"null"),
        Some(b'-' | b'0'..=b'9') => number_end(text, at),
        Some(_) => Err(End::Malformed),
    }
}

/// Position after the closing quote of the string whose opening quote is at `at`.
#[inline]
pub(in crate::matching::rules) fn string_end(text: &[u8], at: usize) -> Position {
    let inside = text.get(at + 1..).ok_or(End::Cut)?;
    // Keys and ids are short: for them, calling a vectorised search costs more than looking.
    for (offset, byte) in inside.iter().take(SHORT_BYTES).enumerate() {
        match byte {
            b'"' => return Ok(at + offset + 2),
            b'\\' => break,
            _ => {}
        }
    }
    long_string_end(text, at)
}

/// What is nearer than this is searched byte by byte.
const SHORT_BYTES: usize = 16;

fn long_string_end(text: &[u8], at: usize) -> Position {
    let mut at = at + 1;
    loop {
        let rest = text.get(at..).ok_or(End::Cut)?;
        let stop = memchr2(b'"', b'\\', rest).ok_or(End::Cut)?;
        if rest[stop] == b'"' {
            return Ok(at + stop + 1);
        }
        at += stop + 2;
    }
}

/// Position after a number. A number at the very end of the text may have been cut in two, so it
/// counts as cut.
fn number_end(text: &[u8], at: usize) -> Position {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let length = text[at..].iter().position(|byte| !is_part(byte)).ok_or(End::Cut)?;
    Ok(at + length)
}

fn word_end(text: &[u8], at: usize, word: &[u8]) -> Position {
    let rest = &text[at..];
    if rest.starts_with(word) {
        return Ok(at + word.len());
    }
    Err(if word.starts_with(rest) { End::Cut } else { End::Malformed })
}

/// Position after the object or array that begins at `at`. Only brackets of its own kind are
/// counted: in well-formed text the others are balanced between them.
pub(in crate::matching::rules) fn container_end(text: &[u8], at: usize) -> Position {
    let open = text[at];
    let close = if open == b'{' { b'}' } else { b']' };
    let mut depth = 1_usize;
    let mut at = at + 1;
    loop {
        let rest = text.get(at..).ok_or(End::Cut)?;
        let is_stop = |byte: &u8| *byte == b'"' || *byte == open || *byte == close;
        // Most stops are near; only then is a vectorised search worth its call.
        let near = &rest[..rest.len().min(SHORT_BYTES)];
        let stop = near.iter().position(is_stop);
        at += stop.or_else(|| memchr3(b'"', open, close, rest)).ok_or(End::Cut)?;
        if text[at] == b'"' {
            at = string_end(text, at)?;
            continue;
        }
        depth = if text[at] == open { depth + 1 } else { depth - 1 };
        at += 1;
        if depth == 0 {
            return Ok(at);
        }
    }
}

/// Whether two short texts are equal. They are compared in place: calling out for a handful of
/// bytes took a quarter of the time of a message.
#[inline]
pub(in crate::matching) fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a == b)
}
