//! One ELF image, seen through two crates.
//!
//! `object` is the section view: symbol tables, `.rodata`, notes. `goblin` is the loader's view
//! ([`loader`]): it reads `PT_DYNAMIC`, which the dynamic linker needs and no tool strips, so it
//! still answers where section headers are gone. Addresses become file offsets here, through the
//! program headers alone, because that is how the kernel maps the file.
//!
//! What the symbols mean is left to [`crate::search`].

mod loader;
mod plt;
mod ranges;
mod unwind;

use std::cell::OnceCell;
use std::ops::Range;

use memchr::memmem;
use object::Endianness;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::endian::Endian as _;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};

use self::loader::Dynamic;
use self::ranges::{Stored, each_byte_once};
use self::unwind::UnwindTable;
use crate::plan::BuildId;
use crate::work::{Limit, Meter, Work};

/// Why an image could not be read at all.
///
/// Damage beyond the headers is no error: what cannot be read is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes do not begin with an ELF header.
    #[error("not an ELF image")]
    NotElf,
    /// An ELF image of a class that no supported machine uses.
    #[error("32-bit ELF images are not supported")]
    Class32,
    /// The program headers, which say what the kernel maps, are not inside the file.
    #[error("the program headers are outside the file")]
    ProgramHeaders,
    /// There are more headers than the kernel or any linker has use for.
    #[error(
        "it has {count} {kind} headers, more than the {most} that wstap reads: no linker makes that"
    )]
    TooManyHeaders {
        /// `program` or `section`.
        kind: &'static str,
        /// How many there are.
        count: usize,
        /// How many are accepted.
        most: usize,
    },
    /// Reading the image would take out of all proportion to its size.
    #[error("reading it would take far more work than a file of its size should: {0}")]
    TooMuchWork(Limit),
}

impl Error {
    /// Whether the image is one that a process may have mapped, but that wstap refuses to read: a
    /// person should be told. The other errors are of files that hold no code for this machine.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::TooManyHeaders { .. } | Self::TooMuchWork(_))
    }
}

/// Most program headers that are accepted: the kernel runs no program with more
/// (`load_elf_phdrs` in fs/binfmt_elf.c).
const MAX_PROGRAM_HEADERS: usize = 65_536 / size_of::<ProgramHeader64<Endianness>>();
/// Most section headers that are accepted. Linked files have some dozens.
const MAX_SECTIONS: usize = 4096;
/// Longest name of a section that is compared, in bytes.
const MAX_SECTION_NAME: usize = 64;
/// Most places in one range that are looked at for one address.
const MAX_PLACES: usize = 4096;
/// Longest segment of notes that is read, in bytes.
const MAX_NOTES: usize = 64 << 10;

/// The machines that a plan can be made for: those whose calling convention the tap knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    /// System V AMD64.
    X86_64,
    /// AAPCS64.
    Aarch64,
    /// Anything else.
    Other,
}

/// Where an image can name its functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SymbolTable {
    /// The section `.dynsym`.
    Dynsym,
    /// The section `.symtab`.
    Symtab,
    /// The loader's tables, where there are no sections.
    Dynamic,
}

/// A function that an image defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Function {
    /// Virtual address of its first instruction, as in the file (no load bias).
    pub(crate) address: u64,
    /// Size in bytes; 0 when the symbol table does not say.
    pub(crate) size: u64,
}

impl Function {
    /// The address after its last instruction, if the symbol table says.
    pub(crate) fn end(self) -> Option<u64> {
        if self.size == 0 { None } else { self.address.checked_add(self.size) }
    }
}

