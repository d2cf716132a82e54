//! The loader's view: what `PT_DYNAMIC` says, with no section header read.
//!
//! The dynamic segment gives the address of the symbol table but not its length. The dynamic linker
//! needs none, because it looks symbols up by hash; so the length is taken from the hash table.

use goblin::container::Ctx;
use goblin::elf::dynamic::{Dynamic, DynamicInfo};
use goblin::elf::program_header::ProgramHeader;
use goblin::elf::sym::{STT_FUNC, Symtab};
use goblin::elf::{Elf, Header};

use super::Function;

/// Size of an entry of a 64-bit symbol table, in bytes.
const SYMBOL_LEN: usize = 24;

/// `DT_SONAME`.
pub(super) fn soname(data: &[u8]) -> Option<&[u8]> {
    let (_, info) = dynamic(data)?;
    (info.soname != 0).then(|| string(strings(data, &info)?, info.soname)).flatten()
}

/// Calls `visit` for every function that the dynamic symbol table defines.
pub(super) fn functions<'data>(data: &'data [u8], visit: impl FnMut(&'data [u8], Function)) {
    let _ = visit_functions(data, visit);
}

fn visit_functions<'data>(
    data: &'data [u8],
    mut visit: impl FnMut(&'data [u8], Function),
) -> Option<()> {
    let (ctx, info) = dynamic(data)?;
    let strings = strings(data, &info)?;
    let room = data.len().checked_sub(info.symtab)? / SYMBOL_LEN;
    let count = symbol_count(data, &info, ctx)?.min(room);
    let symbols = Symtab::parse(data, info.symtab, count, ctx).ok()?;
    for symbol in symbols.iter() {
        if symbol.st_type() != STT_FUNC || symbol.st_shndx == 0 {
            continue;
        }
        if let Some(name) = string(strings, symbol.st_name) {
            visit(name, Function { address: symbol.st_value, size: symbol.st_size });
        }
    }
    Some(())
}

fn dynamic(data: &[u8]) -> Option<(Ctx, DynamicInfo)> {
    let header: Header = Elf::parse_header(data).ok()?;
    let ctx = Ctx::new(header.container().ok()?, header.endianness().ok()?);
    let offset = usize::try_from(header.e_phoff).ok().filter(|&offset| offset < data.len())?;
    let headers = ProgramHeader::parse(data, offset, header.e_phnum.into(), ctx).ok()?;
    Some((ctx, Dynamic::parse(data, &headers, ctx).ok()??.info))
}

fn strings<'data>(data: &'data [u8], info: &DynamicInfo) -> Option<&'data [u8]> {
    data.get(info.strtab..info.strtab.checked_add(info.strsz)?)
}

fn string(strings: &[u8], offset: usize) -> Option<&[u8]> {
    let rest = strings.get(offset..)?;
    rest.get(..memchr::memchr(0, rest)?)
}

/// Number of entries in the dynamic symbol table.
fn symbol_count(data: &[u8], info: &DynamicInfo, ctx: Ctx) -> Option<usize> {
    let words = Words { data, big_endian: !ctx.is_little_endian() };
    if let Some(hash) = info.hash {
        // SysV hash table: nbucket, nchain, ...; there is one chain entry for each symbol.
        return Some(words.at(usize::try_from(hash).ok()?.checked_add(4)?)? as usize);
    }
    gnu_hash_count(words, usize::try_from(info.gnu_hash?).ok()?)
}

/// The GNU hash table keeps no count either, but hashed symbols come last and every chain ends with
/// an odd value: the end of the chain that starts last is the end of the table.
fn gnu_hash_count(words: Words<'_>, table: usize) -> Option<usize> {
    let buckets = words.at(table)? as usize;
    let first_hashed = words.at(table.checked_add(4)?)? as usize;
    let bloom_words = words.at(table.checked_add(8)?)? as usize;
    let bucket_table = table.checked_add(16)?.checked_add(bloom_words.checked_mul(8)?)?;
    let chain_table = bucket_table.checked_add(buckets.checked_mul(4)?)?;
    let mut last = 0;
    for bucket in 0..buckets {
        last = last.max(words.at(bucket_table + bucket * 4)? as usize);
    }
    let mut chain = last.checked_sub(first_hashed)?;
    while words.at(chain_table.checked_add(chain.checked_mul(4)?)?)? & 1 == 0 {
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
