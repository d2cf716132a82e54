//! One direction of a WebSocket connection: from bytes to frames.
//!
//! While the border of the next frame is known, bytes are decoded where they lie. While it is
//! not, they go through [`Search`]. Control frames end here; data frames go on to [`Assembly`].

mod borders;
mod frames;

use super::control::Control;
use super::violations::Plausibility;
use crate::decode::context::{Context, Resources};
use crate::decode::frame::header::{FrameReader, Header};
use crate::decode::limits::Limits;
use crate::decode::message::assembly::{Assembly, Piece};
use crate::decode::message::compression::Compression;
use crate::decode::message::shared::Shared;
use crate::decode::resync::search::Search;
use crate::event::Direction;
use crate::observation::{Fidelity, ProtocolError};

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
        if self.is_within_frame() {
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

    /// A frame has begun and not ended, and it is known where it does.
    pub(in crate::decode) fn is_within_frame(&self) -> bool {
        self.search.is_none() && !self.reader.is_idle()
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
