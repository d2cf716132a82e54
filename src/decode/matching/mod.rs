//! From messages to exchanges: which request does this response answer, and how long did it take?

use super::event::{ConnId, Direction, TargetId};
use super::observation::{Message, Observation, Role, What};

/// What is known of a connection's application protocol before its first message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint<'a> {
    /// The role of the tapped process.
    pub role: Role,
    /// The accepted subprotocol's label; `None` if none was accepted or it is not known.
    pub subprotocol: Option<&'a str>,
    /// The request target without its query.
    pub path: Option<&'a str>,
    /// Messages may have passed before the first one that will be seen.
    pub mid_stream: bool,
}

/// Where and when a message was completed.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The connection.
    pub conn: ConnId,
    /// Its target.
    pub target: TargetId,
    /// The role of the tapped process.
    pub role: Role,
    /// The thread whose call completed it.
    pub tid: u32,
    /// `CLOCK_MONOTONIC` nanoseconds of its last byte.
    pub at_ns: u64,
}

/// Passes messages through without matching them.
#[derive(Debug, Default)]
pub struct Matching;

impl Matching {
    /// A WebSocket connection begins.
    pub fn open(&mut self, _conn: ConnId, _target: TargetId, _hint: Hint<'_>, _at_ns: u64) {}

    /// A data message is complete.
    pub fn message(&mut self, at: At, message: Message<'_>, out: &mut dyn FnMut(&Observation<'_>)) {
        out(&Observation {
            at_ns: at.at_ns,
            tid: at.tid,
            target: at.target,
            conn: at.conn,
            role: at.role,
            what: What::Message(Message { protocol: "unknown", ..message }),
        });
    }

    /// Bytes of one direction were lost.
    pub fn gap(
        &mut self,
        _conn: ConnId,
        _direction: Direction,
        _at_ns: u64,
        _out: &mut dyn FnMut(&Observation<'_>),
    ) {
    }

    /// The connection ended.
    pub fn close(&mut self, _conn: ConnId, _at_ns: u64, _out: &mut dyn FnMut(&Observation<'_>)) {}

    /// Time passes.
    pub fn tick(&mut self, _now_ns: u64, _out: &mut dyn FnMut(&Observation<'_>)) {}

    /// wstap stops watching.
    pub fn finish(&mut self, _now_ns: u64, _out: &mut dyn FnMut(&Observation<'_>)) {}
}
