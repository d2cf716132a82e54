//! From messages to exchanges: which request does this response answer, and how long did it take?
//!
//! ```text
//!   Message -> Sniff -> Protocol::read -> Correlator -> Started | Exchange | Orphan | …
//!              which      what is it        who asked
//!            protocol?
//! ```
//!
//! `rules` reads one message at a time and remembers nothing; `correlator` remembers requests and
//! knows no format. Frames, compression and everything below a message is left to others.

mod connection;
mod correlator;
mod detect;
mod interpret;
mod key;
mod label;
mod limits;
mod mqtt;
mod protocols;
mod rules;
mod table;
#[cfg(test)]
mod tests;

pub use limits::MatchLimits;
pub use protocols::{Description, ID_PATTERN_NAME, IdPatterns, Protocols, UnknownProtocol};
pub use rules::RuleError;
pub use rules::pattern::PatternError;

use super::event::{ConnId, Direction, TargetId};
use super::observation::{Message, Observation, Role, What};

use connection::{Since, Speaks};
use correlator::{Correlator, Opening};
use detect::{Passed, Sniff};
use interpret::Place;
use key::ConnectionIndex;
use rules::{Sender, Text, Wholeness};

/// Label of a protocol that was not recognised.
const UNKNOWN: &str = "unknown";

/// Where observations go.
type Out<'o> = &'o mut dyn FnMut(&Observation<'_>);

/// Matches the requests and responses of all connections; owns everything that waits.
#[derive(Debug)]
pub struct Matching {
    protocols: Protocols,
    correlator: Correlator,
    /// Memory to unwrap messages into.
    scratch: Vec<u8>,
}

/// What is known of a connection when it begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint<'a> {
    /// Which end the tapped process is.
    pub role: Role,
    /// The subprotocol that the 101 accepted.
    pub subprotocol: Option<&'a str>,
    /// The request target, with its query. Only looked at.
    pub path: Option<&'a str>,
    /// Recognised from its frames: requests may have passed unseen.
    pub mid_stream: bool,
}

/// Where and when a message passed.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// The connection.
    pub conn: ConnId,
    /// The target it belongs to.
    pub target: TargetId,
    /// Which end the tapped process is, as far as it is known now.
    pub role: Role,
    /// The thread that completed the message.
    pub tid: u32,
    /// When its last byte passed.
    pub at_ns: u64,
}

impl Matching {
    /// Knows no connection yet.
    #[must_use]
    pub fn new(protocols: Protocols, limits: MatchLimits) -> Self {
        let names = protocols.names().map(Into::into).collect();
        Self {
            correlator: Correlator::new(limits.checked(), names),
            protocols,
            scratch: Vec::new(),
        }
    }

    /// Begins a connection. A connection that is not opened begins with its first message, as one
    /// of which nothing is known.
    pub fn open(&mut self, conn: ConnId, target: TargetId, hint: Hint<'_>, at_ns: u64) {
        if self.correlator.index_of(conn).is_some() {
            return;
        }
        let known = self
            .protocols
            .forced(target)
            .or_else(|| self.protocols.by_subprotocol(hint.subprotocol?));
        let speaks = known.map_or_else(
            || Speaks::Unknown(Sniff::hinted(hint.path.and_then(|p| self.protocols.by_path(p)))),
            Speaks::Known,
        );
        let since = if hint.mid_stream { Since::MidStream } else { Since::Start };
        self.correlator.open(Opening { id: conn, target, role: hint.role, speaks, since, at_ns });
    }

