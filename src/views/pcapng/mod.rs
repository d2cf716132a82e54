//! A pcapng file of what passed, for Wireshark and tshark: each WebSocket as a TCP connection.
//!
//! `stream` makes up the packets, `frame` the bytes in them, `comment` what a packet is annotated
//! with; `file` writes them. Messages come whole and inflated, because readers fail on messages that are both compressed
//! and fragmented, and on everything after a frame that was cut. `docs/recording.md` says what stands
//! in the comments.

mod comment;
mod file;
mod frame;
mod stream;

use std::io::{self, Write};

use rustc_hash::FxHashMap;

use self::comment::{Comment, Milliseconds};
use self::file::{File, Packet};
use self::stream::{End, Flag, SEGMENT_BYTES, Tcp};
use super::messages::Filter;
use super::{Process, View, cut_sentence};
use crate::event::{ConnId, Direction, Transport};
use crate::observation::{
    Control, Exchange, IdToken, Message, MessageReading, Observation, Open, Origin, Role, What,
};

/// A connection in one of several recordings, each with a clock of its own.
type Key = (i128, ConnId);

/// Writes observations as packets to `out`.
pub struct Pcapng<W: Write> {
    file: File<W>,
    filter: Filter,
    wall_offset_ns: i128,
    streams: FxHashMap<Key, Stream>,
    streams_made: u32,
    /// The last message: what it answers is told right behind it.
    held: Option<Held>,
    /// Messages that are still wanted; `None` for all that come.
    left: Option<u64>,
    messages: u64,
    /// Messages of which a part is missing.
    cut: u64,
    /// How many bytes wait to be written.
    queue: Box<dyn Fn() -> usize + Send>,
    /// Messages that were left out because too much waited.
    left_out: u64,
}

/// With so many bytes waiting to be written, messages and all that is said of them are left out. Openings
/// and closings are left out only where twice as many wait.
pub const QUEUE_BYTES: usize = 32 << 20;

/// One connection.
struct Stream {
    tcp: Tcp,
    interface: u32,
    /// The end that is the tapped process.
    own_end: End,
    /// What every comment begins with.
    about: Comment,
}

/// A message that is not written yet.
struct Held {
    key: Key,
    at_ns: u64,
    from: End,
    frame: Vec<u8>,
    comment: Comment,
}

impl<W: Write> Pcapng<W> {
    /// Has written nothing yet. It is closed after `most` messages.
    pub fn new(out: W, filter: Filter, most: Option<u64>) -> Self {
        Self {
            file: File::new(out),
            filter,
            wall_offset_ns: 0,
            streams: FxHashMap::default(),
            streams_made: 0,
            held: None,
            left: most,
            messages: 0,
            cut: 0,
            queue: Box::new(|| 0),
            left_out: 0,
        }
    }

    /// Leaves messages out, and counts them, while too many bytes wait to be written.
    #[must_use]
    pub fn with_queue(self, bytes: impl Fn() -> usize + Send + 'static) -> Self {
        Self { queue: Box::new(bytes), ..self }
    }

    /// Whether there is no room for an observation. A message is counted, and the next packet says so.
    fn leaves_out(&mut self, what: &What<'_>) -> bool {
        let is_border = matches!(what, What::Open(_) | What::State { to: None, .. });
        if (self.queue)() < if is_border { 2 * QUEUE_BYTES } else { QUEUE_BYTES } {
            return false;
        }
        if matches!(what, What::Message { .. }) {
            self.left_out += 1;
            self.file.drop_one();
        }
        true
    }

    /// Writes one packet of a stream.
    fn packet(&mut self, key: Key, at_ns: u64, from: End, flag: Flag, bytes: &[u8], about: &str) {
        let Some(stream) = self.streams.get_mut(&key) else { return };
        let bytes = stream.tcp.packet(from, flag, bytes);
        let is_sent = from == stream.own_end;
        let direction = if is_sent { Direction::Sent } else { Direction::Received };
        let (interface, wall_ns) = (stream.interface, i128::from(at_ns).saturating_add(key.0));
        self.file.packet(Packet { interface, wall_ns, direction, bytes, comment: about });
    }

    /// Writes bytes in as many packets as they need. The last one gets the comment: it is the one in
    /// which a reader shows them.
    fn bytes(&mut self, key: Key, at_ns: u64, from: End, bytes: &[u8], about: &str) {
        let mut segments = bytes.chunks(SEGMENT_BYTES).peekable();
        while let Some(segment) = segments.next() {
            let about = if segments.peek().is_some() { "" } else { about };
            self.packet(key, at_ns, from, Flag::None, segment, about);
        }
    }

