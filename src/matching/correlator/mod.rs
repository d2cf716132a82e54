//! Requests and the answers they wait for.
//!
//! A request that started is in `pending` until it ends, and it ends in exactly one outcome; both
//! happen in one place each ([`Correlator::start`], [`Correlator::end`]), so the books always
//! balance. After its first answer a request that may get more lives on in `streams`. Ids that
//! are no longer waited for are remembered in `late`, so that their answers are not taken for
//! answers without a request.

mod answering;
mod asking;
mod early;
mod ending;
mod feeds;
mod late;
mod streaming;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use slab::Slab;

use crate::event::{ConnId, Direction, Stamp, TargetId};
use crate::observation::{
    Exchange, IdToken, MessageReading, Observation, Origin, Out, Outcome, Role, Table as TableName,
    Waiting, What,
};

use super::connection::{Connection, EarlyWatch, Since, Speaks};
use super::detect::Detector;
use super::feed::Feed;
use super::key::{ConnectionIndex, Key, KeyRef};
use super::label::{MethodId, MethodLabel, Methods, Use};
use super::limits::MatchLimits;
use super::protocols::ProtocolIndex;
use super::rules::{CodecMemory, Kind, RequestName, RuleTraits};
use super::table::{EntryIndex, Table};

/// A request that waits for its first answer.
#[derive(Clone, Copy, Debug)]
struct Request {
    at_ns: u64,
    method: MethodId,
    protocol: ProtocolIndex,
    id: IdForm,
}

/// What a request's key was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdForm {
    /// The id in the message.
    Token,
    /// Its number in a queue, which is nothing to show.
    Numbered,
}

/// A request that had its first answer, and may get more.
#[derive(Clone, Copy, Debug)]
struct Stream {
    first_ns: u64,
    last_ns: u64,
    answers: u64,
    method: MethodId,
    protocol: ProtocolIndex,
}

/// What a message says about a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interpreted<'a> {
    pub(super) stamp: Stamp,
    pub(super) direction: Direction,
    pub(super) protocol: ProtocolIndex,
    pub(super) traits: RuleTraits,
    pub(super) name: Option<RequestName<'a>>,
    pub(super) method: MethodId,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Correlator {
    limits: MatchLimits,
    /// Labels of the protocols.
    names: Vec<Box<str>>,
    methods: Methods,
    connections: Slab<Connection>,
    pending: Table<Request>,
    streams: Table<Stream>,
    late: Table<()>,
    /// When to look for early answers that waited long enough, and where: at most one entry for
    /// each connection, and those that lately closed.
    early_deadlines: BinaryHeap<Reverse<(u64, ConnId, ConnectionIndex)>>,
    /// Early answers of all connections.
    early_count: usize,
    pending_by_target: Vec<usize>,
    /// Channels of feeds that are followed on all connections.
    channels: usize,
}

/// A connection to begin.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) id: ConnId,
    pub(super) target: TargetId,
    pub(super) role: Role,
    pub(super) speaks: Speaks,
    pub(super) since: Since,
    pub(super) at_ns: u64,
}

impl Correlator {
    pub(super) fn new(limits: MatchLimits, names: Vec<Box<str>>) -> Self {
        Self {
            limits,
            names,
            methods: Methods::new(limits.methods_per_target),
            connections: Slab::new(),
            pending: Table::default(),
            streams: Table::default(),
            late: Table::default(),
            early_deadlines: BinaryHeap::new(),
            early_count: 0,
            pending_by_target: Vec::new(),
            channels: 0,
        }
    }

