//! The decoder from end to end: events in, a readable transcript of observations out.
//!
//! - `carriers`: from HTTP/1.1 to WebSocket, and all that may go wrong on the way; streams of HTTP/2
//! - `frames`: RFC 6455 behind the handshake
//! - `deflate`: RFC 7692
//! - `holes`: gaps, skipped payload, broken headers
//! - `midstream`: connections met after their handshake
//! - `tls`: what is left alone because it is TLS, and what must not be
//! - `endings`: connections whose end was lost
//! - `limits`: every bound bites, and is seen to
//! - `lz77`: windows that were not seen, and that the process has
//! - `properties`: what holds for any stream, any cutting and any loss
//! - `windows`: how much of long messages is asked for, and that nothing hangs on it
//! - `oracles`: what other implementations encode and decode

mod carriers;
mod deflate;
mod endings;
mod frames;
mod holes;
mod limits;
mod lz77;
mod midstream;
mod oracles;
mod properties;
mod tls;
mod windows;

use std::cell::RefCell;

use super::decoder::{Decoder, FrameAt, KernelHint, Limits, StreamContent};
use crate::event::{
    Absent, ConnId, Direction, Event, EventKind, Segment, SegmentStart, TAIL_BYTES, TargetId,
};
use crate::matching::{MatchLimits, Matching, Protocols};
use crate::observation::{Control, Observation, Opcode, What};
use Direction::{Received, Sent};

const CONN: ConnId = ConnId { tgid: 4242, generation: 17, handle: 0x7f00_dead_beef, stream: 0 };

const GET: &str = "GET /feed?token=secret HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// An upgrade request with more header lines, each ended by CRLF.
fn get(more: &str) -> Vec<u8> {
    format!("{GET}{more}\r\n").into_bytes()
}

/// Its 101.
fn switching(more: &str) -> Vec<u8> {
    format!("{SWITCHING}{more}\r\n").into_bytes()
}

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame with the given first byte.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(masked | len as u8),
        len @ 126..=65_535 => {
            frame.push(masked | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(masked | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(mask.iter().flatten());
    let key = mask.unwrap_or_default();
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

const KEY: Option<[u8; 4]> = Some([0x37, 0xfa, 0x21, 0x3d]);

/// A frame as a client sends it.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, KEY, payload)
}

/// A frame as a server sends it.
fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, None, payload)
}

thread_local! {
    /// See [`Tape::retire`].
    static RETIRED: RefCell<Vec<Tape>> = const { RefCell::new(Vec::new()) };
}

/// A tracker with one connection, and what it said.
struct Tape {
    limits: Limits,
    tracker: Decoder,
    target: TargetId,
    offsets: [u64; 2],
    now_ns: u64,
    /// What the clock moves by with each call.
    tick_ns: u64,
    start: SegmentStart,
    lines: Vec<String>,
    counts: Counts,
}

/// What is only counted, so that it does not matter in how many pieces it is told.
#[derive(Default)]
struct Counts {
    wire: [u64; 2],
    unsynced: [u64; 2],
    /// The ends of messages, as far as they are not all there.
    tails: Vec<Vec<u8>>,
    /// What became of windows that were looked for.
    windows: Vec<(Direction, &'static str, &'static str)>,
    /// What control frames said.
    controls: Vec<(Direction, Opcode, Option<Vec<u8>>)>,
}

