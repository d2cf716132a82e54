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
    // Most keys, and many values, end within a word.
    if let Some(word) = text.get(at + 1..).and_then(|inside| inside.first_chunk()) {
        let found = found_in(word, b'"', b'\\');
        if let Some(offset) = found
            && word[offset] == b'"'
        {
            return Ok(at + offset + 2);
        }
    }
    long_string_end(text, at)
}

#[inline(never)]
fn long_string_end(text: &[u8], at: usize) -> Position {
    let mut at = at + 1;
    loop {
        let rest = text.get(at..).ok_or(End::Cut)?;
        let stop = find_either(b'"', b'\\', rest).ok_or(End::Cut)?;
        if rest[stop] == b'"' {
            return Ok(at + stop + 1);
        }
        at += stop + 2;
    }
}

/// Whether what stands between the quotes of a string has escapes in it.
#[inline]
pub(in crate::matching::rules) fn has_escape(inside: &[u8]) -> bool {
    find_either(b'\\', b'\\', inside).is_some()
}

/// Where the first `one` or `other` stands. Most are near, and calling a vectorised search costs
/// more than looking at some words here.
#[inline]
fn find_either(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    let mut passed = 0;
    for word in text.as_chunks().0.iter().take(NEAR_WORDS) {
        if let Some(offset) = found_in(word, one, other) {
            return Some(passed + offset);
        }
        passed += WORD_BYTES;
    }
    let rest = &text[passed..];
    let far = if rest.len() < WORD_BYTES {
        rest.iter().position(|&byte| byte == one || byte == other)
    } else {
        memchr2(one, other, rest)
    };
    Some(passed + far?)
}

/// Where the first `one` or `other` stands in a word.
#[inline]
fn found_in(word: &[u8; WORD_BYTES], one: u8, other: u8) -> Option<usize> {
    let word = u64::from_le_bytes(*word);
    let found = bytes_equal(word, one) | bytes_equal(word, other);
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

const WORD_BYTES: usize = size_of::<u64>();

/// What is nearer than this many words is looked for without a call.
const NEAR_WORDS: usize = 3;

/// The top bit of each byte of `word` that equals `byte`. Above the lowest such byte, bits of others
/// may be set as well.
#[inline]
fn bytes_equal(word: u64, byte: u8) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x01; WORD_BYTES]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; WORD_BYTES]);
    let unlike = word ^ (LOW * u64::from(byte));
    unlike.wrapping_sub(LOW) & !unlike & HIGH
}

/// Position after a number. A number at the very end of the text may have been cut in two, so it
/// counts as cut.
#[inline]
pub(in crate::matching::rules) fn number_end(text: &[u8], at: usize) -> Position {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let mut end = at;
    // Most are digits and nothing else, and end within a word or two.
    while let Some(word) = text.get(end..).and_then(|rest| rest.first_chunk()) {
        let digits = leading_digits(word);
        end += digits;
        if digits < WORD_BYTES {
            if !is_part(&text[end]) {
                return Ok(end);
            }
            end += 1;
        }
    }
    let length = text[end..].iter().position(|byte| !is_part(byte)).ok_or(End::Cut)?;
    Ok(end + length)
}

/// How many digits a word begins with.
#[inline]
fn leading_digits(word: &[u8; WORD_BYTES]) -> usize {
    const ZEROS: u64 = u64::from_ne_bytes([b'0'; WORD_BYTES]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; WORD_BYTES]);
    // What is 10 or more reaches the top bit with as much as 10 lacks of it, or has it already. What is
    // carried over from there changes only what stands behind.
    const LACKING: u64 = u64::from_ne_bytes([0x80 - 10; WORD_BYTES]);
    let digits = u64::from_le_bytes(*word) ^ ZEROS;
    let others = (digits.wrapping_add(LACKING) | digits) & HIGH;
    others.trailing_zeros() as usize / 8
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
        let near = &rest[..rest.len().min(2 * WORD_BYTES)];
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

/// Whether two short texts are equal. They are compared in place, by words that may overlap: calling
/// out for a handful of bytes took a quarter of the time of a message.
#[inline]
pub(in crate::matching) fn equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        0..4 => one.iter().zip(other).all(|(a, b)| a == b),
        4..8 => ends_equal::<4>(one, other),
        8..=16 => ends_equal::<8>(one, other),
        _ => one == other,
    }
}

/// Whether the first and the last `N` bytes are equal.
#[inline]
fn ends_equal<const N: usize>(one: &[u8], other: &[u8]) -> bool {
    one.first_chunk::<N>() == other.first_chunk() && one.last_chunk::<N>() == other.last_chunk()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn either_byte_is_found_where_a_plain_search_finds_it(
            text in proptest::collection::vec(prop_oneof![any::<u8>(), 0x1f_u8..0x24, 0x5b_u8..0x5e], 0..40),
        ) {
            let plain = text.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(find_either(b'"', b'\\', &text), plain);
            prop_assert_eq!(has_escape(&text), text.contains(&b'\\'));
        }

        #[test]
        fn a_number_ends_where_a_plain_search_finds_its_end(
            text in proptest::collection::vec(
                prop_oneof![8 => b'0'..=b'9', 1 => prop::sample::select(&b"+-.eE,/:"[..]), 1 => any::<u8>()],
                0..40,
            ),
        ) {
            let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
            let plain = text.iter().position(|byte| !is_part(byte));
            prop_assert_eq!(number_end(&text, 0), plain.ok_or(End::Cut));
        }

        #[test]
        fn texts_are_equal_where_all_their_bytes_are(
            text in proptest::collection::vec(any::<u8>(), 0..40),
            at in any::<prop::sample::Index>(),
        ) {
            prop_assert!(equal(&text, &text.clone()));
            let Some(last) = text.len().checked_sub(1) else { return Ok(()) };
            let mut other = text.clone();
            other[at.index(text.len())] ^= 1;
            prop_assert!(!equal(&text, &other) && !equal(&text, &text[..last]));
        }
    }
}
