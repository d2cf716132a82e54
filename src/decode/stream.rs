//! Where in its stream a segment lies, and what is missing before it.

use crate::event::{Absent, Direction, Segment, SegmentStart};
use crate::observation::GapReason;

/// Offsets beyond this are not believed; it leaves room for all arithmetic on offsets.
const OFFSET_MAX: u64 = 1 << 62;

/// How far one direction of a connection has been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamPosition {
    next: u64,
}

/// Stream bytes that are here, with their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    pub(super) direction: Direction,
    pub(super) bytes: &'a [u8],
    /// What the first of them is known to be.
    pub(super) start: SegmentStart,
    /// Stream offset behind the last of them.
    pub(super) end: u64,
}

impl<'a> Chunk<'a> {
    /// No bytes, at stream offset `end`.
    pub(super) fn nothing(direction: Direction, end: u64) -> Self {
        Self { direction, bytes: &[], start: SegmentStart::Middle, end }
    }

    /// The last bytes of it, from `rest` on.
    pub(super) fn behind(self, rest: &'a [u8]) -> Self {
        let all = rest.len() == self.bytes.len();
        let start = if all { self.start } else { SegmentStart::Middle };
        Self { bytes: rest, start, ..self }
    }

    /// Stream offset of the first byte.
    pub(super) fn offset(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }
}

/// What is new in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival<'a> {
    /// Bytes before it that never came.
    pub(super) hole: u64,
    pub(super) bytes: &'a [u8],
    /// Bytes behind them that the segment stands for but does not carry, and why.
    pub(super) absent: u64,
    pub(super) why: Absent,
    pub(super) start: SegmentStart,
}

impl StreamPosition {
    /// Offset of the next byte that was not seen.
    pub(super) fn next(self) -> u64 {
        self.next
    }

    /// Moves behind a segment. `None` if it has nothing new, or cannot be true.
    pub(super) fn arrive<'a>(&mut self, segment: &Segment<'a>) -> Option<Arrival<'a>> {
        let len = segment.len.max(segment.bytes.len() as u64);
        let end = segment.offset.checked_add(len).filter(|&end| end <= OFFSET_MAX)?;
        if end <= self.next {
            return None;
        }
        let seen = self.next.saturating_sub(segment.offset);
        let carried = usize::try_from(seen).unwrap_or(usize::MAX).min(segment.bytes.len());
        let bytes = &segment.bytes[carried..];
        let arrival = Arrival {
            hole: segment.offset.saturating_sub(self.next),
            bytes,
            absent: len - seen - bytes.len() as u64,
            why: segment.absent,
            start: if seen == 0 { segment.start } else { SegmentStart::Middle },
        };
        self.next = end;
        Some(arrival)
    }

    /// Moves to the final length of the stream; returns how many bytes never came.
    pub(super) fn finish(&mut self, total: u64) -> u64 {
        if total > OFFSET_MAX {
            return 0;
        }
        let missing = total.saturating_sub(self.next);
        self.next += missing;
        missing
    }
}

impl Absent {
    /// How the bytes were lost; `None` if they were left out on purpose.
    pub(super) fn loss(self) -> Option<GapReason> {
        match self {
            Self::Skipped => None,
            Self::CopyFailed => Some(GapReason::CopyFailed),
            Self::CallTooLarge => Some(GapReason::CallTooLarge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(offset: u64, len: u64, bytes: &[u8]) -> Segment<'_> {
        Segment {
            direction: Direction::Sent,
            offset,
            len,
            bytes,
            absent: Absent::Skipped,
            start: SegmentStart::Call,
        }
    }

    #[test]
    fn a_hole_is_exact() {
        let mut position = StreamPosition { next: 10 };
        let arrival = position.arrive(&segment(15, 8, b"abc")).unwrap();
        assert_eq!((arrival.hole, arrival.bytes, arrival.absent), (5, &b"abc"[..], 5));
        assert_eq!(position.next(), 23);
        assert_eq!(position.finish(30), 7);
        assert_eq!(position.finish(29), 0);
    }

    #[test]
    fn bytes_seen_twice_count_once() {
        let mut position = StreamPosition { next: 12 };
        let arrival = position.arrive(&segment(10, 6, b"abc")).unwrap();
        assert_eq!((arrival.hole, arrival.bytes, arrival.absent), (0, &b"c"[..], 3));
        assert_eq!(arrival.start, SegmentStart::Middle);
        assert_eq!(position.arrive(&segment(10, 6, b"abc")), None);
    }

    #[test]
    fn an_impossible_offset_is_ignored() {
        let mut position = StreamPosition::default();
        assert_eq!(position.arrive(&segment(u64::MAX, 1, b"a")), None);
        assert_eq!(position.arrive(&segment(1, u64::MAX, b"a")), None);
        assert_eq!(position.finish(u64::MAX), 0);
    }
}
