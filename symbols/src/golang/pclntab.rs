//! Go's table of functions, which the run time needs and no switch removes.
//!
//! `.gopclntab` begins with a header; behind it are the names, and a table of functions sorted by
//! address. Two layouts are known: of Go 1.18 and 1.19, and since 1.20 (debug/gosym/pclntab.go and
//! runtime/symtab.go in the Go sources). Both are for the calling convention that passes arguments
//! in registers. Only 64-bit little-endian tables are read.

use std::ops::Range;

use memchr::memmem;

/// First bytes since Go 1.20, and of 1.18 and 1.19; then two zeros, the quantum of instructions,
/// and the size of a pointer.
const MAGICS: [[u8; 8]; 2] =
    [[0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8], [0xf0, 0xff, 0xff, 0xff, 0, 0, 1, 8]];
/// First bytes of Go 1.16 and 1.17, and of 1.2 to 1.15.
const OLD_MAGICS: [[u8; 6]; 2] = [[0xfa, 0xff, 0xff, 0xff, 0, 0], [0xfb, 0xff, 0xff, 0xff, 0, 0]];
/// Bytes of an entry of the table of functions: start, and place of the description.
const ENTRY_LEN: usize = 8;

/// Whether `data` is a table of before Go 1.18 that names the function.
pub(super) fn is_old_with(data: &[u8], name: &str) -> bool {
    OLD_MAGICS.iter().any(|magic| data.starts_with(magic))
        && memmem::find(data, &[name.as_bytes(), b"\0"].concat()).is_some()
}

/// A parsed table.
pub(super) struct LineTable<'data> {
    /// Address of the text, as the header has it; 0 since Go 1.26.
    pub(super) text: u64,
    names: &'data [u8],
    functions: &'data [u8],
    count: usize,
}

impl<'data> LineTable<'data> {
    /// Reads the header at the beginning of `data`.
    pub(super) fn parse(data: &'data [u8]) -> Option<Self> {
        MAGICS.iter().any(|magic| data.starts_with(magic)).then_some(())?;
        let word = |index: usize| {
            let bytes = data.get(8 + 8 * index..)?.first_chunk()?;
            Some(u64::from_le_bytes(*bytes))
        };
        let part = |index: usize| data.get(usize::try_from(word(index)?).ok()?..);
        let functions = part(7)?;
        // The table has one more entry than functions, for the end of the last.
        let room = (functions.len() / ENTRY_LEN).saturating_sub(1);
        let count = usize::try_from(word(0)?).ok().filter(|&count| count <= room)?;
        Some(Self { text: word(2)?, names: part(3)?, functions, count })
    }

    /// Where the function of this name is, relative to the text.
    pub(super) fn find(&self, name: &str) -> Option<Range<u64>> {
        let terminated = [name.as_bytes(), b"\0"].concat();
        let is_whole = |at: &usize| *at == 0 || self.names.get(at - 1) == Some(&0);
        let name = memmem::find_iter(self.names, &terminated).find(is_whole)?;
        let name = u32::try_from(name).ok()?;
        let index = (0..self.count).find(|&index| self.name(index) == Some(name))?;
        Some(self.start(index)?.into()..self.start(index + 1)?.into())
    }

    /// The place of the name of function number `index`.
    fn name(&self, index: usize) -> Option<u32> {
        let description = self.at(index * ENTRY_LEN + 4)? as usize;
        self.at(description.checked_add(4)?)
    }

    fn start(&self, index: usize) -> Option<u32> {
        self.at(index * ENTRY_LEN)
    }

    fn at(&self, offset: usize) -> Option<u32> {
        Some(u32::from_le_bytes(*self.functions.get(offset..)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of three functions: `a.A` at 0, `b.B` at 0x40, `aa.A` at 0x60, the end at 0x80.
    fn table() -> Vec<u8> {
        let names = b"\0a.A\0b.B\0aa.A\0\0\0";
        let mut data = MAGICS[0].to_vec();
        let names_at = 8 + 8 * 8;
        let functions_at = names_at + names.len();
        for word in [3, 0, 0x40_1000, names_at, 0, 0, 0, functions_at] {
            data.extend((word as u64).to_le_bytes());
        }
        data.extend(names);
        for (start, description) in [(0_u32, 28_u32), (0x40, 36), (0x60, 44)] {
            data.extend(start.to_le_bytes());
            data.extend(description.to_le_bytes());
        }
        data.extend(0x80_u32.to_le_bytes());
        for (start, name) in [(0_u32, 1_u32), (0x40, 5), (0x60, 9)] {
            data.extend(start.to_le_bytes());
            data.extend(name.to_le_bytes());
        }
        data
    }

    #[test]
    fn a_function_is_found_by_its_whole_name() {
        let data = table();
        let table = LineTable::parse(&data).unwrap();
        assert_eq!(table.text, 0x40_1000);
        assert_eq!(table.find("a.A"), Some(0..0x40));
        assert_eq!(table.find("b.B"), Some(0x40..0x60));
        assert_eq!(table.find("aa.A"), Some(0x60..0x80));
        assert_eq!(table.find("A"), None);
        assert_eq!(table.find("c.C"), None);
    }

    #[test]
    fn a_table_that_is_cut_off_is_none_or_finds_nothing_wrong() {
        let data = table();
        for len in 0..data.len() {
            if let Some(table) = LineTable::parse(&data[..len]) {
                assert!(table.find("aa.A").is_none_or(|found| found == (0x60..0x80)));
            }
        }
    }

    #[test]
    fn another_layout_is_recognized_and_not_guessed_at() {
        let mut data = table();
        assert!(!is_old_with(&data, "a.A"));
        for magic in [0xfa, 0xfb] {
            data[0] = magic;
            assert!(LineTable::parse(&data).is_none());
            assert!(is_old_with(&data, "a.A"));
            assert!(!is_old_with(&data, "c.C"));
        }
    }
}
