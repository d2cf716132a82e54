//! An order-free scan of JSON text for a few wanted fields.
//!
//! It never builds a tree and never looks deeper than the wanted paths: everything else is hopped
//! over. A field is told to the [`Sink`] where its value begins, so the sink can stop the scan as
//! soon as it knows enough, and text that was cut off still yields every field that was complete
//! before the cut.
//!
//! What is found is exact (the differential test against a full parser says so); whether the text
//! is valid JSON is not the question here, and what is hopped over is not validated.

use std::ops::{BitOr, BitOrAssign};

use memchr::{memchr2, memchr3};

use super::path::{Path, Step};

/// Most fields that one set of rules may ask for.
pub(super) const MAX_SLOTS: usize = 16;

/// A wanted field; numbered from 0 in the order of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(u8);

impl Slot {
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A set of wanted fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots(u16);

impl Slots {
    pub(super) fn contains(self, slot: Slot) -> bool {
        self.0 & (1 << slot.0) != 0
    }

    pub(super) fn contains_all(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    pub(super) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(super) fn indexes(self) -> impl Iterator<Item = usize> {
        (0..MAX_SLOTS).filter(move |&index| self.0 & (1 << index) != 0)
    }
}

impl From<Slot> for Slots {
    fn from(slot: Slot) -> Self {
        Self(1 << slot.0)
    }
}

impl BitOr for Slots {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Slots {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonType {
    String,
    Number,
    Bool,
    Null,
    Object,
    Array,
}

/// A value that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) json_type: JsonType,
    /// The value as it stands in the text, quotes included. Of an object or an array, and of a
    /// field of which only the presence is wanted, everything from its first byte on.
    pub(super) raw: &'a [u8],
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look further.
    Continue,
    /// Enough is known.
    Stop,
}

/// Who wants the fields.
pub(super) trait Sink<'a> {
    /// The field is there. Told once per occurrence of a key; where a document repeats a key, the
    /// first counts.
    fn present(&mut self, slot: Slot, field: Field<'a>) -> Verdict;

    /// Of these, the ones that were not told before are not in the document.
    fn absent(&mut self, slots: Slots) -> Verdict;
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The sink knew enough.
    Stopped,
    /// The document was read to its end.
    Complete,
    /// The text ended inside the document.
    Cut,
    /// Not a JSON object or array, or not well-formed where it was looked at.
    Malformed,
}

/// The wanted paths, as a tree of at most three levels.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    root: Node,
    slots: Vec<Path>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Every slot at or below this node's entries.
    all: Slots,
    keys: Vec<(Box<str>, Entry)>,
    indexes: Vec<(u32, Entry)>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    slot: Option<Slot>,
    need: Need,
    below: Option<Box<Node>>,
}

/// How much of a field is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// That it is there, and its type: it is told where its value begins, however long that is.
    #[default]
    Presence,
    /// Its value: a string, a number or a word is told when it is complete.
    Value,
}

impl Wanted {
    /// The slot of a path, the same for the same path, with the greatest need that was asked for;
    /// `None` when all [`MAX_SLOTS`] are taken.
    pub(super) fn slot(&mut self, path: &Path, need: Need) -> Option<Slot> {
        let known = self.slots.iter().position(|known| known.steps == path.steps);
        let slot = Slot(u8::try_from(known.unwrap_or(self.slots.len())).ok()?);
        if slot.index() >= MAX_SLOTS {
            return None;
        }
        if known.is_none() {
            self.slots.push(path.clone());
        }
        self.root.insert(&path.steps, slot, need);
        Some(slot)
    }

    /// Reads `text` from its start and tells `sink` what it finds.
    pub(super) fn scan<'a>(&self, text: &'a [u8], sink: &mut impl Sink<'a>) -> End {
        let mut scan = Scan { text, sink };
        let start = match scan.skip_space(0) {
            Ok(start) => start,
            Err(end) => return end,
        };
        let result = match text.get(start) {
            Some(b'{') => scan.object(start, &self.root),
            Some(b'[') => scan.array(start, &self.root),
            _ => Err(End::Malformed),
        };
        result.err().unwrap_or(End::Complete)
    }
}

