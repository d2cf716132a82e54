//! Numbers for the fields that a set of rules asks for, and sets of such numbers.

use std::ops::{BitAnd, BitOr, BitOrAssign};

/// Most fields that one set of rules may ask for.
pub(in crate::matching::rules) const MAX_SLOTS: usize = 32;

/// A wanted field; numbered from 0 in the order of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matching::rules) struct Slot(u8);

impl Slot {
    /// The slot with this number; `None` if it is not below [`MAX_SLOTS`].
    pub(in crate::matching::rules) fn at(index: usize) -> Option<Self> {
        let number = u8::try_from(index).ok()?;
        (index < MAX_SLOTS).then_some(Self(number))
    }

    pub(in crate::matching::rules) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A set of wanted fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::matching::rules) struct Slots(u32);

impl Slots {
    pub(in crate::matching::rules) fn contains(self, slot: Slot) -> bool {
        self.0 & (1 << slot.0) != 0
    }

    pub(in crate::matching::rules) fn contains_all(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }

    pub(in crate::matching::rules) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(in crate::matching::rules) fn indexes(self) -> impl Iterator<Item = usize> {
        (0..MAX_SLOTS).filter(move |&index| self.0 & (1 << index) != 0)
    }
}

impl BitAnd for Slots {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl From<Slot> for Slots {
    fn from(slot: Slot) -> Self {
        Self(1 << slot.0)
    }
}

impl BitOr for Slots {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Slots {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
