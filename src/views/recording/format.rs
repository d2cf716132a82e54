//! The format of a recording.
//!
//! A file is a line of text, a header and blocks. The line is [`MAGIC`]. The header and each block
//! are a frame of their own: [`FRAME_BYTES`] of lengths and a checksum, then the contents. The
//! header is JSON, so that a person can read what was recorded. A block holds whole records in
//! `postcard`'s wire format, compressed with DEFLATE. No block needs another one, so a file that was
//! cut anywhere can be read up to the last whole block.

use serde::{Deserialize, Serialize};

use crate::event::{Absent, ConnId, Direction, Event, EventKind, Segment, SegmentStart, TargetId};

/// What every recording of this version begins with.
pub(super) const MAGIC: &[u8] = b"wstap recording 1\n";

/// Bytes before the contents of a frame: stored length, unpacked length, CRC-32 of what is stored;
/// each little-endian.
pub(super) const FRAME_BYTES: usize = 12;

/// Unpacked bytes that a frame holds at most: what a reader must have room for.
pub(super) const UNPACKED_MAX: usize = 4 << 20;

/// Stored bytes that a frame holds at most. DEFLATE makes nothing much longer than it was.
pub(super) const STORED_MAX: usize = UNPACKED_MAX + (UNPACKED_MAX >> 8) + 64;

/// Times and offsets beyond this are not believed, so that sums of them cannot overflow.
const PLAUSIBLE_MAX: u64 = 1 << 62;

/// What was recorded, and what a replay must use for the same numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of wstap that recorded.
    pub wstap: String,
    /// What the files of one recording have in common.
    pub session: String,
    /// Place of this file among them, from 1.
    pub part: u64,
    /// Nanoseconds to add to the times of the records to get nanoseconds since 1970.
    pub wall_offset_ns: i64,
    /// The selectors, in `TargetId` order.
    pub targets: Vec<TargetName>,
    /// Bounds of the decoder and of the matching.
    pub settings: Settings,
    /// The user's rules for message protocols.
    #[serde(default)]
    pub rules: Vec<RuleFile>,
    /// The user's pattern for the ids of requests.
    #[serde(default)]
    pub id_pattern: Option<String>,
    /// The same for responses.
    #[serde(default)]
    pub response_pattern: Option<String>,
    /// The protocol that every connection speaks by decree.
    #[serde(default)]
    pub protocol: Option<String>,
    /// Header fields that were redacted besides the usual ones: patterns of their names.
    #[serde(default)]
    pub redacted: Vec<String>,
}

/// A selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetName {
    /// Value of the `target` label.
    pub name: String,
    /// The protocol that its connections speak by decree.
    #[serde(default)]
    pub protocol: Option<String>,
}

/// The bounds that can be set on the command line; the others are the defaults of the version that
/// replays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Payload bytes of each message that were copied at most.
    pub window_bytes: u64,
    /// Of long messages less was copied once that had proven to be enough.
    pub narrows: bool,
    /// Connections followed at a time.
    pub connections: u64,
    /// Nanoseconds after which a request without an answer has expired.
    pub timeout_ns: u64,
    /// Nanoseconds after which a connection without a message is quiet; 0 for never.
    #[serde(default)]
    pub quiet_after_ns: u64,
}

