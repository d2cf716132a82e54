//! Messages that come back: has an equal payload been seen in the other direction lately?

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::event::Direction;
use crate::event::{LONG_BYTES, NARROW_BYTES};

/// Messages of a connection that are looked back over.
const LOOK_BACK: u32 = 1024;

/// Nanoseconds that are looked back over.
const LOOK_BACK_NS: u64 = 60_000_000_000;

/// Entries of a new table; it doubles until it holds [`LOOK_BACK`].
const CAPACITY_MIN: usize = 16;

/// What is there of a message.
#[derive(Clone, Copy, Debug)]
pub(in crate::decode) enum Content<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// The first [`NARROW_BYTES`] of one that is longer than [`LONG_BYTES`].
    Beginning {
        /// These bytes.
        bytes: &'a [u8],
        /// Of the whole message.
        length: u64,
    },
}

/// Whether the other direction had an equal message lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Seen {
    /// It had none.
    No,
    /// It had.
    Yes,
    /// It had one of that length with that beginning; of one of the two, no more is there.
    Perhaps,
}

/// The last messages of one connection, by hash and length of their payload.
///
/// A ring of entries, chained by bucket from newer to older: an entry that the ring has written
/// over ends its chain, so nothing is ever removed. Beginnings have no chains: they are compared
/// rarely, and then all entries are looked at.
#[derive(Debug, Default)]
pub(in crate::decode) struct Identical {
    entries: Vec<Entry>,
    /// Number of the newest message of each bucket.
    heads: Vec<u32>,
    /// Number of the next message; the first has number 1.
    next: u32,
    newest_ns: u64,
    /// By direction, the number of the newest long message; 0 for none.
    long: [u32; 2],
    /// By direction, the number of the newest of which only the beginning was there.
    cut: [u32; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    key: u64,
    /// Of a long message: hash of its beginning and its length.
    beginning: u64,
    at_ns: u64,
    /// Number of the message before it in its bucket; 0 for none.
    older: u32,
    /// Only the beginning was there.
    is_cut: bool,
}

const BYTES_PER_ENTRY: usize = size_of::<Entry>() + size_of::<u32>();

impl Identical {
    /// Notes a message, and says whether the other direction had an equal one within the last
    /// 1,024 messages and 60 s. `budget` is what all tables together may still grow by, in bytes.
    pub(in crate::decode) fn see(
        &mut self,
        direction: Direction,
        content: Content<'_>,
        at_ns: u64,
        budget: &mut usize,
    ) -> Seen {
        self.make_room(budget);
        if self.entries.is_empty() {
            return Seen::No;
        }
        let entry = Entry::of(content, at_ns);
        let other = direction.opposite();
        let seen = if !entry.is_cut && self.find(entry.key ^ tag(other), at_ns) {
            Seen::Yes
        } else if entry.beginning != 0 && self.finds_beginning(&entry.tagged(other), other) {
            Seen::Perhaps
        } else {
            Seen::No
        };
        self.note(&entry, direction);
        self.insert(entry.tagged(direction));
        seen
    }

    /// Frees the table if all of it is too old to be found.
    pub(in crate::decode) fn expire(&mut self, now_ns: u64, budget: &mut usize) {
        if now_ns.saturating_sub(self.newest_ns) > LOOK_BACK_NS {
            self.clear(budget);
        }
    }

    /// Gives everything back.
    #[cold]
    pub(in crate::decode) fn clear(&mut self, budget: &mut usize) {
        *budget += self.entries.len() * BYTES_PER_ENTRY;
        *self = Self::default();
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(in crate::decode) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.heads.capacity() * size_of::<u32>()
    }

    fn find(&self, key: u64, at_ns: u64) -> bool {
        let mut number = self.heads[self.bucket(key)];
        while number > 0 && self.next - number <= self.entries.len() as u32 {
            let entry = self.entries[self.slot(number)];
            if entry.key == key && at_ns.abs_diff(entry.at_ns) <= LOOK_BACK_NS {
                return true;
            }
            number = entry.older;
        }
        false
    }

    /// Whether one of `direction` may be equal to `wanted`, of which, or of the one found, only the
    /// beginning is there.
    #[inline(never)]
    fn finds_beginning(&self, wanted: &Entry, direction: Direction) -> bool {
        let newest = if wanted.is_cut { self.long } else { self.cut }[direction.index()];
        let is_old = newest == 0 || self.next - newest > self.entries.len() as u32;
        if is_old {
            return false;
        }
        self.entries.iter().any(|entry| {
            entry.beginning == wanted.beginning
                && (entry.is_cut || wanted.is_cut)
                && wanted.at_ns.abs_diff(entry.at_ns) <= LOOK_BACK_NS
        })
    }

