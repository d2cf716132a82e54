//! The decoder's front: events of any connections in, observations out.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::connection::{Connection, Trace};
use super::context::{Context, Resources};
use super::endings::{Endings, SILENCE_NS};
pub use super::hint::{Finding, FrameAt, KernelHint, StreamContent};
pub use super::limits::Limits;
pub use super::lz77::WindowRequest;
use crate::event::zlib::ZlibCall;
use crate::event::{ConnId, Event, EventKind, Stamp, TargetId};
use crate::matching::{Matching, RuleError};
use crate::observation::{EndSign, Observation, Role, Table, Waiting, What};

/// Nanoseconds between two sweeps that free memory of quiet connections.
const SWEEP_NS: u64 = 10_000_000_000;

/// Decodes the WebSocket traffic of any number of connections.
///
/// It is fed with [`Decoder::event`] in the order in which events come, and told the time with
/// [`Decoder::tick`] a few times a second; both hand everything that came of it to `out`.
#[derive(Debug)]
pub struct Decoder {
    connections: FxHashMap<ConnId, Connection>,
    resources: Resources,
    /// Counts events: what was used less lately has a smaller number.
    clock: u64,
    recency: Recency,
    endings: Endings,
    /// Connections that may have a deadline.
    deadlines: Vec<ConnId>,
    swept_ns: u64,
}

impl Decoder {
    /// A decoder without connections.
    #[must_use]
    pub fn new(limits: Limits, matching: Matching) -> Self {
        Self {
            connections: FxHashMap::default(),
            resources: Resources::new(limits, matching),
            clock: 0,
            recency: Recency::default(),
            endings: Endings::default(),
            deadlines: Vec::new(),
            swept_ns: 0,
        }
    }

