//! Whole conversations through [`Matching`].

mod balance;
mod conversation;
mod detection;
mod endings;
mod feeds;
mod foreign;
mod load;
mod markets;
mod rivals;
mod streams;
mod unread;

use std::collections::HashMap;
use std::fmt::Write;

use super::*;
use crate::observation::{IdToken, MessageKind, MessageReading, MessageType, What};

const SECOND_NS: u64 = 1_000_000_000;
const MILLISECOND_NS: u64 = 1_000_000;

/// A tapped client and what is observed of it, one line for each observation but messages.
struct Tap {
    matching: Matching,
    handles: HashMap<ConnId, Handle>,
    at: At,
    lines: Vec<String>,
    /// Lines for messages: protocol, kind, id, method.
    messages: Vec<String>,
    books: Books,
}

/// Where and when things pass.
#[derive(Clone, Copy, Debug)]
struct At {
    conn: ConnId,
    target: TargetId,
    role: Role,
    tid: u32,
    at_ns: u64,
}

impl At {
    fn stamp(self) -> Stamp {
        Stamp { at_ns: self.at_ns, tid: self.tid }
    }
}

/// Counts that must balance.
#[derive(Clone, Copy, Debug, Default)]
struct Books {
    started: usize,
    ended: usize,
}

impl Tap {
    /// A client whose connection speaks the protocol that this subprotocol stands for.
    fn speaking(subprotocol: &str) -> Self {
        let mut tap = Self::new(Protocols::builtin());
        tap.open(Hint { subprotocol: Some(subprotocol), ..tap.hint() });
        tap
    }

    fn forced(name: &str) -> Self {
        let mut protocols = Protocols::builtin();
        protocols.force(name).unwrap();
        let mut tap = Self::new(protocols);
        tap.open(tap.hint());
        tap
    }

    /// A client whose protocol is found by its content.
    fn unknown() -> Self {
        let mut tap = Self::new(Protocols::builtin());
        tap.open(tap.hint());
        tap
    }

    fn new(protocols: Protocols) -> Self {
        Self::with_limits(protocols, MatchLimits::default())
    }

    fn with_limits(protocols: Protocols, limits: MatchLimits) -> Self {
        let at = At {
            conn: ConnId { tgid: 1, generation: 1, handle: 1, stream: 0 },
            target: TargetId(0),
            role: Role::Client,
            tid: 1,
            at_ns: 0,
        };
        Self {
            matching: Matching::new(protocols, limits),
            handles: HashMap::new(),
            at,
            lines: Vec::new(),
            messages: Vec::new(),
            books: Books::default(),
        }
    }

