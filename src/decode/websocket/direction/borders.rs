//! Where the frames of one direction begin and end, and what happens while that is not known.

use super::OneWay;
use crate::decode::context::Context;
use crate::decode::frame::header::{HEADER_MAX, Header, Item};
use crate::decode::limits::Limits;
use crate::decode::message::shared::Shared;
use crate::decode::resync::candidate::Rules;
use crate::decode::resync::search::Found;
use crate::decode::websocket::violations::Plausibility;
use crate::observation::{Fidelity, ProtocolError, What};

impl OneWay {
    /// Decodes `bytes`, which end at stream offset `end`.
    pub(super) fn walk(
        &mut self,
        bytes: &[u8],
        end: u64,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        let mut rest = bytes;
        loop {
            if self.search.is_some() {
                if rest.is_empty() {
                    return;
                }
                self.search(&mut rest, end, shared, context);
                continue;
            }
            if let Some((header, used)) = self.reader.whole(rest) {
                rest = self.whole_frame(header, &rest[used..], shared, context);
                // Most calls bring one frame, and the reader stands between two.
                if rest.is_empty() {
                    return;
                }
                continue;
            }
            match self.reader.next(&mut rest) {
                Ok(None) => return,
                Ok(Some(Item::Header(header))) => self.begin_frame(header, shared, context),
                Ok(Some(Item::Payload { bytes, at, last })) => {
                    self.payload(bytes, at, last, shared, context);
                }
                Err(reason) => {
                    context.error(self.direction, reason);
                    self.leave_broken_header(&mut rest, end, shared, context);
                }
            }
        }
    }

    /// The frame of this header is all in `bytes`, which begin with its payload. Returns what is behind it,
    /// or all of it if the header is not believed.
    fn whole_frame<'a>(
        &mut self,
        header: Header,
        bytes: &'a [u8],
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) -> &'a [u8] {
        self.begin_frame(header, shared, context);
        if self.search.is_some() {
            return bytes;
        }
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let (payload, behind) = bytes.split_at(length.min(bytes.len()));
        self.payload(payload, 0, true, shared, context);
        behind
    }

    /// The header that the reader stands before is broken: searches from its second byte on.
    #[cold]
    fn leave_broken_header(
        &mut self,
        rest: &mut &[u8],
        end: u64,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        let mut kept = [0; HEADER_MAX];
        let partial = self.reader.partial();
        let len = partial.len();
        kept[..len].copy_from_slice(partial);
        self.give_up_border(shared, context);
        match len {
            0 => *rest = rest.get(1..).unwrap_or_default(),
            _ => self.walk(&kept[1..len], end - rest.len() as u64, shared, context),
        }
    }

    #[inline(never)]
    fn search(
        &mut self,
        rest: &mut &[u8],
        end: u64,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        let rules = self.rules(shared, &context.resources.limits);
        let Some(search) = &mut self.search else { return };
        let offset = end - rest.len() as u64;
        match search.search(rest, offset, context.stamp, &rules) {
            Some(found) => self.adopt(found, shared, context),
            None => self.tell_unsynced(shared, context),
        }
    }

    /// Counts bytes that were searched and let go. What they may have answered has no answer now.
    /// Nothing is told of a connection before it is known to be a WebSocket.
    pub(super) fn tell_unsynced(&mut self, shared: &mut Shared, context: &mut Context<'_>) {
        self.unsynced += self.search.as_mut().map_or(0, |search| search.take_let_go());
        if self.unsynced == 0 || !shared.is_proven() {
            return;
        }
        let bytes = std::mem::take(&mut self.unsynced);
        context.emit(What::Unsynced { direction: self.direction, bytes });
        shared.gap(self.direction, context);
    }

    /// Nothing is searched any more.
    pub(super) fn end_search(&mut self) {
        self.unsynced += self.search.take().map_or(0, |search| search.abandon());
    }

    pub(super) fn rules(&self, shared: &Shared, limits: &Limits) -> Rules {
        Rules {
            masked: shared.masked_for_certain(self.direction),
            rsv1: self.assembly.compression.allows_rsv1(),
            search_bytes: limits.search_bytes,
            // What was held back once is not held back again.
            held_bytes: if self.replaying { 0 } else { limits.held_bytes },
        }
    }

    /// A search has succeeded: decodes what passed since the border, with its own times.
    fn adopt(&mut self, found: Found, shared: &mut Shared, context: &mut Context<'_>) {
        self.learn_role(found.masked, shared, context);
        self.find_border(shared, context);
        let now = context.stamp;
        let replaying = std::mem::replace(&mut self.replaying, true);
        let mut end = found.start;
        for (bytes, stamp) in found.passed.pieces() {
            context.stamp = stamp;
            end += bytes.len() as u64;
            self.walk(bytes, end, shared, context);
        }
        self.replaying = replaying;
        context.stamp = now;
    }

    /// A frame tells by its mask who sends it.
    pub(super) fn learn_role(&self, masked: bool, shared: &mut Shared, context: &mut Context<'_>) {
        let change = shared.learn_role(self.direction, masked);
        context.role = shared.role;
        context.tell(change);
    }

    /// A frame header begins with the next byte.
    pub(super) fn find_border(&mut self, shared: &mut Shared, context: &mut Context<'_>) {
        self.end_search();
        self.announce = true;
        // In the order in which it passed, however the stream was cut.
        self.tell_unsynced(shared, context);
        context.tell(shared.set_fidelity(self.direction, self.fidelity()));
        shared.recognise(context);
        self.tell_unsynced(shared, context);
    }

    /// A frame cannot be believed, so neither can the border behind it.
    #[cold]
    pub(super) fn give_up_border(&mut self, shared: &mut Shared, context: &mut Context<'_>) {
        context.error(self.direction, ProtocolError::Resync);
        shared.gap(self.direction, context);
        self.lose_border(shared, context);
    }

    /// Nothing is known of where the next frame begins.
    #[cold]
    pub(in crate::decode) fn lose_border(
        &mut self,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        self.reader.restart();
        self.plausibility = Plausibility::default();
        self.frame = None;
        self.walked = false;
        self.end_search();
        self.search = Some(Box::default());
        context.tell(shared.set_fidelity(self.direction, Fidelity::Unsynced));
        if self.assembly.lose(context.resources) {
            self.assembly.report_poison(shared, context);
        }
    }
}
