//! Requests and the answers they wait for.
//!
//! A request that started is in `pending` until it ends, and it ends in exactly one outcome; both
//! happen in one place each ([`Correlator::start`], [`Correlator::end`]), so the books always
//! balance. After its first answer a request that may get more lives on in `streams`. Ids that
//! are no longer waited for are remembered in `late`, so that their answers are not taken for
//! answers that nobody asked for.

mod answering;
mod asking;
mod early;
mod ending;
mod late;
mod streaming;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use foldhash::fast::RandomState;
use slab::Slab;

use crate::event::{ConnId, Direction, TargetId};
use crate::observation::{Exchange, Observation, Origin, Outcome, Role, Table as TableName, What};

use super::connection::{Connection, EarlyWatch, ProtocolIndex, Since, Speaks};
use super::key::{ConnectionIndex, Key, KeyRef};
use super::label::{Admission, MethodId, Methods, Use};
use super::limits::MatchLimits;
use super::rules::Kind;
use super::rules::reading::{Gist, RequestName};
use super::table::{EntryIndex, Table};
use super::{Out, mqtt};

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
pub(super) struct Said<'a> {
    pub(super) at_ns: u64,
    pub(super) tid: u32,
    pub(super) direction: Direction,
    pub(super) protocol: ProtocolIndex,
    pub(super) gist: Gist,
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
    by_id: HashMap<ConnId, ConnectionIndex, RandomState>,
    pending: Table<Request>,
    streams: Table<Stream>,
    late: Table<()>,
    /// When to look for early answers that waited long enough, and where: at most one entry for
    /// each connection, and those that lately closed.
    early_deadlines: BinaryHeap<Reverse<(u64, ConnId)>>,
    /// Early answers of all connections.
    early_count: usize,
    pending_by_target: Vec<usize>,
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
            by_id: HashMap::default(),
            pending: Table::default(),
            streams: Table::default(),
            late: Table::default(),
            early_deadlines: BinaryHeap::new(),
            early_count: 0,
            pending_by_target: Vec::new(),
        }
    }

    /// Begins a connection. One of this id must not exist.
    pub(super) fn open(&mut self, opening: Opening) -> ConnectionIndex {
        let Opening { id, target, role, speaks, since, at_ns } = opening;
        // Connections are bounded by whoever reports them, far below 2^32.
        let index = self.connections.insert(Connection {
            id,
            target,
            role,
            speaks,
            since,
            opened_ns: at_ns,
            last_gap_ns: None,
            pending: Default::default(),
            streams: Default::default(),
            late: Default::default(),
            early: VecDeque::new(),
            early_watch: EarlyWatch::Off,
            queues: Vec::new(),
            heartbeats_ns: [None; 2],
            mqtt: mqtt::Stream::default(),
        }) as ConnectionIndex;
        self.by_id.insert(id, index);
        index
    }

    /// What a message says becomes what it means.
    pub(super) fn apply(&mut self, connection: ConnectionIndex, said: Said<'_>, out: Out<'_>) {
        match (said.gist.kind, said.name) {
            (Kind::Request, Some(name)) => self.request(connection, said, name, out),
            (Kind::Response | Kind::Error | Kind::End, Some(name)) => {
                self.answer(connection, said, name, out);
            }
            (Kind::Cancel, Some(name)) => self.cancel(connection, said, name, out),
            (Kind::Ping, _) => self.heartbeat(connection, said),
            (Kind::Pong, _) => self.heartbeat_answer(connection, said, out),
            _ => {}
        }
    }

    /// The only place where a request starts.
    fn start(&mut self, key: KeyRef<'_>, said: Said<'_>, id: IdForm, out: Out<'_>) {
        self.make_room(key.connection, said, out);
        let connection = &mut self.connections[key.connection as usize];
        let request =
            Request { at_ns: said.at_ns, method: said.method, protocol: said.protocol, id };
        self.pending.insert(key, request, &mut connection.pending);
        let target = usize::from(connection.target.0);
        if self.pending_by_target.len() <= target {
            self.pending_by_target.resize(target + 1, 0);
        }
        self.pending_by_target[target] += 1;
        let what = What::Started {
            origin: Origin::of_request(key.asked),
            protocol: name_of(&self.names, said.protocol),
            method: self.methods.text(said.method),
        };
        out(&connection.observation(said.at_ns, said.tid, what));
    }

    /// The only place where a request ends.
    fn end(&mut self, at: EntryIndex, end: RequestEnd, out: Out<'_>) -> (Key, Request) {
        let connection = self.pending.key(at).connection;
        let connection = &mut self.connections[connection as usize];
        let (key, request) = self.pending.remove(at, &mut connection.pending);
        self.pending_by_target[usize::from(connection.target.0)] -= 1;
        let what = What::Exchange(Exchange {
            origin: Origin::of_request(key.asked),
            protocol: name_of(&self.names, request.protocol),
            method: self.methods.text(request.method),
            id: if request.id == IdForm::Token { key.id_text() } else { "" },
            outcome: end.outcome,
            turnaround_ns: matches!(end.outcome, Outcome::Matched | Outcome::Error)
                .then(|| end.at_ns.saturating_sub(request.at_ns)),
        });
        out(&connection.observation(end.at_ns, end.tid, what));
        (key, request)
    }

    /// Lets the oldest of several that are too many go.
    fn evict(&mut self, at: Option<EntryIndex>, said: Said<'_>, out: Out<'_>) {
        let Some(at) = at else { return };
        let (key, request) = self.end(at, RequestEnd::by(said, Outcome::Evicted), out);
        self.remember_late(&key, request);
        let connection = &self.connections[key.connection as usize];
        out(&connection.observation(said.at_ns, said.tid, What::Evicted(TableName::Pending)));
    }

    fn make_room(&mut self, connection: ConnectionIndex, said: Said<'_>, out: Out<'_>) {
        let own = self.connections[connection as usize].pending;
        if own.len() >= self.limits.pending_per_connection {
            self.evict(own.oldest(), said, out);
        }
        if self.pending.len() >= self.limits.pending_total {
            self.evict(self.pending.oldest(), said, out);
        }
    }

    pub(super) fn admit(&mut self, target: TargetId, usage: Use, method: &[u8]) -> Admission {
        self.methods.admit(target, usage, method)
    }

    pub(super) fn method_text(&self, method: MethodId) -> &str {
        self.methods.text(method)
    }

    pub(super) fn protocol_name(&self, protocol: ProtocolIndex) -> &str {
        name_of(&self.names, protocol)
    }

    pub(super) fn index_of(&self, id: ConnId) -> Option<ConnectionIndex> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn connection(&self, index: ConnectionIndex) -> &Connection {
        &self.connections[index as usize]
    }

    pub(super) fn connection_mut(&mut self, index: ConnectionIndex) -> &mut Connection {
        &mut self.connections[index as usize]
    }

    /// Nothing waits and nothing is remembered.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        let tables = self.pending.len() + self.streams.len() + self.late.len();
        tables + self.early_count + self.pending_by_target.iter().sum::<usize>() == 0
    }

    /// Bytes that the requests take which wait for an answer.
    #[cfg(test)]
    pub(super) fn pending_bytes(&self) -> usize {
        self.pending.heap_bytes()
    }

    pub(super) fn pending(&self, target: TargetId) -> usize {
        self.pending_by_target.get(usize::from(target.0)).copied().unwrap_or(0)
    }
}

/// How and when a request ended.
#[derive(Clone, Copy, Debug)]
struct RequestEnd {
    outcome: Outcome,
    at_ns: u64,
    tid: u32,
}

impl RequestEnd {
    fn by(said: Said<'_>, outcome: Outcome) -> Self {
        Self { outcome, at_ns: said.at_ns, tid: said.tid }
    }

    fn answered(said: Said<'_>) -> Self {
        let is_error = said.gist.kind == Kind::Error;
        Self::by(said, if is_error { Outcome::Error } else { Outcome::Matched })
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
    names.get(usize::from(protocol)).map_or(super::UNKNOWN, |name| name)
}

impl Connection {
    fn observation<'a>(&self, at_ns: u64, tid: u32, what: What<'a>) -> Observation<'a> {
        Observation { at_ns, tid, target: self.target, conn: self.id, role: self.role, what }
    }
}
