//! From what the rules read in a message to what is told of it and what the correlator does.

use crate::event::{Direction, Stamp, TargetId};
use crate::observation::{Message, MessageKind, MessageReading, Out, What};

use super::connection::Speaks;
use super::correlator::{Correlator, Interpreted};
use super::detect::{Kept, Passed};
use super::key::ConnectionIndex;
use super::label::{MethodId, MethodLabel, Use};
use super::protocols::{ProtocolIndex, Protocols};
use super::rules::{Kind, RequestName, Text};

/// Reads messages by the rules of their connection's protocol.
#[derive(Debug)]
pub(super) struct Interpreter {
    pub(super) protocols: Protocols,
    pub(super) correlator: Correlator,
    /// Memory to unwrap messages into.
    scratch: Vec<u8>,
}

/// What the matching says of a message to whoever decides how much of the next one is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Bytes from the message's start that settled what was read in it: whatever follows them
    /// changes nothing. `None` where the whole message was looked at, or is needed.
    pub settled_by: Option<usize>,
}

/// A message of a connection, and when it passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage<'a> {
    pub(super) connection: ConnectionIndex,
    pub(super) stamp: Stamp,
    pub(super) message: Message<'a>,
}

impl Passage<'_> {
    fn passed(&self) -> Passed {
        Passed { stamp: self.stamp, direction: self.message.direction }
    }
}

impl Interpreter {
    pub(super) fn new(protocols: Protocols, correlator: Correlator) -> Self {
        Self { protocols, correlator, scratch: Vec::new() }
    }

    /// Tells a message with what it says, and applies that. `text` is the message as the rules see
    /// it.
    pub(super) fn message(
        &mut self,
        passage: Passage<'_>,
        text: Text<'_>,
        out: Out<'_>,
    ) -> Verdict {
        if let Some(protocol) = self.recognise(&passage, text, out) {
            return self.read(protocol, passage, text, out);
        }
        let Passage { connection, stamp, message } = passage;
        let what = What::Message { message, reading: MessageReading::UNKNOWN };
        tell(&self.correlator, connection, stamp, what, out);
        self.verdict_on_unknown(connection, message.direction)
    }

    /// Once nobody expects to recognise a protocol any more, nothing more is needed of a message.
    fn verdict_on_unknown(&self, connection: ConnectionIndex, direction: Direction) -> Verdict {
        let given_up = match &self.correlator.connection(connection).speaks {
            Speaks::Unknown(detector) => detector.has_given_up(direction),
            Speaks::Known(_) => false,
        };
        Verdict { settled_by: given_up.then_some(0) }
    }

    /// The protocol of a connection; if this message is the one that gives it away, what was seen
    /// before is played back first.
    fn recognise(
        &mut self,
        passage: &Passage<'_>,
        text: Text<'_>,
        out: Out<'_>,
    ) -> Option<ProtocolIndex> {
        let Self { protocols, correlator, scratch } = self;
        let connection = correlator.connection_mut(passage.connection);
        let detector = match &mut connection.speaks {
            Speaks::Known(protocol) => return Some(*protocol),
            Speaks::Unknown(detector) => detector,
        };
        let protocol = detector.look(protocols.all_mut(), passage.passed(), text, scratch)?;
        let detector = std::mem::take(detector);
        connection.speaks = Speaks::Known(protocol);
        for kept in detector.into_kept(protocol) {
            replay(correlator, passage.connection, &kept, protocol, out);
        }
        Some(protocol)
    }

    /// Reads a message of a known protocol. It is told with the reading of the first application
    /// message in it; what each of them means follows.
    fn read(
        &mut self,
        protocol: ProtocolIndex,
        passage: Passage<'_>,
        text: Text<'_>,
        out: Out<'_>,
    ) -> Verdict {
        let Passage { connection, stamp, message } = passage;
        let Self { protocols, correlator, scratch } = self;
        let Some(compiled) = protocols.get_mut(protocol) else { return Verdict::default() };
        let mut mqtt = std::mem::take(&mut correlator.connection_mut(connection).mqtt);
        let mut told = false;
        let settled_by = compiled.read(text, scratch, &mut mqtt, &mut |reading| {
            let mut interpreted = Interpreted {
                stamp,
                direction: message.direction,
                protocol,
                traits: reading.traits,
                name: reading.name,
                method: MethodId::NONE,
            };
            let label = decide(correlator, connection, &mut interpreted, reading.method.as_deref());
            if !std::mem::replace(&mut told, true) {
                let reading = message_reading(correlator, interpreted, label);
                tell(correlator, connection, stamp, What::Message { message, reading }, out);
            }
            correlator.apply(connection, interpreted, out);
            if overflows(interpreted.traits.kind, label) {
                tell(correlator, connection, stamp, What::LabelOverflow("method"), out);
            }
        });
        if !told {
            let protocol = correlator.protocol_name(protocol);
            let reading = MessageReading { protocol, ..MessageReading::UNKNOWN };
            tell(correlator, connection, stamp, What::Message { message, reading }, out);
        }
        correlator.connection_mut(connection).mqtt = mqtt;
        Verdict { settled_by }
    }
}