    /// Begins a connection.
    pub(super) fn open(&mut self, opening: Opening) -> ConnectionIndex {
        let Opening { id, target, role, speaks, since, at_ns } = opening;
        // Connections are bounded by whoever reports them, far below 2^32.
        self.connections.insert(Connection {
            id,
            target,
            role,
            speaks,
            since,
            opened_ns: at_ns,
            last_gap_ns: None,
            unread_ns: [None; 2],
            trial: None,
            pending: Default::default(),
            streams: Default::default(),
            late: Default::default(),
            early: VecDeque::new(),
            early_watch: EarlyWatch::Off,
            queues: Vec::new(),
            heartbeats_ns: [None; 2],
            memory: CodecMemory::default(),
            feed: Feed::new(at_ns),
        }) as ConnectionIndex
    }

    /// What a message says becomes what it means.
    pub(super) fn apply(
        &mut self,
        connection: ConnectionIndex,
        interpreted: &Interpreted<'_>,
        out: Out<'_>,
    ) {
        match (interpreted.traits.kind, interpreted.name) {
            (Kind::Request, Some(name)) => self.request(connection, interpreted, name, out),
            (Kind::Response | Kind::Error | Kind::End, Some(name)) => {
                self.answer(connection, interpreted, name, out);
            }
            (Kind::Cancel, Some(name)) => self.cancel(connection, interpreted, name, out),
            (Kind::Ping, _) => self.heartbeat(connection, interpreted),
            (Kind::Pong, _) => self.heartbeat_answer(connection, interpreted, out),
            _ => {}
        }
    }

    /// The only place where a request starts.
    fn start(&mut self, key: KeyRef<'_>, interpreted: &Interpreted<'_>, id: IdForm, out: Out<'_>) {
        self.make_room(key.connection, interpreted, out);
        let connection = &mut self.connections[key.connection as usize];
        let request = Request {
            at_ns: interpreted.stamp.at_ns,
            method: interpreted.method,
            protocol: interpreted.protocol,
            id,
        };
        self.pending.insert(key, request, &mut connection.pending);
        let target = usize::from(connection.target.0);
        if self.pending_by_target.len() <= target {
            self.pending_by_target.resize(target + 1, 0);
        }
        self.pending_by_target[target] += 1;
        let what = What::Started {
            origin: Origin::of_request(key.asked),
            protocol: name_of(&self.names, interpreted.protocol),
            method: self.methods.text(interpreted.method),
        };
        out(&connection.observation(interpreted.stamp, what));
    }

    /// The only place where a request ends.
    fn end(&mut self, at: EntryIndex, end: RequestEnd, out: Out<'_>) -> (Key, Request) {
        let (key, request) = (self.pending.key(at), self.pending.value(at));
        let connection = &mut self.connections[key.connection as usize];
        self.pending_by_target[usize::from(connection.target.0)] -= 1;
        let what = What::Exchange(Exchange {
            origin: Origin::of_request(key.asked),
            protocol: name_of(&self.names, request.protocol),
            method: self.methods.text(request.method),
            id: match request.id {
                IdForm::Token => key.id().into(),
                IdForm::Numbered => IdToken::default(),
            },
            outcome: end.outcome,
            turnaround_ns: matches!(end.outcome, Outcome::Matched | Outcome::Error)
                .then(|| end.stamp.at_ns.saturating_sub(request.at_ns)),
        });
        out(&connection.observation(end.stamp, what));
        self.pending.remove(at, &mut connection.pending)
    }

    /// Lets the oldest of several that are too many go.
    #[cold]
    fn evict(&mut self, at: Option<EntryIndex>, interpreted: &Interpreted<'_>, out: Out<'_>) {
        let Some(at) = at else { return };
        let (key, request) = self.end(at, RequestEnd::by(interpreted, Outcome::Evicted), out);
        self.remember_late(&key, request);
        let connection = &self.connections[key.connection as usize];
        out(&connection.observation(interpreted.stamp, What::Evicted(TableName::Pending)));
    }

    fn make_room(
        &mut self,
        connection: ConnectionIndex,
        interpreted: &Interpreted<'_>,
        out: Out<'_>,
    ) {
        let own = self.connections[connection as usize].pending;
        if own.len() >= self.limits.pending_per_connection {
            self.evict(own.oldest(), interpreted, out);
        }
        if self.pending.len() >= self.limits.pending_total {
            self.evict(self.pending.oldest(), interpreted, out);
        }
    }