    /// Labels a complete message, hands it on, and follows it with what it means: requests that
    /// start, requests that end, orphans. Time only moves forward by messages and by
    /// [`tick`](Self::tick), so whatever expired before this message is told first.
    pub fn message(&mut self, at: At, message: Message<'_>, out: &mut dyn FnMut(&Observation<'_>)) {
        self.correlator.expire(at.at_ns, out);
        let index = self.connection(at);
        let text = text(&message, at.role);
        let passed = Passed { at_ns: at.at_ns, tid: at.tid, direction: message.direction };
        let Some(protocol) = self.recognise(at, index, passed, text, out) else {
            out(&at.observation(What::Message(Message { protocol: UNKNOWN, ..message })));
            return;
        };
        self.read(Place { at, index, protocol }, text, message, out);
    }

    /// Whether the beginning of a message, of a connection whose end `role` is tapped, settles what
    /// [`message`](Self::message) reads in it: whatever follows changes nothing.
    #[must_use]
    pub fn is_settled_by(&self, conn: ConnId, role: Role, beginning: &Message<'_>) -> bool {
        let Some(index) = self.correlator.index_of(conn) else { return false };
        match &self.correlator.connection(index).speaks {
            Speaks::Unknown(sniff) => sniff.has_given_up(beginning.direction),
            Speaks::Known(protocol) => {
                let text = text(beginning, role);
                self.protocols.get(*protocol).is_some_and(|protocol| protocol.is_settled_by(text))
            }
        }
    }

    /// Bytes that went in `direction` were lost: requests that they may have answered end.
    pub fn gap(
        &mut self,
        conn: ConnId,
        direction: Direction,
        at_ns: u64,
        out: &mut dyn FnMut(&Observation<'_>),
    ) {
        let Some(index) = self.correlator.index_of(conn) else { return };
        let connection = self.correlator.connection_mut(index);
        connection.mqtt.lose(direction);
        if let Speaks::Unknown(sniff) = &mut connection.speaks {
            sniff.forget();
        }
        self.correlator.gap(index, direction, at_ns, out);
    }

    /// The connection ended: what waits on it ends as aborted.
    pub fn close(&mut self, conn: ConnId, at_ns: u64, out: &mut dyn FnMut(&Observation<'_>)) {
        if let Some(index) = self.correlator.index_of(conn) {
            self.correlator.close(index, at_ns, out);
        }
    }

    /// Time has come to `now_ns`: requests that waited too long expire.
    pub fn tick(&mut self, now_ns: u64, out: &mut dyn FnMut(&Observation<'_>)) {
        self.correlator.expire(now_ns, out);
    }

    /// Nothing more will come: what waits anywhere ends as detached.
    pub fn finish(&mut self, now_ns: u64, out: &mut dyn FnMut(&Observation<'_>)) {
        self.correlator.expire(now_ns, out);
        self.correlator.finish(now_ns, out);
    }

    /// Requests of a target that wait for an answer.
    #[must_use]
    pub fn pending(&self, target: TargetId) -> usize {
        self.correlator.pending(target)
    }

    fn connection(&mut self, at: At) -> ConnectionIndex {
        if let Some(index) = self.correlator.index_of(at.conn) {
            self.correlator.connection_mut(index).role = at.role;
            return index;
        }
        let hint = Hint { role: at.role, mid_stream: true, ..Hint::default() };
        self.open(at.conn, at.target, hint, at.at_ns);
        self.connection(at)
    }
}

impl At {
    fn observation<'a>(&self, what: What<'a>) -> Observation<'a> {
        let Self { conn, target, role, tid, at_ns } = *self;
        Observation { at_ns, tid, target, conn, role, what }
    }
}

/// A message as the rules see it.
fn text<'a>(message: &Message<'a>, role: Role) -> Text<'a> {
    Text {
        direction: message.direction,
        sender: sender(role, message.direction),
        message_type: message.message_type,
        payload: message.payload,
        wholeness: if message.truncated { Wholeness::Cut } else { Wholeness::Whole },
    }
}

fn sender(role: Role, direction: Direction) -> Sender {
    match (role, direction) {
        (Role::Unknown, _) => Sender::Unknown,
        (Role::Client, Direction::Sent) | (Role::Server, Direction::Received) => Sender::Client,
        (Role::Client, Direction::Received) | (Role::Server, Direction::Sent) => Sender::Server,
    }
}
