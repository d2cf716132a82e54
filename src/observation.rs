//! What the decoder reports: one value for each thing that happened.
//!
//! Metrics, the frame view and recordings are all made of [`Observation`]s and of nothing else.
//! Every label that leaves the decoder is an enum or a bounded string. `labels` says how each value
//! of an enum is written.

mod exchange;
mod feed;
mod frame;
mod labels;
mod windows;

use super::event::{ConnId, Direction, TargetId};
pub use exchange::{Exchange, IdToken, MessageReading, Waiting};
pub use feed::{FeedReading, OwnTime, SequenceStep, Unchecked};
pub use frame::{Control, Frame};
pub use windows::WindowResult;

/// Which end of the WebSocket connection the tapped process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sent the upgrade request, or its frames are masked.
    Client,
    /// It answered the upgrade, or the peer's frames are masked.
    Server,
    /// Not known (yet): attached in mid-stream and no frame seen.
    #[default]
    Unknown,
}

/// How much of a connection the decoder can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fidelity {
    /// Frames, messages and contents.
    Full,
    /// Frames and counts are exact; contents cannot be read (compressed with a lost context).
    NoContent,
    /// Frame borders are not known (yet).
    #[default]
    Unsynced,
}

/// Who asked: the origin decides what a turnaround means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The tapped process asked (written, then read): network and peer time.
    Local,
    /// The peer asked (read, then written): the tapped process's own service time.
    Remote,
}

impl Origin {
    /// The origin of a request that travelled in `direction`.
    #[must_use]
    pub fn of_request(direction: Direction) -> Self {
        match direction {
            Direction::Sent => Self::Local,
            Direction::Received => Self::Remote,
        }
    }
}

/// RFC 6455, section 5.2: the opcodes, those without a meaning in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// 0x0
    Continuation,
    /// 0x1
    Text,
    /// 0x2
    Binary,
    /// 0x8
    Close,
    /// 0x9
    Ping,
    /// 0xA
    Pong,
    /// 0x3 to 0x7 and 0xB to 0xF: reserved, and sent all the same.
    Reserved,
}

/// Type of a data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// Opcode 1.
    Text,
    /// Opcode 2.
    Binary,
}

/// How a request ended. Every request that started ends in exactly one of these, so
/// `requests started = sum of outcomes + pending` at all times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered.
    Matched,
    /// Answered with an error; an error is an answer, and has a turnaround.
    Error,
    /// No answer within the timeout.
    Expired,
    /// Pushed out of a full pending table.
    Evicted,
    /// The connection ended first.
    Aborted,
    /// The answer may have been in bytes that were lost.
    Gap,
    /// Another request took the same id.
    Duplicate,
    /// The asker withdrew it.
    Cancelled,
    /// wstap stopped watching.
    Detached,
}

/// Why a response found no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrphanReason {
    /// The request may have passed before wstap attached.
    PreAttach,
    /// The request may have been in bytes that were lost.
    AfterGap,
    /// The request had expired.
    Late,
    /// None of these: the peer answered without a request.
    Unknown,
}

/// What a message is in its application protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Asks for an answer.
    Request,
    /// Answers a request.
    Response,
    /// Neither.
    Notification,
}

/// Rules of RFC 6455, RFC 7692 and of the handshake that a peer broke, or a limit that it reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is named after the rule; the label says the same")]
pub enum ProtocolError {
    RsvUnexpected,
    OpcodeReserved,
    ControlFragmented,
    ControlTooLong,
    ContinuationWithoutStart,
    StartInsideFragment,
    MaskMissing,
    MaskUnexpected,
    LengthNotMinimal,
    LengthMsb,
    CloseLen1,
    CloseCodeInvalid,
    Utf8Text,
    Utf8Close,
    DataAfterClose,
    InflateError,
    InflateLimit,
    MessageTooBig,
    AcceptMismatch,
    AcceptMissing,
    UpgradeHeaderInvalid,
    HeadMalformed,
    ExtensionNotOffered,
    ExtensionRepeated,
    SubprotocolNotOffered,
    EofMidFrame,
    Resync,
    PoisonedContext,
    HandshakeInvalid,
    HandshakeTooLong,
    HeadsUnreadable,
}

