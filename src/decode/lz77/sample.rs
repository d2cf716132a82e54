//! A message of a direction that waits.

/// A compressed message.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) payload: Vec<u8>,
    /// When its last byte passed, and on which thread.
    pub(super) at_ns: u64,
    pub(super) tid: u32,
    /// zlib has been called for it or for a later one.
    pub(super) is_done: bool,
}
