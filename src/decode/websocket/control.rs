//! The payload of the control frame that one direction is in (RFC 6455, section 5.5).

use crate::decode::context::Context;
use crate::decode::frame::close::{self, CloseFrame};
use crate::decode::frame::header::Header;
use crate::decode::frame::mask;
use crate::decode::message::assembly::Piece;
use crate::event::Direction;
use crate::observation::{self, What};

/// Bytes that are kept. Peers send longer control frames than the 125 bytes of the rule.
const KEPT_MAX: usize = 1024;

/// What is kept of a ping, a pong or a close.
#[derive(Debug, Default)]
pub(super) struct Control {
    payload: Vec<u8>,
    /// Bytes were missed, or did not fit.
    torn: bool,
}

impl Control {
    /// A frame begins.
    pub(super) fn begin(&mut self) {
        self.payload.clear();
        self.torn = false;
    }

    /// Its payload goes on.
    pub(super) fn keep(&mut self, piece: Piece<'_>) {
        let start = self.payload.len();
        let take = piece.bytes.len().min(KEPT_MAX.saturating_sub(start));
        self.payload.extend_from_slice(&piece.bytes[..take]);
        if let Some(key) = piece.mask {
            mask::apply(&mut self.payload[start..], key, piece.at);
        }
        self.torn |= take < piece.bytes.len();
    }

    /// Payload is not here.
    pub(super) fn miss(&mut self) {
        self.torn = true;
    }

    /// Tells what it says, if the frame that has passed is a control frame.
    pub(super) fn tell(&self, direction: Direction, header: Header, context: &mut Context<'_>) {
        let Header { opcode, length, .. } = header;
        if !opcode.is_data() {
            let payload = self.whole();
            context.emit(What::Control(observation::Control {
                direction,
                opcode,
                length,
                payload,
            }));
        }
    }

    /// The payload, if all of it is there.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        (!self.torn).then_some(&self.payload)
    }

    /// What it says as a close frame. Of one that is not all there only the code is certain.
    pub(super) fn close(&self) -> CloseFrame {
        match (self.torn, self.payload.len()) {
            (true, ..2) => CloseFrame { code: None, violation: None },
            (true, _) => CloseFrame { violation: None, ..close::parse(&self.payload) },
            (false, _) => close::parse(&self.payload),
        }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.payload.capacity()
    }
}
