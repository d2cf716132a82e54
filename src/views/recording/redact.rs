//! Takes secrets out of HTTP heads before they are written.
//!
//! Values become rows of `x` of the same length, so that every offset stays what it was. It looks at
//! all that passes before a connection is known to carry frames, line by line, and remembers where
//! in a line it is: a head may come in any pieces. It errs on the side of hiding. What is inside of
//! frames is not looked at: most of it is masked or compressed, and `--payload` is about it.

use regex::bytes::Regex;
use rustc_hash::FxHashMap;

use crate::event::{ConnId, Direction, Event, EventKind, Segment, SegmentStart};

/// What the names of header fields with secrets contain.
const SECRET: [&str; 9] =
    ["auth", "cookie", "token", "secret", "key", "session", "passw", "credential", "signature"];

/// These are needed to read what follows them, and hold no secret or one that is used once.
const NEEDED: &str = "sec-websocket-";

/// Header fields whose values are addresses: of these only the query is hidden.
const ADDRESSES: [&str; 4] = ["referer", "location", "content-location", "origin"];

/// Longer names of header fields are taken for secret.
const NAME_MAX: usize = 64;

/// Connections that are remembered; beyond it those with frames are forgotten first.
const CONNECTIONS_MAX: usize = 65_536;

/// What is hidden besides the usual.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    /// Names of header fields, in lower case, that this matches.
    pub names: Vec<Regex>,
    /// Parameters of queries that stay, such as `vsn=2.0.0`: protocols are recognised by them.
    pub parameters: Vec<String>,
    /// HTTP/2 stays as it is: its heads are compressed, and nothing can be hidden in them.
    pub keeps_http2: bool,
}

/// Hides secrets in the events of all connections.
#[derive(Debug)]
pub struct Redactor {
    rules: Redaction,
    connections: FxHashMap<ConnId, Connection>,
    /// The bytes of the event at hand.
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Connection {
    lines: [Lines; 2],
    /// HTTP/2: its heads are compressed.
    is_http2: bool,
    has_frames: bool,
}

/// Where in its lines one direction is.
#[derive(Debug)]
struct Lines {
    place: Place,
    /// Offset of the next byte.
    next: u64,
    name: Vec<u8>,
    /// The line before held a secret: it may be continued.
    was_secret: bool,
    /// The head is that of a 101.
    switches: bool,
    /// What follows is frames.
    has_frames: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a word that may be the name of a header field, a method or a version.
    Name,
    /// In an address, before its query.
    Address,
    /// In a query, at the start of a parameter.
    Parameter,
    /// In what must be hidden of a query.
    Value,
    /// In what must be hidden of a line.
    Secret,
    /// In the first line of HTTP/2.
    Preface,
    /// In the rest of a line, which hides nothing.
    Rest,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            place: Place::Name,
            next: 0,
            name: Vec::new(),
            was_secret: false,
            switches: false,
            has_frames: false,
        }
    }
}

impl Redactor {
    /// Knows no connection yet.
    #[must_use]
    pub fn new(rules: Redaction) -> Self {
        Self { rules, connections: FxHashMap::default(), bytes: Vec::new() }
    }

    /// The event without its secrets.
    pub fn event<'a>(&'a mut self, event: Event<'a>) -> Event<'a> {
        let EventKind::Data(segment) = event.kind else {
            self.connections.remove(&event.conn);
            return event;
        };
        if self.connections.len() >= CONNECTIONS_MAX {
            self.connections.retain(|_, connection| !connection.has_frames);
        }
        let connection = self.connections.entry(event.conn).or_default();
        connection.is_http2 |= segment.start == SegmentStart::Http2Header;
        if connection.has_frames || segment.start == SegmentStart::FrameHeader {
            connection.has_frames = true;
            return event;
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(segment.bytes);
        connection.hide(&segment, &mut self.bytes, &self.rules);
        let segment = Segment { bytes: &self.bytes, ..segment };
        Event { kind: EventKind::Data(segment), ..event }
    }

    /// The decoder has found frames on this connection: no head follows.
    pub fn has_frames(&mut self, conn: ConnId) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            *connection = Connection { has_frames: true, ..Connection::default() };
        }
    }

    /// The decoder has found out that this connection speaks HTTP/2.
    pub fn has_streams(&mut self, conn: ConnId) {
        self.connections.entry(conn).or_default().is_http2 = true;
    }

    /// A process has ended, and its connections with it.
    pub fn exited(&mut self, tgid: u32) {
        self.connections.retain(|conn, _| conn.tgid != tgid);
    }
}

impl Connection {
    fn hide(&mut self, segment: &Segment<'_>, bytes: &mut [u8], rules: &Redaction) {
        if self.is_http2 {
            return hide_http2(bytes, rules);
        }
        let lines = &mut self.lines[segment.direction.index()];
        lines.arrive(segment);
        let mut at = 0;
        while at < bytes.len() && !lines.has_frames {
            at = lines.step(bytes, at, rules);
            if lines.place == Place::Preface && bytes[at - 1] == b'\n' {
                self.is_http2 = true;
                return hide_http2(&mut bytes[at..], rules);
            }
        }
        // The other direction is still a head where this one is not yet answered.
        self.has_frames = Direction::BOTH.iter().all(|it| self.lines[it.index()].has_frames);
    }
}

