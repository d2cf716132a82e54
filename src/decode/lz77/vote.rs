//! Which stream a direction seems to go through, by the order of what happens.
//!
//! Connections on which the same is said at the same time have the same compressed bytes, though
//! their windows differ. What tells them apart is that zlib is called after a message was read and
//! before one is written: where only one can be meant, that is a vote. Votes never replace a proof.
//! They choose between several.

use crate::event::Direction;

/// A stream, by its address and what is done with it.
pub(super) type Key = (u64, Direction);

/// Votes in a row that are enough to choose.
const ENOUGH: u32 = 3;

/// The latest votes, as far as they agree.
#[derive(Debug)]
pub(super) struct Vote<T> {
    last: Option<T>,
    in_a_row: u32,
}

impl<T> Default for Vote<T> {
    fn default() -> Self {
        Self { last: None, in_a_row: 0 }
    }
}

impl<T: Copy + PartialEq> Vote<T> {
    /// One more vote.
    pub(super) fn cast(&mut self, choice: T) {
        if self.last != Some(choice) {
            self.in_a_row = 0;
        }
        self.last = Some(choice);
        self.in_a_row = self.in_a_row.saturating_add(1);
    }

    /// The latest choice, and whether it is another one than this.
    pub(super) fn is_against(&self, choice: T) -> bool {
        self.last.is_some_and(|last| last != choice)
    }

    /// What was chosen so often that it counts.
    pub(super) fn choice(&self) -> Option<T> {
        self.last.filter(|_| self.in_a_row >= ENOUGH)
    }
}
