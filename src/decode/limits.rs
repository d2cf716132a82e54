//! The bounds of the decoder, in one place.

/// How much the decoder may keep. Every figure is a hard bound, and what can grow with the number
/// of connections has one over all of them: with the defaults the decoder (without matching) stays
/// below 224 MiB whatever its input is. Up to 80 of them are for windows that are looked for. What it
/// takes in practice depends on the traffic: an idle uncompressed connection takes less than 3 KB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message that are kept; longer ones are counted exactly but truncated.
    pub window_bytes: usize,
    /// Where the first [`NARROW_BYTES`](crate::event::NARROW_BYTES) of long messages have proven
    /// to be enough, the kernel side is asked for no more of them.
    pub narrows: bool,
    /// Bytes of unfinished messages that are kept, over all connections. Beyond it messages are
    /// truncated earlier than at the window.
    pub unfinished_bytes: usize,
    /// Connections followed at a time; beyond it the one that was silent for longest is let go.
    pub connections: usize,
    /// Decompression contexts, of some 80 KiB each: one for each direction of 256 connections. Beyond
    /// it the one that was unused for longest is let go, and its direction stays unreadable.
    pub inflaters: usize,
    /// Where the beginning of a compressed direction was not seen, its window is asked for.
    pub finds_windows: bool,
    /// Bytes that one compressed message may inflate to before it is given up.
    pub inflated_bytes: u64,
    /// Bytes of a request's or a response's head.
    pub head_bytes: usize,
    /// Bytes held back per connection and direction, until a handshake is complete or until it is
    /// proven where frames begin.
    pub held_bytes: usize,
    /// Bytes of heads and of what is held back, over all connections. A connection that would
    /// need more lets go of what it holds: before the handshake is complete it is no longer
    /// decoded, after that it goes on with its search for a frame border.
    pub held_bytes_in_all: usize,
    /// Payload bytes that a frame header may announce and be believed.
    pub frame_bytes: u64,
    /// Bytes searched for frame borders before only the starts of calls are tried.
    pub search_bytes: u64,
    /// Bytes of the tables behind `identical`, over all connections. Beyond it they look back over
    /// fewer messages.
    pub identical_bytes: usize,
    /// Nanoseconds that a 101 waits for its request, whose event may come late.
    pub handshake_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_bytes: 64 << 10,
            narrows: true,
            unfinished_bytes: 8 << 20,
            connections: 16_384,
            inflaters: 512,
            finds_windows: true,
            inflated_bytes: 64 << 20,
            head_bytes: 256 << 10,
            held_bytes: 128 << 10,
            held_bytes_in_all: 16 << 20,
            frame_bytes: 1 << 32,
            search_bytes: 256 << 10,
            identical_bytes: 16 << 20,
            handshake_ns: 1_000_000_000,
        }
    }
}