/// Why stream bytes never reached the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The ring buffer had no room (or the record was lost before it reached the decoder).
    RingFull,
    /// The kernel could not read the application's memory.
    CopyFailed,
    /// The call was larger than the kernel side copies.
    CallTooLarge,
}

/// Why the copied prefix of a message was too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowMiss {
    /// To read what it is: its beginning does not say it, or not for certain.
    Content,
    /// To compare it with one of the other direction that has the same length and beginning.
    Comparison,
    /// Nothing of it can be read: it is compressed, and what came before it is not known.
    Opaque,
    /// Its id is too long to be matched.
    LongId,
}

/// What tells that a connection has ended where its own end was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndSign {
    /// Its handle has another connection.
    HandleReused,
    /// Its process has ended.
    ProcessEnded,
    /// It has been silent for long, and ends of connections were lost.
    Silent,
}

/// Bounded tables of the decoder that may evict an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Connections being followed.
    Connections,
    /// Decompression contexts.
    Inflaters,
    /// Requests waiting for an answer.
    Pending,
    /// Answered requests whose further answers are still being counted.
    Streams,
    /// Possible requests of connections whose protocol is not recognised yet.
    Unrecognised,
}

/// One thing that happened on one connection.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    /// When, in `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// The thread whose call completed it; 0 where no call did (a timeout).
    pub tid: u32,
    /// The target it belongs to.
    pub target: TargetId,
    /// The connection.
    pub conn: ConnId,
    /// The role of the tapped process on this connection, as far as it is known now.
    pub role: Role,
    /// What.
    pub what: What<'a>,
}