    fn hint(&self) -> Hint<'static> {
        Hint { role: self.at.role, ..Hint::default() }
    }

    fn open(&mut self, hint: Hint<'_>) {
        let At { conn, target, at_ns, .. } = self.at;
        self.handles.insert(conn, self.matching.open(conn, target, hint, at_ns));
    }

    /// Opens the connection as one that was met in mid-stream, unless it is open.
    fn handle(&mut self) -> &Handle {
        let Self { matching, handles, at, .. } = self;
        let At { conn, target, role, at_ns, .. } = *at;
        handles.entry(conn).or_insert_with(|| {
            let hint = Hint { role, mid_stream: true, ..Hint::default() };
            matching.open(conn, target, hint, at_ns)
        })
    }

    /// Moves time; everything interpreted next happens then.
    fn at(&mut self, at_ns: u64) -> &mut Self {
        self.at.at_ns = at_ns;
        self
    }

    fn sent(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.pass(Direction::Sent, text.as_ref(), MessageType::Text, Wholeness::Whole)
    }

    fn received(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.pass(Direction::Received, text.as_ref(), MessageType::Text, Wholeness::Whole)
    }

    fn pass(
        &mut self,
        direction: Direction,
        payload: &[u8],
        message_type: MessageType,
        wholeness: Wholeness,
    ) -> &mut Self {
        let message = message(direction, payload, message_type, wholeness);
        let (role, stamp) = (self.at.role, self.at.stamp());
        self.observe(|matching, handle, out| {
            matching.message(handle, role, stamp, &message, out);
        })
    }

    fn gap(&mut self, direction: Direction) -> &mut Self {
        let at_ns = self.at.at_ns;
        self.observe(|matching, handle, out| matching.gap(handle, direction, at_ns, out))
    }

    fn close(&mut self) -> &mut Self {
        let at_ns = self.at.at_ns;
        self.handle();
        let handle = self.handles.remove(&self.at.conn).expect("just opened");
        self.observe(|matching, _, out| matching.close(handle, at_ns, out))
    }

    fn tick(&mut self) -> &mut Self {
        let now_ns = self.at.at_ns;
        self.observe(|matching, _, out| matching.tick(now_ns, out))
    }

    fn finish(&mut self) -> &mut Self {
        let now_ns = self.at.at_ns;
        self.observe(|matching, _, out| matching.finish(now_ns, out))
    }

    fn observe(
        &mut self,
        act: impl FnOnce(&mut Matching, &Handle, &mut dyn FnMut(&Observation<'_>)),
    ) -> &mut Self {
        self.handle();
        let Self { matching, handles, at, lines, messages, books, .. } = self;
        act(matching, &handles[&at.conn], &mut |observation| {
            match &observation.what {
                What::Message { reading, .. } => messages.push(message_line(reading)),
                what => lines.push(line(what)),
            }
            match observation.what {
                What::Started { .. } => books.started += 1,
                What::Exchange(_) => books.ended += 1,
                _ => {}
            }
        });
        let pending = self.matching.pending(self.at.target);
        assert_eq!(self.books.started, self.books.ended + pending, "started = ended + pending");
        self
    }

    /// Passes a whole text message, and lets `see` have what is observed.
    fn text(&mut self, direction: Direction, text: &str, see: &mut dyn FnMut(&Observation<'_>)) {
        self.handle();
        let message = message(direction, text.as_bytes(), MessageType::Text, Wholeness::Whole);
        let Self { matching, handles, at, .. } = self;
        matching.message(&handles[&at.conn], at.role, at.stamp(), &message, see);
    }

    /// What was observed since the last call.
    fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    fn messages(&mut self) -> Vec<String> {
        std::mem::take(&mut self.messages)
    }
}

fn message(
    direction: Direction,
    payload: &[u8],
    message_type: MessageType,
    wholeness: Wholeness,
) -> Message<'_> {
    Message {
        direction,
        message_type,
        frames: 1,
        wire_length: payload.len() as u64,
        length: Some(payload.len() as u64),
        compressed: false,
        payload,
        tail: b"",
        truncated: wholeness == Wholeness::Cut,
        identical: false,
    }
}

fn message_line(reading: &MessageReading<'_>) -> String {
    let kind = reading.kind.map_or("-", MessageKind::as_str);
    let id = reading.id.and_then(IdToken::text).unwrap_or("-");
    let method = reading.method.unwrap_or("-");
    format!("{} {kind} {id} {method}", reading.protocol)
}

fn line(what: &What<'_>) -> String {
    match what {
        What::Started { origin, method, .. } => format!("started {} {method}", origin.as_str()),
        What::Exchange(exchange) => {
            let mut line = format!(
                "{} {} {} {}",
                exchange.outcome.as_str(),
                exchange.origin.as_str(),
                exchange.id.text().unwrap_or_default(),
                exchange.method
            );
            if let Some(turnaround_ns) = exchange.turnaround_ns {
                let _ = write!(line, " {turnaround_ns}");
            }
            line
        }
        What::Orphan { reason, .. } => format!("orphan {}", reason.as_str()),
        What::StreamItem { method, .. } => format!("item {method}"),
        What::StreamEnd { method, answers, duration_ns, .. } => {
            format!("stream end {method} {answers} {duration_ns}")
        }
        What::HeartbeatRtt { origin, rtt_ns, .. } => {
            format!("heartbeat {} {rtt_ns}", origin.as_str())
        }
        What::Evicted(table) => format!("evicted from {}", table.as_str()),
        What::LabelOverflow(label) => format!("overflow {label}"),
        other => format!("{other:?}"),
    }
}

fn ask(id: impl std::fmt::Display) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m","params":[]}}"#)
}

fn reply(id: impl std::fmt::Display) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":true}}"#)
}

#[test]
fn it_may_move_to_another_thread() {
    fn moves<T: Send>() {}
    moves::<Matching>();
}
