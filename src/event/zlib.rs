//! One call of zlib in a tapped process, as seen at its entry.

use super::Direction;

/// Bytes that are taken from the beginning of a call's input.
pub const INPUT_BYTES: usize = 256;

/// Bytes that are taken from the end of what a stream holds.
pub const TAIL_BYTES: usize = 256;

/// The largest window of DEFLATE (RFC 1951, section 2).
pub const WINDOW_BYTES: usize = 32 << 10;

/// A call of `inflate` or `deflate`, before it has done anything.
///
/// Nothing in it is believed: it comes from the memory of a process, which may say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZlibCall<'a> {
    /// The process.
    pub tgid: u32,
    /// The thread that made the call.
    pub tid: u32,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// Calls of zlib before this one that could not be reported, whatever the process. It wraps.
    pub missed: u32,
    /// Address of the `z_stream`: the same for all calls that work on one stream of DEFLATE.
    pub stream: u64,
    /// What is inflated was received, what is deflated will be sent.
    pub direction: Direction,
    /// What was seen.
    pub what: ZlibLook<'a>,
}

/// What could be seen of a [`ZlibCall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZlibLook<'a> {
    /// A stream of another format than that of permessage-deflate, or one that only begins.
    Other,
    /// The state is not laid out as zlib's.
    UnknownLayout,
    /// A raw stream that has done something before.
    Raw(RawStream<'a>),
}

/// A raw stream of DEFLATE between two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawStream<'a> {
    /// Bytes of input since the stream began.
    pub total_in: u64,
    /// Bytes of output since then.
    pub total_out: u64,
    /// Bytes that this call is given.
    pub input_len: u64,
    /// The first of them, at most [`INPUT_BYTES`].
    pub input: &'a [u8],
    /// The last bytes of plaintext before the call, at most [`TAIL_BYTES`].
    pub tail: &'a [u8],
    /// All of them that the stream may still refer to, if they were copied.
    pub window: Option<Window<'a>>,
}

/// The plaintext that a stream may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window<'a> {
    /// How far back the stream may refer, at most [`WINDOW_BYTES`].
    pub size: usize,
    /// The plaintext in order, in two pieces, because zlib keeps it in a ring.
    pub pieces: [&'a [u8]; 2],
}