    /// The message that is inserted next is long, or cut.
    fn note(&mut self, entry: &Entry, direction: Direction) {
        if entry.beginning != 0 {
            self.long[direction.index()] = self.next;
        }
        if entry.is_cut {
            self.cut[direction.index()] = self.next;
        }
    }

    fn insert(&mut self, entry: Entry) {
        let Entry { key, at_ns, .. } = entry;
        let (bucket, slot) = (self.bucket(key), self.slot(self.next));
        // A repetition takes the place of what it repeats, so that chains stay short.
        let head = self.heads[bucket];
        let newest = self.entries[self.slot(head)];
        let older = if newest.key == key { newest.older } else { head };
        self.entries[slot] = Entry { older, ..entry };
        self.heads[bucket] = self.next;
        self.next += 1;
        self.newest_ns = self.newest_ns.max(at_ns);
    }

    /// Grows a full table, if it may; starts over when the numbers run out.
    fn make_room(&mut self, budget: &mut usize) {
        let len = self.entries.len();
        if self.next == u32::MAX {
            self.clear(budget);
            return self.make_room(budget);
        }
        let full = len == 0 || self.next as usize > len;
        if !full || len >= LOOK_BACK as usize {
            return;
        }
        let wanted = (len * 2).max(CAPACITY_MIN);
        let cost = (wanted - len) * BYTES_PER_ENTRY;
        if cost > *budget {
            return;
        }
        *budget -= cost;
        self.rebuild(wanted);
    }

    /// Moves the entries, which are numbered 1 to `next - 1` and all present, to a larger table.
    #[cold]
    fn rebuild(&mut self, capacity: usize) {
        let oldest = self.next.saturating_sub(self.entries.len() as u32).max(1);
        let kept: Vec<Entry> =
            (oldest..self.next).map(|number| self.entries[self.slot(number)]).collect();
        self.entries = vec![Entry::default(); capacity];
        self.heads = vec![0; capacity];
        self.next = 1;
        for entry in kept {
            self.insert(entry);
        }
        for number in self.long.iter_mut().chain(&mut self.cut) {
            *number = number.saturating_sub(oldest - 1);
        }
    }

    fn bucket(&self, key: u64) -> usize {
        (key >> 32) as usize & (self.heads.len() - 1)
    }

    fn slot(&self, number: u32) -> usize {
        number as usize & (self.entries.len() - 1)
    }
}

impl Entry {
    fn of(content: Content<'_>, at_ns: u64) -> Self {
        match content {
            Content::Whole(payload) => {
                let length = payload.len() as u64;
                let is_long = length > LONG_BYTES;
                let beginning = is_long.then(|| key(&payload[..NARROW_BYTES], length));
                let beginning = beginning.unwrap_or_default();
                Self { key: key(payload, length), beginning, at_ns, ..Self::default() }
            }
            Content::Beginning { bytes, length } => {
                let key = key(bytes, length);
                Self { key, beginning: key, at_ns, is_cut: true, ..Self::default() }
            }
        }
    }