/// A parsed image. Cheap: tables are found, not read.
pub(crate) struct Image<'data> {
    data: &'data [u8],
    endian: Endianness,
    machine: Machine,
    segments: Vec<Segment>,
    /// Code, constants and all data: each byte of the file once.
    code: Vec<Stored>,
    constants: Vec<Stored>,
    mapped_data: Vec<Stored>,
    headers: &'data [ProgramHeader64<Endianness>],
    sections: SectionTable<'data, FileHeader64<Endianness>>,
    unwind: Option<UnwindTable<'data>>,
    dynamic: Option<Dynamic<'data>>,
    starts: OnceCell<Vec<u64>>,
    meter: Meter,
}

/// A `PT_LOAD` whose bytes are inside the file.
struct Segment {
    address: u64,
    file: Range<usize>,
    executable: bool,
    writable: bool,
}

impl<'data> Image<'data> {
    /// Reads the headers.
    pub(crate) fn parse(data: &'data [u8]) -> Result<Self, Error> {
        let header = file_header(data)?;
        let endian = header.endian().map_err(|_| Error::NotElf)?;
        let headers = header.program_headers(endian, data).map_err(|_| Error::ProgramHeaders)?;
        at_most("program", headers.len(), MAX_PROGRAM_HEADERS)?;
        // Section headers are for tools: the kernel never reads them, so broken ones are none.
        let sections = header.sections(endian, data).unwrap_or_default();
        at_most("section", sections.len(), MAX_SECTIONS)?;
        let segments: Vec<Segment> =
            headers.iter().filter_map(|ph| Segment::new(ph, endian, data)).collect();
        let mut image = Self {
            data,
            endian,
            machine: match header.e_machine(endian) {
                elf::EM_X86_64 => Machine::X86_64,
                elf::EM_AARCH64 => Machine::Aarch64,
                _ => Machine::Other,
            },
            code: stored(&segments, |segment| segment.executable),
            mapped_data: stored(&segments, |segment| !segment.executable),
            constants: Vec::new(),
            segments,
            headers,
            dynamic: Dynamic::parse(data),
            unwind: headers.iter().find_map(|header| {
                let is_unwind = header.p_type(endian) == elf::PT_GNU_EH_FRAME;
                let bytes = is_unwind.then(|| header.data(endian, data).ok()).flatten()?;
                UnwindTable::parse(bytes, header.p_vaddr(endian), endian)
            }),
            sections,
            starts: OnceCell::new(),
            meter: Meter::new(data.len()),
        };
        image.constants = image.find_constants();
        Ok(image)
    }

    /// The work so far, and the bound that it has reached, if any. What was found after that is not
    /// all that there is.
    pub(crate) fn work(&self) -> (Work, Option<Limit>) {
        (self.meter.used(), self.meter.reached())
    }

    /// Asks for leave to look at one more instruction.
    pub(crate) fn step(&self) -> bool {
        self.meter.step()
    }

    /// What the code was compiled for.
    pub(crate) fn machine(&self) -> Machine {
        self.machine
    }

    /// The build id, from the notes that are mapped into the process.
    pub(crate) fn build_id(&self) -> Option<BuildId> {
        for header in self.headers {
            if header.p_filesz(self.endian) > MAX_NOTES as u64 {
                continue;
            }
            let Ok(Some(notes)) = header.notes(self.endian, self.data) else { continue };
            let id = notes.map_while(Result::ok).take_while(|_| self.meter.entry()).find(|note| {
                note.name() == elf::ELF_NOTE_GNU && note.n_type(self.endian) == elf::NT_GNU_BUILD_ID
            });
            if let Some(note) = id {
                return BuildId::new(note.desc());
            }
        }
        None
    }

    /// File offset of the instruction at `address`; `None` outside mapped code.
    pub(crate) fn code_offset(&self, address: u64) -> Option<u64> {
        let (segment, at) = self.locate(address)?;
        segment.executable.then_some(at as u64)
    }

    /// Address of the code at an offset in the file; `None` where no code is mapped from.
    pub(crate) fn code_address(&self, offset: u64) -> Option<u64> {
        let offset = usize::try_from(offset).ok()?;
        self.segments.iter().find_map(|segment| {
            let is_inside = segment.executable && segment.file.contains(&offset);
            is_inside
                .then(|| segment.address.checked_add((offset - segment.file.start) as u64))
                .flatten()
        })
    }

