//! The `--json` line. Keys are never renamed, removed or reordered within version 1; new ones may
//! be added at the end of an event's part.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::{Event, Line, MessageView, utf8_prefix};
use crate::event::{ConnId, Direction};
use crate::observation::{
    Exchange, Frame, IdToken, Message, MessageKind, MessageReading, MessageType, Observation, Open,
    SequenceStep,
};

/// What every line begins with.
#[derive(Serialize)]
struct Object<'a> {
    /// Version of this layout.
    v: u8,
    /// `CLOCK_MONOTONIC`.
    ts_ns: u64,
    wall: String,
    pid: u32,
    tid: u32,
    comm: &'a str,
    conn: String,
    role: &'static str,
    /// `null` for what has no direction.
    direction: Option<&'static str>,
    #[serde(flatten)]
    event: EventPart<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum EventPart<'a> {
    Open {
        host: Option<&'a str>,
        path: Option<&'a str>,
        subprotocol: Option<&'a str>,
        extensions: Option<&'a str>,
        mid_stream: bool,
        transport: &'static str,
        http: &'static str,
    },
    Frame {
        opcode: &'static str,
        fin: bool,
        rsv1: bool,
        masked: bool,
        length: u64,
    },
    Message {
        r#type: &'static str,
        frames: u32,
        wire_length: u64,
        length: Option<u64>,
        compressed: bool,
        protocol: &'a str,
        id: Option<&'a str>,
        kind: Option<&'static str>,
        method: Option<&'a str>,
        #[serde(flatten)]
        payload: Option<PayloadPart<'a>>,
        #[serde(flatten)]
        feed: FeedPart,
    },
    Exchange {
        origin: &'static str,
        protocol: &'a str,
        method: &'a str,
        id: &'a str,
        outcome: &'static str,
        turnaround_ns: Option<u64>,
    },
    Close {
        code: u16,
    },
    Gap {
        bytes: u64,
        reason: &'static str,
    },
}

/// What a message says of its feed; keys that do not apply are left out.
#[derive(Default, Serialize)]
struct FeedPart {
    /// True for a heartbeat of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<u64>,
}

/// Text as text, everything else in base64: the key says which.
#[derive(Serialize)]
struct PayloadPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    payload_complete: bool,
}

pub(super) fn write(view: &MessageView, out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    let Line { observation, process, event } = line;
    let (direction, event) = event_part(view, observation, event);
    let object = Object {
        v: 1,
        ts_ns: observation.at_ns,
        wall: format!("{:.9}", view.wall(observation.at_ns)),
        pid: process.pid,
        tid: observation.tid,
        comm: process.comm,
        conn: observation.conn.to_string(),
        role: observation.role.as_str(),
        direction: direction.map(Direction::as_str),
        event,
    };
    serde_json::to_writer(&mut *out, &object)?;
    out.write_all(b"\n")
}

fn event_part<'a>(
    view: &MessageView,
    observation: &Observation<'_>,
    event: &Event<'a>,
) -> (Option<Direction>, EventPart<'a>) {
    match *event {
        Event::Open(open) => (None, open_part(observation.conn, open)),
        Event::Frame(frame) => (Some(frame.direction), frame_part(frame)),
        Event::Message(message, reading) => {
            let feed = feed_part(view, observation.at_ns, reading);
            (Some(message.direction), message_part(view, message, reading, feed))
        }
        Event::Exchange(exchange) => (None, exchange_part(exchange)),
        Event::Close { code } => (None, EventPart::Close { code }),
        Event::Gap { direction, bytes, reason } => {
            (Some(direction), EventPart::Gap { bytes, reason: reason.as_str() })
        }
    }
}

fn open_part<'a>(conn: ConnId, open: &Open<'a>) -> EventPart<'a> {
    let Open { host, path, subprotocol, extensions, mid_stream } = *open;
    EventPart::Open {
        host,
        path,
        subprotocol,
        extensions,
        mid_stream,
        transport: conn.transport().as_str(),
        http: conn.http().as_str(),
    }
}

fn frame_part(frame: &Frame) -> EventPart<'static> {
    let Frame { opcode, fin, rsv1, masked, length, direction: _ } = *frame;
    EventPart::Frame { opcode: opcode.as_str(), fin, rsv1, masked, length }
}

fn message_part<'a>(
    view: &MessageView,
    message: &Message<'a>,
    reading: &MessageReading<'a>,
    feed: FeedPart,
) -> EventPart<'a> {
    EventPart::Message {
        r#type: message.message_type.as_str(),
        frames: message.frames,
        wire_length: message.wire_length,
        length: message.length,
        compressed: message.compressed,
        protocol: reading.protocol,
        id: reading.id.and_then(IdToken::text),
        kind: reading.kind.map(MessageKind::as_str),
        method: reading.method,
        payload: (view.payload > 0).then(|| payload_part(view, message)),
        feed,
    }
}

fn feed_part(view: &MessageView, at_ns: u64, reading: &MessageReading<'_>) -> FeedPart {
    let Some(feed) = reading.feed else {
        return FeedPart { heartbeat: Some(true), ..FeedPart::default() };
    };
    FeedPart {
        heartbeat: None,
        since_ns: feed.since_ns,
        lag_ns: view.lag_ns(at_ns, reading),
        sequence: feed.sequence.map(SequenceStep::as_str),
        missing: feed.sequence.and_then(SequenceStep::missing),
    }
}

fn payload_part<'a>(view: &MessageView, message: &Message<'a>) -> PayloadPart<'a> {
    let (shown, complete) = view.visible(message.payload, message.truncated);
    let text = match message.message_type {
        MessageType::Text => utf8_prefix(shown),
        MessageType::Binary => None,
    };
    PayloadPart {
        payload: text,
        payload_base64: text.is_none().then(|| STANDARD.encode(shown)),
        payload_complete: complete,
    }
}

fn exchange_part<'a>(exchange: &Exchange<'a>) -> EventPart<'a> {
    let Exchange { origin, protocol, method, id, outcome, turnaround_ns } = *exchange;
    EventPart::Exchange {
        origin: origin.as_str(),
        protocol,
        method,
        id: id.text().unwrap_or_default(),
        outcome: outcome.as_str(),
        turnaround_ns,
    }
}
