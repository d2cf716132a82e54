//! Turns what the rules read in a message into observations and into calls of the correlator.

use std::borrow::Cow;

use crate::event::{Stamp, TargetId};
use crate::observation::{
    FeedReading, Message, MessageKind, MessageReading, Out, Table, What, WindowMiss,
};

use super::connection::Speaks;
use super::correlator::{Correlator, Interpreted};
use super::detect::{Choice, Detector, Finding, Passed, Trial};
use super::key::ConnectionIndex;
use super::label::{MethodId, MethodLabel, Use};
use super::protocols::{ProtocolIndex, Protocols};
use super::rules::{Extent, Kind, Reading, RequestName, Text, Wholeness};

/// Most bytes that all connections together keep of messages whose protocol is not known yet.
const MAX_CLAIMED_BYTES: usize = 8 << 20;

/// Reads messages by the rules of their connection's protocol.
#[derive(Debug)]
pub(super) struct Interpreter {
    pub(super) protocols: Protocols,
    pub(super) correlator: Correlator,
    /// Memory to unwrap messages into.
    scratch: Vec<u8>,
    /// Bytes that the detectors of all connections keep.
    claimed_bytes: usize,
}

/// What the matching says of a message to whoever decides how much of the next one is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Bytes from the message's start that settled what was read in it: whatever follows them
    /// changes nothing. `None` where the whole message was looked at, or is needed.
    pub settled_by: Option<usize>,
    /// The message was cut, and what is missing of it may have said more.
    pub missed: bool,
}

/// A message of a connection, and when it passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage<'a> {
    pub(super) connection: ConnectionIndex,
    pub(super) stamp: Stamp,
    pub(super) message: &'a Message<'a>,
}

/// Whose message is read by which rules.
#[derive(Clone, Copy, Debug)]
struct Place {
    connection: ConnectionIndex,
    protocol: ProtocolIndex,
    passed: Passed,
}

impl Passage<'_> {
    fn passed(&self) -> Passed {
        Passed { stamp: self.stamp, direction: self.message.direction }
    }
}

impl Interpreter {
    pub(super) fn new(protocols: Protocols, correlator: Correlator) -> Self {
        Self { protocols, correlator, scratch: Vec::new(), claimed_bytes: 0 }
    }

    /// Tells a message with what it says, and applies that. `text` is the message as the rules see
    /// it.
    pub(super) fn message(
        &mut self,
        passage: &Passage<'_>,
        text: Text<'_>,
        out: Out<'_>,
    ) -> Verdict {
        let verdict = match self.recognise(passage, text, out) {
            Ok(protocol) => self.read(protocol, passage, text, out),
            Err(is_read) => self.leave_unread(passage, text, is_read, out),
        };
        if verdict.missed || is_opaque(passage.message) {
            self.correlator.connection_mut(passage.connection).missed(passage.passed());
        }
        verdict
    }

    /// Forgets what a connection's detector keeps.
    pub(super) fn forget(&mut self, connection: ConnectionIndex) {
        let Speaks::Unknown(detector) = &mut self.correlator.connection_mut(connection).speaks
        else {
            return;
        };
        self.claimed_bytes = self.claimed_bytes.saturating_sub(detector.bytes());
        detector.forget();
    }

    /// There is another protocol: connections whose protocol is not known are looked at as if they had
    /// just begun.
    pub(super) fn look_again(&mut self) {
        self.correlator.unknown().for_each(|detector| detector.look_again());
    }

    /// Tells a message of a connection whose protocol is not known. `is_read` says whether any
    /// protocol had a reading for it.
    #[inline(never)]
    fn leave_unread(
        &mut self,
        passage: &Passage<'_>,
        text: Text<'_>,
        is_read: bool,
        out: Out<'_>,
    ) -> Verdict {
        tell_unread(&mut self.correlator, None, passage, out);
        let given_up = match &self.correlator.connection(passage.connection).speaks {
            Speaks::Unknown(detector) => detector.has_given_up(passage.message.direction),
            Speaks::Known(_) => false,
        };
        // Once the detection has given up, nothing more of the message is needed.
        if given_up {
            return Verdict { settled_by: Some(0), missed: false };
        }
        let is_json = matches!(text.payload.trim_ascii_start().first(), Some(b'{' | b'['));
        let missed = text.wholeness == Wholeness::Cut && is_json && !is_read;
        Verdict { settled_by: None, missed }
    }

