//! From the frames of one direction to its messages: fragments, inflation, what is kept.
//!
//! A message that arrives in one piece is handed on where it lies (or where it was unmasked or
//! inflated to), and nothing of it is kept.

use super::compression::Compression;
use super::identical::Seen;
use super::inflate::TRAILER;
use super::lookout::{Lookout, Sample};
use super::partial::Unfinished;
use super::shared::Shared;
use crate::decode::context::{Context, Resources};
use crate::decode::frame::header::Header;
use crate::decode::frame::mask;
use crate::event::{Direction, TAIL_BYTES};
use crate::observation::{Message, MessageType, Opcode, ProtocolError, What};

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
    pub(super) sample: Sample,
    pub(super) lookout: Lookout,
}

impl Assembly {
    pub(in crate::decode) fn new(direction: Direction, compression: Compression) -> Self {
        Self {
            direction,
            compression,
            message: None,
            headless: false,
            sample: Sample::Off,
            lookout: Lookout::default(),
        }
    }

    /// The same where the first message may have begun before.
    pub(in crate::decode) fn met(self) -> Self {
        Self { headless: true, ..self }
    }

    /// A data frame begins. Returns the rule that it breaks by beginning now.
    pub(in crate::decode) fn begin_frame(
        &mut self,
        header: &Header,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) -> Option<ProtocolError> {
        match (header.opcode, &mut self.message) {
            (Opcode::Text, _) => self.begin_message(header, MessageType::Text, shared, context),
            (Opcode::Binary, _) => self.begin_message(header, MessageType::Binary, shared, context),
            (_, Some(message)) => {
                message.frame(header);
                None
            }
            (_, None) => (!self.headless).then_some(ProtocolError::ContinuationWithoutStart),
        }
    }

    fn begin_message(
        &mut self,
        header: &Header,
        message_type: MessageType,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) -> Option<ProtocolError> {
        // "The fragments of one message MUST NOT be interleaved between the fragments of another
        // message" (RFC 6455, section 5.4).
        let broken = self.message.is_some().then_some(ProtocolError::StartInsideFragment);
        self.drop_message(context.resources);
        self.headless = false;
        self.take_window(shared, context);
        let mut message = Unfinished::new(message_type, self.compression.compresses(header));
        message.frame(header);
        self.sample.begin(message.compressed && self.lookout.is_waiting());
        if self.compression.hides(header) {
            message.give_up(&mut context.resources.inflaters);
        }
        self.message = Some(message);
        broken
    }

    /// Payload that is not the end of its message. Says so if another direction lost its window.
    #[must_use]
    pub(in crate::decode) fn content(
        &mut self,
        piece: Piece<'_>,
        resources: &mut Resources,
    ) -> Option<What<'static>> {
        let message = self.message.as_mut()?;
        self.sample.push(piece.bytes, piece.mask, piece.at);
        if message.only_counts() {
            message.miss(piece.bytes.len() as u64);
            return None;
        }
        let mut evicted = None;
        let mut scratch = std::mem::take(&mut resources.unmasked);
        for part in piece.needed_by(message).parts() {
            let plain = part.unmask(&mut scratch);
            let window = resources.limits.window_bytes;
            if message.compressed {
                let lent = self.compression.inflate(message, plain, 0, resources);
                evicted = evicted.or(lent);
                message.push(&resources.inflated, window, &mut resources.buffers);
                resources.inflated.clear();
            } else {
                message.push(plain, window, &mut resources.buffers);
            }
        }
        scratch.clear();
        resources.unmasked = scratch;
        evicted
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
            let evicted = self.content(before, context.resources);
            context.tell(evicted);
        }
        let Some(mut message) = self.message.take() else { return };
        self.sample.push(last.bytes, last.mask, last.at);
        let is_all_of_it = message.wire_length == piece.bytes.len() as u64;
        let whole = (message.compressed && is_all_of_it).then_some(piece);
        self.end_unfinished(&mut message, last, shared, context);
        message.discard(&mut context.resources.buffers, &mut context.resources.inflaters);
        self.look_for_window(whole, context);
    }

    fn end_unfinished(
        &mut self,
        message: &mut Unfinished,
        last: Piece<'_>,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        if message.only_counts() {
            message.miss(last.bytes.len() as u64);
            self.judge(message, shared, context);
            return self.deliver_kept(message, shared, context);
        }
        let mut scratch = std::mem::take(&mut context.resources.unmasked);
        if message.compressed {
            let input = last.with_trailer(&mut scratch);
            let resources = &mut *context.resources;
            let evicted = self.compression.inflate(message, input, TRAILER.len(), resources);
            context.tell(evicted);
            self.judge(message, shared, context);
            let mut inflated = std::mem::take(&mut context.resources.inflated);
            self.deliver(message, &inflated, shared, context);
            inflated.clear();
            context.resources.inflated = inflated;
        } else {
            let plain = last.needed_by(message).unmask(&mut scratch);
            self.deliver(message, plain, shared, context);
        }
        scratch.clear();
        context.resources.unmasked = scratch;
    }

    /// Payload bytes of the current message are not here and never will be. True if that made the
    /// direction unreadable just now.
    #[must_use]
    pub(in crate::decode) fn miss(&mut self, n: u64, resources: &mut Resources) -> bool {
        self.sample.tear();
        match &mut self.message {
            // The message whose start was not seen may be compressed.
            None => {
                self.lookout.hole(resources);
                self.headless && self.lose_context(resources)
            }
            Some(message) if message.compressed => {
                message.give_up(&mut resources.inflaters);
                self.lose_context(resources)
            }
            Some(message) => {
                message.miss(n);
                false
            }
        }
    }

    /// Frames may have been missed. True if that made the direction unreadable just now.
    #[must_use]
    pub(in crate::decode) fn lose(&mut self, resources: &mut Resources) -> bool {
        self.drop_message(resources);
        self.headless = true;
        self.lose_context(resources)
    }

    /// Compressed bytes may have been missed. True if that made the direction unreadable just now.
    #[must_use]
    pub(in crate::decode) fn lose_context(&mut self, resources: &mut Resources) -> bool {
        self.lookout.hole(resources);
        self.compression.lose(&mut resources.inflaters)
    }

    /// Gives back what it holds.
    pub(in crate::decode) fn release(&mut self, resources: &mut Resources) {
        self.drop_message(resources);
        self.lookout.end(resources);
        self.compression.release(&mut resources.inflaters);
    }

    fn drop_message(&mut self, resources: &mut Resources) {
        if !matches!(self.sample.take(), Sample::Off) {
            self.lookout.hole(resources);
        }
        if let Some(message) = self.message.take() {
            message.discard(&mut resources.buffers, &mut resources.inflaters);
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

    /// Some messages of this direction cannot be read any more.
    #[cold]
    pub(in crate::decode) fn report_poison(&self, shared: &mut Shared, context: &mut Context<'_>) {
        if matches!(self.compression, Compression::Poisoned) {
            context.error(self.direction, ProtocolError::PoisonedContext);
        }
        context.tell(shared.set_opaque(self.direction));
    }

    /// Hands a message on whose last application bytes are `last`.
    fn deliver(
        &mut self,
        message: &mut Unfinished,
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
        message: &mut Unfinished,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        let (kept, tail) = message.take_kept();
        self.report(message, &kept, tail.bytes(), shared, context);
        context.resources.buffers.release(kept);
    }

    fn report(
        &mut self,
        message: &Unfinished,
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
        let verdict = shared.message(&told, context);
        self.count_miss(&told, verdict, context);
        self.weigh(&told, seen, verdict, shared, context);
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
