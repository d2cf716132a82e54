//! The heads of one direction: blocks of fields in HEADERS, PUSH_PROMISE and CONTINUATION
//! (RFC 9113, section 4.3), compressed by HPACK (RFC 7541).
//!
//! HPACK refers to what earlier heads said, so every head is decoded, also that of an ordinary
//! request. If one is missing, later ones of that direction cannot be read any more: the table is
//! poisoned.

use std::fmt;

use loona_hpack::Decoder;

use super::frame::{Header, Kind};
use super::head::Head;

/// Bytes of the table of earlier fields that a peer may ask for. Browsers ask for this many,
/// everyone else for less.
const TABLE_BYTES: usize = 64 << 10;

/// What is known of one direction's heads.
pub(super) struct Heads {
    /// `None` once it is poisoned.
    table: Option<Box<Decoder<'static>>>,
    block: Option<Block>,
}

/// A head that is not complete.
struct Block {
    /// Of its first frame.
    header: Header,
    bytes: Vec<u8>,
}

/// A head that is complete.
#[derive(Debug)]
pub(super) struct Complete {
    pub(super) stream: u32,
    /// It says nothing of the stream: a promise.
    pub(super) is_promise: bool,
    /// Its sender has nothing more to say on the stream.
    pub(super) ends_stream: bool,
    /// `None` where it cannot be read.
    pub(super) head: Option<Head>,
}

impl Heads {
    /// From the beginning of a connection.
    pub(super) fn new() -> Self {
        let mut table = Box::new(Decoder::new());
        table.set_max_allowed_table_size(TABLE_BYTES);
        Self { table: Some(table), block: None }
    }

    /// Of a connection that was met in mid-stream.
    pub(super) fn met() -> Self {
        Self { table: None, block: None }
    }

    /// A frame begins. Returns true if that poisoned the table just now.
    #[must_use]
    pub(super) fn begin(&mut self, header: Header) -> bool {
        let goes_on = header.kind == Kind::Continuation
            && self.block.as_ref().is_some_and(|it| it.header.stream == header.stream);
        if goes_on {
            return false;
        }
        // "the sequence of frames MUST be contiguous" (section 4.3).
        let broken = self.block.take().is_some() || header.kind == Kind::Continuation;
        if matches!(header.kind, Kind::Headers | Kind::PushPromise) {
            self.block = Some(Block { header, bytes: Vec::new() });
        }
        broken && self.poison()
    }

    /// Content of a frame that carries a head. Returns true if that poisoned the table just now.
    #[must_use]
    pub(super) fn push(&mut self, bytes: &[u8], limit: usize) -> bool {
        let Some(block) = &mut self.block else { return false };
        if self.table.is_none() {
            return false;
        }
        if block.bytes.len() + bytes.len() > limit {
            return self.poison();
        }
        block.bytes.extend_from_slice(bytes);
        false
    }

    /// A frame that carries a head has passed. Returns the head if it is complete, and whether the
    /// table was poisoned just now.
    pub(super) fn end(&mut self, header: Header) -> (Option<Complete>, bool) {
        let Some(block) = self.block.take_if(|_| header.ends_head()) else { return (None, false) };
        let (head, poisoned) = self.decode(&block.bytes);
        let complete = Complete {
            stream: block.header.stream,
            is_promise: block.header.kind == Kind::PushPromise,
            ends_stream: block.header.ends_stream(),
            head,
        };
        (Some(complete), poisoned)
    }

    fn decode(&mut self, block: &[u8]) -> (Option<Head>, bool) {
        let Some(table) = &mut self.table else { return (None, false) };
        let mut head = Head::default();
        match table.decode_with_cb(block, |name, value| head.take(&name, &value)) {
            Ok(()) => (Some(head), false),
            Err(_) => (None, self.poison()),
        }
    }

    /// Bytes of a head are missing or wrong. Returns true if it was not poisoned before.
    pub(super) fn poison(&mut self) -> bool {
        if let Some(block) = &mut self.block {
            block.bytes = Vec::new();
        }
        self.table.take().is_some()
    }

    /// Bytes of a head that is not complete.
    pub(super) fn held_bytes(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.bytes.len())
    }
}

impl fmt::Debug for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heads").field("is_poisoned", &self.table.is_none()).finish_non_exhaustive()
    }
}
