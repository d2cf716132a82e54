//! Reads the records of a file, whatever the file contains.
//!
//! Never panics, and needs no more memory than two blocks. What was cut off or damaged ends the
//! reading after the last whole block, and [`Reader::ending`] says so.

use std::io::{self, Read};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::format::{FRAME_BYTES, Header, MAGIC, Record, STORED_MAX, Stored, UNPACKED_MAX};

/// Why a file is not read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file does not begin with the line of a recording.
    #[error("it is not a recording of this version: a recording begins with `wstap recording 1`")]
    Foreign,
    /// The file ends within the header.
    #[error("it ends before its header does: nothing was recorded, or almost nothing is left")]
    NoHeader,
    /// The header makes no sense.
    #[error("its header is damaged: {0}")]
    Header(String),
    /// The system refuses.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How a file ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Not read to its end yet.
    Open,
    /// The recording ended here, for this reason.
    Whole(String),
    /// After a whole block, but the recording did not end there: wstap was killed, or still writes.
    NoEnd,
    /// In the middle of a block, whose bytes were left out.
    Cut {
        /// Bytes behind the last whole block.
        bytes: u64,
    },
    /// The block at this place is damaged; it and what follows were left out.
    Damaged {
        /// Its offset in the file.
        offset: u64,
    },
}

/// Reads one file.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    block: Vec<u8>,
    /// What of the block has been read.
    at: usize,
    /// Time that the next record's is a difference to.
    before_ns: u64,
    /// Time of the last record that had one, in any block.
    last_ns: u64,
    /// Bytes of the file up to the end of the block.
    offset: u64,
    ending: Ending,
}

/// What there is at one place of a file.
enum Frame {
    Whole { stored: Vec<u8>, unpacked: usize },
    Nothing,
    Cut { bytes: u64 },
    Damaged,
}

impl<R: Read> Reader<R> {
    /// Reads what comes before the blocks.
    ///
    /// # Errors
    ///
    /// It is no recording, or too little of one.
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        let magic = read_up_to(&mut input, MAGIC.len())?;
        if magic != MAGIC {
            return Err(if MAGIC.starts_with(&magic) {
                ReadError::NoHeader
            } else {
                ReadError::Foreign
            });
        }
        let header = match frame(&mut input)? {
            Frame::Whole { stored, unpacked } if stored.len() != unpacked => {
                Err(ReadError::Header("its lengths differ".into()))
            }
            Frame::Whole { stored, .. } => serde_json::from_slice(&stored)
                .map(|header| (header, stored.len()))
                .map_err(|error| ReadError::Header(error.to_string())),
            Frame::Nothing | Frame::Cut { .. } => Err(ReadError::NoHeader),
            Frame::Damaged => Err(ReadError::Header("its checksum is wrong".into())),
        };
        let (header, bytes) = header?;
        let offset = (MAGIC.len() + FRAME_BYTES + bytes) as u64;
        let ending = Ending::Open;
        Ok(Self {
            input,
            header,
            block: Vec::new(),
            at: 0,
            before_ns: 0,
            last_ns: 0,
            offset,
            ending,
        })
    }

    /// What was recorded.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How the file ended, once [`Reader::record`] has returned `None`.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    /// The next record; `None` where nothing more can be read.
    ///
    /// # Errors
    ///
    /// The system refuses to read.
    pub fn record(&mut self) -> io::Result<Option<Record<'_>>> {
        if !self.fill()? {
            return Ok(None);
        }
        let rest = &self.block[self.at..];
        let restored = postcard::take_from_bytes::<Stored<'_>>(rest)
            .ok()
            .and_then(|(stored, rest)| stored.restore(self.before_ns, rest));
        let Some((record, rest)) = restored else {
            // Its checksum is right, so it was written so: by a fault, or on purpose.
            self.ending = Ending::Damaged { offset: self.offset };
            self.at = self.block.len();
            return Ok(None);
        };
        self.at = self.block.len() - rest.len();
        if let Some(at_ns) = record.at_ns() {
            (self.before_ns, self.last_ns) = (at_ns, at_ns);
        }
        if let Record::End { why } = record {
            self.ending = Ending::Whole(why.to_owned());
        }
        Ok(Some(record))
    }

    /// The time of the next record, which is that of the one before it where it has none, and 0 where
    /// none had one yet; `None` where nothing more can be read. The record stays.
    ///
    /// # Errors
    ///
    /// The system refuses to read.
    pub fn next_ns(&mut self) -> io::Result<Option<u64>> {
        if !self.fill()? {
            return Ok(None);
        }
        let (at, before_ns, last_ns) = (self.at, self.before_ns, self.last_ns);
        let next_ns = self.record()?.map(|record| record.at_ns().unwrap_or(last_ns));
        if next_ns.is_some() {
            (self.at, self.before_ns, self.last_ns) = (at, before_ns, last_ns);
            self.ending = Ending::Open;
        }
        Ok(next_ns)
    }

    /// Whether something of a block is left to be read.
    fn fill(&mut self) -> io::Result<bool> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether there is one more block to read records from.
    fn next_block(&mut self) -> io::Result<bool> {
        if self.ending != Ending::Open {
            return Ok(false);
        }
        let found = frame(&mut self.input)?;
        self.ending = match found {
            Frame::Whole { stored, unpacked } => match unpack(&stored, unpacked) {
                Some(block) => {
                    self.offset += (FRAME_BYTES + stored.len()) as u64;
                    (self.block, self.at, self.before_ns) = (block, 0, 0);
                    return Ok(true);
                }
                None => Ending::Damaged { offset: self.offset },
            },
            Frame::Nothing => Ending::NoEnd,
            Frame::Cut { bytes } => Ending::Cut { bytes },
            Frame::Damaged => Ending::Damaged { offset: self.offset },
        };
        Ok(false)
    }
}

fn frame(input: &mut impl Read) -> io::Result<Frame> {
    let head = read_up_to(input, FRAME_BYTES)?;
    if head.is_empty() {
        return Ok(Frame::Nothing);
    }
    let word = |at: usize| {
        let bytes = head.get(at..at + 4)?;
        bytes.try_into().ok().map(u32::from_le_bytes)
    };
    let (Some(stored), Some(unpacked), Some(sum)) = (word(0), word(4), word(8)) else {
        return Ok(Frame::Cut { bytes: head.len() as u64 });
    };
    let (stored, unpacked) = (stored as usize, unpacked as usize);
    if stored > STORED_MAX || unpacked > UNPACKED_MAX {
        return Ok(Frame::Damaged);
    }
    let contents = read_up_to(input, stored)?;
    if contents.len() < stored {
        return Ok(Frame::Cut { bytes: (head.len() + contents.len()) as u64 });
    }
    let mut crc = Crc::new();
    crc.update(&contents);
    Ok(if crc.sum() == sum { Frame::Whole { stored: contents, unpacked } } else { Frame::Damaged })
}

/// The contents of a block; `None` where they are not what the frame announced.
fn unpack(stored: &[u8], unpacked: usize) -> Option<Vec<u8>> {
    let mut block = Vec::new();
    // One byte more than announced shows that there is more.
    let mut inflated = DeflateDecoder::new(stored).take(unpacked as u64 + 1);
    inflated.read_to_end(&mut block).ok()?;
    (block.len() == unpacked).then_some(block)
}

/// The next `most` bytes, or what there is. Memory is taken as bytes come, not as they are
/// announced.
fn read_up_to(input: &mut impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
