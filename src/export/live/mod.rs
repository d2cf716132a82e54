//! The last 15 minutes, second by second, for people: what the live page and `wstap top` show.
//!
//! [`Recorder`] belongs to the decode thread and keeps the second that is under way. Once a second it
//! moves that second to [`Live`], which any thread may read. Metrics are made of the same observations,
//! so the two agree.
//!
//! Bounds: [`SECONDS`] seconds; [`ROWS_MAX`] rows of methods in all of them, beyond which the oldest
//! seconds keep their totals only; [`connections::OPEN_MAX`] connections with their last
//! [`connections::LINES`] messages. That is some 10 MB where all of it is used.

mod connections;
mod feeds;
mod history;
mod methods;
mod sentence;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use self::connections::Connections;
pub use self::connections::{ConnectionRow, MessageLine};
pub use self::feeds::FeedRow;
use self::feeds::Feeds;
use self::history::{History, Second};
pub use self::history::{MethodRow, Point, Slow, Window};
use self::methods::Methods;
use super::status::Snapshot;
use crate::event::TargetId;
use crate::observation::{Exchange, Observation, Waiting, What};

/// Seconds that are kept.
pub const SECONDS: usize = 900;

/// Rows of methods that are kept, over all seconds.
const ROWS_MAX: usize = 20_000;

/// Requests that are listed as waiting for longest.
const WAITING_MAX: usize = 20;

const SECOND_NS: u64 = 1_000_000_000;

/// A request that waits for its answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WaitingRow {
    /// When it was asked, in seconds since 1970.
    pub asked: f64,
    /// Its connection.
    pub conn: String,
    /// `local` or `remote`.
    pub origin: &'static str,
    /// Protocol label.
    pub protocol: String,
    /// Method label.
    pub method: String,
}

/// What is true now.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Now {
    /// Seconds since 1970.
    pub time: f64,
    /// Open connections, the busiest first.
    pub connections: Vec<ConnectionRow>,
    /// Connections that are open, listed or not.
    pub open: u64,
    /// Those whose contents cannot be read.
    pub unreadable: u64,
    /// Requests that have waited for longest.
    pub waiting: Vec<WaitingRow>,
    /// What passes without being asked for, the fastest first.
    pub feeds: Vec<FeedRow>,
    /// Feeds that are too many to be shown: the metrics have them.
    pub feeds_unlisted: u64,
}

#[derive(Debug)]
struct Shared {
    history: History,
    methods: Methods,
    now: Now,
}

/// The last 15 minutes, for any thread. Clones share them.
#[derive(Clone, Debug)]
pub struct Live(Arc<Mutex<Shared>>);

impl Live {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A point for each second behind `after`, in seconds since 1970; oldest first.
    #[must_use]
    pub fn points(&self, after: u64) -> Vec<Point> {
        self.lock().history.points(after)
    }

    /// What happened from second `from` to second `to`, both included.
    #[must_use]
    pub fn window(&self, from: u64, to: u64) -> Window {
        let shared = self.lock();
        shared.history.window(from, to, &shared.methods)
    }

    /// What is true now. Hosts and paths of connections are left out unless `with_addresses`.
    #[must_use]
    pub fn now(&self, with_addresses: bool) -> Now {
        let mut now = self.lock().now.clone();
        if !with_addresses {
            for connection in &mut now.connections {
                (connection.host, connection.path) = (None, None);
            }
        }
        now
    }

    /// The last messages of a connection, oldest first; `None` where it is not open.
    #[must_use]
    pub fn messages(&self, conn: &str) -> Option<Vec<MessageLine>> {
        let shared = self.lock();
        let found = shared.now.connections.iter().find(|row| row.conn == conn)?;
        Some(found.lines.read())
    }

    /// What is tapped and whether all of it can be read, in a sentence or two.
    #[must_use]
    pub fn sentence(&self, status: &Snapshot, lost_bytes: u64) -> String {
        sentence::sentence(status, &self.lock().now, lost_bytes)
    }
}