impl Lines {
    /// The stream goes on with `segment`, perhaps behind a hole.
    fn arrive(&mut self, segment: &Segment<'_>) {
        let is_hole = segment.offset != self.next;
        self.next = segment.offset.saturating_add(segment.bytes.len() as u64);
        if is_hole && self.place == Place::Name {
            self.place = Place::Rest;
        }
        // A head may begin with any call.
        if segment.start == SegmentStart::Call && self.place == Place::Rest {
            self.begin_line();
        }
    }

    fn begin_line(&mut self) {
        self.was_secret = self.place == Place::Secret;
        self.place = Place::Name;
        self.name.clear();
    }

    /// Looks at the byte at `at`, and perhaps at more; returns where to go on.
    fn step(&mut self, bytes: &mut [u8], at: usize, rules: &Redaction) -> usize {
        if bytes[at] == b'\n' {
            self.end_line();
            return at + 1;
        }
        match self.place {
            Place::Name => self.name(bytes, at, rules),
            Place::Address if bytes[at] == b'?' => self.place = Place::Parameter,
            Place::Parameter => return self.parameter(bytes, at, rules),
            Place::Value if bytes[at] == b'&' => self.place = Place::Parameter,
            Place::Value if bytes[at] == b' ' => self.place = Place::Rest,
            Place::Value | Place::Secret => hide(&mut bytes[at..=at]),
            Place::Address | Place::Preface | Place::Rest => {}
        }
        at + 1
    }

    fn end_line(&mut self) {
        let is_blank = self.place == Place::Name && (self.name.is_empty() || *self.name == *b"\r");
        if is_blank {
            self.has_frames = self.switches;
        }
        if self.place != Place::Preface {
            self.begin_line();
        }
    }

    fn name(&mut self, bytes: &mut [u8], at: usize, rules: &Redaction) {
        match bytes[at] {
            b':' => self.place = self.value_of_field(rules),
            b' ' | b'\t' if self.name.is_empty() && self.was_secret => self.place = Place::Secret,
            b' ' => self.place = self.after_first_word(&bytes[at + 1..]),
            byte if self.name.len() < NAME_MAX => self.name.push(byte),
            // Too long to be known, and none that HTTP knows.
            _ => {}
        }
    }

    fn value_of_field(&self, rules: &Redaction) -> Place {
        if !self.name.iter().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(it)) {
            return Place::Rest;
        }
        let name = self.name.to_ascii_lowercase();
        let text = String::from_utf8_lossy(&name);
        if rules.names.iter().any(|pattern| pattern.is_match(&name)) {
            return Place::Secret;
        }
        if text.starts_with(NEEDED) {
            return Place::Rest;
        }
        if self.name.len() == NAME_MAX || SECRET.iter().any(|part| text.contains(part)) {
            return Place::Secret;
        }
        if ADDRESSES.contains(&&*text) { Place::Address } else { Place::Rest }
    }

    /// A line begins with one word and a space: a request, a response, or neither.
    fn after_first_word(&mut self, next: &[u8]) -> Place {
        if self.name.starts_with(b"HTTP/") {
            self.switches = next.starts_with(b"101");
            return Place::Rest;
        }
        // What a body without a last line break ends with stands before the method.
        let method = self.name.iter().rev().take_while(|it| it.is_ascii_uppercase()).count();
        if self.name == b"PRI" {
            Place::Preface
        } else if method >= 3 {
            Place::Address
        } else {
            Place::Rest
        }
    }

    /// A parameter begins at `at`: its name stays, and all of it where it is known.
    fn parameter(&mut self, bytes: &mut [u8], at: usize, rules: &Redaction) -> usize {
        let rest = &bytes[at..];
        let ends = |it: &u8| b"& \r\n".contains(it);
        let length = rest.iter().position(ends);
        let whole = &rest[..length.unwrap_or(rest.len())];
        let is_known = |known: &String| length.is_some() && known.as_bytes() == whole;
        self.place = Place::Value;
        if rules.parameters.iter().any(is_known) {
            return at + whole.len();
        }
        match whole.iter().position(|it| *it == b'=') {
            Some(name) => at + name + 1,
            None if whole.is_empty() => self.step(bytes, at, rules),
            None => {
                hide(&mut bytes[at..=at]);
                at + 1
            }
        }
    }
}

/// What follows the preface of HTTP/2.
fn hide_http2(bytes: &mut [u8], rules: &Redaction) {
    if !rules.keeps_http2 {
        bytes.fill(b'x');
    }
}

/// The ends of lines stay.
fn hide(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|it| **it != b'\r').for_each(|it| *it = b'x');
}
