//! What came of an input, in one number.

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::hash::{DefaultHasher, Hasher};

/// A set of kinds of results. An input with a new one has reached something new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trace(pub u64);

impl Trace {
    /// Adds a kind of result. Two kinds may share a bit; that only loses some guidance.
    pub(crate) fn add(&mut self, kind: &impl Debug) {
        self.0 |= 1 << (digest(kind) % 64);
    }

    /// The kinds of both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

thread_local! {
    static PRINTED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A number that differs, most likely, for what prints differently.
pub(crate) fn digest(value: &impl Debug) -> u64 {
    PRINTED.with_borrow_mut(|printed| {
        printed.clear();
        // A string takes everything.
        let _ = write!(printed, "{value:?}");
        digest_of_bytes(printed.as_bytes())
    })
}

/// A number that differs, most likely, for other bytes, and is the same in every run.
pub(crate) fn digest_of_bytes(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
