//! Where functions begin, from the table that exception unwinding needs at run time.
//!
//! `.eh_frame_hdr` is mapped into the process, so `strip` leaves it. It lists the start of every
//! function with unwind information, sorted by address, for a binary search.
//! (Linux Standard Base Core, generic part, section 10.6.2.)

use object::Endianness;
use object::endian::Endian as _;

/// Bytes before the table: version, three encodings, and two 32-bit values.
const HEADER_LEN: usize = 12;
/// `DW_EH_PE_udata4`: the number of entries is an unsigned 32-bit value.
const COUNT_ENCODING: u8 = 0x03;
/// `DW_EH_PE_datarel | DW_EH_PE_sdata4`: signed 32-bit distances from the header's own address.
const TABLE_ENCODING: u8 = 0x3b;

/// The sorted table; absent in files that need no unwinding.
#[derive(Clone, Copy)]
pub(super) struct UnwindTable<'data> {
    /// `(start, unwind entry)` pairs.
    entries: &'data [[u8; 8]],
    /// Address of the header.
    base: u64,
    endian: Endianness,
}

impl<'data> UnwindTable<'data> {
    /// Reads the segment `PT_GNU_EH_FRAME` that is mapped at `base`; `None` for encodings that no
    /// linker writes.
    pub(super) fn parse(segment: &'data [u8], base: u64, endian: Endianness) -> Option<Self> {
        let header = segment.get(..HEADER_LEN)?;
        // The first of the two values is 4 bytes in every encoding that linkers use.
        if (header[0], header[2], header[3]) != (1, COUNT_ENCODING, TABLE_ENCODING) {
            return None;
        }
        let count = endian.read_u32(*header.last_chunk()?) as usize;
        let (entries, _) = segment.get(HEADER_LEN..)?.as_chunks();
        Some(Self { entries: entries.get(..count)?, base, endian })
    }

    /// The start of the first function after `address`.
    pub(super) fn next_start(&self, address: u64) -> Option<u64> {
        let after = self.entries.partition_point(|entry| self.start(entry) <= address);
        self.entries.get(after).map(|entry| self.start(entry))
    }

    /// The start of the last function that begins at or before `address`.
    pub(super) fn start_of(&self, address: u64) -> Option<u64> {
        let after = self.entries.partition_point(|entry| self.start(entry) <= address);
        self.entries.get(after.checked_sub(1)?).map(|entry| self.start(entry))
    }

    fn start(&self, entry: &[u8; 8]) -> u64 {
        let [a, b, c, d, ..] = *entry;
        let distance = self.endian.read_i32([a, b, c, d]);
        self.base.wrapping_add_signed(distance.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of functions at `base + 0x10`, `base + 0x20`, `base + 0x40`.
    fn segment() -> Vec<u8> {
        let mut bytes = vec![1, 0x1b, 0x03, 0x3b, 0, 0, 0, 0, 3, 0, 0, 0];
        for start in [0x10_i32, 0x20, 0x40] {
            bytes.extend(start.to_le_bytes());
            bytes.extend(0_i32.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_function_ends_where_the_next_begins() {
        let bytes = segment();
        let table = UnwindTable::parse(&bytes, 0x1000, Endianness::Little).unwrap();
        assert_eq!(table.next_start(0x1010), Some(0x1020));
        assert_eq!(table.next_start(0x103f), Some(0x1040));
        assert_eq!(table.next_start(0x1040), None);
        assert_eq!(table.start_of(0x1010), Some(0x1010));
        assert_eq!(table.start_of(0x103f), Some(0x1020));
        assert_eq!(table.start_of(0x100f), None);
    }

    #[test]
    fn a_table_longer_than_its_segment_is_none() {
        let bytes = segment();
        for len in 0..bytes.len() {
            assert!(UnwindTable::parse(&bytes[..len], 0, Endianness::Little).is_none());
        }
    }
}