impl Node {
    fn insert(&mut self, steps: &[Step], slot: Slot, need: Need) {
        let Some((step, rest)) = steps.split_first() else { return };
        self.all |= slot.into();
        let entry = self.entry(step);
        if rest.is_empty() {
            entry.slot = Some(slot);
            entry.need = entry.need.max(need);
        } else {
            entry.below.get_or_insert_default().insert(rest, slot, need);
        }
    }

    fn entry(&mut self, step: &Step) -> &mut Entry {
        match step {
            Step::Key(key) => find_or_push(&mut self.keys, key),
            Step::Index(index) => find_or_push(&mut self.indexes, index),
        }
    }

    #[inline]
    fn by_key(&self, key: &[u8]) -> Option<&Entry> {
        let entry = |name: &[u8]| {
            let found = self.keys.iter().find(|(wanted, _)| equal(wanted.as_bytes(), name));
            found.map(|(_, entry)| entry)
        };
        entry(key).or_else(|| {
            if !key.contains(&b'\\') {
                return None;
            }
            entry(unescape(key)?.as_bytes())
        })
    }

    fn by_index(&self, index: u32) -> Option<&Entry> {
        self.indexes.iter().find(|(wanted, _)| *wanted == index).map(|(_, entry)| entry)
    }
}

/// Whether two short texts are equal. They are compared in place: calling out for a handful of
/// bytes took a quarter of the time of a message.
#[inline]
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a == b)
}

fn find_or_push<'e, K: PartialEq + Clone>(
    entries: &'e mut Vec<(K, Entry)>,
    key: &K,
) -> &'e mut Entry {
    let index = entries.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
        entries.push((key.clone(), Entry::default()));
        entries.len() - 1
    });
    &mut entries[index].1
}

/// The text of a JSON string, given what stands between its quotes; `None` if it is not one.
pub(super) fn unescape(inside: &[u8]) -> Option<String> {
    let mut quoted = Vec::with_capacity(inside.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(inside);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).ok()
}

/// The elements of the array that `text` begins with, each as it stands there. The second part of
/// an item says whether the element is whole; only the last one may be not.
pub(super) fn elements(text: &[u8]) -> impl Iterator<Item = (&[u8], Wholeness)> {
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

/// Whether all of something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode::matching) enum Wholeness {
    Whole,
    Cut,
}

/// One pass over one text. Positions are indexes into `text`; a step returns the position after
/// what it read, or how the scan ended.
struct Scan<'a, 's, S> {
    text: &'a [u8],
    sink: &'s mut S,
}

type Position = Result<usize, End>;

impl<'a, S: Sink<'a>> Scan<'a, '_, S> {
    fn object(&mut self, open: usize, node: &Node) -> Position {
        let mut at = self.skip_space(open + 1)?;
        if self.byte(at)? == b'}' {
            return self.close(at, node);
        }
        loop {
            let colon = self.member_key(at)?;
            let entry = node.by_key(&self.text[at + 1..colon.key_end]);
            at = self.skip_space(colon.after)?;
            at = self.value(at, entry)?;
            at = self.skip_space(at)?;
            match self.byte(at)? {
                b',' => at = self.skip_space(at + 1)?,
                b'}' => return self.close(at, node),
                _ => return Err(End::Malformed),
            }
        }
    }

    fn array(&mut self, open: usize, node: &Node) -> Position {
        let mut at = self.skip_space(open + 1)?;
        if self.byte(at)? == b']' {
            return self.close(at, node);
        }
        for index in 0.. {
            at = self.value(at, node.by_index(index))?;
            at = self.skip_space(at)?;
            match self.byte(at)? {
                b',' => at = self.skip_space(at + 1)?,
                b']' => return self.close(at, node),
                _ => return Err(End::Malformed),
            }
        }
        Err(End::Malformed)
    }