    /// Begins a connection.
    fn open(&mut self, it: &Seen<'_>, open: &Open<'_>) {
        self.release();
        let interface = self.file.interface(self.wall_offset_ns, it.process);
        let conn = it.observation.conn;
        let usual = if conn.transport() == Transport::Tls { 443 } else { 80 };
        let port = open.host.and_then(frame::port).unwrap_or(usual);
        let tcp = Tcp::new(self.streams_made, port);
        self.streams_made = self.streams_made.wrapping_add(1);
        let own_end = match it.observation.role {
            Role::Client | Role::Unknown => End::Client,
            Role::Server => End::Server,
        };
        let mut about = Comment::default();
        about.add("pid", it.process.pid);
        about.add("comm", it.process.comm);
        about.add("conn", conn);
        let mut first = about.clone();
        first.add("transport", conn.transport().as_str());
        first.add("http", conn.http().as_str());
        first.add("role", it.observation.role.as_str());
        first.add_known("extensions", open.extensions);
        if open.mid_stream {
            first.say("met in mid-stream; this connection's beginning and upgrade are made up");
        }
        self.streams.insert(it.key, Stream { tcp, interface, own_end, about });
        let [request, answer] = frame::upgrade(open);
        let (key, at_ns) = (it.key, it.observation.at_ns);
        self.packet(key, at_ns, End::Client, Flag::Open, &[], &first.into_text());
        self.packet(key, at_ns, End::Server, Flag::Open, &[], "");
        self.packet(key, at_ns, End::Client, Flag::None, &[], "");
        self.bytes(key, at_ns, End::Client, request.as_bytes(), "");
        self.bytes(key, at_ns, End::Server, answer.as_bytes(), "");
    }

    /// Which end `direction` goes from, and what a comment of the connection begins with. A connection
    /// whose beginning was not told begins now.
    fn stream(&mut self, it: &Seen<'_>, direction: Direction) -> (End, Comment) {
        if !self.streams.contains_key(&it.key) {
            self.open(it, &Open { mid_stream: true, ..Open::default() });
        }
        let stream = self.streams.get(&it.key);
        let own_end = stream.map_or(End::Client, |stream| stream.own_end);
        let mut about = stream.map(|stream| stream.about.clone()).unwrap_or_default();
        if it.observation.tid != 0 {
            about.add("tid", it.observation.tid);
        }
        match direction {
            Direction::Sent => (own_end, about),
            Direction::Received => (own_end.opposite(), about),
        }
    }

    fn message(&mut self, it: &Seen<'_>, message: &Message<'_>, reading: &MessageReading<'_>) {
        self.release();
        let (from, mut comment) = self.stream(it, message.direction);
        comment.add("protocol", reading.protocol);
        comment.add_known("kind", reading.kind.map(|kind| kind.as_str()));
        comment.add_known("method", reading.method.filter(|method| !method.is_empty()));
        comment.add_known("id", reading.id.and_then(IdToken::text));
        comment.add("wire_length", message.wire_length);
        if message.compressed {
            comment.add("compressed", "yes");
        }
        if message.frames != 1 {
            comment.add("frames", message.frames);
        }
        if message.truncated {
            comment.add("kept", message.payload.len());
            comment.add_known("length", message.length);
            comment.say("only the beginning of this message is here");
            self.cut += 1;
        }
        self.messages += 1;
        let frame = frame::frame(frame::opcode(message.message_type), message.payload);
        self.held = Some(Held { key: it.key, at_ns: it.observation.at_ns, from, frame, comment });
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
    }

    fn control(&mut self, it: &Seen<'_>, control: &Control<'_>) {
        self.release();
        let (from, mut comment) = self.stream(it, control.direction);
        if control.payload.is_none() {
            comment.add("length", control.length);
            comment.say("what this frame says is not known");
        }
        let frame = frame::frame(control.opcode, control.payload.unwrap_or_default());
        self.bytes(it.key, it.observation.at_ns, from, &frame, &comment.into_text());
    }

    /// An answered request is told in the packet of its answer, any other one in a packet of its own.
    fn exchange(&mut self, it: &Seen<'_>, exchange: &Exchange<'_>) {
        let at_ns = it.observation.at_ns;
        let answer = self.held.as_mut().filter(|held| (held.key, held.at_ns) == (it.key, at_ns));
        if let (Some(held), Some(took_ns)) = (answer, exchange.turnaround_ns) {
            held.comment.add("answers", exchange.method);
            held.comment.add("origin", exchange.origin.as_str());
            held.comment.add("outcome", exchange.outcome.as_str());
            held.comment.add("turnaround", Milliseconds(took_ns));
            return;
        }
        let direction = match exchange.origin {
            Origin::Local => Direction::Sent,
            Origin::Remote => Direction::Received,
        };
        self.note(it, direction, |comment| {
            comment.add("protocol", exchange.protocol);
            comment.add("method", exchange.method);
            comment.add("id", exchange.id.text().unwrap_or_default());
            comment.add("outcome", exchange.outcome.as_str());
            comment.add_known("turnaround", exchange.turnaround_ns.map(Milliseconds));
        });
    }