    /// Decodes one event.
    pub fn event(&mut self, event: &Event<'_>, out: &mut dyn FnMut(&Observation<'_>)) {
        self.clock += 1;
        match event.kind {
            EventKind::Data(ref segment) => {
                let known = self.connections.get_mut(&event.conn);
                let connection = match known {
                    Some(connection) => connection,
                    None => {
                        self.meet(event, out);
                        let Some(met) = self.connections.get_mut(&event.conn) else { return };
                        met
                    }
                };
                connection.used = self.clock;
                connection.heard_ns = event.at_ns;
                let waited = connection.has_deadline();
                let role = connection.role();
                connection.data(segment, &mut context_of(event, role, &mut self.resources, out));
                if !waited && connection.has_deadline() {
                    self.deadlines.push(event.conn);
                }
            }
            EventKind::Closed { sent, received } => {
                let connection = self.connections.remove(&event.conn);
                self.endings.gone(event.conn);
                let mut connection =
                    connection.unwrap_or_else(|| self.recency.recall(event.conn, event.target));
                let mut context = context_of(event, connection.role(), &mut self.resources, out);
                connection.closed(sent, received, &mut context);
            }
        }
    }

    /// What is probably wrong with rules from files, once the first minute is over.
    pub fn rule_doubts(&mut self, now_ns: u64) -> Vec<RuleError> {
        self.resources.matching.doubts(now_ns)
    }

    /// Lets time pass: `now_ns` is `CLOCK_MONOTONIC` nanoseconds.
    pub fn tick(&mut self, now_ns: u64, out: &mut dyn FnMut(&Observation<'_>)) {
        for conn in std::mem::take(&mut self.deadlines) {
            let Some(connection) = self.connections.get_mut(&conn) else { continue };
            let mut context = timeout(conn, connection, now_ns, &mut self.resources, out);
            connection.tick(now_ns, &mut context);
            if connection.has_deadline() {
                self.deadlines.push(conn);
            }
        }
        while let Some(conn) = self.endings.pop_superseded(now_ns) {
            self.end_unseen(conn, now_ns, EndSign::HandleReused, out);
        }
        if now_ns.saturating_sub(self.swept_ns) >= SWEEP_NS {
            self.swept_ns = now_ns;
            self.end_silent(now_ns, out);
            let budget = &mut self.resources.identical_bytes;
            self.connections.values_mut().for_each(|it| it.expire(now_ns, budget));
        }
        self.resources.matching.tick(now_ns, out);
    }

    /// Process `tgid` has ended, and with it every connection that it had not closed.
    pub fn exited(&mut self, tgid: u32, at_ns: u64, out: &mut dyn FnMut(&Observation<'_>)) {
        let conns = self.connections.keys().filter(|conn| conn.tgid == tgid);
        let mut conns: Vec<_> = conns.copied().collect();
        conns.sort_unstable();
        for conn in conns {
            self.end_unseen(conn, at_ns, EndSign::ProcessEnded, out);
        }
    }

    /// Reads by this protocol, too, from now on; see [`Matching::learn`].
    ///
    /// # Errors
    /// The text is no protocol of the rule language.
    pub fn learn(&mut self, toml: &str) -> Result<bool, RuleError> {
        self.resources.matching.learn(toml)
    }

    /// So many ends of connections were lost since the start: no event will tell of them.
    pub fn ends_lost(&mut self, count: u64) {
        self.endings.lost(count);
    }

    /// Ends the watch: open requests end as detached, and connections leave the gauge.
    pub fn finish(&mut self, now_ns: u64, out: &mut dyn FnMut(&Observation<'_>)) {
        self.resources.matching.finish(now_ns, out);
        let mut connections: Vec<_> = self.connections.drain().collect();
        connections.sort_unstable_by_key(|(conn, _)| *conn);
        for (conn, mut connection) in connections {
            let mut context = timeout(conn, &connection, now_ns, &mut self.resources, out);
            connection.leave(&mut context);
        }
        self.recency = Recency::default();
        self.endings = Endings::default();
        self.deadlines.clear();
    }

    /// Takes the hints for the kernel side that came up since the last call, oldest first. At
    /// most 1,024 are kept.
    pub fn kernel_hints(&mut self) -> impl Iterator<Item = KernelHint> {
        self.resources.hints.drain_kernel()
    }

    /// Takes what was found out about streams since the last call, oldest first. At most 1,024
    /// findings are kept.
    pub fn findings(&mut self) -> impl Iterator<Item = Finding> {
        self.resources.hints.drain_findings()
    }

    /// Takes up a call of zlib in a tapped process. What it brings shows with the next message.
    pub fn zlib_call(&mut self, call: &ZlibCall<'_>) {
        self.resources.windows.call(call);
    }

    /// Takes what has changed since the last call: in which processes zlib should be looked at.
    pub fn window_requests(&mut self) -> impl Iterator<Item = WindowRequest> {
        self.resources.windows.drain_requests()
    }

    /// Requests that wait for an answer, those asked first first.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting<'_>> {
        self.resources.matching.waiting()
    }

    /// Something is due after a while, without another event.
    #[must_use]
    pub fn has_deadlines(&self) -> bool {
        !self.deadlines.is_empty()
            || self.endings.superseded() > 0
            || self.resources.matching.waiting().next().is_some()
    }

    /// Connections that are followed now, WebSocket or not.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// True while no frame border of `conn` is known. Results then depend on where calls begin.
    #[must_use]
    pub fn is_adrift(&self, conn: ConnId) -> bool {
        self.connections.get(&conn).is_some_and(Connection::is_adrift)
    }

    /// Bytes of unfinished messages that are kept now.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.resources.buffers.used()
    }

    /// Bytes that the connections take, besides what they share and what matching takes.
    #[cfg(test)]
    pub(super) fn connection_bytes(&self) -> usize {
        let entry = size_of::<(ConnId, Connection)>() + size_of::<(ConnId, u64)>();
        self.connections.values().map(|connection| entry + connection.heap_bytes()).sum()
    }

    /// Nothing that connections share is in use.
    #[cfg(test)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.connections.is_empty() && self.resources.is_at_rest()
    }

    /// A connection has ended without an event. Should one come after all, it lacks nothing.
    #[cold]
    fn end_unseen(
        &mut self,
        conn: ConnId,
        at_ns: u64,
        sign: EndSign,
        out: &mut dyn FnMut(&Observation<'_>),
    ) {
        let Some(mut connection) = self.connections.remove(&conn) else { return };
        self.endings.gone(conn);
        self.endings.count_shown();
        // HTTP/2 may have carried several WebSockets, anything else one or none.
        let mut left = 0;
        let mut tell = |observation: &Observation<'_>| {
            left += u32::from(matches!(observation.what, What::State { to: None, .. }));
            out(observation);
        };
        connection.cut_off(&mut timeout(conn, &connection, at_ns, &mut self.resources, &mut tell));
        for _ in 0..left {
            let mut context = timeout(conn, &connection, at_ns, &mut self.resources, out);
            context.emit(What::EndUnseen(sign));
        }
        if sign != EndSign::ProcessEnded {
            self.recency.forget(conn, connection.trace(), self.resources.limits.connections);
        }
    }

    /// Where more ends were lost than something else has shown, so many connections that have been
    /// silent for long are taken for ended, those first that have been so for longest.
    fn end_silent(&mut self, now_ns: u64, out: &mut dyn FnMut(&Observation<'_>)) {
        let unexplained = self.endings.unexplained();
        if unexplained == 0 {
            return;
        }
        let is_silent = |heard_ns: u64| now_ns.saturating_sub(heard_ns) >= SILENCE_NS;
        let silent = self.connections.iter().filter(|(_, it)| is_silent(it.heard_ns));
        let mut silent: Vec<_> = silent.map(|(conn, it)| (it.heard_ns, *conn)).collect();
        silent.sort_unstable();
        for (_, conn) in silent.into_iter().take(unexplained) {
            self.end_unseen(conn, now_ns, EndSign::Silent, out);
        }
    }

    /// Begins to follow a connection, and evicts another one if there are too many.
    #[cold]
    fn meet(&mut self, event: &Event<'_>, out: &mut dyn FnMut(&Observation<'_>)) {
        let connection = self.recency.recall(event.conn, event.target);
        if self.connections.len() >= self.resources.limits.connections.max(1) {
            self.evict(event, out);
        }
        self.connections.insert(event.conn, connection);
        self.endings.met(event.conn, event.at_ns);
        if self.endings.superseded() > self.resources.limits.connections
            && let Some(conn) = self.endings.pop_superseded(u64::MAX)
        {
            self.end_unseen(conn, event.at_ns, EndSign::HandleReused, out);
        }
        self.recency.insert(event.conn, self.clock, &self.connections);
    }

    #[cold]
    fn evict(&mut self, event: &Event<'_>, out: &mut dyn FnMut(&Observation<'_>)) {
        let Some(conn) = self.recency.pop_oldest(&self.connections) else { return };
        let Some(mut connection) = self.connections.remove(&conn) else { return };
        self.endings.gone(conn);
        let mut context = timeout(conn, &connection, event.at_ns, &mut self.resources, out);
        connection.evict(&mut context);
        context.emit(What::Evicted(Table::Connections));
        let limit = self.resources.limits.connections;
        self.recency.forget(conn, connection.trace(), limit);
    }
}

