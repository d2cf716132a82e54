//! From the frames of one direction to its messages: fragments, inflation, what is kept.
//!
//! A message that arrives in one piece is handed on where it lies (or where it was unmasked or
//! inflated to), and nothing of it is kept.

use super::compression::Compression;
use super::identical::Seen;
use super::inflate::TRAILER;
use super::partial::Unfinished;
use super::shared::Link;
use crate::decode::context::Step;
use crate::decode::frame::header::Header;
use crate::decode::frame::mask;
use crate::event::Direction;
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
    pub(in crate::decode) fn begin_frame(&mut self, header: &Header, step: &mut Step<'_>) {
        match (header.opcode, &mut self.message) {
            (Opcode::Text, _) => self.begin_message(header, MessageType::Text, step),
            (Opcode::Binary, _) => self.begin_message(header, MessageType::Binary, step),
            (_, Some(message)) => message.frame(header),
            (_, None) if self.headless => {}
            (_, None) => step.error(self.direction, ProtocolError::ContinuationWithoutStart),
        }
    }

    fn begin_message(&mut self, header: &Header, message_type: MessageType, step: &mut Step<'_>) {
        // "The fragments of one message MUST NOT be interleaved between the fragments of another
        // message" (RFC 6455, section 5.4).
        if self.message.is_some() {
            step.error(self.direction, ProtocolError::StartInsideFragment);
            self.drop_message(step);
        }
        self.headless = false;
        let mut message = Unfinished::new(header, message_type);
        message.frame(header);
        if self.compression.hides(header) {
            message.give_up(&mut step.resources.inflaters);
        }
        self.message = Some(message);
    }

    /// Payload that is not the end of its message.
    pub(in crate::decode) fn content(&mut self, piece: Piece<'_>, step: &mut Step<'_>) {
        let Some(message) = &mut self.message else { return };
        if message.only_counts() {
            return message.miss(piece.bytes.len() as u64);
        }
        let mut scratch = std::mem::take(&mut step.resources.unmasked);
        for part in piece.parts() {
            let plain = part.unmask(&mut scratch);
            if message.compressed {
                self.compression.inflate(message, plain, 0, step);
                let resources = &mut *step.resources;
                let window = resources.limits.window_bytes;
                message.push(&resources.inflated, window, &mut resources.buffers);
                resources.inflated.clear();
            } else {
                let window = step.resources.limits.window_bytes;
                message.push(plain, window, &mut step.resources.buffers);
            }
        }
        scratch.clear();
        step.resources.unmasked = scratch;
    }

    /// The last frame of a message ends with `piece`, which may be all of the message.
    pub(in crate::decode) fn end_message(
        &mut self,
        piece: Piece<'_>,
        link: &mut Link,
        step: &mut Step<'_>,
    ) {
        self.headless = false;
        let (before, last) = piece.split_last();
        if !before.bytes.is_empty() {
            self.content(before, step);
        }
        let Some(mut message) = self.message.take() else { return };
        if message.only_counts() {
            message.miss(last.bytes.len() as u64);
            self.judge(&mut message, link, step);
            return self.deliver_kept(message, link, step);
        }
        let mut scratch = std::mem::take(&mut step.resources.unmasked);
        if message.compressed {
            let input = last.with_trailer(&mut scratch);
            self.compression.inflate(&mut message, input, TRAILER.len(), step);
            self.judge(&mut message, link, step);
            let mut inflated = std::mem::take(&mut step.resources.inflated);
            self.deliver(message, &inflated, link, step);
            inflated.clear();
            step.resources.inflated = inflated;
        } else {
            let plain = last.unmask(&mut scratch);
            self.deliver(message, plain, link, step);
        }
        scratch.clear();
        step.resources.unmasked = scratch;
    }

    /// Payload bytes of the current message are not here and never will be.
    pub(in crate::decode) fn miss(&mut self, n: u64, link: &mut Link, step: &mut Step<'_>) {
        let Some(message) = &mut self.message else {
            // The message whose start was not seen may be compressed.
            return if self.headless {
                self.lose_context(link, step)
            };
        };
        if !message.compressed {
            return message.miss(n);
        }
        message.give_up(&mut step.resources.inflaters);
        self.lose_context(link, step);
    }

    /// Frames may have been missed.
    pub(in crate::decode) fn lose(&mut self, link: &mut Link, step: &mut Step<'_>) {
        self.drop_message(step);
        self.headless = true;
        self.lose_context(link, step);
    }

    /// Compressed bytes may have been missed.
    pub(in crate::decode) fn lose_context(&mut self, link: &mut Link, step: &mut Step<'_>) {
        if self.compression.lose(&mut step.resources.inflaters) {
            self.report_poison(link, step);
        }
    }

    /// Gives back what it holds.
    pub(in crate::decode) fn release(&mut self, step: &mut Step<'_>) {
        self.drop_message(step);
        self.compression.release(&mut step.resources.inflaters);
    }

    fn drop_message(&mut self, step: &mut Step<'_>) {
        if let Some(message) = self.message.take() {
            message.discard(&mut step.resources.buffers, &mut step.resources.inflaters);
        }
    }

    /// Reports what was wrong with a message's compression.
    fn judge(&mut self, message: &mut Unfinished, link: &mut Link, step: &mut Step<'_>) {
        if !message.compressed {
            return;
        }
        let (fault, worse) = self.compression.conclude(message, step.resources);
        if let Some(reason) = fault {
            step.error(self.direction, reason);
        }
        if worse {
            self.report_poison(link, step);
        }
    }

    fn report_poison(&mut self, link: &mut Link, step: &mut Step<'_>) {
        if matches!(self.compression, Compression::Poisoned) {
            step.error(self.direction, ProtocolError::PoisonedContext);
        }
        link.set_opaque(self.direction, step);
    }

    /// Hands a message on whose last application bytes are `last`.
    fn deliver(
        &mut self,
        mut message: Unfinished,
        last: &[u8],
        link: &mut Link,
        step: &mut Step<'_>,
    ) {
        let window = step.resources.limits.window_bytes;
        if message.is_untouched() {
            let payload = message.push_whole(last, window);
            return self.report(message, payload, link, step);
        }
        message.push(last, window, &mut step.resources.buffers);
        self.deliver_kept(message, link, step);
    }

    fn deliver_kept(&mut self, mut message: Unfinished, link: &mut Link, step: &mut Step<'_>) {
        let kept = message.take_kept();
        self.report(message, &kept, link, step);
        step.resources.buffers.release(kept);
    }

    fn report(
        &mut self,
        message: Unfinished,
        payload: &[u8],
        link: &mut Link,
        step: &mut Step<'_>,
    ) {
        let finished = message.finish();
        // "the endpoint MUST _Fail the WebSocket Connection_" (RFC 6455, section 8.1).
        if finished.malformed {
            step.error(self.direction, ProtocolError::Utf8Text);
        }
        let seen = self.compare(&finished, payload, link, step);
        let told = Message {
            direction: self.direction,
            message_type: message.message_type,
            frames: message.frames,
            wire_length: message.wire_length,
            length: finished.length,
            compressed: message.compressed,
            payload,
            tail: b"",
            truncated: finished.truncated,
            identical: seen == Seen::Yes,
        };
        let verdict = link.message(told, step);
        self.weigh(told, seen, verdict, link, step);
        message.discard(&mut step.resources.buffers, &mut step.resources.inflaters);
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