    /// The same as one of `direction`.
    fn tagged(self, direction: Direction) -> Self {
        let tag = tag(direction);
        let beginning = if self.beginning == 0 { 0 } else { self.beginning ^ tag };
        Self { key: self.key ^ tag, beginning, ..self }
    }
}

/// Tells the directions apart in one table.
fn tag(direction: Direction) -> u64 {
    match direction {
        Direction::Sent => 0,
        Direction::Received => 0x9e37_79b9_7f4a_7c15,
    }
}

/// 64 bits of a payload, or of its beginning, and its length.
fn key(bytes: &[u8], length: u64) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(bytes);
    hasher.write_u64(length);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Received, Sent};
    use proptest::prelude::*;

    const S: u64 = 1_000_000_000;

    fn number(n: u32) -> [u8; 4] {
        n.to_be_bytes()
    }

    impl Identical {
        fn sees(&mut self, way: Direction, payload: &[u8], at_ns: u64, budget: &mut usize) -> bool {
            self.see(way, Content::Whole(payload), at_ns, budget) == Seen::Yes
        }
    }

    #[test]
    fn an_echo_is_found_but_a_repetition_is_not() {
        let (mut identical, mut budget) = (Identical::default(), 1 << 20);
        assert!(!identical.sees(Sent, b"hello", 1, &mut budget));
        assert!(!identical.sees(Sent, b"hello", 2, &mut budget));
        assert!(identical.sees(Received, b"hello", 3, &mut budget));
        assert!(!identical.sees(Received, b"hellO", 3, &mut budget));
    }

    #[test]
    fn the_look_back_is_1024_messages_and_60_seconds() {
        for (between, at_ns, found) in
            [(1023, S, true), (1024, S, false), (0, 60 * S, true), (0, 60 * S + 1, false)]
        {
            let (mut identical, mut budget) = (Identical::default(), 1 << 20);
            identical.sees(Sent, b"x", 0, &mut budget);
            for n in 0..between {
                identical.sees(Sent, &number(n), 0, &mut budget);
            }
            assert_eq!(identical.sees(Received, b"x", at_ns, &mut budget), found, "{between}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn it_finds_what_a_search_through_all_messages_finds(
            messages in proptest::collection::vec((any::<bool>(), 0_u32..400, 0_u64..S), 1..3000),
        ) {
            let (mut identical, mut budget) = (Identical::default(), 1 << 20);
            let mut seen = Vec::new();
            let mut at_ns = 0;
            for (sent, n, pause_ns) in messages {
                at_ns += pause_ns;
                let direction = if sent { Sent } else { Received };
                let equal = |&(way, m, then): &(Direction, u32, u64)| {
                    way != direction && m == n && at_ns - then <= LOOK_BACK_NS
                };
                let expected = seen.iter().rev().take(LOOK_BACK as usize).any(equal);
                let found = identical.sees(direction, &number(n), at_ns, &mut budget);
                prop_assert_eq!(found, expected);
                seen.push((direction, n, at_ns));
            }
        }
    }

    #[test]
    fn nothing_is_forgotten_while_the_table_grows() {
        let (mut identical, mut budget) = (Identical::default(), 1 << 20);
        for n in 0..600 {
            identical.sees(Sent, &number(n), 0, &mut budget);
        }
        assert!((200..600).all(|n| identical.sees(Received, &number(n), 1, &mut budget)));
    }

    #[test]
    fn an_exhausted_budget_shortens_the_look_back_and_is_given_back() {
        let (mut identical, mut budget) = (Identical::default(), 16 * BYTES_PER_ENTRY);
        for n in 0..100 {
            identical.sees(Sent, &number(n), 0, &mut budget);
        }
        assert_eq!((identical.entries.len(), budget), (16, 0));
        assert!(identical.sees(Received, &number(99), 1, &mut budget));
        assert!(!identical.sees(Received, &number(50), 1, &mut budget));
        identical.expire(61 * S, &mut budget);
        assert_eq!((identical.entries.capacity(), budget), (0, 16 * BYTES_PER_ENTRY));
        assert!(!identical.sees(Sent, b"y", 61 * S, &mut 0));
    }

    /// The first bytes of a message of 2,000.
    fn beginning(bytes: &[u8]) -> Content<'_> {
        Content::Beginning { bytes: &bytes[..NARROW_BYTES], length: 2000 }
    }

    #[test]
    fn of_what_was_cut_only_the_like_may_be_equal() {
        let (long, other) = ([b'x'; 2000], [b'y'; 2000]);
        let longer = [b'x'; 2001];
        let whole = Content::Whole;
        for (first, second, seen) in [
            (whole(&long), beginning(&long), Seen::Perhaps),
            (beginning(&long), whole(&long), Seen::Perhaps),
            (beginning(&long), beginning(&long), Seen::Perhaps),
            (whole(&long), whole(&long), Seen::Yes),
            (whole(&long), beginning(&other), Seen::No),
            (beginning(&other), whole(&long), Seen::No),
            (beginning(&long), whole(&longer), Seen::No),
            (beginning(&long), whole(&long[..NARROW_BYTES]), Seen::No),
        ] {
            for (way, seen) in [(Sent, Seen::No), (Received, seen)] {
                let (mut identical, mut budget) = (Identical::default(), 1 << 20);
                identical.see(Sent, first, 1, &mut budget);
                assert_eq!(identical.see(way, second, 2, &mut budget), seen, "{first:?}");
            }
        }
    }

    #[test]
    fn a_beginning_is_remembered_as_long_as_the_rest() {
        for (between, at_ns, seen) in [
            (1023, S, Seen::Perhaps),
            (1024, S, Seen::No),
            (0, 60 * S, Seen::Perhaps),
            (0, 60 * S + 1, Seen::No),
        ] {
            let (mut identical, mut budget) = (Identical::default(), 1 << 20);
            let long = [b'x'; 2000];
            identical.see(Sent, beginning(&long), 0, &mut budget);
            for n in 0..between {
                identical.sees(Sent, &number(n), 0, &mut budget);
            }
            let whole = Content::Whole(&long);
            assert_eq!(identical.see(Received, whole, at_ns, &mut budget), seen, "{between}");
        }
    }
}
