//! From the frames of one direction to its messages: fragments, inflation, what is kept.
//!
//! A message that arrives in one piece is handed on where it lies (or where it was unmasked or
//! inflated to), and nothing of it is kept.

use super::compression::Compression;
use super::identical::Seen;
use super::inflate::TRAILER;
use super::partial::Unfinished;
use super::shared::Shared;
use crate::decode::context::Context;
use crate::decode::frame::header::Header;
use crate::decode::frame::mask;
use crate::event::{Direction, TAIL_BYTES};
use crate::observation::{Message, MessageType, Opcode, ProtocolError};

/// Payload is unmasked and inflated in pieces of at most this size.
const PIECE: usize = 64 << 10;

/// A piece of a frame's payload, still masked.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::decode) struct Piece<'a> {
    pub(in crate::decode) bytes: &'a [u8],
    /// Payload offset of the first byte.
    pub(in crate::decode) at: u64,
    pub(in crate::decode) mask: Option<[u8; 4]>,
}

/// The message that one direction is in.
#[derive(Debug)]
pub(in crate::decode) struct Assembly {
    pub(super) direction: Direction,
    pub(in crate::decode) compression: Compression,
    message: Option<Unfinished>,
    /// Continuations may belong to a message whose start was not seen.
    headless: bool,
}

impl Assembly {
    pub(in crate::decode) fn new(direction: Direction, compression: Compression) -> Self {
        Self { direction, compression, message: None, headless: false }
    }

    /// The same where the first message may have begun before.
    pub(in crate::decode) fn met(self) -> Self {
        Self { headless: true, ..self }
    }

    /// A data frame begins.
    pub(in crate::decode) fn begin_frame(&mut self, header: &Header, context: &mut Context<'_>) {
        match (header.opcode, &mut self.message) {
            (Opcode::Text, _) => self.begin_message(header, MessageType::Text, context),
            (Opcode::Binary, _) => self.begin_message(header, MessageType::Binary, context),
            (_, Some(message)) => message.frame(header),
            (_, None) if self.headless => {}
            (_, None) => context.error(self.direction, ProtocolError::ContinuationWithoutStart),
        }
    }

    fn begin_message(
        &mut self,
        header: &Header,
        message_type: MessageType,
        context: &mut Context<'_>,
    ) {
        // "The fragments of one message MUST NOT be interleaved between the fragments of another
        // message" (RFC 6455, section 5.4).
        if self.message.is_some() {
            context.error(self.direction, ProtocolError::StartInsideFragment);
            self.drop_message(context);
        }
        self.headless = false;
        let mut message = Unfinished::new(message_type, self.compression.compresses(header));
        message.frame(header);
        if self.compression.hides(header) {
            message.give_up(&mut context.resources.inflaters);
        }
        self.message = Some(message);
    }

    /// Payload that is not the end of its message.
    pub(in crate::decode) fn content(&mut self, piece: Piece<'_>, context: &mut Context<'_>) {
        let Some(message) = &mut self.message else { return };
        if message.only_counts() {
            return message.miss(piece.bytes.len() as u64);
        }
        let piece = piece.needed_by(message);
        let mut scratch = std::mem::take(&mut context.resources.unmasked);
        for part in piece.parts() {
            let plain = part.unmask(&mut scratch);
            if message.compressed {
                self.compression.inflate(message, plain, 0, context);
                let resources = &mut *context.resources;
                let window = resources.limits.window_bytes;
                message.push(&resources.inflated, window, &mut resources.buffers);
                resources.inflated.clear();
            } else {
                let window = context.resources.limits.window_bytes;
                message.push(plain, window, &mut context.resources.buffers);
            }
        }
        scratch.clear();
        context.resources.unmasked = scratch;
    }

    /// The last frame of a message ends with `piece`, which may be all of the message.
    pub(in crate::decode) fn end_message(
        &mut self,
        piece: Piece<'_>,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        self.headless = false;
        let (before, last) = piece.split_last();
        if !before.bytes.is_empty() {
            self.content(before, context);
        }
        let Some(mut message) = self.message.take() else { return };
        if message.only_counts() {
            message.miss(last.bytes.len() as u64);
            self.judge(&mut message, shared, context);
            return self.deliver_kept(message, shared, context);
        }
        let mut scratch = std::mem::take(&mut context.resources.unmasked);
        if message.compressed {
            let input = last.with_trailer(&mut scratch);
            self.compression.inflate(&mut message, input, TRAILER.len(), context);
            self.judge(&mut message, shared, context);
            let mut inflated = std::mem::take(&mut context.resources.inflated);
            self.deliver(message, &inflated, shared, context);
            inflated.clear();
            context.resources.inflated = inflated;
        } else {
            let plain = last.needed_by(&mut message).unmask(&mut scratch);
            self.deliver(message, plain, shared, context);
        }
        scratch.clear();
        context.resources.unmasked = scratch;
    }

