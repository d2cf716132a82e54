//! The fields that a set of rules asks for, as a tree of at most three levels.

use super::path::{Path, Step};
use super::slots::{MAX_SLOTS, Slot, Slots};
use super::token::{equal, has_escape, unescape};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(in crate::matching::rules) struct Wanted {
    pub(in crate::matching::rules) root: Node,
    slots: Vec<Path>,
}

#[derive(Clone, Debug, Default)]
pub(in crate::matching::rules) struct Node {
    /// Every slot at or below this node's entries.
    pub(in crate::matching::rules) all: Slots,
    /// By first byte, modulo 64: the keys that begin with it.
    beginnings: Beginnings,
    pub(in crate::matching::rules) keys: Vec<Key>,
    pub(in crate::matching::rules) indexes: Vec<(u32, Entry)>,
}

/// A wanted key, unescaped.
#[derive(Clone, Debug)]
pub(in crate::matching::rules) struct Key {
    /// What [`word`] makes of it: all of it, where it is short.
    word: u64,
    name: Box<str>,
    entry: Entry,
}

/// For each first byte, modulo 64, the wanted keys that begin with it: a bit for each of the first 32 keys.
/// Most keys of a message are not wanted, and show it by their first byte; the others need be compared
/// with one key only, as a rule.
#[derive(Clone, Copy, Debug)]
struct Beginnings([u32; 64]);

#[derive(Clone, Debug, Default)]
pub(in crate::matching::rules) struct Entry {
    pub(in crate::matching::rules) slot: Option<Slot>,
    pub(in crate::matching::rules) need: Need,
    pub(in crate::matching::rules) below: Option<Box<Node>>,
}

/// How much of a field is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::matching::rules) enum Need {
    /// Only that it is there, and its type. It is reported where its value begins, however long that is.
    #[default]
    Presence,
    /// Its value. A string, a number or a word is reported when it is complete.
    Value,
}

impl Wanted {
    /// The slot of a path, the same for the same path, with the greatest need that was asked for;
    /// `None` when all [`MAX_SLOTS`] are taken.
    pub(in crate::matching::rules) fn slot(&mut self, path: &Path, need: Need) -> Option<Slot> {
        let known = self.slots.iter().position(|known| known.steps == path.steps);
        let slot = Slot::at(known.unwrap_or(self.slots.len()))?;
        if known.is_none() {
            self.slots.push(path.clone());
        }
        self.root.insert(&path.steps, slot, need);
        Some(slot)
    }
}

impl Wanted {
    /// The slot of a path that was asked for.
    pub(in crate::matching::rules) fn known(&self, path: &Path) -> Option<Slot> {
        Slot::at(self.slots.iter().position(|known| known.steps == path.steps)?)
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
            Step::Key(key) => {
                let known = self.keys.iter().position(|known| known.name == *key);
                let at = known.unwrap_or(self.keys.len());
                if known.is_none() {
                    let (word, name) = (word(key.as_bytes()), key.clone());
                    self.keys.push(Key { word, name, entry: Entry::default() });
                    self.beginnings.add(key.bytes().next().unwrap_or(0), at);
                }
                &mut self.keys[at].entry
            }
            Step::Index(index) => {
                let known = self.indexes.iter().position(|(known, _)| known == index);
                let at = known.unwrap_or(self.indexes.len());
                if known.is_none() {
                    self.indexes.push((*index, Entry::default()));
                }
                &mut self.indexes[at].1
            }
        }
    }

    /// The entry of a key, given what stands between its quotes.
    #[inline]
    pub(in crate::matching::rules) fn by_key(&self, key: &[u8]) -> Option<&Entry> {
        let first = *key.first()?;
        let likely = self.beginnings.of(first);
        if likely == 0 && first != b'\\' {
            return None;
        }
        self.among(likely, key).or_else(|| self.by_escaped(key))
    }

    /// Any key may be written with escapes.
    #[inline(never)]
    fn by_escaped(&self, key: &[u8]) -> Option<&Entry> {
        if has_escape(key) { self.by_name(unescape(key)?.as_bytes()) } else { None }
    }

    /// The entry of a key that has no escapes.
    #[inline]
    pub(in crate::matching::rules) fn by_name(&self, name: &[u8]) -> Option<&Entry> {
        let likely = self.beginnings.of(*name.first()?);
        if likely == 0 { None } else { self.among(likely, name) }
    }

    #[inline]
    fn among(&self, mut likely: u32, name: &[u8]) -> Option<&Entry> {
        let word = word(name);
        while likely != 0 {
            let key = self.keys.get(likely.trailing_zeros() as usize)?;
            if key.word == word && key.name.len() == name.len() {
                // The word is all of a short one.
                if name.len() < WORD_BYTES || equal(key.name.as_bytes(), name) {
                    return Some(&key.entry);
                }
            }
            likely &= likely - 1;
        }
        None
    }

    pub(in crate::matching::rules) fn by_index(&self, index: u32) -> Option<&Entry> {
        self.indexes.iter().find(|(wanted, _)| *wanted == index).map(|(_, entry)| entry)
    }
}

impl Beginnings {
    fn add(&mut self, first: u8, key: usize) {
        // Each key has a slot at or below it, so there are no more of them than slots.
        const { assert!(MAX_SLOTS <= 32) };
        self.0[usize::from(first % 64)] |= 1 << key;
    }

    #[inline]
    fn of(&self, first: u8) -> u32 {
        self.0[usize::from(first % 64)]
    }
}

impl Default for Beginnings {
    fn default() -> Self {
        Self([0; 64])
    }
}

const WORD_BYTES: usize = size_of::<u64>();

/// A text of less than eight bytes, and its length in the highest byte; of a longer one its first eight
/// bytes.
#[inline]
fn word(text: &[u8]) -> u64 {
    let length = text.len();
    let short = match (text.first_chunk(), text.last_chunk()) {
        // Two halves that overlap say the same where they do.
        (Some(first), Some(last)) if length < WORD_BYTES => {
            let [first, last] = [first, last].map(|&half| u64::from(u32::from_le_bytes(half)));
            first | last << (8 * (length - 4))
        }
        (Some(_), _) => {
            return text.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        }
        _ if length > 0 => {
            // The first, the middle and the last of up to three bytes are all of them.
            let byte = |at: usize| u64::from(text[at]) << (8 * at);
            byte(0) | byte(length / 2) | byte(length - 1)
        }
        _ => 0,
    };
    short | (length as u64) << 56
}
