//! Frames in the byte stream of one direction (AMQP 1.0, part 2, section 2.3).
//!
//! A frame that lies in one message is read there. Of one that was cut its beginning is put together.

use super::value::{List, Reader, Value};

/// Bytes of a frame's header, and of what both sides begin with.
const HEADER_BYTES: usize = 8;

/// Bytes that are kept of a frame that comes in pieces.
const KEPT_BYTES: usize = 1 << 10;

/// Largest frame that is believed. Peers agree on 16 KiB to 1 MiB.
const MAX_FRAME_BYTES: u32 = 1 << 28;

/// Where one direction of the byte stream stands.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// The beginning of a frame that is not whole yet.
    kept: Vec<u8>,
    /// Bytes of it that have passed.
    passed: usize,
    /// Bytes were lost. Senders nearly always begin a message with a frame, so that is tried.
    is_lost: bool,
}

/// What passed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Passed<'a> {
    /// `AMQP` and a version.
    Protocol,
    /// A frame that only says that its sender is there.
    Empty,
    /// A performative by its descriptor, its fields, and what follows them in the frame.
    Frame { channel: u16, code: u64, fields: List<'a>, payload: &'a [u8] },
}

impl Side {
    /// Reads the bytes of a message, and tells each frame that ends in it; of a message that was cut, also
    /// the one that is cut off.
    pub(super) fn read(
        &mut self,
        mut bytes: &[u8],
        is_cut: bool,
        tell: &mut dyn FnMut(Passed<'_>),
    ) {
        if self.is_lost {
            self.forget();
        }
        while !bytes.is_empty() && !self.is_lost {
            bytes = self.advance(bytes, tell);
        }
        if is_cut {
            if let Some(passed) = passed(&self.kept) {
                tell(passed);
            }
            self.lose();
        }
    }

    /// Bytes are missing.
    pub(super) fn lose(&mut self) {
        self.forget();
        self.is_lost = true;
    }

    fn forget(&mut self) {
        *self = Self::default();
    }

    /// Reads some of `bytes`, at least one, and returns the rest.
    fn advance<'b>(&mut self, bytes: &'b [u8], tell: &mut dyn FnMut(Passed<'_>)) -> &'b [u8] {
        if self.passed == 0
            && let Some(size) = size(bytes)
            && let Some((frame, rest)) = bytes.split_at_checked(size)
        {
            match passed(frame) {
                Some(passed) => tell(passed),
                None if size > HEADER_BYTES && !is_plausible(frame) => self.lose(),
                None => {}
            }
            return rest;
        }
        let size = size(&self.kept).unwrap_or(HEADER_BYTES);
        let missing = size.saturating_sub(self.passed);
        let (piece, rest) = bytes.split_at(missing.min(bytes.len()));
        let room = KEPT_BYTES.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
        self.passed += piece.len();
        self.finish(tell);
        rest
    }

    /// Tells the frame whose beginning is kept, if all of it has passed.
    fn finish(&mut self, tell: &mut dyn FnMut(Passed<'_>)) {
        if self.kept.len() < HEADER_BYTES {
            return;
        }
        match size(&self.kept) {
            None => self.lose(),
            Some(_) if !is_plausible(&self.kept) => self.lose(),
            Some(size) if self.passed >= size => {
                if let Some(passed) = passed(&self.kept) {
                    tell(passed);
                }
                self.forget();
            }
            Some(_) => {}
        }
    }
}

/// The size of the frame that `bytes` begin with; `None` where they are too few or no frame.
fn size(bytes: &[u8]) -> Option<usize> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    if header.starts_with(b"AMQP") {
        // 0: AMQP, 2: TLS, 3: SASL. Version 1.0.0.
        let is_known = matches!(header[4], 0 | 2 | 3) && header[5..] == [1, 0, 0];
        return is_known.then_some(HEADER_BYTES);
    }
    let size = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
    // The data begins behind the header, and there are two types of frames.
    let offset = u32::from(header[4]) * 4;
    let is_frame = (HEADER_BYTES as u32..=size).contains(&offset) && header[5] <= 1;
    (is_frame && size <= MAX_FRAME_BYTES).then_some(size as usize)
}

/// The data of a frame begins like a performative, as far as it is there: with a zero, and a number or a
/// symbol (part 1, section 1.5).
fn is_plausible(frame: &[u8]) -> bool {
    let Some(&offset) = frame.get(4) else { return true };
    if frame.starts_with(b"AMQP") {
        return true;
    }
    let data = frame.get(usize::from(offset) * 4..).unwrap_or_default();
    matches!(data, [] | [0] | [0, 0x53 | 0x80 | 0xa3 | 0xb3, ..])
}

/// What `frame` is, or what its beginning shows of it.
fn passed(frame: &[u8]) -> Option<Passed<'_>> {
    let size = size(frame)?;
    if frame.starts_with(b"AMQP") {
        return Some(Passed::Protocol);
    }
    let data = frame.get(usize::from(*frame.get(4)?) * 4..)?;
    if data.is_empty() {
        return (size == frame.len()).then_some(Passed::Empty);
    }
    let is_sasl = frame.get(5) == Some(&1);
    let channel = u16::from_be_bytes([*frame.get(6)?, *frame.get(7)?]);
    let mut reader = Reader::new(data);
    let code = reader.described().ok()??;
    // Performatives have numbers from 0x10 on, those of SASL from 0x40 on (parts 2 and 5).
    let is_known =
        if is_sasl { (0x40..=0x44).contains(&code) } else { (0x10..=0x18).contains(&code) };
    let Ok(Value::List(fields)) = reader.primitive() else { return None };
    is_known.then_some(Passed::Frame { channel, code, fields, payload: reader.rest() })
}
