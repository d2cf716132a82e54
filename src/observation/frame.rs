//! What is told of single frames.

use super::Opcode;
use crate::event::Direction;

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which way.
    pub direction: Direction,
    /// Opcode.
    pub opcode: Opcode,
    /// FIN bit.
    pub fin: bool,
    /// RSV1 bit: the message is compressed (RFC 7692, section 6).
    pub rsv1: bool,
    /// MASK bit.
    pub masked: bool,
    /// Payload bytes on the wire.
    pub length: u64,
}

/// What a control frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control<'a> {
    /// Which way.
    pub direction: Direction,
    /// Opcode.
    pub opcode: Opcode,
    /// Payload bytes on the wire.
    pub length: u64,
    /// The payload, unmasked; `None` where it is not all there.
    pub payload: Option<&'a [u8]>,
}
