//! The loader's view: what `PT_DYNAMIC` says, with no section header read.
//!
//! The dynamic segment gives the address of the symbol table but not its length. The dynamic linker
//! needs none, because it looks symbols up by hash; so the length is taken from the hash table.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use goblin::container::Ctx;
use goblin::elf::dynamic::DynamicInfo;
use goblin::elf::program_header::{PT_DYNAMIC, ProgramHeader};
use goblin::elf::sym::{STT_FUNC, Sym, Symtab};
use goblin::elf::{Elf, Header, Reloc, RelocSection};

use super::Function;
use crate::work::Meter;

/// Size of an entry of a 64-bit symbol table, in bytes.
const SYMBOL_LEN: usize = 24;
/// Longest dynamic segment that is read, in bytes. Real ones have some dozens of entries.
const MAX_DYNAMIC: u64 = 64 << 10;

/// The dynamic segment of an image.
pub(super) struct Dynamic<'data> {
    data: &'data [u8],
    ctx: Ctx,
    info: DynamicInfo,
    /// Number of symbols; looked for in the hash table when it is first needed.
    symbol_count: OnceCell<Option<usize>>,
}

impl<'data> Dynamic<'data> {
    /// `None` for an image that is not dynamically linked.
    pub(super) fn parse(data: &'data [u8]) -> Option<Self> {
        let header: Header = Elf::parse_header(data).ok()?;
        let ctx = Ctx::new(header.container().ok()?, header.endianness().ok()?);
        let offset = usize::try_from(header.e_phoff).ok().filter(|&offset| offset < data.len())?;
        let headers = ProgramHeader::parse(data, offset, header.e_phnum.into(), ctx).ok()?;
        let dynamic = headers.iter().find(|header| header.p_type == PT_DYNAMIC)?;
        (dynamic.p_filesz <= MAX_DYNAMIC).then_some(())?;
        let dynamic = goblin::elf::Dynamic::parse(data, &headers, ctx).ok()??;
        Some(Self { data, ctx, info: dynamic.info, symbol_count: OnceCell::new() })
    }

    /// `DT_SONAME`.
    pub(super) fn soname(&self) -> Option<&'data [u8]> {
        (self.info.soname != 0).then(|| self.string(self.info.soname)).flatten()
    }

    /// Calls `visit` for every function that the dynamic symbol table defines.
    pub(super) fn functions(&self, meter: &Meter, mut visit: impl FnMut(&'data [u8], Function)) {
        let Some(symbols) = self.symbols(meter) else { return };
        for symbol in symbols.iter() {
            if !meter.entry() {
                return;
            }
            if symbol.st_type() != STT_FUNC || symbol.st_shndx == 0 {
                continue;
            }
            let name = self.string(symbol.st_name);
            // To find the end of a name that has none, all of the strings were searched.
            if !meter.bytes(name.map_or(self.data.len(), <[u8]>::len)) {
                return;
            }
            if let Some(name) = name {
                visit(name, Function { address: symbol.st_value, size: symbol.st_size });
            }
        }
    }

    /// The symbol of this number.
    pub(super) fn symbol(&self, index: usize, meter: &Meter) -> Option<Sym> {
        self.symbols(meter)?.get(index)
    }

    /// What the loader writes at each of these addresses in an image that is not moved, if it writes
    /// there: `None` where it has to look up a symbol for that.
    pub(super) fn addends(&self, addresses: &[u64], meter: &Meter) -> HashMap<u64, Option<u64>> {
        let wanted: HashSet<u64> = addresses.iter().copied().collect();
        let here = self.relocations(meter).filter(|it| wanted.contains(&it.r_offset));
        let addend = |it: &Reloc| it.r_addend.filter(|_| it.r_sym == 0).map(i64::cast_unsigned);
        here.map(|it| (it.r_offset, addend(&it))).collect()
    }

    /// Where the loader writes `address` in an image that is not moved.
    pub(super) fn places_of(&self, address: u64, meter: &Meter) -> impl Iterator<Item = u64> {
        let writes = move |it: &Reloc| it.r_addend.map(i64::cast_unsigned) == Some(address);
        self.relocations(meter).filter(writes).map(|relocation| relocation.r_offset)
    }

    /// The relocations that the loader applies, those of the procedure linkage table first.
    pub(super) fn relocations(&self, meter: &Meter) -> impl Iterator<Item = Reloc> {
        let DynamicInfo { jmprel, pltrelsz, rela, relasz, .. } = self.info;
        let tables = [(jmprel, pltrelsz), (rela, relasz)];
        let parse =
            |(offset, len)| RelocSection::parse(self.data, offset, len, true, self.ctx).ok();
        let [first, second] = tables.map(parse);
        let all = first.into_iter().chain(second).flat_map(|table| table.iter());
        all.take_while(|_| meter.entry())
    }

    fn symbols(&self, meter: &Meter) -> Option<Symtab<'data>> {
        let room = self.data.len().checked_sub(self.info.symtab)? / SYMBOL_LEN;
        let count = || symbol_count(self.data, &self.info, self.ctx, meter);
        let count = (*self.symbol_count.get_or_init(count))?.min(room);
        Symtab::parse(self.data, self.info.symtab, count, self.ctx).ok()
    }

    fn string(&self, offset: usize) -> Option<&'data [u8]> {
        let end = self.info.strtab.checked_add(self.info.strsz)?;
        let rest = self.data.get(self.info.strtab..end)?.get(offset..)?;
        rest.get(..memchr::memchr(0, rest)?)
    }
}

/// Number of entries in the dynamic symbol table.
fn symbol_count(data: &[u8], info: &DynamicInfo, ctx: Ctx, meter: &Meter) -> Option<usize> {
    let words = Words { data, big_endian: !ctx.is_little_endian() };
    if let Some(hash) = info.hash {
        // SysV hash table: nbucket, nchain, ...; there is one chain entry for each symbol.
        return Some(words.at(usize::try_from(hash).ok()?.checked_add(4)?)? as usize);
    }
    gnu_hash_count(words, usize::try_from(info.gnu_hash?).ok()?, meter)
}

/// The GNU hash table keeps no count either, but hashed symbols come last and every chain ends with
/// an odd value: the end of the chain that starts last is the end of the table.
fn gnu_hash_count(words: Words<'_>, table: usize, meter: &Meter) -> Option<usize> {
    let buckets = words.at(table)? as usize;
    let first_hashed = words.at(table.checked_add(4)?)? as usize;
    let bloom_words = words.at(table.checked_add(8)?)? as usize;
    let bucket_table = table.checked_add(16)?.checked_add(bloom_words.checked_mul(8)?)?;
    let chain_table = bucket_table.checked_add(buckets.checked_mul(4)?)?;
    let mut last = 0;
    for bucket in 0..buckets {
        meter.entry().then_some(())?;
        last = last.max(words.at(bucket_table + bucket * 4)? as usize);
    }
    let mut chain = last.checked_sub(first_hashed)?;
    while words.at(chain_table.checked_add(chain.checked_mul(4)?)?)? & 1 == 0 {
        meter.entry().then_some(())?;
        chain += 1;
    }
    chain.checked_add(first_hashed)?.checked_add(1)
}

/// The file as 32-bit words.
#[derive(Clone, Copy)]
struct Words<'data> {
    data: &'data [u8],
    big_endian: bool,
}

impl Words<'_> {
    fn at(self, offset: usize) -> Option<u32> {
        let bytes = *self.data.get(offset..)?.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}