    /// A number of four bytes, in the image's byte order.
    pub(crate) fn word32(&self, bytes: [u8; 4]) -> u32 {
        self.endian.read_u32(bytes)
    }

    /// The bytes from `address` to the end of the code that is mapped there.
    pub(crate) fn code(&self, address: u64) -> Option<&'data [u8]> {
        let (segment, at) = self.locate(address)?;
        if !segment.executable {
            return None;
        }
        self.data.get(at..segment.file.end)
    }

    /// The bytes from `address` to the end of what the file has for that segment.
    pub(crate) fn stored(&self, address: u64) -> Option<&'data [u8]> {
        let (segment, at) = self.locate(address)?;
        self.data.get(at..segment.file.end)
    }

    /// Where the function that holds `address` must have ended: at the next one's start. By the unwind
    /// table, or else by the symbols.
    pub(crate) fn next_function(&self, address: u64) -> Option<u64> {
        match &self.unwind {
            Some(unwind) => unwind.next_start(address),
            None => self.starts().get(self.starts().partition_point(|&it| it <= address)).copied(),
        }
    }

    /// The function that a call to `address` runs: where that is an entry of the procedure linkage
    /// table, the function that it stands for, if the image defines it.
    pub(crate) fn callee(&self, address: u64) -> u64 {
        let word = || plt::word_of_entry(self.code(address)?, address);
        let bound = || plt::bound_function(self.dynamic.as_ref()?, word()?, &self.meter);
        bound().unwrap_or(address)
    }

    /// Where the function that holds `address` began.
    pub(crate) fn function_start(&self, address: u64) -> Option<u64> {
        match &self.unwind {
            Some(unwind) => unwind.start_of(address),
            None => {
                let after = self.starts().partition_point(|&start| start <= address);
                self.starts().get(after.checked_sub(1)?).copied()
            }
        }
    }

    /// Where functions begin by the symbol tables, sorted: static programs have no unwind table.
    fn starts(&self) -> &[u64] {
        self.starts.get_or_init(|| {
            let mut starts = Vec::new();
            for table in [SymbolTable::Dynsym, SymbolTable::Symtab] {
                self.functions(table, |_, function| starts.push(function.address));
            }
            starts.sort_unstable();
            starts.dedup();
            starts
        })
    }

    /// Constant data with its addresses: the sections that hold it, or every read-only segment
    /// where there are no sections. Each byte comes once.
    pub(crate) fn constants(&self) -> impl Iterator<Item = (u64, &'data [u8])> {
        self.searched(&self.constants)
    }

    fn find_constants(&self) -> Vec<Stored> {
        if self.sections.is_empty() {
            return stored(&self.segments, |segment| !segment.writable && !segment.executable);
        }
        let sections = self.sections.iter().filter(|section| self.is_rodata(section));
        let ranges = sections.filter_map(|section| {
            let (start, len) = section.file_range(self.endian)?;
            let start = usize::try_from(start).ok()?;
            let file = start..start.checked_add(usize::try_from(len).ok()?)?;
            self.data.get(file.clone())?;
            Some(Stored { address: section.sh_addr(self.endian), file })
        });
        each_byte_once(ranges.collect())
    }

    /// The bytes of ranges that are about to be searched, as long as the search may go on.
    fn searched(&self, ranges: &[Stored]) -> impl Iterator<Item = (u64, &'data [u8])> {
        let bytes = |range: &Stored| Some((range.address, self.data.get(range.file.clone())?));
        ranges.iter().filter_map(bytes).take_while(|(_, bytes)| self.meter.bytes(bytes.len()))
    }

    /// Whether a constant is a string with this end.
    pub(crate) fn holds_string_ending(&self, end: &str) -> bool {
        let terminated = [end.as_bytes(), b"\0"].concat();
        self.constants().any(|(_, bytes)| memmem::find(bytes, &terminated).is_some())
    }

    /// Whether the data hold `address`, as stored or as the loader writes it.
    pub(crate) fn holds_address(&self, address: u64) -> bool {
        self.places_of(address).next().is_some()
    }

    /// Where the data hold `address`: first where the loader writes it, then where it is stored.
    pub(crate) fn places_of(&self, address: u64) -> impl Iterator<Item = u64> {
        let stored = match self.endian {
            Endianness::Little => address.to_le_bytes(),
            Endianness::Big => address.to_be_bytes(),
        };
        let dynamic = self.dynamic.iter();
        let written = dynamic.flat_map(move |it| it.places_of(address, &self.meter));
        written.chain(self.searched(&self.mapped_data).flat_map(move |(base, bytes)| {
            let found: Vec<usize> = memmem::find_iter(bytes, &stored).take(MAX_PLACES).collect();
            found.into_iter().map(move |at| base.wrapping_add(at as u64))
        }))
    }

    /// The address and the bytes of a section of the file.
    pub(crate) fn section(&self, name: &str) -> Option<(u64, &'data [u8])> {
        let mut sections = self.sections.iter();
        let section =
            sections.find(|section| self.section_name(section) == Some(name.as_bytes()))?;
        let bytes = section.data(self.endian, self.data).ok()?;
        self.meter.bytes(bytes.len()).then(|| (section.sh_addr(self.endian), bytes))
    }

    /// The 64-bit word at `address`, as the loader leaves it in an image that is not moved. What it
    /// looks up by a symbol is left as it is stored.
    pub(crate) fn relocated_word(&self, address: u64) -> Option<u64> {
        let addends = |it: &Dynamic<'_>| it.addends(&[address], &self.meter);
        let written = self.dynamic.as_ref().map(addends).unwrap_or_default();
        written.get(&address).copied().flatten().or_else(|| self.stored_word(address))
    }

    /// The same for several addresses; `None` if the loader looks one up by a symbol.
    pub(crate) fn relocated_words(&self, addresses: &[u64]) -> Option<Vec<u64>> {
        let addends = |it: &Dynamic<'_>| it.addends(addresses, &self.meter);
        let written = self.dynamic.as_ref().map(addends).unwrap_or_default();
        let word = |address: &u64| match written.get(address) {
            Some(&addend) => addend,
            None => self.stored_word(*address),
        };
        addresses.iter().map(word).collect()
    }

    fn stored_word(&self, address: u64) -> Option<u64> {
        let (_, at) = self.locate(address)?;
        let bytes: [u8; 8] = *self.data.get(at..)?.first_chunk()?;
        Some(self.endian.read_u64(bytes))
    }

    /// All code with its addresses. Each byte comes once.
    pub(crate) fn code_segments(&self) -> impl Iterator<Item = (u64, &'data [u8])> {
        self.searched(&self.code)
    }

    /// Calls `visit` for every function that `table` defines, with its name as the table has it.
    ///
    /// Undefined symbols (imports) and resolvers (`STT_GNU_IFUNC`) are no definitions.
    pub(crate) fn functions(&self, table: SymbolTable, visit: impl FnMut(&'data [u8], Function)) {
        match table {
            SymbolTable::Dynsym => self.section_functions(elf::SHT_DYNSYM, visit),
            SymbolTable::Symtab => self.section_functions(elf::SHT_SYMTAB, visit),
            SymbolTable::Dynamic => {
                let dynamic = self.dynamic.as_ref().filter(|_| self.sections.is_empty());
                if let Some(dynamic) = dynamic {
                    dynamic.functions(&self.meter, visit);
                }
            }
        }
    }

    /// The name that the image goes by as a shared library.
    pub(crate) fn soname(&self) -> Option<&'data [u8]> {
        self.dynamic.as_ref()?.soname()
    }

    fn section_functions(
        &self,
        table: elf::SectionType,
        mut visit: impl FnMut(&'data [u8], Function),
    ) {
        let Ok(symbols) = self.sections.symbols(self.endian, self.data, table) else { return };
        let strings = symbols.strings();
        for symbol in symbols.iter() {
            if !self.meter.entry() {
                return;
            }
            if symbol.st_type() != elf::STT_FUNC || symbol.is_undefined(self.endian) {
                continue;
            }
            let name = strings.get(symbol.st_name(self.endian));
            // To find the end of a name that has none, all of the strings were searched.
            if !self.meter.bytes(name.map_or(self.data.len(), <[u8]>::len)) {
                return;
            }
            let Ok(name) = name else { continue };
            let function = Function {
                address: symbol.st_value(self.endian),
                size: symbol.st_size(self.endian),
            };
            visit(name, function);
        }
    }

    fn is_rodata(&self, section: &SectionHeader64<Endianness>) -> bool {
        section.sh_type(self.endian) == elf::SHT_PROGBITS
            && self.section_name(section).is_some_and(|name| name.starts_with(b".rodata"))
    }

    /// The name of a section, if it is as short as those of interest.
    fn section_name(&self, section: &SectionHeader64<Endianness>) -> Option<&'data [u8]> {
        let header = file_header(self.data).ok()?;
        let names =
            self.sections.iter().nth(header.shstrndx(self.endian, self.data).ok()? as usize)?;
        let names = names.data(self.endian, self.data).ok()?;
        let rest = names.get(section.sh_name(self.endian) as usize..)?;
        let name = rest.get(..rest.len().min(MAX_SECTION_NAME))?;
        name.get(..memchr::memchr(0, name)?)
    }

    /// The segment that maps `address`, and the place of that byte in the file.
    fn locate(&self, address: u64) -> Option<(&Segment, usize)> {
        self.segments.iter().find_map(|segment| {
            let into = usize::try_from(address.checked_sub(segment.address)?).ok()?;
            (into < segment.file.len()).then(|| (segment, segment.file.start + into))
        })
    }
}

