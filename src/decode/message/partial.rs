//! A data message on its way: what is kept of it, and what is known of the rest.

use super::inflate::{Fault, Inflaters, Lease};
use super::tail::Tail;
use crate::decode::context::Buffers;
use crate::decode::frame::header::Header;
use crate::decode::frame::utf8::Utf8;
use crate::event::TAIL_BYTES;
use crate::observation::{MessageType, ProtocolError};

/// A message whose last frame has not ended.
#[derive(Debug)]
pub(in crate::decode) struct Unfinished {
    pub(in crate::decode) message_type: MessageType,
    pub(in crate::decode) compressed: bool,
    pub(in crate::decode) frames: u32,
    /// Payload bytes of its frames so far, from their headers.
    pub(in crate::decode) wire_length: u64,
    /// Application bytes so far.
    length: u64,
    /// Application bytes from its start; a prefix once `truncated`.
    kept: Vec<u8>,
    truncated: bool,
    /// Application bytes at its end, once `truncated`.
    tail: Tail,
    /// How it is inflated; `None` if it is not compressed, or cannot be read (any more).
    pub(in crate::decode) lease: Option<Lease>,
    /// Compressed, and the rest of it cannot be read.
    opaque: bool,
    /// Why, if a rule was broken.
    pub(in crate::decode) fault: Option<ProtocolError>,
    /// `None` where the text cannot be checked as a whole.
    utf8: Option<Utf8>,
}

/// What a finished message amounts to, besides its payload.
#[derive(Debug)]
pub(in crate::decode) struct Finished {
    pub(in crate::decode) length: Option<u64>,
    pub(in crate::decode) truncated: bool,
    /// Text that is not UTF-8.
    pub(in crate::decode) malformed: bool,
}

impl Unfinished {
    /// Nothing of it has passed.
    pub(in crate::decode) fn new(message_type: MessageType, compressed: bool) -> Self {
        Self {
            message_type,
            compressed,
            frames: 0,
            wire_length: 0,
            length: 0,
            kept: Vec::new(),
            truncated: false,
            tail: Tail::default(),
            lease: None,
            opaque: false,
            fault: None,
            utf8: (message_type == MessageType::Text).then(Utf8::default),
        }
    }

    /// One more frame of it begins.
    pub(in crate::decode) fn frame(&mut self, header: &Header) {
        self.frames = self.frames.saturating_add(1);
        self.wire_length = self.wire_length.saturating_add(header.length);
    }

    /// Application bytes that follow what is there.
    pub(in crate::decode) fn push(&mut self, bytes: &[u8], window: usize, buffers: &mut Buffers) {
        self.count(bytes);
        if self.truncated {
            return self.tail.push(bytes);
        }
        let room = window.saturating_sub(self.kept.len());
        let wanted = &bytes[..bytes.len().min(room)];
        let appended = buffers.append(&mut self.kept, wanted);
        self.truncated = appended < bytes.len();
        self.tail.push(&bytes[appended..]);
    }

    /// The application bytes from the first to the last in one piece, which need not be kept;
    /// returns what is inside the window, and the end of what is not.
    pub(in crate::decode) fn push_whole<'a>(
        &mut self,
        bytes: &'a [u8],
        window: usize,
    ) -> (&'a [u8], &'a [u8]) {
        self.count(bytes);
        self.truncated |= bytes.len() > window;
        let (kept, rest) = bytes.split_at(bytes.len().min(window));
        (kept, &rest[rest.len().saturating_sub(TAIL_BYTES)..])
    }

    /// Application bytes that are here and that nobody needs.
    pub(in crate::decode) fn pass(&mut self, n: u64) {
        self.length = self.length.saturating_add(n);
        if n > 0 {
            self.tail.interrupt();
        }
    }

    fn count(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len() as u64);
        if let Some(utf8) = &mut self.utf8 {
            utf8.push(bytes);
        }
    }

    /// Application bytes that are not here and never will be.
    pub(in crate::decode) fn miss(&mut self, n: u64) {
        self.pass(n);
        self.truncated |= n > 0;
        if n > 0 {
            self.stop_checking();
        }
    }

    /// What of the text was seen can still be found malformed, but no longer complete.
    fn stop_checking(&mut self) {
        self.utf8 = self.utf8.take().filter(Utf8::is_broken);
    }

    /// The rest of its content cannot be inflated. What is kept is right and stays.
    pub(in crate::decode) fn give_up(&mut self, inflaters: &mut Inflaters) {
        self.opaque = true;
        self.truncated = true;
        self.tail.interrupt();
        self.stop_checking();
        if let Some(lease) = self.lease.take() {
            inflaters.release(lease);
        }
    }

    /// What inflation produced cannot be trusted.
    pub(in crate::decode) fn disown(&mut self, buffers: &mut Buffers, inflaters: &mut Inflaters) {
        buffers.release(std::mem::take(&mut self.kept));
        self.utf8 = None;
        self.give_up(inflaters);
    }

    /// Takes note of why inflation failed.
    pub(in crate::decode) fn fail(
        &mut self,
        fault: Fault,
        buffers: &mut Buffers,
        inflaters: &mut Inflaters,
    ) {
        match fault {
            Fault::Corrupt => {
                self.fault = Some(ProtocolError::InflateError);
                self.disown(buffers, inflaters);
            }
            Fault::TooBig => {
                self.fault = Some(ProtocolError::InflateLimit);
                self.give_up(inflaters);
            }
        }
    }

    /// Its content, or the rest of it, cannot be read.
    pub(in crate::decode) fn is_opaque(&self) -> bool {
        self.opaque
    }

    /// None of its bytes passed yet.
    pub(in crate::decode) fn is_untouched(&self) -> bool {
        self.length == 0 && !self.truncated
    }

    /// Whether it has stayed within `limit` application bytes, `more` included.
    pub(in crate::decode) fn within(&self, limit: u64, more: usize) -> Result<(), Fault> {
        let length = self.length.saturating_add(more as u64);
        if length > limit { Err(Fault::TooBig) } else { Ok(()) }
    }

    /// Nobody needs its further bytes: they are neither kept nor checked nor inflated.
    pub(in crate::decode) fn only_counts(&self) -> bool {
        self.opaque
    }

    /// Of its further bytes only the last [`TAIL_BYTES`] are needed.
    pub(in crate::decode) fn needs_only_its_end(&self) -> bool {
        !self.compressed && self.truncated && self.utf8.is_none()
    }

    /// Takes out what was kept: its beginning, and its end where that is not all.
    pub(super) fn take_kept(&mut self) -> (Vec<u8>, Tail) {
        (std::mem::take(&mut self.kept), std::mem::take(&mut self.tail))
    }

    /// The verdicts over all of it.
    pub(in crate::decode) fn finish(&self) -> Finished {
        Finished {
            length: (!self.opaque).then_some(self.length),
            truncated: self.truncated,
            malformed: self.utf8.is_some_and(|utf8| !utf8.is_complete()),
        }
    }

    /// Gives back what it holds; its last frame will never be seen.
    pub(in crate::decode) fn discard(self, buffers: &mut Buffers, inflaters: &mut Inflaters) {
        buffers.release(self.kept);
        if let Some(lease) = self.lease {
            inflaters.release(lease);
        }
    }
}
