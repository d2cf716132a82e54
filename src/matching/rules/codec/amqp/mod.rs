//! AMQP 1.0 over WebSocket (OASIS, "AMQP WebSocket Binding"): a byte stream of frames, which
//! messages cut anywhere.
//!
//! `frame` takes the stream apart, `value` reads AMQP's types, `talk` keeps which channels and
//! handles of both sides belong together. Here a frame becomes what it says of requests:
//! a delivery is asked and its disposition answers; `open`, `begin`, `attach`, `detach`, `end` and `close`
//! are each answered by the same performative of the other side; and a message with a `message-id` and a
//! `reply-to` is answered by one with that `correlation-id`. Where the two sides' numbers of a
//! session are not known, as in one that began before the tap, nothing is counted: a guess would be a wrong answer
//! at times.

mod frame;
mod message;
mod talk;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;
use std::io::Write;

use crate::event::Direction;
use crate::matching::rules::kind::Kind;
use crate::matching::rules::reading::{
    MAX_ID_BYTES, Proof, Reading, RequestName, RuleTraits, Unasked,
};
use crate::matching::rules::text::{Text, Wholeness};

use frame::Side;
use talk::Talk;

/// Names of the queues of requests that have no identifier.
pub(in crate::matching::rules) const QUEUES: [&str; 3] = ["open", "close", "sasl-init"];

/// Places in [`QUEUES`].
const OPEN_QUEUE: u8 = 0;
const CLOSE_QUEUE: u8 = 1;
const SASL_QUEUE: u8 = 2;

/// What is kept of a connection from message to message.
#[derive(Debug, Default)]
pub(in crate::matching::rules) struct Stream {
    sides: [Side; 2],
    talk: Talk,
}

impl Stream {
    /// Reads a binary message's bytes and reports what the frames say that end in it; returns whether
    /// that is all that the message says.
    pub(in crate::matching::rules) fn read(
        &mut self,
        text: Text<'_>,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> bool {
        let Self { sides, talk } = self;
        let is_cut = text.wholeness == Wholeness::Cut;
        let mut told_all = !is_cut;
        sides[text.direction.index()].read(text.payload, is_cut, &mut |passed| {
            told_all &= talk.hear(text.direction, passed, &mut Told { found: &mut *found });
        });
        if is_cut {
            talk.lose(text.direction);
        }
        told_all
    }

    /// Bytes of this direction are missing.
    pub(in crate::matching::rules) fn lose(&mut self, direction: Direction) {
        self.sides[direction.index()].lose();
        self.talk.lose(direction);
    }
}

/// Puts what was heard into readings.
struct Told<'f> {
    found: &'f mut dyn FnMut(Reading<'_>),
}

/// In what an id is unique: a kind of request, and the session where it is asked.
#[derive(Clone, Copy, Debug)]
struct Scope {
    kind: &'static str,
    session: u32,
}

/// Bytes of a scope as it is written.
const SCOPE_BYTES: usize = 32;

impl Told<'_> {
    /// What stands alone.
    fn alone(&mut self, label: &'static str, proof: Proof, is_heartbeat: bool) {
        let traits = RuleTraits { proof, is_heartbeat, ..RuleTraits::plain(Kind::Notification) };
        let method = Some(Cow::Borrowed(label.as_bytes()));
        (self.found)(Reading { traits, name: None, method, feed: None });
    }

    /// A request, or what concerns one, that is known by its order; nothing where it says nothing.
    fn queued(&mut self, kind: Option<Kind>, queue: u8) {
        let Some(kind) = kind else { return };
        let label = QUEUES.get(usize::from(queue)).copied().unwrap_or_default();
        let method = (kind == Kind::Request).then_some(Cow::Borrowed(label.as_bytes()));
        let name = Some(RequestName::Queue(queue));
        (self.found)(Reading { traits: traits(kind), name, method, feed: None });
    }

    /// The same, known by a number.
    fn numbered(&mut self, kind: Kind, scope: Scope, number: u32) {
        let mut digits = [0; 10];
        let length = written(&mut digits, format_args!("{number}"));
        self.named(kind, scope, &digits[..length]);
    }

    /// The same, known by the name of a link.
    fn attached(&mut self, kind: Kind, scope: Scope, name: &[u8]) {
        self.labelled(kind, "attach", scope, name);
    }

    /// The same, known by a text.
    fn named(&mut self, kind: Kind, scope: Scope, id: &[u8]) {
        self.labelled(kind, scope.kind, scope, id);
    }

    fn labelled(&mut self, kind: Kind, label: &'static str, scope: Scope, id: &[u8]) {
        let mut text = [0; SCOPE_BYTES];
        let length = written(&mut text, format_args!("{} {}", scope.kind, scope.session));
        let name = RequestName::Id { id, scope: &text[..length] };
        let method = (kind == Kind::Request).then_some(Cow::Borrowed(label.as_bytes()));
        let name = (id.len() <= MAX_ID_BYTES).then_some(name);
        (self.found)(Reading { traits: traits(kind), name, method, feed: None });
    }
}

/// An answer may be to something that is not counted, such as a delivery that had been settled before.
fn traits(kind: Kind) -> RuleTraits {
    let unasked = if kind == Kind::Request { Unasked::Orphan } else { Unasked::Expected };
    RuleTraits { unasked, ..RuleTraits::plain(kind) }
}

/// Writes into `room` as far as that goes; returns how many bytes.
fn written(mut room: &mut [u8], text: std::fmt::Arguments<'_>) -> usize {
    let size = room.len();
    // What does not fit is left out.
    let _ = room.write_fmt(text);
    size - room.len()
}

/// An answer by whether it brings an error.
fn answer(is_error: bool) -> Kind {
    if is_error { Kind::Error } else { Kind::Response }
}
