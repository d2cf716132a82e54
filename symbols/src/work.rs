//! How much work one image may cause.
//!
//! Anyone on the machine can map a file that is made to be slow to read. So every search over an
//! image's bytes, every symbol and every decoded instruction is counted here, and beyond a bound the
//! searches find nothing more and the image is refused ([`crate::Error::TooMuchWork`]). The bounds
//! are several times what the largest honest images need (Chromium, 300 MB); they depend on the
//! file's length and on nothing that the file says.

use std::cell::Cell;
use std::fmt;

/// The work that went into one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Bytes that were searched, each as often as it was looked at.
    pub bytes: u64,
    /// Entries of symbol tables, relocation tables and notes that were read.
    pub entries: u64,
    /// Instructions that were decoded, and places at which a function's start was looked for.
    pub steps: u64,
}

impl Work {
    /// The most work that an image of this many bytes may cause.
    #[must_use]
    pub fn bound(file_bytes: u64) -> Self {
        Self {
            bytes: file_bytes.saturating_mul(PASSES).saturating_add(SMALL_BYTES),
            entries: file_bytes.saturating_mul(PASSES) / SMALLEST_ENTRY + SMALL_ENTRIES,
            steps: MAX_STEPS,
        }
    }

    /// Whether every figure is within `bound`.
    #[must_use]
    pub fn is_within(&self, bound: &Self) -> bool {
        self.bytes <= bound.bytes && self.entries <= bound.entries && self.steps <= bound.steps
    }
}

/// How often each byte of a file may be looked at. Searches for error messages and for calls look at
/// all code several times.
const PASSES: u64 = 32;
/// What the smallest file may cause.
const SMALL_BYTES: u64 = 16 << 20;
const SMALL_ENTRIES: u64 = 64 << 10;
/// The size in bytes of the smallest entry that is counted: a note's header.
const SMALLEST_ENTRY: u64 = 12;
/// Instructions are decoded around a few functions, whatever the size of the file.
const MAX_STEPS: u64 = 4 << 20;

/// A bound that an image has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// See [`Work::bytes`].
    Bytes,
    /// See [`Work::entries`].
    Entries,
    /// See [`Work::steps`].
    Steps,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "its tables lead to the same bytes again and again",
            Self::Entries => "its symbol tables are longer than the file",
            Self::Steps => "too many places in its code look like parts of a TLS library",
        })
    }
}

/// Counts the work on one image.
#[derive(Debug)]
pub(crate) struct Meter {
    used: Cell<Work>,
    bound: Work,
    reached: Cell<Option<Limit>>,
}

impl Meter {
    /// A budget for a file of this many bytes.
    pub(crate) fn new(file_bytes: usize) -> Self {
        Self {
            used: Cell::default(),
            bound: Work::bound(file_bytes as u64),
            reached: Cell::default(),
        }
    }

    /// Takes the work of searching this many bytes from the budget.
    pub(crate) fn bytes(&self, count: usize) -> bool {
        self.take(Limit::Bytes, |work| &mut work.bytes, count as u64)
    }

    /// Asks for leave to read an entry of a table.
    pub(crate) fn entry(&self) -> bool {
        self.take(Limit::Entries, |work| &mut work.entries, 1)
    }

    /// Asks for leave to look at an instruction.
    pub(crate) fn step(&self) -> bool {
        self.take(Limit::Steps, |work| &mut work.steps, 1)
    }

    /// The work so far: never more than the bound.
    pub(crate) fn used(&self) -> Work {
        self.used.get()
    }

    /// The first bound that was reached, if one was.
    pub(crate) fn reached(&self) -> Option<Limit> {
        self.reached.get()
    }

    /// Once a bound has been reached nothing is permitted any more.
    fn take(&self, limit: Limit, figure: impl Fn(&mut Work) -> &mut u64, count: u64) -> bool {
        if self.reached.get().is_some() {
            return false;
        }
        let mut work = self.used.get();
        let mut bound = self.bound;
        let sum = figure(&mut work).saturating_add(count);
        if sum > *figure(&mut bound) {
            self.reached.set(Some(limit));
            return false;
        }
        *figure(&mut work) = sum;
        self.used.set(work);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_permits_no_more_than_its_bound_and_then_nothing() {
        let meter = Meter::new(0);
        let bytes = usize::try_from(SMALL_BYTES).expect("64 bits");
        assert!(meter.bytes(bytes) && meter.step());
        assert!(!meter.bytes(1));
        assert_eq!(meter.reached(), Some(Limit::Bytes));
        assert!(!meter.step() && !meter.entry() && !meter.bytes(0));
        assert_eq!(meter.used(), Work { bytes: SMALL_BYTES, entries: 0, steps: 1 });
    }

    #[test]
    fn an_absurd_count_does_not_overflow() {
        let meter = Meter::new(usize::MAX);
        assert!(meter.bytes(1));
        assert!(meter.bytes(usize::MAX) || meter.reached() == Some(Limit::Bytes));
        assert!(meter.used().is_within(&Work::bound(u64::MAX)));
    }
}