    /// The bracket at `at` ends the object or array of `node`: what was not seen is not there.
    fn close(&mut self, at: usize, node: &Node) -> Position {
        proceed(self.sink.absent(node.all))?;
        Ok(at + 1)
    }

    fn member_key(&self, at: usize) -> Result<MemberKey, End> {
        if self.byte(at)? != b'"' {
            return Err(End::Malformed);
        }
        let after_key = string_end(self.text, at)?;
        let colon = self.skip_space(after_key)?;
        if self.byte(colon)? != b':' {
            return Err(End::Malformed);
        }
        Ok(MemberKey { key_end: after_key - 1, after: colon + 1 })
    }

    /// Reads the value at `at`: tells it if it is wanted, enters it if something below it is.
    fn value(&mut self, at: usize, entry: Option<&Entry>) -> Position {
        let Some(entry) = entry else { return value_end(self.text, at) };
        let json_type = match self.byte(at)? {
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
            self.tell(entry, Field { json_type, raw: &self.text[at..] })?;
            self.nothing_below(entry)?;
            return value_end(self.text, at);
        }
        let end = value_end(self.text, at)?;
        self.tell(entry, Field { json_type, raw: &self.text[at..end] })?;
        self.nothing_below(entry)?;
        Ok(end)
    }

    fn container(&mut self, at: usize, json_type: JsonType, entry: &Entry) -> Position {
        self.tell(entry, Field { json_type, raw: &self.text[at..] })?;
        let end = match (&entry.below, json_type) {
            (Some(node), JsonType::Object) if !node.keys.is_empty() => self.object(at, node)?,
            (Some(node), JsonType::Array) if !node.indexes.is_empty() => self.array(at, node)?,
            _ => container_end(self.text, at)?,
        };
        self.nothing_below(entry)?;
        Ok(end)
    }

    fn tell(&mut self, entry: &Entry, field: Field<'a>) -> Result<(), End> {
        entry.slot.map_or(Ok(()), |slot| proceed(self.sink.present(slot, field)))
    }

    fn nothing_below(&mut self, entry: &Entry) -> Result<(), End> {
        entry.below.as_ref().map_or(Ok(()), |node| proceed(self.sink.absent(node.all)))
    }

    #[inline]
    fn byte(&self, at: usize) -> Result<u8, End> {
        self.text.get(at).copied().ok_or(End::Cut)
    }

    #[inline]
    fn skip_space(&self, at: usize) -> Position {
        let end = space_end(self.text, at);
        if end < self.text.len() { Ok(end) } else { Err(End::Cut) }
    }
}

struct MemberKey {
    /// Position of the key's closing quote.
    key_end: usize,
    /// Position after the colon.
    after: usize,
}

fn proceed(verdict: Verdict) -> Result<(), End> {
    match verdict {
        Verdict::Continue => Ok(()),
        Verdict::Stop => Err(End::Stopped),
    }
}

#[inline]
fn space_end(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = text.get(at) {
        at += 1;
    }
    at
}

/// Position after the value at `at`, whatever it is.
fn value_end(text: &[u8], at: usize) -> Position {
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
fn string_end(text: &[u8], at: usize) -> Position {
    let inside = text.get(at + 1..).ok_or(End::Cut)?;
    // Keys and ids are short: for them, calling a vectorised search costs more than looking.
    for (offset, byte) in inside.iter().take(SHORT_STRING_BYTES).enumerate() {
        match byte {
            b'"' => return Ok(at + offset + 2),
            b'\\' => break,
            _ => {}
        }
    }
    long_string_end(text, at)
}

/// Strings up to this long are searched byte by byte.
const SHORT_STRING_BYTES: usize = 16;

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
fn container_end(text: &[u8], at: usize) -> Position {
    let open = text[at];
    let close = if open == b'{' { b'}' } else { b']' };
    let mut depth = 1_usize;
    let mut at = at + 1;
    loop {
        let rest = text.get(at..).ok_or(End::Cut)?;
        at += memchr3(b'"', open, close, rest).ok_or(End::Cut)?;
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

#[cfg(test)]
mod tests;