    pub(super) fn label(&mut self, target: TargetId, usage: Use, method: &[u8]) -> MethodLabel {
        self.methods.label(target, usage, method)
    }

    pub(super) fn method_text(&self, method: MethodId) -> &str {
        self.methods.text(method)
    }

    pub(super) fn protocol_name(&self, protocol: ProtocolIndex) -> &str {
        name_of(&self.names, protocol)
    }

    /// Whether the connection at `index` is still the one of this id.
    pub(super) fn is_open(&self, index: ConnectionIndex, id: ConnId) -> bool {
        self.connections.get(index as usize).is_some_and(|connection| connection.id == id)
    }

    pub(super) fn connection(&self, index: ConnectionIndex) -> &Connection {
        &self.connections[index as usize]
    }

    /// The searches for the protocols of connections that have none yet.
    pub(super) fn unknown(&mut self) -> impl Iterator<Item = &mut Detector> {
        self.connections.iter_mut().filter_map(|(_, connection)| match &mut connection.speaks {
            Speaks::Unknown(detector) => Some(&mut **detector),
            Speaks::Known(_) => None,
        })
    }

    pub(super) fn connection_mut(&mut self, index: ConnectionIndex) -> &mut Connection {
        &mut self.connections[index as usize]
    }

    /// Nothing waits and nothing is remembered.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        let tables = self.pending.len() + self.streams.len() + self.late.len() + self.channels;
        tables + self.early_count + self.pending_by_target.iter().sum::<usize>() == 0
    }

    /// Bytes that the requests take which wait for an answer.
    #[cfg(test)]
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.heap_bytes()
    }

    /// Requests that wait, in the order in which they were asked.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Waiting<'_>> {
        self.pending.by_age().map(|at| {
            let (key, request) = (self.pending.key(at), self.pending.value(at));
            let connection = &self.connections[key.connection as usize];
            Waiting {
                asked_ns: request.at_ns,
                target: connection.target,
                conn: connection.id,
                origin: Origin::of_request(key.asked),
                protocol: name_of(&self.names, request.protocol),
                method: self.methods.text(request.method),
            }
        })
    }

    pub(super) fn pending(&self, target: TargetId) -> usize {
        self.pending_by_target.get(usize::from(target.0)).copied().unwrap_or(0)
    }
}

/// How and when a request ended.
#[derive(Clone, Copy, Debug)]
struct RequestEnd {
    outcome: Outcome,
    stamp: Stamp,
}

impl RequestEnd {
    fn by(interpreted: &Interpreted<'_>, outcome: Outcome) -> Self {
        Self { outcome, stamp: interpreted.stamp }
    }

    fn answered(interpreted: &Interpreted<'_>) -> Self {
        let is_error = interpreted.traits.kind == Kind::Error;
        Self::by(interpreted, if is_error { Outcome::Error } else { Outcome::Matched })
    }
}

/// The key of a queued request: its number, and the queue in the place of the scope.
fn queued<'a>(
    connection: ConnectionIndex,
    asked: Direction,
    number: &'a [u8; 4],
    queue: &'a u8,
) -> KeyRef<'a> {
    KeyRef { connection, asked, id: number, scope: std::slice::from_ref(queue) }
}

fn name_of(names: &[Box<str>], protocol: ProtocolIndex) -> &str {
    names.get(usize::from(protocol)).map_or(MessageReading::UNKNOWN.protocol, |name| name)
}

impl Connection {
    pub(super) fn observation<'a>(&self, stamp: Stamp, what: What<'a>) -> Observation<'a> {
        let Stamp { at_ns, tid } = stamp;
        Observation { at_ns, tid, target: self.target, conn: self.id, role: self.role, what }
    }
}