impl Tape {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let retired = RETIRED.with_borrow_mut(|retired| {
            let index = retired.iter().position(|tape| tape.limits == limits)?;
            Some(retired.swap_remove(index))
        });
        retired.unwrap_or_else(|| {
            let matching = Matching::new(Protocols::builtin(), MatchLimits::default());
            Self::of(limits, Decoder::new(limits, matching))
        })
    }

    /// Leaves the tracker to the next tape with the same limits: a new one has all protocols
    /// compiled for it, which takes longer than most tapes. The next has a target of its own, so
    /// that nothing of this one shows.
    fn retire(mut self) {
        self.assert_nothing_is_kept();
        self.hints();
        let Self { limits, tracker, target: TargetId(target), now_ns, .. } = self;
        let target = TargetId(target.wrapping_add(1));
        let tape = Self { target, now_ns, ..Self::of(limits, tracker) };
        RETIRED.with_borrow_mut(|retired| retired.push(tape));
    }

    fn of(limits: Limits, tracker: Decoder) -> Self {
        Self {
            limits,
            tracker,
            target: TargetId(0),
            offsets: [0; 2],
            now_ns: 1000,
            tick_ns: 10,
            start: SegmentStart::Call,
            lines: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// A connection on which a client has upgraded; the transcript begins behind it.
    fn client() -> Self {
        Self::upgraded(Sent, "", "")
    }

    fn server() -> Self {
        Self::upgraded(Received, "", "")
    }

    /// With permessage-deflate as the server's header line says.
    fn deflate(parameters: &str) -> Self {
        let line = format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n");
        Self::upgraded(Sent, "Sec-WebSocket-Extensions: permessage-deflate\r\n", &line)
    }

    fn upgraded(asking: Direction, offer: &str, answer: &str) -> Self {
        Self::new().upgrade(asking, offer, answer)
    }

    fn upgrade(mut self, asking: Direction, offer: &str, answer: &str) -> Self {
        self.pass(asking, &get(offer));
        self.pass(asking.opposite(), &switching(answer));
        self.lines.clear();
        self
    }

    /// A call passes bytes.
    fn pass(&mut self, direction: Direction, bytes: &[u8]) {
        self.segment(direction, bytes, bytes.len() as u64, Absent::Skipped);
    }

    /// Calls of so many bytes each.
    fn pass_in(&mut self, direction: Direction, bytes: &[u8], size: usize) {
        bytes.chunks(size).for_each(|chunk| self.pass(direction, chunk));
    }

    fn segment(&mut self, direction: Direction, bytes: &[u8], len: u64, absent: Absent) {
        let offset = self.offsets[direction.index()];
        self.offsets[direction.index()] += len;
        self.now_ns += self.tick_ns;
        let start = self.start;
        self.feed(EventKind::Data(Segment { direction, offset, len, bytes, absent, start }));
    }

    /// Bytes of which the tap never hears.
    fn lose(&mut self, direction: Direction, bytes: &[u8]) {
        self.offsets[direction.index()] += bytes.len() as u64;
    }

    fn close(&mut self) {
        let [sent, received] = self.offsets;
        self.feed(EventKind::Closed { sent, received });
    }

    fn feed(&mut self, kind: EventKind<'_>) {
        let event = Event { conn: CONN, target: self.target, tid: 7, at_ns: self.now_ns, kind };
        let (lines, counts) = (&mut self.lines, &mut self.counts);
        self.tracker.event(&event, &mut |observation| note(lines, counts, observation));
    }

    fn tick(&mut self) {
        let (lines, counts) = (&mut self.lines, &mut self.counts);
        self.tracker.tick(self.now_ns, &mut |observation| note(lines, counts, observation));
    }

    fn finish(&mut self) {
        let (lines, counts) = (&mut self.lines, &mut self.counts);
        self.tracker.finish(self.now_ns, &mut |observation| note(lines, counts, observation));
    }

    /// What was said since the last call.
    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    #[track_caller]
    fn says(&mut self, expected: &[&str]) {
        assert_eq!(self.said(), expected);
    }

    /// Everything that connections borrowed was given back.
    #[track_caller]
    fn assert_nothing_is_kept(&self) {
        assert!(self.tracker.is_at_rest());
    }

    /// The connection was found to carry TLS since the last call.
    fn is_tls(&mut self) -> bool {
        self.tracker.findings().any(|it| it.content == StreamContent::Tls)
    }

    fn hints(&mut self) -> Vec<KernelHint> {
        self.tracker.kernel_hints().collect()
    }
}

fn note(lines: &mut Vec<String>, counts: &mut Counts, observation: &Observation<'_>) {
    match &observation.what {
        What::Wire { direction, bytes } => counts.wire[direction.index()] += bytes,
        What::Unsynced { direction, bytes } => counts.unsynced[direction.index()] += bytes,
        What::Window { direction, result } => {
            counts.windows.push((*direction, result.as_str(), result.reason()));
        }
        What::Control(Control { direction, opcode, payload, .. }) => {
            counts.controls.push((*direction, *opcode, payload.map(<[u8]>::to_vec)));
        }
        What::Message { message, .. } => {
            assert!(
                message.tail.len() <= TAIL_BYTES && (message.truncated || message.tail.is_empty())
            );
            counts.tails.push(message.tail.to_vec());
            lines.push(line(observation));
        }
        _ => lines.push(line(observation)),
    }
}

/// Checks that a gauge of connections by role and fidelity would be right.
fn assert_states_chain(lines: &[String]) {
    let mut state = None;
    for line in lines {
        let Some(change) = line.strip_prefix("state ") else { continue };
        let (from, to) = change.split_once(" -> ").unwrap();
        assert_eq!(from, *state.get_or_insert(from), "{lines:#?}");
        assert_ne!(from, to, "{lines:#?}");
        state = Some(to);
    }
}

/// Compresses the messages of one direction.
struct Deflater {
    raw: flate2::Compress,
    takeover: bool,
}

impl Deflater {
    fn new(takeover: bool) -> Self {
        Self { raw: flate2::Compress::new(flate2::Compression::default(), false), takeover }
    }

    fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        // RFC 7692, section 7.2.3.6: zlib has nothing to flush for an empty message.
        if payload.is_empty() {
            return vec![0];
        }
        let mut out = Vec::with_capacity(payload.len() + payload.len() / 8 + 64);
        self.raw.compress_vec(payload, &mut out, flate2::FlushCompress::Sync).unwrap();
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        if !self.takeover {
            self.raw.reset();
        }
        out
    }
}

