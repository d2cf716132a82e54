//! From what the rules read in a message to what is told of it and what the correlator does.

use crate::event::TargetId;
use crate::observation::{Message, MessageKind, What};

use super::connection::{ProtocolIndex, Speaks};
use super::correlator::{Correlator, Said};
use super::detect::{Kept, Passed};
use super::key::ConnectionIndex;
use super::label::{Admission, MethodId, Use};
use super::rules::reading::RequestName;
use super::rules::{Kind, Text};
use super::{At, Matching, Out};

/// Whose message is read by which rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) at: At,
    pub(super) index: ConnectionIndex,
    pub(super) protocol: ProtocolIndex,
}

impl Matching {
    /// The protocol of a connection; if this message is the one that gives it away, what was seen
    /// before is played back first.
    pub(super) fn recognise(
        &mut self,
        at: At,
        index: ConnectionIndex,
        passed: Passed,
        text: Text<'_>,
        out: Out<'_>,
    ) -> Option<ProtocolIndex> {
        let Self { protocols, correlator, scratch } = self;
        let connection = correlator.connection_mut(index);
        let sniff = match &mut connection.speaks {
            Speaks::Known(protocol) => return Some(*protocol),
            Speaks::Unknown(sniff) => sniff,
        };
        let protocol = sniff.look(protocols.all_mut(), passed, text, scratch)?;
        let sniff = std::mem::take(sniff);
        connection.speaks = Speaks::Known(protocol);
        for kept in sniff.into_kept(protocol) {
            replay(correlator, at, index, &kept, protocol, out);
        }
        Some(protocol)
    }

    /// Reads a message of a known protocol. It is told with the labels of the first application
    /// message in it; what each of them means follows.
    pub(super) fn read(
        &mut self,
        place: Place,
        text: Text<'_>,
        message: Message<'_>,
        out: Out<'_>,
    ) {
        let Place { at, index, protocol } = place;
        let Self { protocols, correlator, scratch } = self;
        let Some(compiled) = protocols.get_mut(protocol) else { return };
        let direction = message.direction;
        let mut mqtt = std::mem::take(&mut correlator.connection_mut(index).mqtt);
        let mut untold = Some(message);
        compiled.read(text, scratch, &mut mqtt, &mut |reading| {
            let mut said = Said {
                at_ns: at.at_ns,
                tid: at.tid,
                direction,
                protocol,
                gist: reading.gist,
                name: reading.name,
                method: MethodId::NONE,
            };
            let admission =
                settle(correlator, at.target, index, &mut said, reading.method.as_deref());
            if let Some(message) = untold.take() {
                let message = labelled(message, correlator, said, admission);
                out(&at.observation(What::Message(message)));
            }
            correlator.apply(index, said, out);
            if overflows(said.gist.kind, admission) {
                out(&at.observation(What::LabelOverflow("method")));
            }
        });
        if let Some(message) = untold {
            let protocol = correlator.protocol_name(protocol);
            out(&at.observation(What::Message(Message { protocol, ..message })));
        }
        correlator.connection_mut(index).mqtt = mqtt;
    }
}

/// Plays back a message that passed before its protocol was known.
fn replay(
    correlator: &mut Correlator,
    at: At,
    index: ConnectionIndex,
    kept: &Kept,
    protocol: ProtocolIndex,
    out: Out<'_>,
) {
    let mut said = Said {
        at_ns: kept.passed.at_ns,
        tid: kept.passed.tid,
        direction: kept.passed.direction,
        protocol,
        gist: kept.gist,
        name: Some(kept.name.as_ref()),
        method: MethodId::NONE,
    };
    let admission = settle(correlator, at.target, index, &mut said, kept.method.as_deref());
    correlator.apply(index, said, out);
    if overflows(said.gist.kind, admission) {
        out(&at.observation(What::LabelOverflow("method")));
    }
}

/// Settles what the rules left open: a kind that depends on what is awaited, and the method's label.
fn settle(
    correlator: &mut Correlator,
    target: TargetId,
    index: ConnectionIndex,
    said: &mut Said<'_>,
    method: Option<&[u8]>,
) -> Option<Admission> {
    if said.gist.kind == Kind::Either {
        said.gist.kind = either(correlator, index, said);
    }
    let admission = admit(correlator, target, said.gist.kind, method);
    said.method = admission.map_or(MethodId::NONE, Admission::id);
    admission
}

/// What a message is that may be either a request or an answer.
fn either(correlator: &Correlator, index: ConnectionIndex, said: &Said<'_>) -> Kind {
    match said.name {
        Some(name) if correlator.is_awaited(index, said.direction, name) => Kind::Response,
        _ => Kind::Request,
    }
}

fn admit(
    correlator: &mut Correlator,
    target: TargetId,
    kind: Kind,
    method: Option<&[u8]>,
) -> Option<Admission> {
    let usage = match kind {
        Kind::Request => Use::Request,
        Kind::Notification => Use::Notification,
        _ => return None,
    };
    Some(correlator.admit(target, usage, method?))
}

/// Only the methods of requests become labels of metrics, so only theirs can overflow.
fn overflows(kind: Kind, admission: Option<Admission>) -> bool {
    kind == Kind::Request && admission == Some(Admission::Folded)
}

fn labelled<'a>(
    message: Message<'a>,
    correlator: &'a Correlator,
    said: Said<'a>,
    admission: Option<Admission>,
) -> Message<'a> {
    Message {
        protocol: correlator.protocol_name(said.protocol),
        kind: Some(message_kind(said.gist.kind)),
        id: match said.name {
            Some(RequestName::Id { id, .. }) => std::str::from_utf8(id).ok(),
            _ => None,
        },
        method: admission.map(|admission| correlator.method_text(admission.id())),
        ..message
    }
}

fn message_kind(kind: Kind) -> MessageKind {
    match kind {
        Kind::Request | Kind::Either => MessageKind::Request,
        Kind::Response | Kind::Error | Kind::End | Kind::Progress => MessageKind::Response,
        Kind::Cancel | Kind::Notification | Kind::Ping | Kind::Pong => MessageKind::Notification,
    }
}