/// The context of an event.
fn context_of<'a>(
    event: &Event<'_>,
    role: Role,
    resources: &'a mut Resources,
    out: &'a mut dyn FnMut(&Observation<'_>),
) -> Context<'a> {
    Context {
        conn: event.conn,
        target: event.target,
        role,
        stamp: Stamp { at_ns: event.at_ns, tid: event.tid },
        resources,
        out,
    }
}

/// The context of something that no call brought about.
fn timeout<'a>(
    conn: ConnId,
    connection: &Connection,
    at_ns: u64,
    resources: &'a mut Resources,
    out: &'a mut dyn FnMut(&Observation<'_>),
) -> Context<'a> {
    Context {
        conn,
        target: connection.target,
        role: connection.role(),
        stamp: Stamp { at_ns, tid: 0 },
        resources,
        out,
    }
}

/// Which connection was silent for longest.
///
/// A queue in order of use, put right lazily: a connection that was used since it was queued is
/// only moved to the back when its turn comes, so that using one costs nothing.
#[derive(Debug, Default)]
struct Recency {
    queue: VecDeque<(ConnId, u64)>,
    /// Traces of connections that were evicted.
    forgotten: FxHashMap<ConnId, Trace>,
}

impl Recency {
    fn insert(&mut self, conn: ConnId, used: u64, live: &FxHashMap<ConnId, Connection>) {
        // Connections that were closed stay in the queue until here.
        if self.queue.len() > 2 * live.len() + 64 {
            self.queue.retain(|(conn, _)| live.contains_key(conn));
        }
        self.queue.push_back((conn, used));
    }

    fn pop_oldest(&mut self, live: &FxHashMap<ConnId, Connection>) -> Option<ConnId> {
        loop {
            let (conn, used) = self.queue.pop_front()?;
            match live.get(&conn) {
                Some(connection) if connection.used > used => {
                    self.queue.push_back((conn, connection.used));
                }
                Some(_) => return Some(conn),
                None => {}
            }
        }
    }

    /// Remembers the offsets of an evicted connection, so that earlier bytes are not counted as
    /// lost if it comes back.
    fn forget(&mut self, conn: ConnId, trace: Trace, limit: usize) {
        if self.forgotten.len() >= limit {
            self.forgotten.clear();
        }
        self.forgotten.insert(conn, trace);
    }

    /// A connection as it was left, or as new.
    fn recall(&mut self, conn: ConnId, target: TargetId) -> Connection {
        Connection::new(conn, target, self.forgotten.remove(&conn).unwrap_or_default())
    }
}
