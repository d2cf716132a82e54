//! What the capture side hands to the decoder: one tapped call, or the end of a connection.
//!
//! An [`Event`] is plain data. It carries its own time and its own place in the stream, so that
//! the decoder needs no clock and sees every hole. Where events come from (a ring buffer, a
//! recording, a test) is left to others.

pub mod zlib;

use std::fmt;
use std::hash::{Hash, Hasher};

/// Identity of one tapped connection as long as wstap runs.
///
/// The handle (an `SSL *`, the equal of another library, or a socket) is reused by applications, so
/// the kernel side adds a generation that is never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId {
    /// Process id (thread group id) of the tapped process, in the initial pid namespace. Where several
    /// processes use one object in memory that they share, it is the one that used it first.
    pub tgid: u32,
    /// Serial number of the connection, unique over the whole run of wstap.
    pub generation: u32,
    /// Address of the library's connection object in the tapped process; of a socket its inode
    /// number, with the upper 16 bits set, which no address in a process has. Of a layer of NSPR the
    /// upper 15 bits are set: it may be TLS or something else.
    pub handle: u64,
    /// The stream of an HTTP/2 connection that carries it; 0 where a connection carries nothing
    /// else.
    pub stream: u32,
}

/// The bits that distinguish the handle of a socket from an address.
const SOCKET_HANDLE: u64 = 0xffff << 48;

/// The bits that distinguish the handle of an NSPR layer from both.
const LAYER_HANDLE: u64 = 0xfffe << 48;

impl ConnId {
    /// The inode number of the socket, as `/proc/PID/fd` has it; `None` for a TLS connection.
    #[must_use]
    pub fn socket(self) -> Option<u64> {
        (self.handle & SOCKET_HANDLE == SOCKET_HANDLE).then_some(self.handle & !SOCKET_HANDLE)
    }

    /// It may be anything, and counts only once it has proven to be a WebSocket.
    #[must_use]
    pub fn is_anything(self) -> bool {
        self.handle >= LAYER_HANDLE
    }

    /// What carries it.
    #[must_use]
    pub fn http(self) -> HttpVersion {
        if self.stream == 0 { HttpVersion::Http11 } else { HttpVersion::Http2 }
    }

    /// Where its bytes were tapped.
    #[must_use]
    pub fn transport(self) -> Transport {
        if self.socket().is_some() { Transport::Plain } else { Transport::Tls }
    }
}

/// Where the bytes of a connection were tapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// In a TLS library: `wss://`.
    Tls,
    /// On a TCP socket: `ws://`, or whatever else passes there.
    Plain,
}

impl Transport {
    /// Both, in index order.
    pub const ALL: [Self; 2] = [Self::Tls, Self::Plain];

    /// `tls` or `plain`, as in labels and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Plain => "plain",
        }
    }
}

/// What carries a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HttpVersion {
    /// A connection of its own, which began with HTTP/1.1 (RFC 6455).
    Http11,
    /// A stream of an HTTP/2 connection (RFC 8441).
    Http2,
}

impl HttpVersion {
    /// Both, in index order.
    pub const ALL: [Self; 2] = [Self::Http11, Self::Http2];

    /// `1.1` or `2`, as in labels and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }
}

/// The generation alone tells connections apart, and the stream those that one carries: to hash
/// more would only take longer, and it is done for every call.
impl Hash for ConnId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.stream) << 32 | u64::from(self.generation));
    }
}

impl fmt::Display for ConnId {
    /// `PID-GENERATION`, for example `4242-17`: short, and stable for the life of the connection.
    /// On a stream of HTTP/2 its id follows: `4242-17.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.tgid, self.generation)?;
        match self.stream {
            0 => Ok(()),
            stream => write!(f, ".{stream}"),
        }
    }
}

/// Index into the list of targets that the user selected; names are kept by the edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u16);

/// Which way bytes travel, as the tapped process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Written by the tapped process.
    Sent,
    /// Read by the tapped process.
    Received,
}

impl Direction {
    /// Both directions, in index order.
    pub const BOTH: [Self; 2] = [Self::Sent, Self::Received];

