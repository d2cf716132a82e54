//! Connections that are open now, each with its last messages (never with their payload).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::event::{ConnId, Transport};
use crate::export::metrics::histogram::Histogram;
use crate::observation::{Fidelity, Message, MessageReading, Observation, Role, What};

/// Connections that are followed one by one; more are only counted.
pub(super) const OPEN_MAX: usize = 1_000;

/// Messages that are kept of each.
pub(super) const LINES: usize = 20;

/// Bytes of a host, a path or a method that are kept.
const TEXT_MAX: usize = 200;

/// A message, without its payload and its id.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MessageLine {
    /// Monotonic nanoseconds.
    pub at_ns: u64,
    /// `sent` or `received`.
    pub direction: &'static str,
    /// `text` or `binary`.
    pub r#type: &'static str,
    /// Application bytes; on the wire where they are not known.
    pub length: u64,
    /// `request`, `response`, `notification`; `None` where that is not known.
    pub kind: Option<&'static str>,
    /// Method label.
    pub method: Option<String>,
}

/// The last messages of a connection: written by the decode thread, read by others.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Mutex<VecDeque<MessageLine>>>);

impl Lines {
    pub(super) fn read(&self) -> Vec<MessageLine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn push(&self, line: MessageLine) {
        // A reader copies twenty lines; the decode thread does not wait for it.
        let Ok(mut lines) = self.0.try_lock() else { return };
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// A connection, as it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionRow {
    /// Stable id.
    pub conn: String,
    /// `client`, `server` or `unknown`.
    pub role: &'static str,
    /// `Host` of the upgrade; `None` where it was not seen or may not be shown.
    pub host: Option<String>,
    /// Path of the upgrade, without its query; as `host`.
    pub path: Option<String>,
    /// `tls` or `plain`.
    pub transport: &'static str,
    /// What carries it: `1.1` for a connection of its own, `2` for a stream of HTTP/2.
    pub http: &'static str,
    /// Protocol label of its last message.
    pub protocol: String,
    /// When it was opened or first seen, in seconds since 1970.
    pub since: f64,
    /// Messages since then.
    pub sent: u64,
    /// See `sent`.
    pub received: u64,
    /// Messages a second, over the last second.
    pub sent_rate: f64,
    /// See `sent_rate`.
    pub received_rate: f64,
    /// Requests answered.
    pub answered: u64,
    /// 99th percentile of turnaround since then, in seconds.
    pub p99: Option<f64>,
    /// Requests that wait.
    pub pending: u64,
    /// The last ping's round trip in seconds.
    pub ping: Option<f64>,
    /// `full`, `no_content` or `unsynced`.
    pub decode: &'static str,
    #[serde(skip)]
    pub(super) lines: Lines,
}

#[derive(Debug)]
struct Connection {
    role: Role,
    fidelity: Fidelity,
    host: Option<String>,
    path: Option<String>,
    protocol: String,
    since_ns: u64,
    /// By direction: all, and at the last publication.
    messages: [u64; 2],
    before: [u64; 2],
    pending: u64,
    ping_ns: Option<u64>,
    times: Histogram,
    lines: Lines,
}

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_id: FxHashMap<ConnId, Connection>,
    /// All that are open, and those whose contents cannot be read.
    open: u64,
    unreadable: u64,
    published_ns: u64,
}

impl Connections {
    pub(super) fn open(&self) -> u64 {
        self.open
    }

    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    pub(super) fn record(&mut self, observation: &Observation<'_>) {
        if let What::State { from, to } = observation.what {
            self.state(observation, from, to);
            return;
        }
        // The decoder reports the handshake first, then the state that it led to.
        if matches!(observation.what, What::Open(_)) {
            self.begin(observation, Role::default(), Fidelity::default());
        }
        let Some(connection) = self.by_id.get_mut(&observation.conn) else { return };
        match &observation.what {
            What::Message { message, reading } => connection.message(observation, message, reading),
            What::Open(open) => {
                (connection.host, connection.path) = (open.host.map(short), open.path.map(short));
            }
            What::Started { .. } => connection.pending += 1,
            What::Exchange(exchange) => {
                connection.pending = connection.pending.saturating_sub(1);
                if let Some(ns) = exchange.turnaround_ns {
                    connection.times.observe(ns);
                }
            }
            What::PingRtt { rtt_ns, .. } => connection.ping_ns = Some(*rtt_ns),
            _ => {}
        }
    }