    /// A packet without bytes, for something that did not pass as bytes.
    fn note(&mut self, it: &Seen<'_>, direction: Direction, write: impl FnOnce(&mut Comment)) {
        self.release();
        // What is told of a connection that has left or was never met has no place in the file.
        if !self.streams.contains_key(&it.key) {
            return;
        }
        let (from, mut comment) = self.stream(it, direction);
        write(&mut comment);
        let at_ns = it.observation.at_ns;
        self.packet(it.key, at_ns, from, Flag::None, &[], &comment.into_text());
    }

    /// Ends a connection.
    fn end(&mut self, it: &Seen<'_>) {
        self.release();
        let at_ns = it.observation.at_ns;
        self.packet(it.key, at_ns, End::Client, Flag::Close, &[], "");
        self.packet(it.key, at_ns, End::Server, Flag::Close, &[], "");
        self.streams.remove(&it.key);
    }

    /// Writes the message that was held back.
    fn release(&mut self) {
        let Some(Held { key, at_ns, from, frame, comment }) = self.held.take() else { return };
        self.bytes(key, at_ns, from, &frame, &comment.into_text());
    }
}

/// An observation with what is known of its process.
struct Seen<'a> {
    key: Key,
    process: Process<'a>,
    observation: &'a Observation<'a>,
}

/// What is missing because too much waited to be written.
fn left_out_sentence(left_out: u64) -> Option<String> {
    (left_out > 0).then(|| {
        format!(
            "{left_out} messages are not in the file, because it was written too slowly; the next \
             packet in it counts them as dropped"
        )
    })
}

impl<W: Write> View for Pcapng<W> {
    fn set_wall_offset_ns(&mut self, wall_offset_ns: i128) {
        self.wall_offset_ns = wall_offset_ns;
    }

    fn begin(&mut self) {
        self.file.begin();
    }

    fn observe(&mut self, observation: &Observation<'_>, process: Process<'_>) {
        if self.is_closed() || !self.filter.names(observation.conn) {
            return;
        }
        if self.left == Some(0) && !matches!(observation.what, What::Exchange(_)) {
            return self.release();
        }
        self.begin();
        let it = Seen { key: (self.wall_offset_ns, observation.conn), process, observation };
        if self.leaves_out(&observation.what) {
            if matches!(observation.what, What::State { to: None, .. }) {
                self.streams.remove(&it.key);
            }
            return;
        }
        let filter = &self.filter;
        let is_wanted = |opcode, direction| filter.passes(opcode, direction);
        match &observation.what {
            What::Open(open) => self.open(&it, open),
            What::Message { message, reading }
                if is_wanted(frame::opcode(message.message_type), message.direction) =>
            {
                self.message(&it, message, reading);
            }
            What::Control(control) if is_wanted(control.opcode, control.direction) => {
                self.control(&it, control);
            }
            What::Exchange(exchange) => self.exchange(&it, exchange),
            What::Gap { direction, bytes, reason } => self.note(&it, *direction, |comment| {
                comment.add("lost_bytes", bytes);
                comment.add("reason", reason.as_str());
            }),
            What::ProtocolError { direction, reason } => self.note(&it, *direction, |comment| {
                comment.add("protocol_error", reason.as_str());
            }),
            What::State { to: None, .. } => self.end(&it),
            _ => {}
        }
    }

    fn flush(&mut self) {
        // The exchange of a message comes in the same batch.
        self.release();
        self.file.flush();
    }

    fn is_closed(&self) -> bool {
        self.file.has_failed() || (self.left == Some(0) && self.held.is_none())
    }

    fn finish(mut self: Box<Self>) -> io::Result<Option<String>> {
        self.begin();
        self.flush();
        let (cut, messages, left_out) = (self.cut, self.messages, self.left_out);
        match self.file.into_error() {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => {
                let sentences = [left_out_sentence(left_out), cut_sentence(cut, messages)];
                let sentences: Vec<String> = sentences.into_iter().flatten().collect();
                Ok((!sentences.is_empty()).then(|| sentences.join("; ")))
            }
        }
    }
}

#[cfg(test)]
mod tests;
