//! Puts records into blocks, and writes blocks to a file.
//!
//! The two are apart because they have different threads: an [`Encoder`] works beside the decoder
//! and only copies, a [`FileWriter`] compresses and waits for the disk.

use std::io::{self, Write};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

use super::format::{FRAME_BYTES, Header, MAGIC, Record, STORED_MAX, Stored, UNPACKED_MAX};
use crate::event::{Event, EventKind};

/// Bytes from which a block is closed.
const BLOCK_BYTES: usize = 128 << 10;

/// Whole records, not yet compressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    bytes: Vec<u8>,
    /// Events in it.
    pub events: u64,
    /// Captured bytes in them.
    pub captured: u64,
}

/// Puts records into blocks.
#[derive(Debug, Default)]
pub struct Encoder {
    block: Block,
    before_ns: u64,
}

impl Encoder {
    /// Adds a record to the open block. One that is too long for any block (names and facts come
    /// from outside) is left out.
    pub fn push(&mut self, record: &Record<'_>) {
        let stored = Stored::of(record, self.before_ns);
        let before = self.block.bytes.len();
        let block = std::mem::take(&mut self.block.bytes);
        // It can only fail where memory does.
        self.block.bytes = postcard::to_extend(&stored, block).unwrap_or_default();
        let captured = captured(record);
        self.block.bytes.extend_from_slice(captured);
        if self.block.bytes.len() > UNPACKED_MAX {
            self.block.bytes.truncate(before);
            return;
        }
        self.before_ns = record.at_ns().unwrap_or(self.before_ns);
        self.block.events += u64::from(matches!(record, Record::Event(_)));
        self.block.captured += captured.len() as u64;
    }

    /// Whether the open block is large enough to be written.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.block.bytes.len() >= BLOCK_BYTES
    }

    /// Closes the open block; `None` where nothing is in it.
    pub fn take(&mut self) -> Option<Block> {
        self.before_ns = 0;
        let block = std::mem::take(&mut self.block);
        (!block.bytes.is_empty()).then_some(block)
    }
}

/// The bytes that follow the stored record.
fn captured<'a>(record: &Record<'a>) -> &'a [u8] {
    match record {
        Record::Event(Event { kind: EventKind::Data(segment), .. }) => segment.bytes,
        _ => &[],
    }
}

/// A block as a file has it.
#[derive(Debug)]
pub struct Packed(Vec<u8>);

impl Packed {
    /// Bytes that it takes in the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.len() as u64
    }
}

impl Block {
    /// Compresses it.
    ///
    /// # Errors
    ///
    /// Never, unless memory is short.
    pub fn pack(&self) -> io::Result<Packed> {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::new(3));
        packed.write_all(&self.bytes)?;
        let packed = packed.finish()?;
        debug_assert!(packed.len() <= STORED_MAX);
        let mut bytes = Vec::with_capacity(FRAME_BYTES + packed.len());
        frame(&mut bytes, &packed, self.bytes.len());
        Ok(Packed(bytes))
    }
}

/// Writes one file of a recording.
#[derive(Debug)]
pub struct FileWriter<W> {
    out: W,
    written: u64,
}

impl<W: Write> FileWriter<W> {
    /// Writes what comes before the blocks.
    ///
    /// # Errors
    ///
    /// `out` fails, or the header is larger than a reader accepts.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let json = serde_json::to_vec(header)?;
        if json.len() > UNPACKED_MAX {
            return Err(io::Error::other("the rules are too large for a recording"));
        }
        let mut bytes = MAGIC.to_vec();
        frame(&mut bytes, &json, json.len());
        let mut writer = Self { out, written: 0 };
        writer.block(&Packed(bytes))?;
        Ok(writer)
    }

    /// Writes a block. The file ends with a whole block if and only if this succeeds.
    ///
    /// # Errors
    ///
    /// `out` fails; what is written then may end with a part of the block.
    pub fn block(&mut self, block: &Packed) -> io::Result<()> {
        self.out.write_all(&block.0)?;
        self.out.flush()?;
        self.written += block.bytes();
        Ok(())
    }

    /// Bytes up to the end of the last whole block.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// What it writes to.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// What it writes to, which is over.
    pub fn into_inner(self) -> W {
        self.out
    }
}

fn frame(out: &mut Vec<u8>, stored: &[u8], unpacked: usize) {
    let mut crc = Crc::new();
    crc.update(stored);
    // Both are bounded by the size of a block.
    out.extend((stored.len() as u32).to_le_bytes());
    out.extend((unpacked as u32).to_le_bytes());
    out.extend(crc.sum().to_le_bytes());
    out.extend(stored);
}