/// The decode thread's end.
#[derive(Debug)]
pub struct Recorder {
    live: Live,
    /// Wall clock minus `CLOCK_MONOTONIC` in nanoseconds, as read once at the start.
    wall_offset_ns: i128,
    /// Seconds since 1970 of the one that is under way.
    unix: u64,
    second: Second,
    methods: Methods,
    connections: Connections,
    feeds: Feeds,
    waiting: Vec<WaitingRow>,
}

impl Recorder {
    /// Knows nothing yet. `targets` are the names in `TargetId` order.
    #[must_use]
    pub fn new(targets: &[impl AsRef<str>], wall_offset_ns: i128) -> Self {
        let methods = Methods::new(targets);
        let shared =
            Shared { history: History::default(), methods: methods.clone(), now: Now::default() };
        Self {
            live: Live(Arc::new(Mutex::new(shared))),
            wall_offset_ns,
            unix: 0,
            second: Second::default(),
            methods,
            connections: Connections::default(),
            feeds: Feeds::new(targets),
            waiting: Vec::new(),
        }
    }

    /// What it records, for other threads.
    #[must_use]
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// Takes note of one observation; on the hot path.
    pub fn record(&mut self, observation: &Observation<'_>) {
        match &observation.what {
            What::Message { message, .. } => self.second.message(message.direction),
            What::Exchange(exchange) => self.exchange(observation, exchange),
            _ => {}
        }
        self.connections.record(observation);
        self.feeds.record(observation, self.wall_offset_ns);
    }

    fn exchange(&mut self, observation: &Observation<'_>, exchange: &Exchange<'_>) {
        let method = self.methods.number(observation.target, exchange);
        self.second.exchange(method, exchange);
        if let Some(ns) = exchange.turnaround_ns {
            self.second.slow(Slow {
                ended: self.seconds(observation.at_ns),
                seconds: ns as f64 / 1e9,
                conn: observation.conn,
                method,
            });
        }
    }

    /// Takes note of the requests that wait, oldest first.
    pub fn waiting<'a>(&mut self, waiting: impl Iterator<Item = Waiting<'a>>) {
        self.waiting.clear();
        for request in waiting.take(WAITING_MAX) {
            let Waiting { asked_ns, conn, origin, protocol, method, target: _ } = request;
            self.waiting.push(WaitingRow {
                asked: self.seconds(asked_ns),
                conn: conn.to_string(),
                origin: origin.as_str(),
                protocol: protocol.to_owned(),
                method: method.to_owned(),
            });
        }
    }

    /// Makes the second that has just ended visible. Never waits for a reader: where one has the
    /// lock, the next call does it.
    pub fn publish(&mut self, now_ns: u64) {
        let now = self.seconds(now_ns);
        let unix = now as u64;
        if unix <= self.unix {
            return;
        }
        let Ok(mut shared) = self.live.0.try_lock() else { return };
        let ended = std::mem::take(&mut self.second);
        // The first call only says when time begins.
        if self.unix > 0 {
            shared.history.push(self.unix, ended);
        }
        self.unix = unix;
        if shared.methods.len() < self.methods.len() {
            shared.methods = self.methods.clone();
        }
        shared.now = Now {
            time: now,
            connections: self.connections.rows(now_ns, self.wall_offset_ns),
            open: self.connections.open(),
            unreadable: self.connections.unreadable(),
            waiting: self.waiting.clone(),
            feeds: self.feeds.rows(now_ns, self.wall_offset_ns),
            feeds_unlisted: self.feeds.unlisted(),
        };
    }

    /// A monotonic time in seconds since 1970.
    #[must_use]
    pub fn seconds(&self, at_ns: u64) -> f64 {
        (i128::from(at_ns) + self.wall_offset_ns) as f64 / SECOND_NS as f64
    }
}

/// The oldest waiting request of each target, in monotonic nanoseconds.
pub fn oldest_by_target<'a>(
    waiting: impl Iterator<Item = Waiting<'a>>,
    targets: usize,
) -> Vec<Option<u64>> {
    let mut oldest = vec![None; targets];
    let mut missing = targets;
    for Waiting { target: TargetId(target), asked_ns, .. } in waiting {
        let Some(slot) = oldest.get_mut(usize::from(target)) else { continue };
        if slot.is_none() {
            *slot = Some(asked_ns);
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    oldest
}

#[cfg(test)]
mod tests;
