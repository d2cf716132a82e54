//! An order-free scan of JSON text for a few wanted fields.
//!
//! It never builds a tree and never looks deeper than the wanted paths: everything else is hopped
//! over. A field is reported to the [`Sink`] where its value begins, so the sink can stop the scan as
//! soon as it knows enough, and text that was cut off still yields every field that was complete
//! before the cut.
//!
//! What is found is exact (the differential test against a full parser says so); whether the text
//! is valid JSON is not the question here, and what is hopped over is not validated.

use super::field::{End, Field, JsonType, Next, Sink};
use super::token::{Position, container_end, number_end, space_end, string_end, value_end};
use super::wanted::{Entry, Need, Node, Wanted};
use crate::matching::rules::text::Wholeness;

impl Wanted {
    /// Reads `text` from its start and reports to `sink` what it finds.
    pub(super) fn scan<'a>(&self, text: &'a [u8], sink: &mut impl Sink<'a>) -> End {
        let mut scan = Scan { text, sink };
        let result = match scan.after_space(0) {
            Ok((start, b'{')) => scan.object(start, &self.root),
            Ok((start, b'[')) => scan.array(start, &self.root),
            Ok(_) => Err(End::Malformed),
            Err(end) => Err(end),
        };
        result.err().unwrap_or(End::Complete)
    }
}

/// The elements of the array that `text` begins with, each as it stands there. The second part of
/// an item says whether the element is whole; only the last one may be not.
pub(in crate::matching::rules) fn elements(
    text: &[u8],
) -> impl Iterator<Item = (&[u8], Wholeness)> {
    let mut next = text.first().and_then(|&byte| (byte == b'[').then_some(1));
    std::iter::from_fn(move || {
        let start = space_end(text, next?);
        if matches!(text.get(start), None | Some(b']')) {
            next = None;
            return None;
        }
        let Ok(end) = value_end(text, start) else {
            next = None;
            return Some((&text[start..], Wholeness::Cut));
        };
        let after = space_end(text, end);
        next = (text.get(after) == Some(&b',')).then_some(after + 1);
        Some((&text[start..end], Wholeness::Whole))
    })
}

/// One pass over one text. Positions are indexes into `text`; a step returns the position after
/// what it read, or how the scan ended.
pub(super) struct Scan<'a, 's, S> {
    pub(super) text: &'a [u8],
    pub(super) sink: &'s mut S,
}

impl<'a, S: Sink<'a>> Scan<'a, '_, S> {
    fn object(&mut self, open: usize, node: &Node) -> Position {
        let mut next = self.after_space(open + 1)?;
        if next.1 == b'}' {
            return self.close(next.0, node);
        }
        loop {
            let (key, after) = self.member_key(next)?;
            let (at, first) = self.after_space(after)?;
            let end = match node.by_key(key) {
                None => value_end(self.text, at)?,
                Some(entry) if is_token(first, entry) => self.token(at, first, entry)?,
                Some(entry) => self.value(at, first, entry)?,
            };
            next = match self.after_space(end)? {
                (comma, b',') => self.after_space(comma + 1)?,
                (close, b'}') => return self.close(close, node),
                _ => return Err(End::Malformed),
            };
        }
    }

    fn array(&mut self, open: usize, node: &Node) -> Position {
        let mut next = self.after_space(open + 1)?;
        if next.1 == b']' {
            return self.close(next.0, node);
        }
        for index in 0.. {
            let (at, first) = next;
            let end = match node.by_index(index) {
                None => value_end(self.text, at)?,
                Some(entry) => self.value(at, first, entry)?,
            };
            next = match self.after_space(end)? {
                (comma, b',') => self.after_space(comma + 1)?,
                (close, b']') => return self.close(close, node),
                _ => return Err(End::Malformed),
            };
        }
        Err(End::Malformed)
    }

    /// The bracket at `at` ends the object or array of `node`: what was not seen is not there.
    fn close(&mut self, at: usize, node: &Node) -> Position {
        proceed(self.sink.absent(node.all), at + 1)?;
        Ok(at + 1)
    }