    /// The protocol of a connection; if this message is the one that gives it away, what was seen
    /// before is played back first. An error says whether any protocol had a reading for it.
    fn recognise(
        &mut self,
        passage: &Passage<'_>,
        text: Text<'_>,
        out: Out<'_>,
    ) -> Result<ProtocolIndex, bool> {
        match self.correlator.connection(passage.connection).speaks {
            Speaks::Known(protocol) => Ok(protocol),
            Speaks::Unknown(_) => self.detect(passage, text, out),
        }
    }

    #[inline(never)]
    fn detect(
        &mut self,
        passage: &Passage<'_>,
        text: Text<'_>,
        out: Out<'_>,
    ) -> Result<ProtocolIndex, bool> {
        let Self { protocols, correlator, scratch, claimed_bytes } = self;
        let connection = correlator.connection_mut(passage.connection);
        let detector = match &mut connection.speaks {
            Speaks::Known(protocol) => return Ok(*protocol),
            Speaks::Unknown(detector) => detector,
        };
        let others = claimed_bytes.saturating_sub(detector.bytes());
        let room = *claimed_bytes < MAX_CLAIMED_BYTES;
        let seen = detector.look(protocols.all_mut(), passage.passed(), text, scratch, room);
        *claimed_bytes = others + detector.bytes();
        let choice = seen.protocol;
        let detector = choice.map(|_| std::mem::take(detector));
        for _ in 0..seen.dropped {
            let what = What::Evicted(Table::Unrecognised);
            tell(correlator, passage.connection, passage.stamp, what, out);
        }
        let (Some(Choice { protocol, is_certain }), Some(detector)) = (choice, detector) else {
            return Err(seen.is_read);
        };
        *claimed_bytes = others;
        let connection = correlator.connection_mut(passage.connection);
        connection.speaks = Speaks::Known(protocol);
        let mut trial = (!is_certain).then(|| Box::new(Trial::new(detector.refused().to_vec())));
        for claim in detector.into_claims(protocol) {
            let place = Place { connection: passage.connection, protocol, passed: claim.passed };
            let reading = Reading {
                traits: claim.traits,
                name: Some(claim.name.as_ref()),
                method: claim.method.as_deref().map(Cow::Borrowed),
                feed: None,
            };
            apply(correlator, place, &reading, trial.as_deref_mut(), None, out);
        }
        correlator.connection_mut(passage.connection).trial = trial;
        Ok(protocol)
    }

    /// Reads a message of a known protocol. It is reported with the reading of the first application
    /// message in it; what each of them means follows.
    fn read(
        &mut self,
        protocol: ProtocolIndex,
        passage: &Passage<'_>,
        text: Text<'_>,
        out: Out<'_>,
    ) -> Verdict {
        let Passage { connection, message, .. } = *passage;
        let Self { protocols, correlator, scratch, .. } = self;
        let Some(compiled) = protocols.get_mut(protocol) else { return Verdict::default() };
        let state = correlator.connection_mut(connection);
        let (mut memory, mut trial) = (std::mem::take(&mut state.memory), state.trial.take());
        let (mut told, mut is_nameless) = (false, false);
        let place = Place { connection, protocol, passed: passage.passed() };
        let extent = compiled.read(text, scratch, &mut memory, &mut |reading| {
            is_nameless |= reading.is_nameless();
            let untold = (!std::mem::replace(&mut told, true)).then_some(message);
            apply(correlator, place, &reading, trial.as_deref_mut(), untold, out);
        });
        if !told {
            tell_unread(correlator, Some(protocol), passage, out);
        }
        if is_nameless && !extent.missed {
            tell_long_id(correlator, passage, out);
        }
        correlator.connection_mut(connection).memory = memory;
        if let Some(trial) = trial {
            self.judge(place, trial, out);
        }
        let Extent { settled_by, missed } = extent;
        Verdict { settled_by, missed }
    }

    /// Goes on with the trial of a protocol, ends it, or gives the protocol up.
    #[cold]
    fn judge(&mut self, place: Place, trial: Box<Trial>, out: Out<'_>) {
        let Place { connection, protocol, passed } = place;
        let state = self.correlator.connection_mut(connection);
        match trial.finding(state.pending.len()) {
            Finding::Open => state.trial = Some(trial),
            Finding::Passed => {}
            Finding::Failed => {
                let detector = Detector::without(trial.refused, protocol);
                state.speaks = Speaks::Unknown(Box::new(detector));
                self.correlator.disown(connection, passed.stamp.at_ns, out);
            }
        }
    }
}

