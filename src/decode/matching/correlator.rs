//! Requests and the answers they wait for.
//!
//! A request that started is in `pending` until it ends, and it ends in exactly one outcome; both
//! happen in one place each ([`Correlator::start`], [`Correlator::end`]), so the books always
//! balance. After its first answer a request that may get more lives on in `streams`. Ids that
//! are no longer waited for are remembered in `late`, so that their answers are not taken for
//! answers that nobody asked for.

mod ending;

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use slab::Slab;

use crate::decode::event::{ConnId, Direction, TargetId};
use crate::decode::observation::{
    Exchange, Observation, Origin, OrphanReason, Outcome, Role, Table as TableName, What,
};

use super::connection::{Connection, Early, ProtocolIndex, Since, Speaks};
use super::key::{ConnectionIndex, Key, KeyRef};
use super::label::{Admission, MethodId, Methods, Use};
use super::limits::MatchLimits;
use super::rules::Kind;
use super::rules::reading::{Gist, More, RequestName, Unasked};
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
    /// When to look for early answers that waited long enough, and where.
    early_deadlines: VecDeque<(u64, ConnId)>,
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
            early_deadlines: VecDeque::new(),
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
            (Kind::Ping, _) => {
                let heartbeats = &mut self.connections[connection as usize].heartbeats_ns;
                // TCP loses none, so an answer is to the oldest.
                heartbeats[said.direction.index()].get_or_insert(said.at_ns);
            }
            (Kind::Pong, _) => self.pong(connection, said, out),
            _ => {}
        }
    }

    fn request(
        &mut self,
        connection: ConnectionIndex,
        said: Said<'_>,
        name: RequestName<'_>,
        out: Out<'_>,
    ) {
        let asked = said.direction;
        let early = self.connections[connection as usize].take_early(asked, name, said.at_ns);
        match name {
            RequestName::Id { id, scope } => {
                let key = KeyRef { connection, asked, id, scope };
                self.replace_duplicate(key, said, out);
                self.start(key, said, IdForm::Token, out);
            }
            RequestName::Queue(queue) => {
                let number = self.enqueue(connection, queue, said, out).to_le_bytes();
                let key = queued(connection, asked, &number, &queue);
                self.start(key, said, IdForm::Numbered, out);
            }
        }
        if let Some(Early { at_ns, tid, gist, .. }) = early {
            let direction = asked.opposite();
            self.apply(connection, Said { at_ns, tid, direction, gist, ..said }, out);
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

    /// The only place where a request ends. `answer_ns` is there for the outcomes that have a
    /// turnaround.
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

    /// The newest request has an id; whatever had it before has lost it.
    fn replace_duplicate(&mut self, key: KeyRef<'_>, said: Said<'_>, out: Out<'_>) {
        if let Some(at) = self.pending.find(key) {
            self.end(at, RequestEnd::by(said, Outcome::Duplicate), out);
            return;
        }
        let connection = &self.connections[key.connection as usize];
        if connection.streams.len() > 0
            && let Some(at) = self.streams.find(key)
        {
            self.end_stream(at, said.at_ns, said.tid, out);
        }
        self.forget_late(key);
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

    fn evict(&mut self, at: Option<EntryIndex>, said: Said<'_>, out: Out<'_>) {
        let Some(at) = at else { return };
        let (key, request) = self.end(at, RequestEnd::by(said, Outcome::Evicted), out);
        self.remember_late(&key, request);
        let connection = &self.connections[key.connection as usize];
        out(&connection.observation(said.at_ns, said.tid, What::Evicted(TableName::Pending)));
    }

    /// Gives a queued request its number.
    fn enqueue(
        &mut self,
        connection: ConnectionIndex,
        queue: u8,
        said: Said<'_>,
        out: Out<'_>,
    ) -> u32 {
        let asked = said.direction;
        let waiting = self.connections[connection as usize].queue(queue, asked);
        if waiting.next.wrapping_sub(waiting.first) as usize >= self.limits.queue_length {
            let oldest = self.dequeue(connection, queue, asked);
            self.evict(oldest, said, out);
        }
        let waiting = self.connections[connection as usize].queue(queue, asked);
        let number = waiting.next;
        waiting.next = number.wrapping_add(1);
        number
    }

    /// Takes the first number that is still waited for off a queue.
    fn dequeue(
        &mut self,
        connection: ConnectionIndex,
        queue: u8,
        asked: Direction,
    ) -> Option<EntryIndex> {
        loop {
            let waiting = self.connections[connection as usize].queue(queue, asked);
            if waiting.first == waiting.next {
                return None;
            }
            let number = waiting.first.to_le_bytes();
            waiting.first = waiting.first.wrapping_add(1);
            let found = self.pending.find(queued(connection, asked, &number, &queue));
            if found.is_some() {
                return found;
            }
        }
    }

    fn answer(
        &mut self,
        connection: ConnectionIndex,
        said: Said<'_>,
        name: RequestName<'_>,
        out: Out<'_>,
    ) {
        let asked = said.direction.opposite();
        let (id, scope) = match name {
            RequestName::Id { id, scope } => (id, scope),
            RequestName::Queue(queue) => {
                match self.dequeue(connection, queue, asked) {
                    Some(at) => drop(self.end(at, RequestEnd::answered(said), out)),
                    None => self.wait_for_request(connection, said, name, out),
                }
                return;
            }
        };
        let key = KeyRef { connection, asked, id, scope };
        if let Some(at) = self.pending.find(key) {
            if self.pending.value(at).at_ns <= said.at_ns {
                let (_, request) = self.end(at, RequestEnd::answered(said), out);
                if said.gist.more == More::Follows {
                    self.open_stream(key, said, request.method, out);
                }
                return;
            }
        } else if self.continue_stream(key, said, out) {
            return;
        } else if self.is_late(key) {
            self.orphan(connection, said.at_ns, said.tid, said.protocol, OrphanReason::Late, out);
            return;
        }
        self.wait_for_request(connection, said, name, out);
    }

    /// The answer may have overtaken its request on the way to us.
    fn wait_for_request(
        &mut self,
        connection: ConnectionIndex,
        said: Said<'_>,
        name: RequestName<'_>,
        out: Out<'_>,
    ) {
        let state = &mut self.connections[connection as usize];
        let surplus = (state.early.len() >= self.limits.early_per_connection)
            .then(|| state.early.pop_front())
            .flatten();
        state.early.push_back(Early {
            at_ns: said.at_ns,
            tid: said.tid,
            protocol: said.protocol,
            asked: said.direction.opposite(),
            name: name.into(),
            gist: said.gist,
        });
        let deadline_ns = said.at_ns.saturating_add(self.limits.reorder_window_ns);
        self.early_deadlines.push_back((deadline_ns, state.id));
        if let Some(early) = surplus {
            self.give_up(connection, &early, out);
        }
    }

    /// No request turned up for an answer. If more answers are to follow, they belong to a stream
    /// whose beginning was not seen, and are not orphans each.
    fn give_up(&mut self, connection: ConnectionIndex, early: &Early, out: Out<'_>) {
        let said = Said {
            at_ns: early.at_ns,
            tid: early.tid,
            direction: early.asked.opposite(),
            protocol: early.protocol,
            gist: early.gist,
            name: Some(early.name.as_ref()),
            method: MethodId::NONE,
        };
        if let RequestName::Id { id, scope } = early.name.as_ref() {
            let key = KeyRef { connection, asked: early.asked, id, scope };
            if self.continue_stream(key, said, out) {
                return;
            }
            if early.gist.more == More::Follows {
                self.open_stream(key, said, MethodId::NONE, out);
            }
        }
        if early.gist.unasked == Unasked::Expected {
            return;
        }
        let state = &self.connections[connection as usize];
        let reason = state.orphan_reason(early.at_ns, self.limits.timeout_ns);
        self.orphan(connection, early.at_ns, early.tid, early.protocol, reason, out);
    }

    fn orphan(
        &self,
        connection: ConnectionIndex,
        at_ns: u64,
        tid: u32,
        protocol: ProtocolIndex,
        reason: OrphanReason,
        out: Out<'_>,
    ) {
        let what = What::Orphan { protocol: name_of(&self.names, protocol), reason };
        out(&self.connections[connection as usize].observation(at_ns, tid, what));
    }

    fn open_stream(&mut self, key: KeyRef<'_>, said: Said<'_>, method: MethodId, out: Out<'_>) {
        let own = self.connections[key.connection as usize].streams;
        let full = (own.len() >= self.limits.streams_per_connection).then(|| own.oldest());
        let full = full.or_else(|| {
            (self.streams.len() >= self.limits.streams_total).then(|| self.streams.oldest())
        });
        if let Some(at) = full.flatten() {
            let loser = self.streams.key(at).connection as usize;
            self.streams.remove(at, &mut self.connections[loser].streams);
            let what = What::Evicted(TableName::Streams);
            out(&self.connections[loser].observation(said.at_ns, said.tid, what));
        }
        let stream = Stream {
            first_ns: said.at_ns,
            last_ns: said.at_ns,
            answers: 1,
            method,
            protocol: said.protocol,
        };
        let connection = &mut self.connections[key.connection as usize];
        self.streams.insert(key, stream, &mut connection.streams);
    }

    /// Counts a further answer to a request that had its first; returns whether it was one.
    fn continue_stream(&mut self, key: KeyRef<'_>, said: Said<'_>, out: Out<'_>) -> bool {
        let connection = &self.connections[key.connection as usize];
        if connection.streams.len() == 0 {
            return false;
        }
        let Some(at) = self.streams.find(key) else { return false };
        let stream = self.streams.value_mut(at);
        stream.last_ns = stream.last_ns.max(said.at_ns);
        if said.gist.kind != Kind::End {
            stream.answers += 1;
            let what = What::StreamItem {
                origin: Origin::of_request(key.asked),
                protocol: name_of(&self.names, stream.protocol),
                method: self.methods.text(stream.method),
            };
            out(&connection.observation(said.at_ns, said.tid, what));
        }
        if said.gist.more == More::Last {
            self.end_stream(at, said.at_ns, said.tid, out);
        }
        true
    }

    fn end_stream(&mut self, at: EntryIndex, at_ns: u64, tid: u32, out: Out<'_>) {
        let connection = self.streams.key(at).connection as usize;
        let connection = &mut self.connections[connection];
        let (key, stream) = self.streams.remove(at, &mut connection.streams);
        let what = What::StreamEnd {
            origin: Origin::of_request(key.asked),
            protocol: name_of(&self.names, stream.protocol),
            method: self.methods.text(stream.method),
            answers: stream.answers,
            duration_ns: stream.last_ns.saturating_sub(stream.first_ns),
        };
        out(&connection.observation(at_ns, tid, what));
    }

    fn cancel(
        &mut self,
        connection: ConnectionIndex,
        said: Said<'_>,
        name: RequestName<'_>,
        out: Out<'_>,
    ) {
        let RequestName::Id { id, scope } = name else { return };
        let key = KeyRef { connection, asked: said.direction, id, scope };
        if let Some(at) = self.pending.find(key) {
            let (key, request) = self.end(at, RequestEnd::by(said, Outcome::Cancelled), out);
            self.remember_late(&key, request);
        } else if let Some(at) = self.streams.find(key) {
            let kept = self.streams.key(at).clone();
            self.end_stream(at, said.at_ns, said.tid, out);
            self.remember_late_key(&kept);
        }
    }

    fn pong(&mut self, connection: ConnectionIndex, said: Said<'_>, out: Out<'_>) {
        let asked = said.direction.opposite();
        let state = &mut self.connections[connection as usize];
        let Some(asked_ns) = state.heartbeats_ns[asked.index()].take() else { return };
        let what = What::HeartbeatRtt {
            origin: Origin::of_request(asked),
            protocol: name_of(&self.names, said.protocol),
            rtt_ns: said.at_ns.saturating_sub(asked_ns),
        };
        out(&state.observation(said.at_ns, said.tid, what));
    }

    fn is_late(&self, key: KeyRef<'_>) -> bool {
        let connection = &self.connections[key.connection as usize];
        connection.late.len() > 0 && self.late.find(key).is_some()
    }

    fn forget_late(&mut self, key: KeyRef<'_>) {
        let connection = &mut self.connections[key.connection as usize];
        if connection.late.len() == 0 {
            return;
        }
        if let Some(at) = self.late.find(key) {
            self.late.remove(at, &mut connection.late);
        }
    }

    fn remember_late(&mut self, key: &Key, request: Request) {
        if request.id == IdForm::Token {
            self.remember_late_key(key);
        }
    }

    fn remember_late_key(&mut self, key: &Key) {
        self.forget_late(key.as_ref());
        let own = self.connections[key.connection as usize].late;
        let full = (own.len() >= self.limits.late_per_connection).then(|| own.oldest());
        let full = full
            .or_else(|| (self.late.len() >= self.limits.late_total).then(|| self.late.oldest()));
        if let Some(at) = full.flatten() {
            let loser = self.late.key(at).connection as usize;
            self.late.remove(at, &mut self.connections[loser].late);
        }
        let connection = &mut self.connections[key.connection as usize];
        self.late.insert(key.as_ref(), (), &mut connection.late);
    }

    /// Whether an answer of this name would find its request.
    pub(super) fn is_awaited(
        &self,
        connection: ConnectionIndex,
        direction: Direction,
        name: RequestName<'_>,
    ) -> bool {
        let RequestName::Id { id, scope } = name else { return false };
        let key = KeyRef { connection, asked: direction.opposite(), id, scope };
        self.pending.find(key).is_some()
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