impl Segment {
    /// `None` for what the kernel does not map, or what is not wholly in the file.
    fn new(header: &ProgramHeader64<Endianness>, endian: Endianness, data: &[u8]) -> Option<Self> {
        if header.p_type(endian) != elf::PT_LOAD {
            return None;
        }
        let start = usize::try_from(header.p_offset(endian)).ok()?;
        let end = start.checked_add(usize::try_from(header.p_filesz(endian)).ok()?)?;
        data.get(start..end)?;
        let flags = header.p_flags(endian);
        Some(Self {
            address: header.p_vaddr(endian),
            file: start..end,
            executable: flags.contains(elf::PF_X),
            writable: flags.contains(elf::PF_W),
        })
    }
}

/// The file's bytes of some of the segments, each once.
fn stored(segments: &[Segment], wanted: impl Fn(&Segment) -> bool) -> Vec<Stored> {
    let segments = segments.iter().filter(|segment| wanted(segment));
    let ranges = segments.map(|it| Stored { address: it.address, file: it.file.clone() });
    each_byte_once(ranges.collect())
}

fn at_most(kind: &'static str, count: usize, most: usize) -> Result<(), Error> {
    if count <= most { Ok(()) } else { Err(Error::TooManyHeaders { kind, count, most }) }
}

/// The header of a 64-bit image.
fn file_header(data: &[u8]) -> Result<&FileHeader64<Endianness>, Error> {
    let class = data.strip_prefix(&elf::ELFMAG).and_then(|rest| rest.first());
    if class == Some(&elf::ELFCLASS32.0) {
        return Err(Error::Class32);
    }
    FileHeader64::parse(data).map_err(|_| Error::NotElf)
}