    /// The key that begins at `at` with the byte `first`, and the position after its colon.
    #[inline]
    fn member_key(&self, (at, first): (usize, u8)) -> Result<(&'a [u8], usize), End> {
        if first != b'"' {
            return Err(End::Malformed);
        }
        let after_key = string_end(self.text, at)?;
        match self.after_space(after_key)? {
            (colon, b':') => Ok((&self.text[at + 1..after_key - 1], colon + 1)),
            _ => Err(End::Malformed),
        }
    }

    /// Reads the wanted value that begins at `at` with the byte `first`. Reports it, and enters it if
    /// something below it is wanted.
    pub(super) fn value(&mut self, at: usize, first: u8, entry: &Entry) -> Position {
        if is_token(first, entry) {
            return self.token(at, first, entry);
        }
        let json_type = match first {
            b'"' => JsonType::String,
            b'{' => JsonType::Object,
            b'[' => JsonType::Array,
            b't' | b'f' => JsonType::Bool,
            b'n' => JsonType::Null,
            b'-' | b'0'..=b'9' => JsonType::Number,
            _ => return Err(End::Malformed),
        };
        if matches!(json_type, JsonType::Object | JsonType::Array) {
            return self.container(at, json_type, entry);
        }
        if entry.need == Need::Presence {
            self.tell(entry, Field { json_type, raw: &self.text[at..] }, at + 1)?;
            self.nothing_below(entry, at + 1)?;
            return value_end(self.text, at);
        }
        let end = value_end(self.text, at)?;
        self.tell(entry, Field { json_type, raw: &self.text[at..end] }, end)?;
        self.nothing_below(entry, end)?;
        Ok(end)
    }

    /// The string or the number at `at`. What most rules want is one, so it is read without a call.
    #[inline(always)]
    fn token(&mut self, at: usize, first: u8, entry: &Entry) -> Position {
        let (json_type, end, seen) = if first == b'"' {
            let end = string_end(self.text, at)?;
            (JsonType::String, end, end)
        } else {
            let end = number_end(self.text, at)?;
            // That it is over is only seen by what follows it.
            (JsonType::Number, end, end + 1)
        };
        self.tell(entry, Field { json_type, raw: &self.text[at..end] }, seen)?;
        self.nothing_below(entry, seen)?;
        Ok(end)
    }

    fn container(&mut self, at: usize, json_type: JsonType, entry: &Entry) -> Position {
        self.tell(entry, Field { json_type, raw: &self.text[at..] }, at + 1)?;
        let end = match (&entry.below, json_type) {
            (Some(node), JsonType::Object) if !node.keys.is_empty() => self.object(at, node)?,
            (Some(node), JsonType::Array) if !node.indexes.is_empty() => self.array(at, node)?,
            _ => container_end(self.text, at)?,
        };
        self.nothing_below(entry, end)?;
        Ok(end)
    }

    /// `seen` is how many bytes of the text it took to know the field.
    #[inline]
    fn tell(&mut self, entry: &Entry, field: Field<'a>, seen: usize) -> Result<(), End> {
        let Some(slot) = entry.slot else { return Ok(()) };
        proceed(self.sink.present(slot, field), seen)
    }

    #[inline]
    fn nothing_below(&mut self, entry: &Entry, seen: usize) -> Result<(), End> {
        let Some(node) = &entry.below else { return Ok(()) };
        proceed(self.sink.absent(node.all), seen)
    }

    /// The first byte from `at` on that is no space, and its position.
    #[inline]
    fn after_space(&self, at: usize) -> Result<(usize, u8), End> {
        let end = space_end(self.text, at);
        self.text.get(end).map(|&byte| (end, byte)).ok_or(End::Cut)
    }
}

/// Whether a value with this first byte is a string or a number of which all is wanted.
#[inline]
fn is_token(first: u8, entry: &Entry) -> bool {
    entry.need == Need::Value && matches!(first, b'"' | b'-' | b'0'..=b'9')
}

fn proceed(next: Next, seen: usize) -> Result<(), End> {
    match next {
        Next::Continue => Ok(()),
        Next::Stop => Err(End::Stopped(seen)),
    }
}