    fn state(
        &mut self,
        observation: &Observation<'_>,
        from: Option<(Role, Fidelity)>,
        to: Option<(Role, Fidelity)>,
    ) {
        let is_unread = |state: Option<(Role, Fidelity)>| {
            u64::from(state.is_some_and(|(_, fidelity)| fidelity == Fidelity::NoContent))
        };
        self.open = (self.open + u64::from(to.is_some())).saturating_sub(u64::from(from.is_some()));
        self.unreadable = (self.unreadable + is_unread(to)).saturating_sub(is_unread(from));
        let Some((role, fidelity)) = to else {
            self.by_id.remove(&observation.conn);
            return;
        };
        self.begin(observation, role, fidelity);
        if let Some(connection) = self.by_id.get_mut(&observation.conn) {
            (connection.role, connection.fidelity) = (role, fidelity);
        }
    }

    /// Follows a connection from now on, unless it is followed already or there is no room.
    fn begin(&mut self, observation: &Observation<'_>, role: Role, fidelity: Fidelity) {
        if self.by_id.len() < OPEN_MAX && !self.by_id.contains_key(&observation.conn) {
            let connection = Connection::new(role, fidelity, observation.at_ns);
            self.by_id.insert(observation.conn, connection);
        }
    }

    /// Every open connection, the busiest first.
    pub(super) fn rows(&mut self, now_ns: u64, wall_offset_ns: i128) -> Vec<ConnectionRow> {
        let elapsed = now_ns.saturating_sub(self.published_ns).max(1) as f64 / 1e9;
        self.published_ns = now_ns;
        let mut rows: Vec<ConnectionRow> = self
            .by_id
            .iter_mut()
            .map(|(conn, connection)| connection.row(*conn, elapsed, wall_offset_ns))
            .collect();
        let rate = |row: &ConnectionRow| row.sent_rate + row.received_rate;
        rows.sort_by(|a, b| rate(b).total_cmp(&rate(a)).then_with(|| a.since.total_cmp(&b.since)));
        rows
    }
}

impl Connection {
    fn new(role: Role, fidelity: Fidelity, since_ns: u64) -> Self {
        Self {
            role,
            fidelity,
            host: None,
            path: None,
            protocol: String::from("unknown"),
            since_ns,
            messages: [0; 2],
            before: [0; 2],
            pending: 0,
            ping_ns: None,
            times: Histogram::new(&[]),
            lines: Lines::default(),
        }
    }

    fn message(
        &mut self,
        observation: &Observation<'_>,
        message: &Message<'_>,
        reading: &MessageReading<'_>,
    ) {
        self.messages[message.direction.index()] += 1;
        if self.protocol != reading.protocol {
            reading.protocol.clone_into(&mut self.protocol);
        }
        self.lines.push(MessageLine {
            at_ns: observation.at_ns,
            direction: message.direction.as_str(),
            r#type: message.message_type.as_str(),
            length: message.length.unwrap_or(message.wire_length),
            kind: reading.kind.map(crate::observation::MessageKind::as_str),
            method: reading.method.map(short),
        });
    }

    fn row(&mut self, conn: ConnId, elapsed: f64, wall_offset_ns: i128) -> ConnectionRow {
        let rate = |way: usize| (self.messages[way] - self.before[way]) as f64 / elapsed;
        let rates = [rate(0), rate(1)];
        self.before = self.messages;
        ConnectionRow {
            conn: conn.to_string(),
            role: self.role.as_str(),
            host: self.host.clone(),
            path: self.path.clone(),
            transport: Transport::as_str(conn.transport()),
            http: conn.http().as_str(),
            protocol: self.protocol.clone(),
            since: (i128::from(self.since_ns) + wall_offset_ns) as f64 / 1e9,
            sent: self.messages[0],
            received: self.messages[1],
            sent_rate: rates[0],
            received_rate: rates[1],
            answered: self.times.count(),
            p99: self.times.quantile(0.99).map(|time| time.as_secs_f64()),
            pending: self.pending,
            ping: self.ping_ns.map(|ns| ns as f64 / 1e9),
            decode: self.fidelity.as_str(),
            lines: self.lines.clone(),
        }
    }
}

/// A text from the wire, cut at the length that is kept.
fn short(text: &str) -> String {
    match text.char_indices().find(|&(at, c)| at + c.len_utf8() > TEXT_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
