//! A table of keyed entries that also knows, at constant cost, which entry is the oldest of all
//! and which is the oldest of its connection.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use slab::Slab;

use super::key::{Key, KeyRef};

/// No entry.
const NONE: u32 = u32::MAX;

/// Position of an entry; valid until the entry is removed.
pub(super) type EntryIndex = u32;

/// A doubly linked list through the entries, oldest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    oldest: u32,
    newest: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Links {
    older: u32,
    newer: u32,
}

/// See the module. Keys are unique.
#[derive(Debug)]
pub(super) struct Table<V> {
    entries: Slab<Entry<V>>,
    index: HashTable<EntryIndex>,
    hasher: RandomState,
    by_age: List,
}

#[derive(Debug)]
struct Entry<V> {
    key: Key,
    hash: u64,
    age: Links,
    sibling: Links,
    value: V,
}

impl Default for List {
    fn default() -> Self {
        Self { oldest: NONE, newest: NONE, len: 0 }
    }
}

impl List {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn oldest(&self) -> Option<EntryIndex> {
        (self.oldest != NONE).then_some(self.oldest)
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            entries: Slab::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            by_age: List::default(),
        }
    }
}

impl<V> Table<V> {
    /// Adds an entry as the newest. `siblings` is the list of the key's connection; the key must
    /// not be in the table.
    pub(super) fn insert(&mut self, key: KeyRef<'_>, value: V, siblings: &mut List) {
        let hash = key.hash_with(&self.hasher);
        let lone = Links { older: NONE, newer: NONE };
        let entry = Entry { key: key.to_key(), hash, age: lone, sibling: lone, value };
        // Tables are bounded far below 2^32 entries (see `MatchLimits`).
        let at = self.entries.insert(entry) as EntryIndex;
        let entries = &self.entries;
        self.index.insert_unique(hash, at, |&at| entries[at as usize].hash);
        append(&mut self.entries, &mut self.by_age, at, |entry| &mut entry.age);
        append(&mut self.entries, siblings, at, |entry| &mut entry.sibling);
    }

    /// Takes an entry out. `siblings` is the list of its connection.
    pub(super) fn remove(&mut self, at: EntryIndex, siblings: &mut List) -> (Key, V) {
        unlink(&mut self.entries, &mut self.by_age, at, |entry| &mut entry.age);
        unlink(&mut self.entries, siblings, at, |entry| &mut entry.sibling);
        let Entry { key, hash, value, .. } = self.entries.remove(at as usize);
        if let Ok(found) = self.index.find_entry(hash, |&known| known == at) {
            found.remove();
        }
        (key, value)
    }

    pub(super) fn find(&self, key: KeyRef<'_>) -> Option<EntryIndex> {
        let hash = key.hash_with(&self.hasher);
        let entries = &self.entries;
        self.index.find(hash, |&at| entries[at as usize].key.equals(&key)).copied()
    }

    /// Bytes on the heap, besides those of ids that are too long to be kept in place.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let slot = size_of::<Entry<V>>() + size_of::<usize>();
        self.entries.capacity() * slot + self.index.allocation_size()
    }

    pub(super) fn key(&self, at: EntryIndex) -> &Key {
        &self.entries[at as usize].key
    }

    pub(super) fn value(&self, at: EntryIndex) -> &V {
        &self.entries[at as usize].value
    }

    pub(super) fn value_mut(&mut self, at: EntryIndex) -> &mut V {
        &mut self.entries[at as usize].value
    }

    /// The oldest entry of the whole table.
    pub(super) fn oldest(&self) -> Option<EntryIndex> {
        self.by_age.oldest()
    }

    /// The entries of the whole table, oldest first.
    pub(super) fn by_age(&self) -> impl Iterator<Item = EntryIndex> {
        std::iter::successors(self.oldest(), |&at| {
            let newer = self.entries[at as usize].age.newer;
            (newer != NONE).then_some(newer)
        })
    }

    /// The entry of the same connection that came next.
    pub(super) fn next_sibling(&self, at: EntryIndex) -> Option<EntryIndex> {
        let newer = self.entries[at as usize].sibling.newer;
        (newer != NONE).then_some(newer)
    }

    pub(super) fn len(&self) -> usize {
        self.by_age.len()
    }
}

type LinksOf<V> = fn(&mut Entry<V>) -> &mut Links;

fn append<V>(entries: &mut Slab<Entry<V>>, list: &mut List, at: u32, links: LinksOf<V>) {
    let older = list.newest;
    *links(&mut entries[at as usize]) = Links { older, newer: NONE };
    match older {
        NONE => list.oldest = at,
        older => links(&mut entries[older as usize]).newer = at,
    }
    list.newest = at;
    list.len += 1;
}

fn unlink<V>(entries: &mut Slab<Entry<V>>, list: &mut List, at: u32, links: LinksOf<V>) {
    let Links { older, newer } = *links(&mut entries[at as usize]);
    match older {
        NONE => list.oldest = newer,
        older => links(&mut entries[older as usize]).newer = newer,
    }
    match newer {
        NONE => list.newest = older,
        newer => links(&mut entries[newer as usize]).older = older,
    }
    list.len -= 1;
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::event::Direction;

    fn key(connection: u32, id: &[u8]) -> KeyRef<'_> {
        KeyRef { connection, asked: Direction::Sent, id, scope: b"" }
    }

    proptest! {
        /// Against the plain version: a queue that is searched from its front.
        #[test]
        fn it_behaves_like_a_searched_queue(
            steps in prop::collection::vec((0..4_u32, 0..8_u8, any::<bool>()), 0..200)
        ) {
            let mut table = Table::default();
            let mut siblings = [List::default(); 4];
            let mut plain: VecDeque<(u32, u8)> = VecDeque::new();
            for (connection, id, insert) in steps {
                let known = plain.iter().position(|&entry| entry == (connection, id));
                let found = table.find(key(connection, &[id]));
                prop_assert_eq!(found.is_some(), known.is_some());
                match (found, known) {
                    (Some(at), Some(position)) => {
                        let (removed, value) = table.remove(at, &mut siblings[connection as usize]);
                        prop_assert_eq!((removed.connection, value), (connection, id));
                        plain.remove(position);
                    }
                    _ if insert => {
                        let siblings = &mut siblings[connection as usize];
                        table.insert(key(connection, &[id]), id, siblings);
                        plain.push_back((connection, id));
                    }
                    _ => {}
                }
                prop_assert_eq!(table.len(), plain.len());
                prop_assert_eq!(table.oldest().map(|at| *table.value(at)), plain.front().map(|e| e.1));
                for (connection, list) in siblings.iter().enumerate() {
                    let expected: Vec<u8> = plain
                        .iter()
                        .filter(|entry| entry.0 as usize == connection)
                        .map(|entry| entry.1)
                        .collect();
                    let mut actual = Vec::new();
                    let mut next = list.oldest();
                    while let Some(at) = next {
                        actual.push(*table.value(at));
                        next = table.next_sibling(at);
                    }
                    prop_assert_eq!(list.len(), expected.len());
                    prop_assert_eq!(actual, expected);
                }
            }
        }
    }
}