/// Nothing of a message can be read.
fn is_opaque(message: &Message<'_>) -> bool {
    message.compressed && message.payload.is_empty() && message.truncated
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

/// Tells a message in which nothing was read, by the rules of the connection's protocol if that is known.
#[inline(never)]
fn tell_unread(
    correlator: &mut Correlator,
    protocol: Option<ProtocolIndex>,
    &Passage { connection, stamp, message }: &Passage<'_>,
    out: Out<'_>,
) {
    let (message, feed) = (*message, correlator.unread(connection, stamp, message));
    let unknown = MessageReading::UNKNOWN;
    let protocol = protocol.map_or(unknown.protocol, |protocol| correlator.protocol_name(protocol));
    let reading = MessageReading { protocol, feed, ..unknown };
    tell(correlator, connection, stamp, What::Message { message, reading }, out);
}

/// The id of a message is too long to be matched.
#[cold]
fn tell_long_id(correlator: &Correlator, passage: &Passage<'_>, out: Out<'_>) {
    let (direction, reason) = (passage.message.direction, WindowMiss::LongId);
    let what = What::WindowMiss { direction, reason };
    tell(correlator, passage.connection, passage.stamp, what, out);
}

/// Tells what a further application message of a message says of its feed.
#[inline(never)]
fn tell_further(correlator: &Correlator, place: Place, feed: FeedReading, out: Out<'_>) {
    let Place { connection, protocol, passed: Passed { stamp, direction } } = place;
    let protocol = correlator.protocol_name(protocol);
    tell(correlator, connection, stamp, What::Further { direction, protocol, feed }, out);
}

#[cold]
fn tell_overflow(correlator: &Correlator, place: Place, out: Out<'_>) {
    let what = What::LabelOverflow("method");
    tell(correlator, place.connection, place.passed.stamp, what, out);
}

/// Applies what was read in a message. If the message itself was not told yet, that goes first.
fn apply(
    correlator: &mut Correlator,
    place: Place,
    reading: &Reading<'_>,
    trial: Option<&mut Trial>,
    untold: Option<&Message<'_>>,
    out: Out<'_>,
) {
    let Place { connection, protocol, passed: Passed { stamp, direction } } = place;
    let mut interpreted = Interpreted {
        stamp,
        direction,
        protocol,
        traits: reading.traits,
        name: reading.name,
        method: MethodId::NONE,
    };
    let label = decide(correlator, connection, &mut interpreted, reading.method.as_deref());
    let feed = correlator.feed(connection, &interpreted, reading, untold.is_some());
    if let Some(&message) = untold {
        let reading = MessageReading { feed, ..message_reading(correlator, &interpreted, label) };
        tell(correlator, connection, stamp, What::Message { message, reading }, out);
    } else if let (Some(feed), Some(_)) = (feed, reading.feed) {
        tell_further(correlator, place, feed, out);
    }
    if let Some(trial) = trial {
        follow(correlator, connection, &interpreted, trial);
    }
    correlator.apply(connection, &interpreted, out);
    if overflows(interpreted.traits.kind, label) {
        tell_overflow(correlator, place, out);
    }
}

/// Lets a trial know of a request, or of the end of one.
#[inline(never)]
fn follow(
    correlator: &Correlator,
    connection: ConnectionIndex,
    interpreted: &Interpreted<'_>,
    trial: &mut Trial,
) {
    let Some(name @ RequestName::Id { .. }) = interpreted.name else { return };
    let direction = interpreted.direction;
    match interpreted.traits.kind {
        Kind::Request => trial.asked(direction, name),
        Kind::Response | Kind::Error | Kind::End
            if correlator.is_awaited(connection, direction, name) =>
        {
            trial.answered(direction.opposite(), name);
        }
        // To withdraw a request is to explain it.
        Kind::Cancel if correlator.is_awaited(connection, direction.opposite(), name) => {
            trial.answered(direction, name);
        }
        _ => {}
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
#[inline(never)]
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
    interpreted: &Interpreted<'a>,
    label: Option<MethodLabel>,
) -> MessageReading<'a> {
    MessageReading {
        protocol: correlator.protocol_name(interpreted.protocol),
        kind: Some(message_kind(interpreted.traits.kind)),
        id: match interpreted.name {
            Some(RequestName::Id { id, .. }) => Some(id.into()),
            _ => None,
        },
        method: label.map(|label| correlator.method_text(label.id())),
        feed: None,
    }
}

fn message_kind(kind: Kind) -> MessageKind {
    match kind {
        Kind::Request | Kind::Either => MessageKind::Request,
        Kind::Response | Kind::Error | Kind::End | Kind::Progress => MessageKind::Response,
        Kind::Cancel | Kind::Notification | Kind::Ping | Kind::Pong => MessageKind::Notification,
    }
}
