//! What is kept for each connection besides the requests themselves.

use std::collections::VecDeque;

use crate::event::{ConnId, Direction, Stamp, TargetId};
use crate::observation::{OrphanReason, Role};

use super::detect::{Detector, Passed, Trial};
use super::feed::Feed;
use super::key::KeptName;
use super::protocols::ProtocolIndex;
use super::rules::{CodecMemory, RuleTraits};
use super::table::List;

/// One connection. Everything that is usually empty takes no memory of its own while it is.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) target: TargetId,
    pub(super) role: Role,
    pub(super) speaks: Speaks,
    pub(super) since: Since,
    pub(super) opened_ns: u64,
    pub(super) last_gap_ns: Option<u64>,
    /// Of each direction, when a message last passed that could not be read, or not in full.
    pub(super) unread_ns: [Option<u64>; 2],
    /// Present while it is not certain that the protocol is the right one.
    pub(super) trial: Option<Box<Trial>>,
    pub(super) pending: List,
    pub(super) streams: List,
    pub(super) late: List,
    /// Answers whose request was not seen yet, in order of arrival.
    pub(super) early: VecDeque<Early>,
    pub(super) early_watch: EarlyWatch,
    pub(super) queues: Vec<Queue>,
    /// Times of the oldest heartbeat without an answer, by its direction.
    pub(super) heartbeats_ns: [Option<u64>; 2],
    pub(super) memory: CodecMemory,
    pub(super) feed: Feed,
}

/// Whether the connection was seen from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    Start,
    /// Attached later: requests may have passed before.
    MidStream,
}

/// Which protocol the connection speaks.
#[derive(Debug)]
pub(super) enum Speaks {
    Known(ProtocolIndex),
    /// Not known: the search for it.
    Unknown(Box<Detector>),
}

/// An answer that waits for its request.
#[derive(Debug)]
pub(super) struct Early {
    pub(super) stamp: Stamp,
    pub(super) protocol: ProtocolIndex,
    /// Which way the request would have gone.
    pub(super) asked: Direction,
    pub(super) name: KeptName,
    pub(super) traits: RuleTraits,
}

/// Whether an expiry is scheduled for the early answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EarlyWatch {
    Off,
    On,
}

/// Requests without an id, that are answered in order. They are numbered as they come.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) queue: u8,
    pub(super) asked: Direction,
    /// Number of the request that is answered next.
    first: u32,
    /// Number of the next request.
    next: u32,
}

impl Queue {
    /// Numbers from the first that waits to the last; some between them may have ended.
    pub(super) fn len(&self) -> usize {
        self.next.wrapping_sub(self.first) as usize
    }

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != self.next).then_some(self.first)
    }

    /// Drops the first number.
    pub(super) fn pop(&mut self) {
        self.first = self.first.wrapping_add(1);
    }

    /// Adds a request and returns its number.
    pub(super) fn push(&mut self) -> u32 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }
}

impl Connection {
    /// The queue of this number and direction, made on first use.
    pub(super) fn queue(&mut self, queue: u8, asked: Direction) -> &mut Queue {
        let known = |known: &Queue| known.queue == queue && known.asked == asked;
        let index = self.queues.iter().position(known).unwrap_or_else(|| {
            self.queues.push(Queue { queue, asked, first: 0, next: 0 });
            self.queues.len() - 1
        });
        &mut self.queues[index]
    }

    /// A message passed that could not be read, or not in full.
    #[cold]
    pub(super) fn missed(&mut self, passed: Passed) {
        let Passed { stamp, direction } = passed;
        self.unread_ns[direction.index()] = Some(stamp.at_ns);
        self.feed.lose_numbers(direction);
    }

    /// Whether an answer to a request of `asked`, which passed at `since_ns`, may have been in a
    /// message that could not be read.
    pub(super) fn may_have_answered(&self, asked: Direction, since_ns: u64) -> bool {
        self.unread_ns[asked.opposite().index()].is_some_and(|at_ns| at_ns >= since_ns)
    }

    /// Why an answer of `at_ns` may have no request here.
    pub(super) fn orphan_reason(&self, at_ns: u64, timeout_ns: u64) -> OrphanReason {
        let within_timeout = |since_ns: u64| at_ns < since_ns.saturating_add(timeout_ns);
        if self.last_gap_ns.is_some_and(within_timeout) {
            OrphanReason::AfterGap
        } else if self.since == Since::MidStream && within_timeout(self.opened_ns) {
            OrphanReason::PreAttach
        } else {
            OrphanReason::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_costs_little() {
        assert!(size_of::<Connection>() <= 344, "{}", size_of::<Connection>());
    }
}
