//! Go's table of functions, which the run time needs and no switch removes.
//!
//! `.gopclntab` begins with a header; behind it are the names, and a table of functions sorted by
//! address. Three layouts are read: of Go 1.16 and 1.17, of 1.18 and 1.19, and since 1.20
//! (debug/gosym/pclntab.go and runtime/symtab.go in the Go sources). The second and the third differ
//! in nothing that matters here. Only 64-bit little-endian tables are read.

use memchr::memmem;

/// First bytes since Go 1.20, of 1.18 and 1.19, and of 1.16 and 1.17; then two zeros, the quantum of
/// instructions, and the size of a pointer.
const MAGICS: [([u8; 8], Layout); 3] = [
    ([0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8], Layout::Offsets),
    ([0xf0, 0xff, 0xff, 0xff, 0, 0, 1, 8], Layout::Offsets),
    ([0xfa, 0xff, 0xff, 0xff, 0, 0, 1, 8], Layout::Addresses),
];
/// First bytes of Go 1.2 to 1.15.
const OLD_MAGIC: [u8; 6] = [0xfb, 0xff, 0xff, 0xff, 0, 0];
/// Bytes of a header before its words, and of a word.
const HEADER_LEN: usize = 8;
const WORD_LEN: usize = 8;

/// Most packages that are told to have a method, and most bytes of the path of one.
const PACKAGES_MAX: usize = 8;
const PATH_MAX: usize = 256;

/// Whether `data` is a table of before Go 1.16 that names the function.
pub(super) fn is_old_with(data: &[u8], name: &str) -> bool {
    data.starts_with(&OLD_MAGIC) && memmem::find(data, &[name.as_bytes(), b"\0"].concat()).is_some()
}

/// How functions are described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// By addresses, in fields of 8 bytes: up to Go 1.17.
    Addresses,
    /// By how far they are from the text, in fields of 4 bytes: since Go 1.18.
    Offsets,
}

impl Layout {
    /// Bytes of a field that says where a function or its description is.
    fn field(self) -> usize {
        match self {
            Self::Addresses => 8,
            Self::Offsets => 4,
        }
    }

    /// Which words of the header say where the names and the functions are.
    fn parts(self) -> [usize; 2] {
        match self {
            Self::Addresses => [2, 6],
            Self::Offsets => [3, 7],
        }
    }
}

/// Where a function is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In bytes from the beginning of the text.
    Offsets(Said<u64>),
    /// Where the words are that say it, in bytes from the beginning of the table: the loader may be
    /// the one who writes them.
    Addresses(Said<usize>),
}

/// What a table says of where a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said<T> {
    /// Where it begins: in the list of functions, and in its description.
    pub(super) start: [T; 2],
    /// Where the next one begins.
    pub(super) end: T,
}

/// A parsed table.
pub(super) struct LineTable<'data> {
    layout: Layout,
    /// Address of the text, as the header has it; 0 where it does not: since Go 1.26.
    pub(super) text: u64,
    names: &'data [u8],
    functions: &'data [u8],
    /// Where the functions are in the table, in bytes.
    functions_at: usize,
    count: usize,
}

impl<'data> LineTable<'data> {
    /// Reads the header at the beginning of `data`.
    pub(super) fn parse(data: &'data [u8]) -> Option<Self> {
        let &(_, layout) = MAGICS.iter().find(|(magic, _)| data.starts_with(magic))?;
        let word = |index: usize| {
            let bytes = data.get(HEADER_LEN + WORD_LEN * index..)?.first_chunk()?;
            Some(u64::from_le_bytes(*bytes))
        };
        let [names, functions] = layout.parts();
        let names = data.get(usize::try_from(word(names)?).ok()?..)?;
        let functions_at = usize::try_from(word(functions)?).ok()?;
        let functions = data.get(functions_at..)?;
        // The table has one more entry than functions, for the end of the last.
        let room = (functions.len() / (2 * layout.field())).saturating_sub(1);
        let count = usize::try_from(word(0)?).ok().filter(|&count| count <= room)?;
        let text = if layout == Layout::Offsets { word(2)? } else { 0 };
        Some(Self { layout, text, names, functions, functions_at, count })
    }