/// One observation as one line; on a stream of HTTP/2 its id goes first.
fn line(observation: &Observation<'_>) -> String {
    let said = said(observation);
    match observation.conn.stream {
        0 => said,
        stream => format!("#{stream} {said}"),
    }
}

fn said(observation: &Observation<'_>) -> String {
    let way = |direction: Direction| if direction == Sent { '>' } else { '<' };
    match &observation.what {
        What::Wire { direction, bytes } => format!("{} wire {bytes}", way(*direction)),
        What::Skipped { direction, bytes } => format!("{} skipped {bytes}", way(*direction)),
        What::Gap { direction, bytes, reason } => {
            format!("{} gap {bytes} {}", way(*direction), reason.as_str())
        }
        What::Open(open) => format!(
            "open {} {} {} {} [{}]{}",
            observation.role.as_str(),
            open.host.unwrap_or("-"),
            open.path.unwrap_or("-"),
            open.subprotocol.unwrap_or("-"),
            open.extensions.unwrap_or_default(),
            if open.mid_stream { " mid-stream" } else { "" },
        ),
        What::Refused { status } => format!("refused {status}"),
        What::State { from, to } => {
            let show =
                |state: &Option<(crate::observation::Role, crate::observation::Fidelity)>| {
                    state.map_or("-".to_owned(), |(role, fidelity)| {
                        format!("{}/{}", role.as_str(), fidelity.as_str())
                    })
                };
            format!("state {} -> {}", show(from), show(to))
        }
        What::Frame(frame) => format!(
            "{} {}{}{}{} {}",
            way(frame.direction),
            frame.opcode.as_str(),
            if frame.fin { "" } else { "+" },
            if frame.rsv1 { "*" } else { "" },
            if frame.masked { "" } else { " plain" },
            frame.length
        ),
        What::Message { message, .. } => format!(
            "{} {} message of {} frames, {} wire, {} bytes{}{}{}: {}",
            way(message.direction),
            message.message_type.as_str(),
            message.frames,
            message.wire_length,
            message.length.map_or("?".to_owned(), |length| length.to_string()),
            if message.compressed { ", compressed" } else { "" },
            if message.truncated { ", truncated" } else { "" },
            if message.identical { ", identical" } else { "" },
            message.payload.escape_ascii(),
        ),
        What::PingRtt { origin, rtt_ns } => format!("ping {} {rtt_ns}", origin.as_str()),
        What::ProtocolError { direction, reason } => {
            format!("{} error {}", way(*direction), reason.as_str())
        }
        What::Close { code } => format!("close {code}"),
        What::EndUnseen(sign) => format!("end unseen {}", sign.as_str()),
        What::Evicted(table) => format!("evicted {}", table.as_str()),
        other => format!("{other:?}"),
    }
}