/// A file of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFile {
    /// What it was called, for errors.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// One record of a recording. Records stand in the order in which they happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Record<'a> {
    /// What the tap saw.
    Event(Event<'a>),
    /// The decoder was told the time.
    Tick {
        /// `CLOCK_MONOTONIC` nanoseconds.
        at_ns: u64,
    },
    /// A process ended.
    Exited {
        /// Its id.
        tgid: u32,
        /// `CLOCK_MONOTONIC` nanoseconds.
        at_ns: u64,
    },
    /// The decoder was told that nothing more comes.
    Finish {
        /// `CLOCK_MONOTONIC` nanoseconds.
        at_ns: u64,
    },
    /// What a process is called from now on.
    Process {
        /// Its id.
        pid: u32,
        /// `/proc/PID/comm`.
        comm: &'a str,
    },
    /// What is tapped from now on: JSON, as `/api/v1/status` has it.
    Facts(&'a str),
    /// The capture side has lost so much for one reason since it began.
    Lost {
        /// As a label says it.
        reason: &'a str,
        /// Records.
        records: u64,
        /// Plaintext bytes.
        bytes: u64,
    },
    /// Writing did not keep up: events are missing, before this record.
    Missed {
        /// How many since the recording began.
        events: u64,
        /// Captured bytes in them.
        bytes: u64,
    },
    /// The recording ended as it should.
    End {
        /// Why, for people.
        why: &'a str,
    },
}

impl Record<'_> {
    /// When it happened, in `CLOCK_MONOTONIC` nanoseconds, where that matters.
    #[must_use]
    pub fn at_ns(&self) -> Option<u64> {
        match *self {
            Self::Event(Event { at_ns, .. })
            | Self::Tick { at_ns }
            | Self::Exited { at_ns, .. }
            | Self::Finish { at_ns } => Some(at_ns),
            _ => None,
        }
    }
}

/// A record as it is stored. Times are differences to the time before in the block. The order of the
/// variants and of their fields is the format: what is new goes to the end, and needs a new version
/// in [`MAGIC`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Stored<'a> {
    /// `captured` bytes follow the record.
    Data {
        conn: StoredConn,
        since_ns: i64,
        received: bool,
        offset: u64,
        len: u64,
        absent: StoredAbsent,
        start: StoredStart,
        captured: u32,
    },
    Closed {
        conn: StoredConn,
        since_ns: i64,
        sent: u64,
        received: u64,
    },
    Tick {
        since_ns: i64,
    },
    Exited {
        tgid: u32,
        since_ns: i64,
    },
    Finish {
        since_ns: i64,
    },
    Process {
        pid: u32,
        comm: &'a str,
    },
    Facts(&'a str),
    Lost {
        reason: &'a str,
        records: u64,
        bytes: u64,
    },
    Missed {
        events: u64,
        bytes: u64,
    },
    End {
        why: &'a str,
    },
}