    /// The other way.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Sent => Self::Received,
            Self::Received => Self::Sent,
        }
    }

    /// 0 for sent, 1 for received: for tables of two.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Sent => 0,
            Self::Received => 1,
        }
    }

    /// `sent` or `received`, as in labels and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}

/// When a call passed bytes, and on which thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// The thread that made the call; 0 where no call did (a timeout).
    pub tid: u32,
}

/// Payload bytes up to which a message is always asked for whole.
pub const LONG_BYTES: u64 = 1024;

/// Payload bytes of a long message that a narrow window holds.
pub const NARROW_BYTES: usize = 256;

/// Payload bytes at the end of a message longer than its window that are asked for as well.
pub const TAIL_BYTES: usize = 512;

/// One thing the tap saw on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The connection it belongs to.
    pub conn: ConnId,
    /// The target (selector) that the process was tapped for.
    pub target: TargetId,
    /// Thread that made the call.
    pub tid: u32,
    /// `CLOCK_MONOTONIC` nanoseconds: entry of the call for sent bytes, return for received ones.
    pub at_ns: u64,
    /// What happened.
    pub kind: EventKind<'a>,
}

/// The kinds of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind<'a> {
    /// Plaintext that a call passed, or a piece of it when the call was larger than one record.
    Data(Segment<'a>),
    /// The handle was freed or cleared. Nothing more comes on this [`ConnId`].
    Closed {
        /// Plaintext bytes sent over the whole life of the connection.
        sent: u64,
        /// Plaintext bytes received over the whole life of the connection.
        received: u64,
    },
}

/// A stretch of one direction's plaintext with its absolute place.
///
/// It stands for the stream bytes `offset .. offset + len`, of which the first `bytes.len()` are
/// here. The rest, if any, was left in the application's memory for the reason in `absent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Which way the bytes went.
    pub direction: Direction,
    /// Offset of the first byte in this direction of the connection, counted from 0 at the first
    /// byte that the tap saw.
    pub offset: u64,
    /// Stream bytes that this segment stands for; at least `bytes.len()`.
    pub len: u64,
    /// The captured bytes, a prefix of the stretch.
    pub bytes: &'a [u8],
    /// Why `bytes` is shorter than `len`; meaningless when it is not.
    pub absent: Absent,
    /// What the first byte is known to be.
    pub start: SegmentStart,
}

/// Why bytes of a [`Segment`] are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Absent {
    /// Left out on purpose: payload beyond the window, or a connection that is not WebSocket.
    #[default]
    Skipped,
    /// The kernel could not read them (paged out, or unmapped): lost.
    CopyFailed,
    /// The call was larger than the kernel side copies in one go: lost.
    CallTooLarge,
}

/// What the kernel side knows of a segment's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SegmentStart {
    /// It continues the call of the segment before.
    #[default]
    Middle,
    /// It is the first byte that a call passed: a likely, but unproven, frame border.
    Call,
    /// It is the first byte of a frame header: the kernel walked the headers up to here.
    FrameHeader,
    /// The same on a stream of HTTP/2, inside of its DATA.
    StreamFrameHeader,
    /// It is the first byte of a header of an HTTP/2 frame, walked to likewise.
    Http2Header,
}

/// The reasons of a [`Loss`] that leave a gap in a stream.
///
/// In this order: the ring buffer was full, the application's memory could not be read, and the call
/// was larger than what is copied of one call.
pub const BYTES_LOST: [&str; 3] = ["ring_full", "copy_failed", "call_too_large"];

/// The reasons of a [`Loss`] that leave no gap: the offsets of a stream do not include these calls.
///
/// In this order: the thread had no room for the call, there was no room for its connection, and
/// the call had begun before its probes were in place.
pub const CALLS_LEFT_OUT: [&str; 3] = ["untracked", "too_many_connections", "in_flight"];

/// The reason of a [`Loss`] of records that say that a connection has ended. No bytes are lost with one.
pub const CONNECTION_END: &str = "connection_end";

/// What the capture side lost for one reason since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why, as a label says it, for example `ring_full`.
    pub reason: &'static str,
    /// Records (pieces of calls) that were not written; for [`CALLS_LEFT_OUT`] the calls.
    pub records: u64,
    /// Plaintext bytes that they stood for.
    pub bytes: u64,
}
