//! Finds zlib in an image: where `inflate` and `deflate` begin, and whether their state is laid out
//! as zlib's.
//!
//! A WebSocket that was open before wstap came can be read once the window of its inflater or
//! deflater has been copied out of the process. Of what is found here nothing is believed: the
//! state is checked again at every call. So a refusal only spares probes that would be in vain.

use memchr::memmem;

use crate::elf::{Image, Machine, SymbolTable};
use crate::plan::{Direction, Zlib, ZlibProbe};

/// The functions, by the names that zlib and Chromium's form of it give them. An inflater takes what
/// the process has received, a deflater what it is about to send.
const FUNCTIONS: [(&str, Direction); 4] = [
    ("inflate", Direction::Received),
    ("deflate", Direction::Sent),
    ("Cr_z_inflate", Direction::Received),
    ("Cr_z_deflate", Direction::Sent),
];

/// Functions of libraries that do the same in another way, by which a program may use them.
const OTHERS: [(&str, &str); 6] = [
    ("zng_inflate", "zlib-ng"),
    ("zng_deflate", "zlib-ng"),
    ("isal_inflate", "ISA-L"),
    ("isal_deflate", "ISA-L"),
    ("libdeflate_deflate_compress", "libdeflate"),
    ("libdeflate_deflate_decompress", "libdeflate"),
];

/// Tables in which the names are looked for, the next one only if the one before has none.
const TABLES: [SymbolTable; 3] = [SymbolTable::Dynsym, SymbolTable::Dynamic, SymbolTable::Symtab];

/// Most definitions that are taken. Programs with several copies of zlib have two or three.
const DEFINITIONS_MAX: usize = 16;

/// Longest version that is taken for one, in bytes.
const VERSION_MAX: usize = 32;

/// The zlib in `image`, or what is there instead.
pub(crate) fn search(image: &Image<'_>) -> Option<Zlib> {
    if image.machine() == Machine::Other {
        return None;
    }
    TABLES.iter().find_map(|&table| in_table(image, table))
}

fn in_table(image: &Image<'_>, table: SymbolTable) -> Option<Zlib> {
    let (mut probes, mut other) = (Vec::new(), None);
    image.functions(table, |name, function| {
        // One look at the last letters turns away nearly every symbol.
        if !(name.ends_with(b"flate") || name.starts_with(b"libdeflate_")) {
            return;
        }
        if let Some(&(_, library)) = OTHERS.iter().find(|(it, _)| it.as_bytes() == name) {
            other = Some(library);
        }
        let Some(&(function_name, direction)) =
            FUNCTIONS.iter().find(|(it, _)| it.as_bytes() == name)
        else {
            return;
        };
        if let Some(offset) = image.code_offset(function.address)
            && probes.len() < DEFINITIONS_MAX
        {
            probes.push(ZlibProbe { function: function_name, offset, direction });
        }
    });
    probes.sort_by_key(|probe| probe.offset);
    probes.dedup_by_key(|probe| probe.offset);
    if probes.is_empty() {
        let refusal = Some(other?);
        return Some(Zlib { version: None, probes, refusal });
    }
    found(image, probes)
}

/// What the functions of these names belong to; `None` if it is no zlib.
fn found(image: &Image<'_>, probes: Vec<ZlibProbe>) -> Option<Zlib> {
    let version = image.constants().find_map(|(_, bytes)| banner(bytes))?;
    let holds = |text: &[u8]| image.constants().any(|(_, it)| memmem::find(it, text).is_some());
    // It keeps the names and the notice of zlib where it takes its place.
    if holds(b".zlib-ng\0") {
        return Some(Zlib { version: Some(version), probes: Vec::new(), refusal: Some("zlib-ng") });
    }
    Some(Zlib { version: Some(version), probes, refusal: None })
}

/// The version in zlib's copyright notice, which its licence wants kept: ` inflate 1.2.13 Copyright`.
fn banner(bytes: &[u8]) -> Option<String> {
    [&b" inflate "[..], b" deflate "].into_iter().find_map(|name| {
        memmem::find_iter(bytes, name).find_map(|at| {
            let rest = bytes.get(at.checked_add(name.len())?..)?;
            let rest = rest.get(..rest.len().min(VERSION_MAX))?;
            let end = memmem::find(rest, b" Copyright")?;
            let version = std::str::from_utf8(rest.get(..end)?).ok()?;
            let is_version = version.starts_with(|it: char| it.is_ascii_digit())
                && version.bytes().all(|it| it.is_ascii_digit() || it == b'.');
            is_version.then(|| version.to_owned())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notice_of_zlib_tells_its_version() {
        let notice = b"\0 inflate 1.2.13 Copyright 1995-2022 Mark Adler \0";
        assert_eq!(banner(notice), Some("1.2.13".to_owned()));
        let notice = b"\0 deflate 1.3.0.1 Copyright 1995-2023 Jean-loup Gailly and Mark Adler \0";
        assert_eq!(banner(notice), Some("1.3.0.1".to_owned()));
    }

    #[test]
    fn a_text_about_inflating_is_no_notice() {
        for text in [
            &b" inflate 1.2.13"[..],
            b" inflate the Copyright",
            b" inflate  Copyright",
            b" deflate 1.2.13 and then some more text before the word Copyright",
            b"",
        ] {
            assert_eq!(banner(text), None);
        }
    }
}
