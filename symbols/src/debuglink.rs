//! Reads from an image the name of the separate file that holds its symbols.

use crate::elf::Image;

/// The section `.gnu_debuglink`: the file that holds the symbols of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugLink {
    /// The file's name, without a folder.
    pub name: String,
    /// CRC-32 of the whole file (as zlib and PNG have it).
    pub crc: u32,
}

/// Longest name that a file can have, in bytes (`NAME_MAX`).
const MAX_NAME: usize = 255;

/// The debug link of an ELF image, if it has a sound one.
#[must_use]
pub fn debug_link(image: &[u8]) -> Option<DebugLink> {
    let image = Image::parse(image).ok()?;
    let (_, section) = image.section(".gnu_debuglink")?;
    let len = memchr::memchr(0, section).filter(|&len| len <= MAX_NAME)?;
    let name = std::str::from_utf8(section.get(..len)?).ok()?;
    // The name is padded with zeros to four bytes; the number follows in the image's byte order.
    let crc = *section.get((len + 1).next_multiple_of(4)..)?.first_chunk()?;
    let is_plain = !name.is_empty() && !name.contains('/');
    is_plain.then(|| DebugLink { name: name.to_owned(), crc: image.word32(crc) })
}
