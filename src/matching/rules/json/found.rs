//! What the paths of rules from a file found so far. Rules are not changed by reading, so it is in cells.

use std::cell::Cell;

use super::slots::Slots;

/// See the module.
#[derive(Debug)]
pub(in crate::matching::rules) struct Found {
    pub(in crate::matching::rules) slots: Cell<Slots>,
    /// How often each rule with paths held.
    pub(in crate::matching::rules) held: Box<[Cell<u64>]>,
}

impl Found {
    pub(in crate::matching::rules) fn nothing(rules: usize) -> Self {
        Self {
            slots: Cell::default(),
            held: std::iter::repeat_n(0, rules).map(Cell::new).collect(),
        }
    }

    /// The rule of this number held for a message that had these fields.
    pub(in crate::matching::rules) fn count(&self, rule: usize, slots: Slots) {
        self.slots.set(self.slots.get() | slots);
        if let Some(held) = self.held.get(rule) {
            held.set(held.get() + 1);
        }
    }
}