/// Tells of something that happened on a connection.
fn tell(
    correlator: &Correlator,
    connection: ConnectionIndex,
    stamp: Stamp,
    what: What<'_>,
    out: Out<'_>,
) {
    out(&correlator.connection(connection).observation(stamp, what));
}

/// Plays back a message that passed before its protocol was known.
fn replay(
    correlator: &mut Correlator,
    connection: ConnectionIndex,
    kept: &Kept,
    protocol: ProtocolIndex,
    out: Out<'_>,
) {
    let mut interpreted = Interpreted {
        stamp: kept.passed.stamp,
        direction: kept.passed.direction,
        protocol,
        traits: kept.traits,
        name: Some(kept.name.as_ref()),
        method: MethodId::NONE,
    };
    let label = decide(correlator, connection, &mut interpreted, kept.method.as_deref());
    correlator.apply(connection, interpreted, out);
    if overflows(interpreted.traits.kind, label) {
        tell(correlator, connection, interpreted.stamp, What::LabelOverflow("method"), out);
    }
}

/// Decides what the rules left open: a kind that depends on what is awaited, and the method's
/// label.
fn decide(
    correlator: &mut Correlator,
    connection: ConnectionIndex,
    interpreted: &mut Interpreted<'_>,
    method: Option<&[u8]>,
) -> Option<MethodLabel> {
    if interpreted.traits.kind == Kind::Either {
        interpreted.traits.kind = either(correlator, connection, interpreted);
    }
    let target = correlator.connection(connection).target;
    let label = label(correlator, target, interpreted.traits.kind, method);
    interpreted.method = label.map_or(MethodId::NONE, MethodLabel::id);
    label
}

/// What a message is that may be either a request or an answer.
fn either(
    correlator: &Correlator,
    connection: ConnectionIndex,
    interpreted: &Interpreted<'_>,
) -> Kind {
    match interpreted.name {
        Some(name) if correlator.is_awaited(connection, interpreted.direction, name) => {
            Kind::Response
        }
        _ => Kind::Request,
    }
}

fn label(
    correlator: &mut Correlator,
    target: TargetId,
    kind: Kind,
    method: Option<&[u8]>,
) -> Option<MethodLabel> {
    let usage = match kind {
        Kind::Request => Use::Request,
        Kind::Notification => Use::Notification,
        _ => return None,
    };
    Some(correlator.label(target, usage, method?))
}

/// Only the methods of requests become labels of metrics, so only theirs can overflow.
fn overflows(kind: Kind, label: Option<MethodLabel>) -> bool {
    kind == Kind::Request && label == Some(MethodLabel::Other)
}

fn message_reading<'a>(
    correlator: &'a Correlator,
    interpreted: Interpreted<'a>,
    label: Option<MethodLabel>,
) -> MessageReading<'a> {
    MessageReading {
        protocol: correlator.protocol_name(interpreted.protocol),
        kind: Some(message_kind(interpreted.traits.kind)),
        id: match interpreted.name {
            Some(RequestName::Id { id, .. }) => std::str::from_utf8(id).ok(),
            _ => None,
        },
        method: label.map(|label| correlator.method_text(label.id())),
    }
}

fn message_kind(kind: Kind) -> MessageKind {
    match kind {
        Kind::Request | Kind::Either => MessageKind::Request,
        Kind::Response | Kind::Error | Kind::End | Kind::Progress => MessageKind::Response,
        Kind::Cancel | Kind::Notification | Kind::Ping | Kind::Pong => MessageKind::Notification,
    }
}
