//! What becomes of each frame of one direction, once its border is known.

use super::OneWay;
use crate::decode::context::Context;
use crate::decode::frame::header::Header;
use crate::decode::message::assembly::Piece;
use crate::decode::message::shared::Shared;
use crate::decode::websocket::violations::{Expected, Violations};
use crate::observation::{Frame, Opcode, ProtocolError, What};

impl OneWay {
    pub(super) fn begin_frame(
        &mut self,
        header: Header,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        if header.length > context.resources.limits.frame_bytes {
            context.error(self.direction, ProtocolError::MessageTooBig);
            return self.give_up_border(shared, context);
        }
        self.learn_role(header.mask.is_some(), shared, context);
        let violations = self.violations(&header, shared);
        if !violations.is_none() {
            for reason in violations.reasons() {
                context.error(self.direction, reason);
            }
        }
        if !self.plausibility.allows(violations) {
            return self.give_up_border(shared, context);
        }
        self.announce |= header.length > context.resources.limits.window_bytes as u64;
        self.frame = Some(header);
        if !header.opcode.is_data() {
            return self.control.begin();
        }
        if let Some(reason) = self.assembly.begin_frame(&header, shared, context) {
            context.error(self.direction, reason);
        }
    }

    /// Rules that the frame of this header breaks here.
    fn violations(&self, header: &Header, shared: &Shared) -> Violations {
        let compression = &self.assembly.compression;
        let expected = Expected {
            masked: shared.masked(self.direction),
            rsv1: compression.allows_rsv1(),
            any_rsv: compression.is_foreign(),
            closing: shared.is_closing(self.direction),
        };
        Violations::of(header, &expected)
    }

    pub(super) fn payload(
        &mut self,
        bytes: &[u8],
        at: u64,
        last: bool,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        let Some(header) = self.frame else { return };
        let piece = Piece { bytes, at, mask: header.mask };
        if !header.opcode.is_data() {
            self.control.keep(piece);
        } else if !(last && header.fin) {
            let evicted = self.assembly.content(piece, context.resources);
            context.tell(evicted);
        }
        if last {
            self.end_frame(piece, shared, context);
        }
    }

    /// Payload bytes of the current frame are not here.
    pub(super) fn miss(&mut self, n: u64, shared: &mut Shared, context: &mut Context<'_>) {
        let Some(header) = self.frame else { return };
        if !header.opcode.is_data() {
            self.control.miss();
        } else if self.assembly.miss(n, context.resources) {
            self.assembly.report_poison(shared, context);
        }
    }

    /// The frame has passed. Where it ends a message, `last` is a piece of that message which has
    /// not been looked at yet.
    pub(super) fn end_frame(
        &mut self,
        last: Piece<'_>,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        let Some(header) = self.frame.take() else { return };
        context.emit(What::Frame(Frame {
            direction: self.direction,
            opcode: header.opcode,
            fin: header.fin,
            rsv1: header.rsv1,
            masked: header.mask.is_some(),
            length: header.length,
        }));
        self.control.tell(self.direction, header, context);
        match header.opcode {
            Opcode::Ping | Opcode::Pong => self.beat(header.opcode, shared, context),
            Opcode::Close => self.close(shared, context),
            Opcode::Reserved => {}
            Opcode::Continuation | Opcode::Text | Opcode::Binary if header.fin => {
                self.assembly.end_message(last, shared, context);
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
    }

    #[inline(never)]
    fn beat(&mut self, opcode: Opcode, shared: &mut Shared, context: &mut Context<'_>) {
        let Some(payload) = self.control.whole() else { return };
        let at_ns = context.stamp.at_ns;
        let round_trip = match opcode {
            Opcode::Ping => shared.pings.ping(self.direction, at_ns, payload),
            _ => shared.pings.pong(self.direction, at_ns, payload),
        };
        if let Some((origin, rtt_ns)) = round_trip {
            context.emit(What::PingRtt { origin, rtt_ns });
        }
    }

    #[inline(never)]
    fn close(&mut self, shared: &mut Shared, context: &mut Context<'_>) {
        let frame = self.control.close();
        if let Some(reason) = frame.violation {
            context.error(self.direction, reason);
        }
        shared.close_frame(self.direction, frame.code, context);
    }
}
