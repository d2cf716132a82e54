//! The stretches of a file that are searched, each byte in one of them only.
//!
//! An image may say of the same bytes several times that they are code or constants. No linker
//! writes that, but a hostile image could make a search over them as long as it likes.

use std::ops::Range;

/// Bytes of the file, and the address at which they are mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) address: u64,
    pub(super) file: Range<usize>,
}

/// The same bytes in the order of the file, without those that an earlier range has.
pub(super) fn each_byte_once(mut ranges: Vec<Stored>) -> Vec<Stored> {
    ranges.sort_by_key(|range| range.file.start);
    let mut end = 0_usize;
    ranges.retain_mut(|range| {
        let covered = end.saturating_sub(range.file.start).min(range.file.len());
        range.file.start += covered;
        range.address = range.address.wrapping_add(covered as u64);
        end = end.max(range.file.end);
        !range.file.is_empty()
    });
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(address: u64, file: Range<usize>) -> Stored {
        Stored { address, file }
    }

    #[test]
    fn bytes_in_several_ranges_are_kept_once() {
        let ranges = vec![
            stored(0x2000, 4..10),
            stored(0x1000, 0..6),
            stored(0x3000, 5..8),
            stored(0x4000, 20..20),
            stored(0x5000, 12..14),
        ];
        let expected = [stored(0x1000, 0..6), stored(0x2002, 6..10), stored(0x5000, 12..14)];
        assert_eq!(each_byte_once(ranges), expected);
    }

    #[test]
    fn ranges_that_do_not_meet_stay_as_they_are() {
        let ranges = vec![stored(0, 0..4), stored(u64::MAX, 4..8)];
        assert_eq!(each_byte_once(ranges.clone()), ranges);
    }
}
