//! A window in short: enough to tell whether another one is the same.

use std::hash::{DefaultHasher, Hasher};

/// The length of some plaintext, and a hash over all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) length: usize,
    hash: u64,
}

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self { length: bytes.len(), hash: hasher.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_more_less_or_changed_makes_another_digest() {
        let whole = vec![7; 32 << 10];
        let mut changed = whole.clone();
        changed[100] = 8;
        assert_eq!(Digest::of(&whole), Digest::of(&whole.clone()));
        assert_ne!(Digest::of(&whole), Digest::of(&changed));
        assert_ne!(Digest::of(&whole), Digest::of(&whole[1..]));
        assert_ne!(Digest::of(&[]), Digest::of(&[0]));
    }
}
