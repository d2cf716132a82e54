//! What decoding one event needs: where and when it happened, what may be used, where results go.

use super::hint::Hints;
use super::limits::Limits;
use super::lz77::Search;
use super::message::inflate::Inflaters;
use crate::event::{ConnId, Direction, Stamp, TargetId};
use crate::matching::{Handle, Hint, Matching, Verdict};
use crate::observation::{Message, Observation, ProtocolError, Role, What};

/// What all connections share.
#[derive(Debug)]
pub(super) struct Resources {
    pub(super) limits: Limits,
    pub(super) matching: Matching,
    pub(super) buffers: Buffers,
    pub(super) inflaters: Inflaters,
    pub(super) hints: Hints,
    /// Directions that wait for their windows.
    pub(super) windows: Search,
    /// Bytes of heads and of what is held back.
    pub(super) held_bytes: usize,
    /// Streams of HTTP/2 connections that are followed.
    pub(super) streams: usize,
    /// Bytes left for the tables behind `identical`.
    pub(super) identical_bytes: usize,
    /// Unmasked payload; empty between steps.
    pub(super) unmasked: Vec<u8>,
    /// Inflated payload; empty between steps.
    pub(super) inflated: Vec<u8>,
}

impl Resources {
    pub(super) fn new(limits: Limits, matching: Matching) -> Self {
        Self {
            matching,
            buffers: Buffers::new(limits.unfinished_bytes),
            inflaters: Inflaters::new(limits.inflaters),
            hints: Hints::default(),
            windows: Search::new(limits.finds_windows, limits.inflated_bytes),
            held_bytes: 0,
            streams: 0,
            identical_bytes: limits.identical_bytes,
            unmasked: Vec::new(),
            inflated: Vec::new(),
            limits,
        }
    }
}

#[cfg(test)]
impl Resources {
    /// Nothing is lent.
    pub(super) fn is_at_rest(&self) -> bool {
        self.buffers.used == 0
            && self.held_bytes == 0
            && self.streams == 0
            && self.inflaters.lent() == 0
            && self.windows.is_empty()
            && self.identical_bytes == self.limits.identical_bytes
            && self.unmasked.is_empty()
            && self.inflated.is_empty()
    }
}

/// The context of everything that one event brings about on its connection.
pub(super) struct Context<'a> {
    pub(super) conn: ConnId,
    pub(super) target: TargetId,
    pub(super) role: Role,
    pub(super) stamp: Stamp,
    pub(super) resources: &'a mut Resources,
    pub(super) out: &'a mut dyn FnMut(&Observation<'_>),
}

impl Context<'_> {
    /// The same on a stream of the connection.
    pub(super) fn of_stream(&mut self, stream: u32, role: Role) -> Context<'_> {
        Context {
            conn: ConnId { stream, ..self.conn },
            target: self.target,
            role,
            stamp: self.stamp,
            resources: self.resources,
            out: self.out,
        }
    }

    pub(super) fn emit(&mut self, what: What<'_>) {
        (self.out)(&Observation {
            at_ns: self.stamp.at_ns,
            tid: self.stamp.tid,
            target: self.target,
            conn: self.conn,
            role: self.role,
            what,
        });
    }

    /// Emits what a part that knows nothing of the outside had to say. Mostly it has nothing to say.
    #[inline]
    pub(super) fn tell(&mut self, said: Option<What<'static>>) {
        if let Some(what) = said {
            self.tell_change(what);
        }
    }

    #[cold]
    fn tell_change(&mut self, what: What<'static>) {
        self.emit(what);
    }

    #[cold]
    pub(super) fn error(&mut self, direction: Direction, reason: ProtocolError) {
        self.emit(What::ProtocolError { direction, reason });
    }

    /// Hands a complete message over to matching, which tells it and says how it was read.
    pub(super) fn message(&mut self, handle: &Handle, message: &Message<'_>) -> Verdict {
        self.resources.matching.message(handle, self.role, self.stamp, message, self.out)
    }

    /// Tells matching that a WebSocket connection begins.
    pub(super) fn matching_open(&mut self, hint: Hint<'_>) -> Handle {
        self.resources.matching.open(self.conn, self.target, hint, self.stamp.at_ns)
    }

    /// Tells matching that an answer may have been lost.
    pub(super) fn matching_gap(&mut self, handle: &Handle, direction: Direction) {
        self.resources.matching.gap(handle, direction, self.stamp.at_ns, self.out);
    }

    /// Tells matching that nothing more comes.
    pub(super) fn matching_close(&mut self, handle: Handle) {
        self.resources.matching.close(handle, self.stamp.at_ns, self.out);
    }
}

/// Buffers of unfinished messages, under one budget, used again and again.
#[derive(Debug)]
pub(super) struct Buffers {
    spare: Vec<Vec<u8>>,
    used: usize,
    limit: usize,
}

/// Buffers kept for later.
const SPARE_MAX: usize = 8;

impl Buffers {
    fn new(limit: usize) -> Self {
        Self { spare: Vec::new(), used: 0, limit }
    }

    /// Appends as much of `bytes` as the budget has room for, and says how much that was.
    pub(super) fn append(&mut self, buffer: &mut Vec<u8>, bytes: &[u8]) -> usize {
        let take = bytes.len().min(self.limit - self.used);
        if take == 0 {
            return 0;
        }
        if buffer.capacity() == 0 {
            *buffer = self.spare.pop().unwrap_or_default();
        }
        buffer.extend_from_slice(&bytes[..take]);
        self.used += take;
        take
    }

    /// Takes back a buffer that [`Buffers::append`] filled.
    pub(super) fn release(&mut self, mut buffer: Vec<u8>) {
        self.used -= buffer.len().min(self.used);
        if buffer.capacity() > 0 && self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Bytes of unfinished messages that are kept now.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used
    }
}