    /// Where the function of this name is.
    pub(super) fn find(&self, name: &str) -> Option<Place> {
        let terminated = [name.as_bytes(), b"\0"].concat();
        let is_whole = |at: &usize| *at == 0 || self.names.get(at - 1) == Some(&0);
        let name = memmem::find_iter(self.names, &terminated).find(is_whole)?;
        let name = u32::try_from(name).ok()?;
        let index = (0..self.count).find(|&index| self.name(index) == Some(name))?;
        let (entry, next) = (self.entry(index), self.entry(index + 1));
        let start = [entry, self.description(index)?];
        Some(match self.layout {
            Layout::Offsets => {
                let [listed, described] = start.map(|at| self.at(at));
                Place::Offsets(Said { start: [listed?, described?], end: self.at(next)? })
            }
            Layout::Addresses => {
                let [listed, described] = start.map(|at| self.functions_at.checked_add(at));
                let end = self.functions_at.checked_add(next)?;
                Place::Addresses(Said { start: [listed?, described?], end })
            }
        })
    }

    /// Where entry number `index` is among the functions: the start of the function, and where its
    /// description is.
    fn entry(&self, index: usize) -> usize {
        index * 2 * self.layout.field()
    }

    /// The packages that have this method, as a path each; `method` begins with the dot behind the package.
    pub(super) fn packages_with(&self, method: &str) -> impl Iterator<Item = &'data str> {
        let names = self.names;
        let terminated = [method.as_bytes(), b"\0"].concat();
        let places: Vec<usize> = memmem::find_iter(names, &terminated).take(PACKAGES_MAX).collect();
        places.into_iter().filter_map(|end| {
            let before = names.get(end.saturating_sub(PATH_MAX)..end)?;
            let start = memchr::memrchr(0, before)? + 1;
            std::str::from_utf8(before.get(start..)?).ok().filter(|path| !path.is_empty())
        })
    }

    /// Where the description of function number `index` is among the functions. It begins with the
    /// start of the function, once more; then there is the place of its name.
    fn description(&self, index: usize) -> Option<usize> {
        usize::try_from(self.at(self.entry(index) + self.layout.field())?).ok()
    }

    fn name(&self, index: usize) -> Option<u32> {
        let at = self.description(index)?.checked_add(self.layout.field())?;
        Some(u32::from_le_bytes(*self.functions.get(at..)?.first_chunk()?))
    }

    /// The field at this place among the functions.
    fn at(&self, offset: usize) -> Option<u64> {
        let bytes = self.functions.get(offset..)?;
        Some(match self.layout {
            Layout::Addresses => u64::from_le_bytes(*bytes.first_chunk()?),
            Layout::Offsets => u32::from_le_bytes(*bytes.first_chunk()?).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    /// The text, and in it `a.A` at 0, `b.B` at 0x40, `aa.A` at 0x60, the end at 0x80.
    const TEXT: u64 = 0x40_1000;
    const STARTS: [u64; 4] = [0, 0x40, 0x60, 0x80];
    const NAMES: &[u8] = b"\0a.A\0b.B\0aa.A\0\0\0";

    /// A table of these functions.
    fn table(magic: [u8; 8]) -> Vec<u8> {
        let &(_, layout) = MAGICS.iter().find(|(it, _)| *it == magic).unwrap();
        let words = if layout == Layout::Offsets { 8 } else { 7 };
        let names_at = HEADER_LEN + WORD_LEN * words;
        let mut header = vec![0; words];
        let [names, functions] = layout.parts();
        (header[0], header[names], header[functions]) = (3, names_at, names_at + NAMES.len());
        let (field, base) = (layout.field(), if words == 8 { 0 } else { TEXT });
        if words == 8 {
            header[2] = usize::try_from(TEXT).unwrap();
        }
        let mut data = magic.to_vec();
        data.extend(header.into_iter().flat_map(|word| (word as u64).to_le_bytes()));
        data.extend(NAMES);
        let mut add = |value: u64, len: usize| data.extend(&value.to_le_bytes()[..len]);
        let descriptions = 7 * field;
        for (index, start) in STARTS.into_iter().enumerate() {
            add(base + start, field);
            if index < 3 {
                add((descriptions + index * (field + 4)) as u64, field);
            }
        }
        for (start, name) in STARTS.into_iter().zip([1, 5, 9]) {
            add(base + start, field);
            add(name, 4);
        }
        data
    }

    /// The range that a place says, of a table that no loader changes.
    fn range(data: &[u8], place: Place) -> Range<u64> {
        let word = |at: usize| u64::from_le_bytes(*data[at..].first_chunk().unwrap()) - TEXT;
        let Said { start: [listed, described], end } = match place {
            Place::Offsets(said) => said,
            Place::Addresses(Said { start, end }) => {
                Said { start: start.map(word), end: word(end) }
            }
        };
        assert_eq!(listed, described);
        listed..end
    }

    #[test]
    fn a_function_is_found_by_its_whole_name() {
        for (magic, layout) in MAGICS {
            let data = table(magic);
            let table = LineTable::parse(&data).unwrap();
            assert_eq!(table.text, if layout == Layout::Offsets { TEXT } else { 0 });
            let found = |name| table.find(name).map(|place| range(&data, place));
            assert_eq!(found("a.A"), Some(0..0x40), "{layout:?}");
            assert_eq!(found("b.B"), Some(0x40..0x60), "{layout:?}");
            assert_eq!(found("aa.A"), Some(0x60..0x80), "{layout:?}");
            assert_eq!(found("A"), None);
            assert_eq!(found("c.C"), None);
        }
    }

    #[test]
    fn a_package_is_found_by_a_method() {
        let data = table(MAGICS[0].0);
        let table = LineTable::parse(&data).unwrap();
        let packages = |method| table.packages_with(method).collect::<Vec<_>>();
        assert_eq!(packages(".A"), ["a", "aa"]);
        assert_eq!(packages(".B"), ["b"]);
        assert_eq!(packages(".C"), [""; 0]);
        assert_eq!(packages("a.A"), ["a"]);
    }

    #[test]
    fn a_table_that_is_cut_off_is_none_or_finds_nothing_wrong() {
        for (magic, _) in MAGICS {
            let data = table(magic);
            for len in 0..data.len() {
                let Some(table) = LineTable::parse(&data[..len]) else { continue };
                let found = table.find("aa.A").map(|place| range(&data, place));
                assert!(found.is_none_or(|found| found == (0x60..0x80)));
            }
        }
    }

    /// Any word of the header or of the functions may be any number.
    #[test]
    fn a_table_with_a_word_that_overflows_is_answered() {
        for (magic, _) in MAGICS {
            for at in HEADER_LEN..table(magic).len() - WORD_LEN {
                for word in [u64::MAX, u64::MAX / 2, u64::MAX - 7, 1 << 32] {
                    let mut data = table(magic);
                    data[at..at + WORD_LEN].copy_from_slice(&word.to_le_bytes());
                    if let Some(table) = LineTable::parse(&data) {
                        let _ = ["a.A", "b.B", "aa.A"].map(|name| table.find(name));
                    }
                }
            }
        }
    }

    #[test]
    fn another_layout_is_recognized_and_not_guessed_at() {
        let mut data = table(MAGICS[0].0);
        assert!(!is_old_with(&data, "a.A"));
        data[0] = 0xfb;
        assert!(LineTable::parse(&data).is_none());
        assert!(is_old_with(&data, "a.A"));
        assert!(!is_old_with(&data, "c.C"));
    }
}