/// Whose event it is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct StoredConn {
    tgid: u32,
    generation: u32,
    handle: u64,
    target: u16,
    tid: u32,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum StoredAbsent {
    Skipped,
    CopyFailed,
    CallTooLarge,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum StoredStart {
    Middle,
    Call,
    FrameHeader,
    StreamFrameHeader,
    Http2Header,
}

impl<'a> Stored<'a> {
    /// `record` as it is stored after a record of time `before_ns`. The captured bytes are not in
    /// it.
    pub(super) fn of(record: &Record<'a>, before_ns: u64) -> Self {
        let since = |at_ns: u64| at_ns.wrapping_sub(before_ns).cast_signed();
        match *record {
            Record::Event(ref event) => Self::of_event(event, since(event.at_ns)),
            Record::Tick { at_ns } => Self::Tick { since_ns: since(at_ns) },
            Record::Exited { tgid, at_ns } => Self::Exited { tgid, since_ns: since(at_ns) },
            Record::Finish { at_ns } => Self::Finish { since_ns: since(at_ns) },
            Record::Process { pid, comm } => Self::Process { pid, comm },
            Record::Facts(json) => Self::Facts(json),
            Record::Lost { reason, records, bytes } => Self::Lost { reason, records, bytes },
            Record::Missed { events, bytes } => Self::Missed { events, bytes },
            Record::End { why } => Self::End { why },
        }
    }

    fn of_event(event: &Event<'_>, since_ns: i64) -> Self {
        let conn = StoredConn::of(event);
        match event.kind {
            EventKind::Data(segment) => Self::Data {
                conn,
                since_ns,
                received: segment.direction == Direction::Received,
                offset: segment.offset,
                len: segment.len,
                absent: StoredAbsent::of(segment.absent),
                start: StoredStart::of(segment.start),
                // A record of the ring buffer is much smaller than 4 GiB.
                captured: segment.bytes.len() as u32,
            },
            EventKind::Closed { sent, received } => Self::Closed { conn, since_ns, sent, received },
        }
    }

    /// The record that is meant, after one of time `before_ns`, and what of `rest` follows it.
    /// `None` where it makes no sense.
    pub(super) fn restore(self, before_ns: u64, rest: &'a [u8]) -> Option<(Record<'a>, &'a [u8])> {
        let at = |since_ns: i64| {
            Some(before_ns.wrapping_add_signed(since_ns)).filter(|&it| it <= PLAUSIBLE_MAX)
        };
        let record = match self {
            Self::Data { conn, since_ns, received, offset, len, absent, start, captured } => {
                let (bytes, rest) = rest.split_at_checked(captured as usize)?;
                let end = offset.checked_add(len)?;
                if end > PLAUSIBLE_MAX || len < u64::from(captured) {
                    return None;
                }
                let direction = if received { Direction::Received } else { Direction::Sent };
                let (absent, start) = (absent.restore(), start.restore());
                let segment = Segment { direction, offset, len, bytes, absent, start };
                let event = conn.event(at(since_ns)?, EventKind::Data(segment));
                return Some((Record::Event(event), rest));
            }
            Self::Closed { conn, since_ns, sent, received } => {
                if sent.max(received) > PLAUSIBLE_MAX {
                    return None;
                }
                Record::Event(conn.event(at(since_ns)?, EventKind::Closed { sent, received }))
            }
            Self::Tick { since_ns } => Record::Tick { at_ns: at(since_ns)? },
            Self::Exited { tgid, since_ns } => Record::Exited { tgid, at_ns: at(since_ns)? },
            Self::Finish { since_ns } => Record::Finish { at_ns: at(since_ns)? },
            Self::Process { pid, comm } => Record::Process { pid, comm },
            Self::Facts(json) => Record::Facts(json),
            Self::Lost { reason, records, bytes } => Record::Lost { reason, records, bytes },
            Self::Missed { events, bytes } => Record::Missed { events, bytes },
            Self::End { why } => Record::End { why },
        };
        Some((record, rest))
    }
}

impl StoredConn {
    fn of(event: &Event<'_>) -> Self {
        // What is recorded are connections: streams come of decoding.
        let ConnId { tgid, generation, handle, stream: _ } = event.conn;
        Self { tgid, generation, handle, target: event.target.0, tid: event.tid }
    }

    fn event(self, at_ns: u64, kind: EventKind<'_>) -> Event<'_> {
        let Self { tgid, generation, handle, target, tid } = self;
        let conn = ConnId { tgid, generation, handle, stream: 0 };
        Event { conn, target: TargetId(target), tid, at_ns, kind }
    }
}

impl StoredAbsent {
    fn of(absent: Absent) -> Self {
        match absent {
            Absent::Skipped => Self::Skipped,
            Absent::CopyFailed => Self::CopyFailed,
            Absent::CallTooLarge => Self::CallTooLarge,
        }
    }

    fn restore(self) -> Absent {
        match self {
            Self::Skipped => Absent::Skipped,
            Self::CopyFailed => Absent::CopyFailed,
            Self::CallTooLarge => Absent::CallTooLarge,
        }
    }
}

impl StoredStart {
    fn of(start: SegmentStart) -> Self {
        match start {
            SegmentStart::Middle => Self::Middle,
            SegmentStart::Call => Self::Call,
            SegmentStart::FrameHeader => Self::FrameHeader,
            SegmentStart::StreamFrameHeader => Self::StreamFrameHeader,
            SegmentStart::Http2Header => Self::Http2Header,
        }
    }

    fn restore(self) -> SegmentStart {
        match self {
            Self::Middle => SegmentStart::Middle,
            Self::Call => SegmentStart::Call,
            Self::FrameHeader => SegmentStart::FrameHeader,
            Self::StreamFrameHeader => SegmentStart::StreamFrameHeader,
            Self::Http2Header => SegmentStart::Http2Header,
        }
    }
}
