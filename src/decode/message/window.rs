//! How much of its messages a direction is asked for.
//!
//! What a message tells mostly stands in front: an id, a method. The rest would be copied only to
//! be compared with what passes the other way, and found different. So after [`PROOFS`] long
//! messages in a row that told all they had to tell within their first [`NARROW_BYTES`](crate::event::NARROW_BYTES), and of
//! which none had an equal, no more than that is asked for: the window of that direction is narrow.
//! Messages that are not long are always asked for whole.
//!
//! A message that turns out to need more is a miss. It is counted, and both directions are asked
//! for everything again as long as the connection lasts: a narrow window can only miss what passes
//! until the kernel side has heard of the first miss.

use crate::event::Direction;

/// Long messages in a row that make a window narrow.
const PROOFS: u8 = 64;

/// The windows of both directions of a connection.
#[derive(Debug, Default)]
pub(in crate::decode) struct Windows {
    /// Long messages in a row that a narrow window would have held all that was needed of.
    proofs: [u8; 2],
    /// Something was missed, or would have been: both are wide for good.
    wide: bool,
    /// The kernel side should be told.
    changed: [bool; 2],
}

impl Windows {
    /// Only the beginning of a long message is asked for.
    pub(in crate::decode) fn is_narrow(&self, direction: Direction) -> bool {
        !self.wide && self.has_been_narrow(direction)
    }

    /// Messages may have been cut, on purpose, behind their beginning.
    pub(in crate::decode) fn has_been_narrow(&self, direction: Direction) -> bool {
        self.proofs[direction.index()] == PROOFS
    }

    /// Nothing is to be learnt any more.
    pub(in crate::decode) fn are_wide_for_good(&self) -> bool {
        self.wide
    }

    /// The beginning of a long message was all that was needed of it, or was not.
    pub(in crate::decode) fn judge(&mut self, direction: Direction, sufficed: bool) {
        if self.is_narrow(direction) {
            if !sufficed {
                self.widen();
            }
            return;
        }
        let proofs = &mut self.proofs[direction.index()];
        if !self.wide {
            *proofs = if sufficed { *proofs + 1 } else { 0 };
            self.changed[direction.index()] |= *proofs == PROOFS;
        }
    }

    /// Both directions are asked for everything from now on.
    pub(in crate::decode) fn widen(&mut self) {
        for direction in Direction::BOTH {
            self.changed[direction.index()] |= self.is_narrow(direction);
        }
        self.wide = true;
    }

    /// More of a message would have been needed than there was. The kernel side is told again as
    /// long as that happens: what it was told before may have been written over.
    pub(in crate::decode) fn miss(&mut self, direction: Direction) {
        self.widen();
        self.changed[direction.index()] = true;
    }

    /// The kernel side should be told of one direction; true once for each change.
    pub(in crate::decode) fn take_change(&mut self, direction: Direction) -> bool {
        std::mem::take(&mut self.changed[direction.index()])
    }

    /// The kernel side should be told of one direction.
    pub(in crate::decode) fn has_changed(&self, direction: Direction) -> bool {
        self.changed[direction.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Received, Sent};

    fn narrow() -> Windows {
        let mut windows = Windows::default();
        (0..PROOFS).for_each(|_| windows.judge(Sent, true));
        windows
    }

    #[test]
    fn a_window_is_narrow_after_enough_proofs_in_a_row() {
        let mut windows = Windows::default();
        for _ in 0..PROOFS - 1 {
            windows.judge(Sent, true);
        }
        windows.judge(Sent, false);
        for _ in 0..PROOFS - 1 {
            windows.judge(Sent, true);
        }
        assert!(!windows.is_narrow(Sent) && !windows.has_changed(Sent));
        windows.judge(Sent, true);
        assert!(windows.is_narrow(Sent) && !windows.is_narrow(Received));
        assert!(windows.take_change(Sent) && !windows.take_change(Sent));
        windows.judge(Sent, true);
        assert!(windows.is_narrow(Sent) && !windows.has_changed(Sent));
    }

    #[test]
    fn one_miss_makes_it_wide_for_good() {
        let mut windows = narrow();
        windows.take_change(Sent);
        windows.miss(Sent);
        assert!(windows.take_change(Sent) && !windows.take_change(Received));
        windows.miss(Sent);
        assert!(windows.take_change(Sent), "as it goes on");
        (0..=PROOFS).for_each(|_| windows.judge(Sent, true));
        (0..=PROOFS).for_each(|_| windows.judge(Received, true));
        assert!(!windows.is_narrow(Sent) && !windows.is_narrow(Received));
        assert!(windows.has_been_narrow(Sent) && !windows.has_been_narrow(Received));
        assert!(!windows.has_changed(Sent) && !windows.has_changed(Received));
    }
}