/// Where observations go.
pub type Out<'o> = &'o mut dyn FnMut(&Observation<'_>);

/// The kinds of [`Observation`].
#[derive(Clone, Debug)]
pub enum What<'a> {
    /// TLS plaintext passed, captured or not. Counts every byte exactly once.
    Wire {
        /// Which way.
        direction: Direction,
        /// How many bytes.
        bytes: u64,
    },
    /// Plaintext was left in the application's memory on purpose.
    Skipped {
        /// Which way.
        direction: Direction,
        /// How many bytes.
        bytes: u64,
    },
    /// Plaintext was lost: it passed, and its bytes were not captured.
    Gap {
        /// Which way.
        direction: Direction,
        /// How many bytes.
        bytes: u64,
        /// How it was lost.
        reason: GapReason,
    },
    /// Plaintext of a WebSocket was seen and not decoded: it passed before it was known where a
    /// frame begins.
    Unsynced {
        /// Which way.
        direction: Direction,
        /// How many bytes.
        bytes: u64,
    },
    /// Of a message only the beginning was asked for, and more would have been needed.
    WindowMiss {
        /// Which way.
        direction: Direction,
        /// What for.
        reason: WindowMiss,
    },
    /// The window of a compressed direction was not seen, and is looked for in the process.
    Window {
        /// Which way.
        direction: Direction,
        /// What has become of it.
        result: WindowResult,
    },
    /// A WebSocket connection began (its 101 was seen) or was recognised in mid-stream.
    Open(Open<'a>),
    /// An upgrade was asked for and answered with something else than 101.
    Refused {
        /// HTTP status code, 100 to 999.
        status: u16,
    },
    /// A connection entered (`from` is `None`), changed or left (`to` is `None`) the set that
    /// `wstap_connections` counts. Only WebSocket connections are in it.
    State {
        /// Role and fidelity before.
        from: Option<(Role, Fidelity)>,
        /// Role and fidelity from now on.
        to: Option<(Role, Fidelity)>,
    },
    /// A frame passed completely (or its header did and its payload was skipped).
    Frame(Frame),
    /// The same frame, where it is a control frame: what it says.
    Control(Control<'a>),
    /// A data message is complete.
    Message {
        /// What passed.
        message: Message<'a>,
        /// What its application protocol makes of it.
        reading: MessageReading<'a>,
    },
    /// A further application message of the data message that was told last, where it says something
    /// of its feed.
    Further {
        /// Which way.
        direction: Direction,
        /// Protocol label.
        protocol: &'a str,
        /// What it says.
        feed: FeedReading,
    },
    /// A connection has been without a data message for longer than `--quiet-after`, or is not any
    /// more.
    Quiet(bool),
    /// A request began to wait for its answer.
    Started {
        /// Who asked.
        origin: Origin,
        /// Protocol label.
        protocol: &'a str,
        /// Method label, already bounded; `""` where the protocol has none.
        method: &'a str,
    },
    /// A request ended.
    Exchange(Exchange<'a>),
    /// A further answer to a request that has had its first.
    StreamItem {
        /// Who asked.
        origin: Origin,
        /// Protocol label.
        protocol: &'a str,
        /// Method label of the request; `""` where the protocol has none, or the request passed
        /// unseen.
        method: &'a str,
    },
    /// The last of several answers passed, or the asker withdrew.
    StreamEnd {
        /// Who asked.
        origin: Origin,
        /// Protocol label.
        protocol: &'a str,
        /// Method label, as in `StreamItem`.
        method: &'a str,
        /// Answers from the first to the last.
        answers: u64,
        /// From the first answer's last byte to the last one's.
        duration_ns: u64,
    },
    /// The application's own heartbeat was answered (not a WebSocket ping: see `PingRtt`).
    HeartbeatRtt {
        /// Who sent the heartbeat.
        origin: Origin,
        /// Protocol label.
        protocol: &'a str,
        /// Nanoseconds from the heartbeat's last byte to the answer's.
        rtt_ns: u64,
    },
    /// A response found no request.
    Orphan {
        /// Protocol label.
        protocol: &'a str,
        /// Why.
        reason: OrphanReason,
    },
    /// A pong answered a ping.
    PingRtt {
        /// Who pinged.
        origin: Origin,
        /// Nanoseconds from the ping's last byte to the pong's.
        rtt_ns: u64,
    },
    /// A peer broke a rule, or reached a limit.
    ProtocolError {
        /// Whose bytes they were.
        direction: Direction,
        /// Which rule.
        reason: ProtocolError,
    },
    /// The WebSocket connection ended.
    Close {
        /// The close code of the first close frame; 1005 where that had none, 1006 where the
        /// connection ended without one (RFC 6455, section 7.4.1).
        code: u16,
    },
    /// A WebSocket connection has ended, as something else has told than its own end.
    EndUnseen(EndSign),
    /// A bounded table evicted an entry.
    Evicted(Table),
    /// A label value was folded into `__other__`; names the label.
    LabelOverflow(&'static str),
}

/// How a WebSocket connection began.
#[derive(Clone, Debug, Default)]
pub struct Open<'a> {
    /// The `Host` header of the upgrade request.
    pub host: Option<&'a str>,
    /// The request target without its query.
    pub path: Option<&'a str>,
    /// The accepted subprotocol if it is a known one, else `other`; `None` if none was accepted.
    pub subprotocol: Option<&'a str>,
    /// The accepted extensions as the server wrote them.
    pub extensions: Option<&'a str>,
    /// Recognised from its frames, without having seen the handshake.
    pub mid_stream: bool,
}

/// One complete data message, as it passed.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Which way.
    pub direction: Direction,
    /// Text or binary.
    pub message_type: MessageType,
    /// Frames it came in.
    pub frames: u32,
    /// Payload bytes on the wire, compressed if it was.
    pub wire_length: u64,
    /// Application bytes (after inflation); `None` where they could not be known.
    pub length: Option<u64>,
    /// RSV1 was set.
    pub compressed: bool,
    /// Unmasked, inflated bytes from its start: all of it or, where `truncated`, a prefix.
    /// Empty where the content is not readable.
    pub payload: &'a [u8],
    /// The last bytes of a message that was `truncated`, where they are known: at most 512, and
    /// none that `payload` has. Between the two, `length` says how many are missing.
    pub tail: &'a [u8],
    /// `payload` is not the whole message: beyond the window, lost, or not readable.
    pub truncated: bool,
    /// An equal payload was seen in the other direction lately (see `identical_packets_count`).
    pub identical: bool,
}