    /// Payload bytes of the current message are not here and never will be.
    pub(in crate::decode) fn miss(
        &mut self,
        n: u64,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        let Some(message) = &mut self.message else {
            // The message whose start was not seen may be compressed.
            return if self.headless {
                self.lose_context(shared, context)
            };
        };
        if !message.compressed {
            return message.miss(n);
        }
        message.give_up(&mut context.resources.inflaters);
        self.lose_context(shared, context);
    }

    /// Frames may have been missed.
    pub(in crate::decode) fn lose(&mut self, shared: &mut Shared, context: &mut Context<'_>) {
        self.drop_message(context);
        self.headless = true;
        self.lose_context(shared, context);
    }

    /// Compressed bytes may have been missed.
    pub(in crate::decode) fn lose_context(
        &mut self,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        if self.compression.lose(&mut context.resources.inflaters) {
            self.report_poison(shared, context);
        }
    }

    /// Gives back what it holds.
    pub(in crate::decode) fn release(&mut self, context: &mut Context<'_>) {
        self.drop_message(context);
        self.compression.release(&mut context.resources.inflaters);
    }

    fn drop_message(&mut self, context: &mut Context<'_>) {
        if let Some(message) = self.message.take() {
            message.discard(&mut context.resources.buffers, &mut context.resources.inflaters);
        }
    }

    /// Reports what was wrong with a message's compression.
    fn judge(&mut self, message: &mut Unfinished, shared: &mut Shared, context: &mut Context<'_>) {
        if !message.compressed {
            return;
        }
        let (fault, worse) = self.compression.conclude(message, context.resources);
        if let Some(reason) = fault {
            context.error(self.direction, reason);
        }
        if worse {
            self.report_poison(shared, context);
        }
    }

    fn report_poison(&mut self, shared: &mut Shared, context: &mut Context<'_>) {
        if matches!(self.compression, Compression::Poisoned) {
            context.error(self.direction, ProtocolError::PoisonedContext);
        }
        shared.set_opaque(self.direction, context);
    }

    /// Hands a message on whose last application bytes are `last`.
    fn deliver(
        &mut self,
        mut message: Unfinished,
        last: &[u8],
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        let window = context.resources.limits.window_bytes;
        if message.is_untouched() {
            let (payload, tail) = message.push_whole(last, window);
            return self.report(message, payload, tail, shared, context);
        }
        message.push(last, window, &mut context.resources.buffers);
        self.deliver_kept(message, shared, context);
    }

    fn deliver_kept(
        &mut self,
        mut message: Unfinished,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        let (kept, tail) = message.take_kept();
        self.report(message, &kept, tail.bytes(), shared, context);
        context.resources.buffers.release(kept);
    }

    fn report(
        &mut self,
        message: Unfinished,
        payload: &[u8],
        tail: &[u8],
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        let finished = message.finish();
        // "the endpoint MUST _Fail the WebSocket Connection_" (RFC 6455, section 8.1).
        if finished.malformed {
            context.error(self.direction, ProtocolError::Utf8Text);
        }
        let seen = self.compare(&finished, payload, shared, context);
        let told = Message {
            direction: self.direction,
            message_type: message.message_type,
            frames: message.frames,
            wire_length: message.wire_length,
            length: finished.length,
            compressed: message.compressed,
            payload,
            tail,
            truncated: finished.truncated,
            identical: seen == Seen::Yes,
        };
        let verdict = shared.message(told, context);
        self.count_miss(told, verdict, context);
        self.weigh(told, seen, verdict, shared, context);
        message.discard(&mut context.resources.buffers, &mut context.resources.inflaters);
    }
}

impl<'a> Piece<'a> {
    /// The same in parts that are not too long.
    fn parts(self) -> impl Iterator<Item = Piece<'a>> {
        self.bytes.chunks(PIECE).enumerate().map(move |(i, bytes)| Piece {
            bytes,
            at: self.at + (i * PIECE) as u64,
            ..self
        })
    }

    /// Cuts the last part off, which is not too long.
    fn split_last(self) -> (Self, Self) {
        let middle = self.bytes.len().saturating_sub(PIECE);
        let (before, last) = self.bytes.split_at(middle);
        (Self { bytes: before, ..self }, Self { bytes: last, at: self.at + middle as u64, ..self })
    }

    /// The part of it that the message needs; the rest is only counted.
    fn needed_by(self, message: &mut Unfinished) -> Self {
        let passed = self.bytes.len().saturating_sub(TAIL_BYTES);
        if passed == 0 || !message.needs_only_its_end() {
            return self;
        }
        message.pass(passed as u64);
        Self { bytes: &self.bytes[passed..], at: self.at + passed as u64, ..self }
    }

    /// The unmasked bytes, in place if they are not masked.
    fn unmask(self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let Some(key) = self.mask else { return self.bytes };
        scratch.clear();
        scratch.extend_from_slice(self.bytes);
        mask::apply(scratch, key, self.at);
        scratch
    }

    /// The unmasked bytes with the trailer of RFC 7692 behind them.
    fn with_trailer(self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        scratch.clear();
        scratch.extend_from_slice(self.bytes);
        if let Some(key) = self.mask {
            mask::apply(scratch, key, self.at);
        }
        scratch.extend_from_slice(&TRAILER);
        scratch
    }
}
