//! One direction of a WebSocket connection: from bytes to frames.
//!
//! While the border of the next frame is known, bytes are decoded where they lie. While it is
//! not, they go through [`Search`]. Control frames end here; data frames go on to [`Assembly`].

use super::control::Control;
use super::violations::{Expected, Plausibility, Violations};
use crate::decode::context::{Context, Resources};
use crate::decode::frame::header::{FrameReader, HEADER_MAX, Header, Item};
use crate::decode::limits::Limits;
use crate::decode::message::assembly::{Assembly, Piece};
use crate::decode::message::compression::Compression;
use crate::decode::message::shared::Shared;
use crate::decode::resync::candidate::Rules;
use crate::decode::resync::search::{Found, Search};
use crate::event::Direction;
use crate::observation::{Fidelity, Frame, Opcode, ProtocolError, What};

/// Why a stretch of bytes is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Hole {
    /// It was left out on purpose.
    Skipped,
    /// It was lost.
    Lost,
}

/// The frames of one direction.
#[derive(Debug)]
pub(in crate::decode) struct OneWay {
    direction: Direction,
    /// Stream offset of the next byte.
    position: u64,
    reader: FrameReader,
    /// The frame that the reader is in.
    frame: Option<Header>,
    control: Control,
    assembly: Assembly,
    plausibility: Plausibility,
    /// Present while the next frame border is not known.
    search: Option<Box<Search>>,
    /// Bytes that were searched and let go, and that are not told of yet.
    unsynced: u64,
    /// Bytes that the search held back are being decoded.
    replaying: bool,
    /// The kernel side walks the frame headers by itself.
    walked: bool,
    /// It should be told where the next frame begins all the same.
    announce: bool,
    /// It was told last that it should copy compressed messages whole.
    is_whole: bool,
}

impl OneWay {
    /// A direction whose frames begin at `position`.
    pub(in crate::decode) fn synced(
        direction: Direction,
        position: u64,
        compression: Compression,
    ) -> Self {
        Self {
            direction,
            position,
            reader: FrameReader::default(),
            frame: None,
            control: Control::default(),
            assembly: Assembly::new(direction, compression),
            plausibility: Plausibility::default(),
            search: None,
            unsynced: 0,
            replaying: false,
            walked: false,
            announce: true,
            is_whole: false,
        }
    }

    /// A direction that was met in mid-stream, at `position`.
    pub(in crate::decode) fn adrift(
        direction: Direction,
        position: u64,
        compression: Compression,
    ) -> Self {
        let way = Self::synced(direction, position, compression);
        let assembly = way.assembly.met();
        Self { search: Some(Box::default()), announce: false, assembly, ..way }
    }

    /// The stream goes on with `bytes`.
    pub(in crate::decode) fn bytes(
        &mut self,
        bytes: &[u8],
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        self.position += bytes.len() as u64;
        self.walk(bytes, self.position, shared, context);
    }

    /// The stream goes on with `n` bytes that are not here.
    pub(in crate::decode) fn absent(
        &mut self,
        n: u64,
        hole: Hole,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        self.position += n;
        if let Some(search) = &mut self.search {
            search.interrupt();
            self.tell_unsynced(shared, context);
            if self.assembly.lose_context(context.resources) {
                self.assembly.report_poison(shared, context);
            }
            return;
        }
        let passed = self.reader.pass(n);
        if passed.payload > 0 {
            self.miss(passed.payload, shared, context);
        }
        if passed.ended {
            self.end_frame(Piece::default(), shared, context);
        }
        if passed.beyond > 0 {
            if hole == Hole::Skipped {
                shared.gap(self.direction, context);
            }
            self.lose_border(shared, context);
        }
    }

    /// A call begins with the next byte.
    pub(in crate::decode) fn call_starts(&mut self) {
        if let Some(search) = &mut self.search {
            search.call_starts(self.position);
        }
    }

    /// The kernel side has walked the frames up to here: a header begins with the next byte.
    pub(in crate::decode) fn header_starts(
        &mut self,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        self.walked = true;
        if self.search.is_none() && !self.reader.is_idle() {
            context.error(self.direction, ProtocolError::Resync);
            shared.gap(self.direction, context);
            self.lose_border(shared, context);
        }
        if self.search.is_some() {
            self.find_border(shared, context);
        }
    }

    /// Later messages can only be read if every byte of the compressed ones before was.
    pub(in crate::decode) fn needs_whole(&self) -> bool {
        self.assembly.needs_whole()
    }

    /// The offset of the next frame header, if the kernel side should be told: until it walks, the
    /// stream may have passed each offset that it was told, so it is told the next.
    pub(in crate::decode) fn take_announcement(&mut self, shared: &mut Shared) -> Option<u64> {
        self.announce |= shared.windows.take_change(self.direction);
        self.announce |= self.needs_whole() != self.is_whole;
        if (self.walked && !self.announce) || self.search.is_some() {
            return None;
        }
        self.announce = false;
        self.is_whole = self.needs_whole();
        let begun = self.reader.partial().len() as u64;
        Some(self.position - begun + self.reader.left().unwrap_or(0))
    }

