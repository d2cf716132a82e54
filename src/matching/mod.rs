//! From messages to exchanges: which request does this response answer, and how long did it take?
//!
//! ```text
//!   Message -> Detector -> Protocol::read -> Correlator -> Started | Exchange | Orphan | …
//!              which      what is it        who asked
//!            protocol?
//! ```
//!
//! `rules` reads one message at a time and remembers nothing; `correlator` remembers requests and
//! knows no format; `interpret` goes from one to the other. `feed` follows what nobody asked for:
//! when it passed, and its numbers. Frames, compression and everything below a message is left to others.

mod connection;
mod correlator;
mod detect;
mod feed;
mod interpret;
mod key;
mod label;
mod limits;
mod protocols;
mod rules;
mod table;
#[cfg(test)]
mod tests;

pub use feed::is_heartbeat;
pub use interpret::Verdict;
pub use limits::MatchLimits;
pub use protocols::{
    Description, ID_PATTERN_NAME, IdPatterns, LEARNED_NAME, Protocols, UnknownProtocol,
};
pub(crate) use rules::Encoding;
pub use rules::{CHANNEL_PARTS, PatternError, RuleError, own_time_ns, toml_mistake};

use super::event::{ConnId, Direction, Stamp, TargetId};
use super::observation::{Message, Observation, Role, Waiting};

use connection::{Since, Speaks};
use correlator::{Correlator, Opening};
use detect::Detector;
use interpret::{Interpreter, Passage};
use key::ConnectionIndex;
use rules::{Sender, Text, Wholeness};

/// Matches the requests and responses of all connections; owns everything that waits.
#[derive(Debug)]
pub struct Matching {
    interpreter: Interpreter,
    /// When doubts were first asked for.
    since_ns: Option<u64>,
    doubts_told: bool,
}

/// For so long, rules from files find what they can before something is said of them.
const DOUBTS_NS: u64 = 60_000_000_000;

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

/// A connection's place in the matching, from [`Matching::open`] to [`Matching::close`].
#[derive(Debug, PartialEq, Eq)]
pub struct Handle {
    index: ConnectionIndex,
    id: ConnId,
}

impl Matching {
    /// Knows no connection yet.
    #[must_use]
    pub fn new(protocols: Protocols, limits: MatchLimits) -> Self {
        let names = protocols.names().map(Into::into).collect();
        let correlator = Correlator::new(limits.checked(), names);
        let interpreter = Interpreter::new(protocols, correlator);
        Self { interpreter, since_ns: None, doubts_told: false }
    }

    /// Begins a connection.
    pub fn open(&mut self, id: ConnId, target: TargetId, hint: Hint<'_>, at_ns: u64) -> Handle {
        let protocols = &self.interpreter.protocols;
        let known =
            protocols.forced(target).or_else(|| protocols.by_subprotocol(hint.subprotocol?));
        let speaks = known.map_or_else(
            || {
                let hinted = hint.path.and_then(|path| protocols.by_path(path));
                Speaks::Unknown(Box::new(Detector::hinted(hinted)))
            },
            Speaks::Known,
        );
        let since = if hint.mid_stream { Since::MidStream } else { Since::Start };
        let opening = Opening { id, target, role: hint.role, speaks, since, at_ns };
        Handle { index: self.correlator().open(opening), id }
    }

    /// Reads a complete message, hands it on, and follows it with what it means: requests that
    /// start, requests that end, orphans. `role` is what is known of the tapped process by now.
    ///
    /// Time only moves forward by messages and by [`tick`](Self::tick), so whatever expired before
    /// this message is told first.
    pub fn message(
        &mut self,
        handle: &Handle,
        role: Role,
        stamp: Stamp,
        message: &Message<'_>,
        out: &mut dyn FnMut(&Observation<'_>),
    ) -> Verdict {
        self.correlator().expire(stamp.at_ns, out);
        let Some(connection) = self.find(handle) else { return Verdict::default() };
        self.correlator().connection_mut(connection).role = role;
        let passage = Passage { connection, stamp, message };
        self.interpreter.message(&passage, text(message, role), out)
    }

    /// Bytes that went in `direction` were lost: requests that they may have answered end.
    pub fn gap(
        &mut self,
        handle: &Handle,
        direction: Direction,
        at_ns: u64,
        out: &mut dyn FnMut(&Observation<'_>),
    ) {
        let Some(index) = self.find(handle) else { return };
        let connection = self.correlator().connection_mut(index);
        connection.memory.lose(direction);
        connection.feed.lose(direction);
        self.interpreter.forget(index);
        self.correlator().gap(index, direction, at_ns, out);
    }

    /// The connection ended: what waits on it ends as aborted.
    pub fn close(&mut self, handle: Handle, at_ns: u64, out: &mut dyn FnMut(&Observation<'_>)) {
        if let Some(index) = self.find(&handle) {
            self.interpreter.forget(index);
            self.correlator().close(index, at_ns, out);
        }
    }

    /// Sets the time to `now_ns`: requests that have waited too long expire, connections become quiet.
    pub fn tick(&mut self, now_ns: u64, out: &mut dyn FnMut(&Observation<'_>)) {
        self.correlator().expire(now_ns, out);
        self.correlator().find_quiet(now_ns, out);
    }

    /// What is probably wrong with rules from files, by the messages of the first minute: told once,
    /// when that minute is over.
    pub fn doubts(&mut self, now_ns: u64) -> Vec<RuleError> {
        let since_ns = *self.since_ns.get_or_insert(now_ns);
        if self.doubts_told || now_ns.saturating_sub(since_ns) < DOUBTS_NS {
            return Vec::new();
        }
        self.doubts_told = true;
        let protocols = &mut self.interpreter.protocols;
        let doubts = protocols.doubts_by_messages();
        protocols.unwatch();
        doubts
    }

    /// Nothing more will come: what waits anywhere ends as detached, and every handle is void.
    pub fn finish(&mut self, now_ns: u64, out: &mut dyn FnMut(&Observation<'_>)) {
        self.correlator().expire(now_ns, out);
        self.correlator().finish(now_ns, out);
    }

    /// Reads by this protocol, too, from now on: on connections whose protocol is not known. Returns
    /// whether a place was kept for it (see [`Protocols::reserve_learned`]).
    ///
    /// # Errors
    /// A [`RuleError`] if `toml` is no protocol of the rule language.
    pub fn learn(&mut self, toml: &str) -> Result<bool, RuleError> {
        let is_taken = self.interpreter.protocols.learn(toml)?;
        if is_taken {
            self.interpreter.look_again();
        }
        Ok(is_taken)
    }

    /// Requests that wait for an answer, those asked first first.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting<'_>> {
        self.interpreter.correlator.waiting()
    }

    /// Requests of a target that wait for an answer.
    #[must_use]
    pub fn pending(&self, target: TargetId) -> usize {
        self.interpreter.correlator.pending(target)
    }

    fn correlator(&mut self) -> &mut Correlator {
        &mut self.interpreter.correlator
    }

    /// A handle that outlived its connection finds none.
    fn find(&self, handle: &Handle) -> Option<ConnectionIndex> {
        self.interpreter.correlator.is_open(handle.index, handle.id).then_some(handle.index)
    }
}

/// A message as the rules see it.
fn text<'a>(message: &Message<'a>, role: Role) -> Text<'a> {
    Text {
        direction: message.direction,
        sender: sender(role, message.direction),
        message_type: message.message_type,
        payload: message.payload,
        tail: message.tail,
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
