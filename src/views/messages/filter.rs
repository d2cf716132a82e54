//! Which lines are shown: those that have everything that was asked for.

use std::time::Duration;

use super::Event;
use crate::event::{ConnId, Direction};
use crate::observation::{Exchange, MessageType, Opcode, Origin, Outcome, SequenceStep};

/// What a line must have to be shown. Each field that is set narrows the choice. A line that cannot
/// have what is asked for (an opening has no method) is not shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Messages and exchanges of one of these methods; all where it is empty.
    pub methods: Vec<String>,
    /// Exchanges that took at least this long, or had no answer when they expired.
    pub slow: Option<Duration>,
    /// What went wrong: exchanges that failed, connections that ended badly, losses.
    pub errors: bool,
    /// Lines of one of these connections, by pid and number; all where it is empty.
    pub connections: Vec<(u32, u32)>,
    /// Messages and frames of one of these opcodes, and closings where `Close` is one of them; all
    /// where it is empty.
    pub opcodes: Vec<Opcode>,
    /// Messages, frames and losses of one direction, and exchanges whose request went that way.
    pub direction: Option<Direction>,
}

/// Close codes of a connection that ended as it should (RFC 6455, section 7.4.1): done, going away,
/// no code given.
const GOOD_ENDS: [u16; 3] = [1000, 1001, 1005];

impl Filter {
    /// Whether frames of `opcode` are wanted although nobody asked for frames: no other line tells of
    /// them.
    pub(super) fn asks_for_frame(&self, opcode: Opcode) -> bool {
        !matches!(opcode, Opcode::Text | Opcode::Binary) && self.opcodes.contains(&opcode)
    }

    /// Whether the line of `event` on `conn` is shown.
    pub(super) fn shows(&self, conn: ConnId, event: &Event<'_>) -> bool {
        self.names(conn)
            && (self.methods.is_empty() || self.has_method(event))
            && self.slow.is_none_or(|least| is_slow(event, least))
            && (!self.errors || is_wrong(event))
            && (self.opcodes.is_empty() || self.has_opcode(event))
            && self.direction.is_none_or(|wanted| direction(event) == Some(wanted))
    }

    /// Whether lines of this connection are wanted.
    pub(in crate::views) fn names(&self, conn: ConnId) -> bool {
        let is_named = |&(pid, number): &(u32, u32)| (conn.tgid, conn.generation) == (pid, number);
        self.connections.is_empty() || self.connections.iter().any(is_named)
    }

    /// Whether a message or a frame of this opcode and direction is wanted, whatever else it is.
    pub(in crate::views) fn passes(&self, opcode: Opcode, direction: Direction) -> bool {
        (self.opcodes.is_empty() || self.opcodes.contains(&opcode))
            && self.direction.is_none_or(|wanted| wanted == direction)
    }

    /// Whether it asks about exchanges, which only lines tell of.
    #[must_use]
    pub fn is_about_exchanges(&self) -> bool {
        !self.methods.is_empty() || self.slow.is_some() || self.errors
    }

    fn has_method(&self, event: &Event<'_>) -> bool {
        let method = match event {
            Event::Message(_, reading) => reading.method,
            Event::Exchange(exchange) => Some(exchange.method),
            _ => None,
        };
        method.is_some_and(|method| self.methods.iter().any(|wanted| wanted == method))
    }

    fn has_opcode(&self, event: &Event<'_>) -> bool {
        let opcode = match event {
            Event::Message(message, _) => match message.message_type {
                MessageType::Text => Opcode::Text,
                MessageType::Binary => Opcode::Binary,
            },
            Event::Frame(frame) => frame.opcode,
            Event::Close { .. } => Opcode::Close,
            _ => return false,
        };
        self.opcodes.contains(&opcode)
    }
}

fn is_slow(event: &Event<'_>, least: Duration) -> bool {
    let Event::Exchange(exchange) = event else { return false };
    let took = exchange.turnaround_ns.map(Duration::from_nanos);
    exchange.outcome == Outcome::Expired || took.is_some_and(|took| took >= least)
}

/// Whether the event reports a failure.
pub(super) fn is_wrong(event: &Event<'_>) -> bool {
    match event {
        Event::Exchange(exchange) => has_failed(exchange),
        Event::Close { code } => !GOOD_ENDS.contains(code),
        Event::Gap { .. } => true,
        Event::Message(_, reading) => {
            let sequence = reading.feed.and_then(|feed| feed.sequence);
            sequence.is_some_and(SequenceStep::is_fault)
        }
        Event::Open(_) | Event::Frame(_) => false,
    }
}

/// Who asked did not get what it asked for, or nobody can tell. An exchange that the asker withdrew
/// has not failed, nor has one that wstap stopped watching.
fn has_failed(exchange: &Exchange<'_>) -> bool {
    match exchange.outcome {
        Outcome::Matched | Outcome::Cancelled | Outcome::Detached => false,
        Outcome::Error
        | Outcome::Expired
        | Outcome::Evicted
        | Outcome::Aborted
        | Outcome::Gap
        | Outcome::Duplicate => true,
    }
}

fn direction(event: &Event<'_>) -> Option<Direction> {
    match event {
        Event::Frame(frame) => Some(frame.direction),
        Event::Message(message, _) => Some(message.direction),
        Event::Gap { direction, .. } => Some(*direction),
        Event::Exchange(exchange) => Some(match exchange.origin {
            Origin::Local => Direction::Sent,
            Origin::Remote => Direction::Received,
        }),
        Event::Open(_) | Event::Close { .. } => None,
    }
}