    /// Reports what the end of the stream cut off, and gives back what is held.
    pub(in crate::decode) fn end(&mut self, shared: &mut Shared, context: &mut Context<'_>) {
        if self.search.is_none() && !self.reader.is_idle() {
            context.error(self.direction, ProtocolError::EofMidFrame);
        }
        self.end_search();
        self.tell_unsynced(shared, context);
        self.release(context.resources);
    }

    /// Gives back what is held.
    pub(in crate::decode) fn release(&mut self, resources: &mut Resources) {
        self.assembly.release(resources);
    }

    /// Where the next frame begins is being searched for.
    pub(in crate::decode) fn is_adrift(&self) -> bool {
        self.search.is_some()
    }

    /// Bytes were searched in vain for so long that only starts of calls are still tried.
    pub(in crate::decode) fn is_exhausted(&self, shared: &Shared, limits: &Limits) -> bool {
        let rules = self.rules(shared, limits);
        self.search.as_ref().is_some_and(|search| search.is_exhausted(&rules))
    }

    /// What passes now may well be the payload of a frame.
    pub(in crate::decode) fn is_promising(&self) -> bool {
        self.search.as_ref().is_some_and(|search| search.is_promising())
    }

    /// Bytes that a search takes.
    pub(in crate::decode) fn held_bytes(&self) -> usize {
        self.search.as_ref().map_or(0, |search| search.held_bytes())
    }

    /// Lets go of what a search has found so far.
    pub(in crate::decode) fn let_go(&mut self) {
        if let Some(search) = &mut self.search {
            search.interrupt();
        }
    }

    /// Bytes on the heap, besides those of a search or a message under way.
    #[cfg(test)]
    pub(in crate::decode) fn heap_bytes(&self) -> usize {
        self.control.heap_bytes()
    }

    /// How well this direction can be read.
    pub(in crate::decode) fn fidelity(&self) -> Fidelity {
        if self.search.is_some() {
            Fidelity::Unsynced
        } else if self.assembly.compression.is_opaque() {
            Fidelity::NoContent
        } else {
            Fidelity::Full
        }
    }
}

/// Borders.
impl OneWay {
    /// Decodes `bytes`, which end at stream offset `end`.
    fn walk(&mut self, bytes: &[u8], end: u64, shared: &mut Shared, context: &mut Context<'_>) {
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
    fn tell_unsynced(&mut self, shared: &mut Shared, context: &mut Context<'_>) {
        self.unsynced += self.search.as_mut().map_or(0, |search| search.take_let_go());
        if self.unsynced == 0 || !shared.is_proven() {
            return;
        }
        let bytes = std::mem::take(&mut self.unsynced);
        context.emit(What::Unsynced { direction: self.direction, bytes });
        shared.gap(self.direction, context);
    }

    /// Nothing is searched any more.
    fn end_search(&mut self) {
        self.unsynced += self.search.take().map_or(0, |search| search.abandon());
    }

    fn rules(&self, shared: &Shared, limits: &Limits) -> Rules {
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
    fn learn_role(&self, masked: bool, shared: &mut Shared, context: &mut Context<'_>) {
        let change = shared.learn_role(self.direction, masked);
        context.role = shared.role;
        context.tell(change);
    }

    /// A frame header begins with the next byte.
    fn find_border(&mut self, shared: &mut Shared, context: &mut Context<'_>) {
        self.end_search();
        self.announce = true;
        // In the order in which it passed, however the stream was cut.
        self.tell_unsynced(shared, context);
        context.tell(shared.set_fidelity(self.direction, self.fidelity()));
        shared.recognise(context);
        self.tell_unsynced(shared, context);
    }

    /// A frame cannot be believed, so neither can the border behind it.
    fn give_up_border(&mut self, shared: &mut Shared, context: &mut Context<'_>) {
        context.error(self.direction, ProtocolError::Resync);
        shared.gap(self.direction, context);
        self.lose_border(shared, context);
    }

    /// Nothing is known of where the next frame begins.
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

/// Frames.
impl OneWay {
    fn begin_frame(&mut self, header: Header, shared: &mut Shared, context: &mut Context<'_>) {
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

    fn payload(
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
    fn miss(&mut self, n: u64, shared: &mut Shared, context: &mut Context<'_>) {
        let Some(header) = self.frame else { return };
        if !header.opcode.is_data() {
            self.control.miss();
        } else if self.assembly.miss(n, context.resources) {
            self.assembly.report_poison(shared, context);
        }
    }

    /// The frame has passed. Where it ends a message, `last` is a piece of that message which has
    /// not been looked at yet.
    fn end_frame(&mut self, last: Piece<'_>, shared: &mut Shared, context: &mut Context<'_>) {
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

    fn close(&mut self, shared: &mut Shared, context: &mut Context<'_>) {
        let frame = self.control.close();
        if let Some(reason) = frame.violation {
            context.error(self.direction, reason);
        }
        shared.close_frame(self.direction, frame.code, context);
    }
}
