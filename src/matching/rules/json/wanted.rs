//! The fields that a set of rules asks for, as a tree of at most three levels.

use super::path::{Path, Step};
use super::slots::{Slot, Slots};
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
    /// A bit for each first byte, modulo 64, of a wanted key as it may be written: most keys of a
    /// message are not wanted, and show it by their first byte.
    beginnings: u64,
    pub(in crate::matching::rules) keys: Vec<(Box<str>, Entry)>,
    pub(in crate::matching::rules) indexes: Vec<(u32, Entry)>,
}

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
    /// `None` when all [`MAX_SLOTS`](super::slots::MAX_SLOTS) are taken.
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
                // Any key may be written with escapes.
                for byte in [key.bytes().next().unwrap_or(0), b'\\'] {
                    self.beginnings |= 1 << (byte % 64);
                }
                find_or_push(&mut self.keys, key)
            }
            Step::Index(index) => find_or_push(&mut self.indexes, index),
        }
    }

    /// The entry of a key, given what stands between its quotes.
    #[inline]
    pub(in crate::matching::rules) fn by_key(&self, key: &[u8]) -> Option<&Entry> {
        let first = *key.first()?;
        if self.beginnings & (1 << (first % 64)) == 0 {
            return None;
        }
        match self.by_name(key) {
            None if has_escape(key) => self.by_name(unescape(key)?.as_bytes()),
            entry => entry,
        }
    }

    /// The entry of a key that has no escapes.
    #[inline]
    pub(in crate::matching::rules) fn by_name(&self, name: &[u8]) -> Option<&Entry> {
        let found = self.keys.iter().find(|(wanted, _)| equal(wanted.as_bytes(), name));
        found.map(|(_, entry)| entry)
    }

    pub(in crate::matching::rules) fn by_index(&self, index: u32) -> Option<&Entry> {
        self.indexes.iter().find(|(wanted, _)| *wanted == index).map(|(_, entry)| entry)
    }
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
