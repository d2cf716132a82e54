//! What a function stored in its own stack frame.

use super::value::Value;

/// Most slots that are remembered; more are forgotten, which proves less.
const MAX_SLOTS: usize = 64;

/// The known slots; offsets count from the stack pointer at entry, where the return address is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Frame(Vec<Slot>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Slot {
    at: i64,
    len: usize,
    value: Value,
}

impl Frame {
    /// What `len` bytes from `at` hold.
    pub(super) fn load(&self, at: i64, len: usize) -> Value {
        let found = self.0.iter().find(|slot| slot.at == at && slot.len >= len);
        match (found, len) {
            (Some(slot), 8) => slot.value,
            (Some(slot), 4) => slot.value.low_half(),
            _ => Value::Unknown,
        }
    }

    /// Replaces `len` bytes from `at`.
    pub(super) fn store(&mut self, at: i64, len: usize, value: Value) {
        self.0.retain(|slot| !overlap(slot.at, slot.len, at, len));
        if value != Value::Unknown && self.0.len() < MAX_SLOTS {
            self.0.push(Slot { at, len, value });
        }
    }

    /// Forgets everything: someone else may have written there.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// The values of all slots.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.0.iter_mut().map(|slot| &mut slot.value)
    }
}

/// Whether storing `len` bytes at `at` changes the return address.
pub(super) fn replaces_return_address(at: i64, len: usize) -> bool {
    overlap(at, len, 0, 8)
}

/// Whether `a_len` bytes from `a` and `b_len` bytes from `b` have one in common.
fn overlap(a: i64, a_len: usize, b: i64, b_len: usize) -> bool {
    let end = |at: i64, len: usize| i128::from(at) + len as i128;
    i128::from(a) < end(b, b_len) && i128::from(b) < end(a, a_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_replaces_what_it_touches_and_nothing_else() {
        let mut frame = Frame::default();
        frame.store(-16, 8, Value::Arg(0));
        frame.store(-8, 8, Value::Arg(1));
        frame.store(-12, 4, Value::NotPositive);
        assert_eq!(frame.load(-16, 8), Value::Unknown);
        assert_eq!(frame.load(-12, 4), Value::NotPositive);
        assert_eq!(frame.load(-8, 8), Value::Arg(1));
        assert_eq!(frame.load(-8, 4), Value::ArgLow(1));
    }

    #[test]
    fn offsets_at_the_ends_of_the_range_do_not_overflow() {
        let mut frame = Frame::default();
        frame.store(i64::MAX, 8, Value::Arg(0));
        frame.store(i64::MIN, usize::MAX, Value::Arg(1));
        assert_eq!(frame.load(i64::MAX, 8), Value::Arg(0));
        assert!(replaces_return_address(7, 1) && replaces_return_address(-7, 8));
        assert!(!replaces_return_address(8, 8) && !replaces_return_address(-8, 8));
    }
}
