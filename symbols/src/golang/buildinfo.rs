//! Which Go built a program.

use crate::elf::Image;

/// The section, and how it begins.
const SECTION: &str = ".go.buildinfo";
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Places in the section: what follows the magic and the size of a pointer; the address of a
/// string; a string.
const FLAGS: usize = 15;
const POINTER: u64 = 16;
const INLINE: usize = 32;
/// In the flags: the strings are in the section. Not so before Go 1.18.
const IS_INLINE: u8 = 2;
/// Longest string that is taken for a version, in bytes. An inline one that is longer also has a
/// length of two bytes.
const MAX_LEN: usize = 127;

/// The version, without its `go` (Go's debug/buildinfo).
pub(super) fn version(image: &Image<'_>) -> Option<String> {
    let (address, info) = image.section(SECTION)?;
    let flags = *info.strip_prefix(MAGIC).and(info.get(FLAGS))?;
    let text = if flags & IS_INLINE != 0 { inline(info) } else { pointed_to(image, address) };
    let version = std::str::from_utf8(text?).ok()?.strip_prefix("go")?;
    // Experiments and the like come after a space.
    let version = version.split(' ').next()?;
    version.bytes().all(|byte| byte.is_ascii_graphic()).then(|| version.to_owned())
}

/// Behind its length.
fn inline(info: &[u8]) -> Option<&[u8]> {
    let (&len, text) = info.get(INLINE..)?.split_first()?;
    text.get(..usize::from(len)).filter(|text| text.len() <= MAX_LEN)
}

/// Where a string's address and length are: the first of them is in the section.
fn pointed_to<'data>(image: &Image<'data>, section: u64) -> Option<&'data [u8]> {
    let string = image.relocated_word(section.checked_add(POINTER)?)?;
    let address = image.relocated_word(string)?;
    let len = image.relocated_word(string.checked_add(8)?)?;
    let len = usize::try_from(len).ok().filter(|&len| len <= MAX_LEN)?;
    image.stored(address)?.get(..len)
}
