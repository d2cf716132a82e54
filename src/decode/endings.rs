//! Connections whose end nobody has told, and what shows all the same that they have ended.
//!
//! The end of a connection is a record like any other: under overload there may be no room for it. Then
//! the next connection of the same handle shows it, or the end of the process. Where the kernel side has
//! counted more lost ends than these explain, silence does.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::event::ConnId;

/// The end of a connection may come this long after the beginning of its handle's next one: it may
/// have waited where there was still room.
const GRACE_NS: u64 = 1_000_000_000;
/// A connection may have ended if nothing was heard of it for so long. Most peers ping more often.
pub(super) const SILENCE_NS: u64 = 600_000_000_000;

/// What is known of ends that were not told.
#[derive(Debug, Default)]
pub(super) struct Endings {
    /// The generation that each handle of a process has now.
    latest: FxHashMap<(u32, u64), u32>,
    /// Connections whose handle has another one now, and since when, in the order of time.
    superseded: VecDeque<(u64, ConnId)>,
    /// Ends that the kernel side could not tell.
    lost: u64,
    /// Ends that something else has shown.
    shown: u64,
}

impl Endings {
    /// Takes up the kernel side's count of ends that it could not tell.
    pub(super) fn lost(&mut self, count: u64) {
        self.lost = self.lost.max(count);
    }

    /// A connection was met at `at_ns`.
    pub(super) fn met(&mut self, conn: ConnId, at_ns: u64) {
        let generation = self.latest.entry((conn.tgid, conn.handle)).or_insert(conn.generation);
        // They are serial numbers, and may wrap.
        if conn.generation.wrapping_sub(*generation).cast_signed() <= 0 {
            return;
        }
        let before = std::mem::replace(generation, conn.generation);
        self.superseded.push_back((at_ns, ConnId { generation: before, ..conn }));
    }

    /// A connection is not followed any more.
    pub(super) fn gone(&mut self, conn: ConnId) {
        let handle = (conn.tgid, conn.handle);
        if self.latest.get(&handle) == Some(&conn.generation) {
            self.latest.remove(&handle);
        }
    }

    /// A connection whose handle has another one, if its end has had time to come.
    pub(super) fn pop_superseded(&mut self, now_ns: u64) -> Option<ConnId> {
        let due = |&(at_ns, _): &(u64, ConnId)| now_ns.saturating_sub(at_ns) >= GRACE_NS;
        self.superseded
            .front()
            .is_some_and(due)
            .then(|| self.superseded.pop_front())?
            .map(|it| it.1)
    }

    /// How many of them wait, due or not.
    pub(super) fn superseded(&self) -> usize {
        self.superseded.len()
    }

    /// An end that was not told was shown by something else.
    pub(super) fn count_shown(&mut self) {
        self.shown += 1;
    }

    /// Ends that were lost and that nothing has shown.
    pub(super) fn unexplained(&self) -> usize {
        usize::try_from(self.lost.saturating_sub(self.shown)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(generation: u32) -> ConnId {
        ConnId { tgid: 7, generation, handle: 0xbeef, stream: 0 }
    }

    #[test]
    fn a_later_generation_of_a_handle_shows_the_end_of_the_one_before_after_a_while() {
        let mut endings = Endings::default();
        endings.met(conn(u32::MAX), 5);
        endings.met(conn(3), 10);
        // Late news of the one before.
        endings.met(conn(u32::MAX), 11);
        assert_eq!(endings.pop_superseded(9 + GRACE_NS), None);
        assert_eq!(endings.pop_superseded(10 + GRACE_NS), Some(conn(u32::MAX)));
        assert_eq!(endings.pop_superseded(u64::MAX), None);
        endings.gone(conn(u32::MAX));
        endings.gone(conn(3));
        endings.met(conn(4), 12);
        assert_eq!(endings.pop_superseded(u64::MAX), None, "the one before had ended");
    }

    #[test]
    fn what_shows_an_end_explains_one_that_was_lost() {
        let mut endings = Endings::default();
        endings.count_shown();
        assert_eq!(endings.unexplained(), 0);
        endings.lost(3);
        assert_eq!(endings.unexplained(), 2);
    }
}
