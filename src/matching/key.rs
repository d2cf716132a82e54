//! What names a request in the tables: its connection, the side that asked, its scope and its id.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};

use crate::event::Direction;

use super::rules::RequestName;
use super::rules::equal;

/// Bytes of an id (and its scope) that are kept without an allocation: a quoted UUID just fits.
const INLINE_BYTES: usize = 38;

/// Index of a connection in the correlator's own list.
pub(super) type ConnectionIndex = u32;

/// A key to look for, borrowed from the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyRef<'a> {
    pub(super) connection: ConnectionIndex,
    /// Which way the request went.
    pub(super) asked: Direction,
    /// Raw id token; of a queued request, its number in the queue.
    pub(super) id: &'a [u8],
    /// Raw scope token; of a queued request, the queue.
    pub(super) scope: &'a [u8],
}

/// A key that is kept.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) connection: ConnectionIndex,
    pub(super) asked: Direction,
    id_len: u16,
    name: Name,
}

/// The id's bytes followed by the scope's.
#[derive(Clone)]
enum Name {
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    Heap(Box<[u8]>),
}

impl KeyRef<'_> {
    pub(super) fn hash_with(&self, hasher: &impl BuildHasher) -> u64 {
        let mut state = hasher.build_hasher();
        let place = u64::from(self.connection) << 1 | self.asked.index() as u64;
        (place ^ (self.id.len() as u64) << 40).hash(&mut state);
        state.write(self.id);
        if !self.scope.is_empty() {
            state.write(self.scope);
        }
        state.finish()
    }

    pub(super) fn to_key(self) -> Key {
        // Ids are at most MAX_ID_BYTES long, so the length always fits.
        let id_len = u16::try_from(self.id.len()).unwrap_or(u16::MAX);
        Key {
            connection: self.connection,
            asked: self.asked,
            id_len,
            name: Name::joined(self.id, self.scope),
        }
    }
}

impl Key {
    pub(super) fn equals(&self, other: &KeyRef<'_>) -> bool {
        self.connection == other.connection
            && self.asked == other.asked
            && usize::from(self.id_len) == other.id.len()
            && equal(self.id(), other.id)
            && equal(self.scope(), other.scope)
    }

    pub(super) fn as_ref(&self) -> KeyRef<'_> {
        KeyRef {
            connection: self.connection,
            asked: self.asked,
            id: self.id(),
            scope: self.scope(),
        }
    }

    /// The raw id token.
    pub(super) fn id(&self) -> &[u8] {
        &self.name.bytes()[..usize::from(self.id_len)]
    }

    fn scope(&self) -> &[u8] {
        &self.name.bytes()[usize::from(self.id_len)..]
    }
}

impl Name {
    fn joined(id: &[u8], scope: &[u8]) -> Self {
        let len = id.len() + scope.len();
        match u8::try_from(len) {
            Ok(short) if len <= INLINE_BYTES => {
                let mut bytes = [0; INLINE_BYTES];
                bytes[..id.len()].copy_from_slice(id);
                bytes[id.len()..len].copy_from_slice(scope);
                Self::Inline { len: short, bytes }
            }
            _ => Self::Heap([id, scope].concat().into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes().escape_ascii())
    }
}

/// A name that outlives its message, for a connection whose protocol is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeptName {
    Id { id: Box<[u8]>, scope: Box<[u8]> },
    Queue(u8),
}

impl KeptName {
    pub(super) fn as_ref(&self) -> RequestName<'_> {
        match self {
            Self::Id { id, scope } => RequestName::Id { id, scope },
            Self::Queue(queue) => RequestName::Queue(*queue),
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Id { id, scope } => id.len() + scope.len(),
            Self::Queue(_) => 0,
        }
    }
}

impl From<RequestName<'_>> for KeptName {
    fn from(name: RequestName<'_>) -> Self {
        match name {
            RequestName::Id { id, scope } => Self::Id { id: id.into(), scope: scope.into() },
            RequestName::Queue(queue) => Self::Queue(queue),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(id: &'a [u8], scope: &'a [u8]) -> KeyRef<'a> {
        KeyRef { connection: 7, asked: Direction::Sent, id, scope }
    }

    #[test]
    fn a_kept_key_equals_the_one_it_was_made_of_and_no_other() {
        let long = [b'x'; 300];
        for (id, scope) in [(&b"1"[..], &b""[..]), (b"1", b"2"), (b"", b""), (&long, b"s")] {
            let kept = key(id, scope).to_key();
            assert!(kept.equals(&key(id, scope)));
            assert!(!kept.equals(&key(b"12", b"")));
            assert!(!kept.equals(&KeyRef { asked: Direction::Received, ..key(id, scope) }));
            assert!(!kept.equals(&KeyRef { connection: 8, ..key(id, scope) }));
        }
    }

    #[test]
    fn where_the_id_ends_and_the_scope_begins_is_part_of_the_key() {
        assert!(!key(b"12", b"3").to_key().equals(&key(b"1", b"23")));
    }

    #[test]
    fn a_key_is_small() {
        assert!(size_of::<Key>() <= 48, "{}", size_of::<Key>());
    }
}
