//! Images that are made to be slow to read. What is checked is the work that was counted, not time.

use wstap_symbols::{Error, Evidence, Limit, Options, Plan, Work, debug_link, plan_counted};

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const READ: u32 = 4;
const EXECUTE: u32 = 5;

const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHT_DYNSYM: u32 = 11;

/// A program header: type, flags, and which part of the body it is of.
type Segment = (u32, u32, Part);
/// A section: its name, its type, which part of the body it is, and its `sh_link`.
type Section = (&'static str, u32, Part, u32);
/// Offset in the body, and length, in bytes.
type Part = (usize, usize);

/// An ELF image with this body. The address of each byte of the file is its offset, plus the number
/// of the segment times 1 GiB; section headers name the first segment's addresses.
fn image(segments: &[Segment], sections: &[Section], body: &[u8]) -> Vec<u8> {
    let names: Vec<u8> = sections.iter().flat_map(|it| [it.0.as_bytes(), b"\0"].concat()).collect();
    let count = if sections.is_empty() { 0 } else { sections.len() + 1 };
    let body_at = HEADER + segments.len() * PROGRAM_HEADER;
    let names_at = body_at + body.len();
    let sections_at = names_at + names.len();
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend(3_u16.to_le_bytes());
    file.extend(62_u16.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for word in [0, HEADER as u64, if count == 0 { 0 } else { sections_at as u64 }] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0_u32.to_le_bytes());
    let half = |value: usize| u16::try_from(value).expect("16 bits").to_le_bytes();
    for value in [HEADER, PROGRAM_HEADER, segments.len(), SECTION_HEADER, count] {
        file.extend(half(value));
    }
    file.extend(half(count.saturating_sub(1)));
    for (number, &(kind, flags, (at, len))) in segments.iter().enumerate() {
        let offset = (body_at + at) as u64;
        let address = offset + ((number as u64) << 30);
        file.extend(kind.to_le_bytes());
        file.extend(flags.to_le_bytes());
        for word in [offset, address, address, len as u64, len as u64, 1] {
            file.extend(word.to_le_bytes());
        }
    }
    file.extend(body);
    file.extend(&names);
    let mut name_at = 0;
    let names_section = (".names", SHT_STRTAB, (names_at - body_at, names.len()), 0);
    let headers = sections.iter().chain((count != 0).then_some(&names_section));
    for &(name, kind, (at, len), link) in headers {
        let offset = (body_at + at) as u64;
        file.extend(u32::try_from(name_at).expect("32 bits").to_le_bytes());
        file.extend(kind.to_le_bytes());
        for word in [0, offset, offset, len as u64] {
            file.extend(word.to_le_bytes());
        }
        file.extend(link.to_le_bytes());
        file.extend(0_u32.to_le_bytes());
        for word in [1, if kind == SHT_PROGBITS { 0 } else { 24 }] {
            file.extend(u64::to_le_bytes(word));
        }
        name_at += name.len() + 1;
    }
    file
}

/// Plans an image and checks what every image must keep to.
fn counted(image: &[u8]) -> (Result<Plan, Error>, Work) {
    let (planned, work) = plan_counted(image, Evidence::default(), &Options::default());
    assert!(work.is_within(&Work::bound(image.len() as u64)), "{work:?}");
    (planned, work)
}

/// The work on an image that is not refused.
fn accepted(image: &[u8]) -> Work {
    let (planned, work) = counted(image);
    planned.unwrap_or_else(|error| panic!("{error}: {work:?}"));
    work
}

fn refused(image: &[u8]) -> Error {
    let error = counted(image).0.expect_err("refused");
    assert!(error.is_refusal(), "{error}");
    error
}

const MIB: usize = 1 << 20;

/// A megabyte of constants that begin with `texts`, and code in which every instruction names the
/// first of them, with `after` behind it. The code is for the image's second segment.
fn suspicious(texts: &[u8], after: &[u8]) -> Vec<u8> {
    let mut body = texts.to_vec();
    while body.len() < MIB {
        // lea rdx, [rip + distance], back to the text in the first segment.
        let next = i32::try_from(body.len() + 7).expect("32 bits");
        body.extend([0x48, 0x8d, 0x15]);
        body.extend((1 - next - (1 << 30)).to_le_bytes());
        body.extend(after);
    }
    body
}

const BORINGSSL: &[u8] = b"\0ssl/ssl_lib.cc\0";

#[test]
fn segments_of_the_same_bytes_are_searched_once() {
    let body = suspicious(BORINGSSL, &[]);
    let whole = (0, body.len());
    let segments = [(PT_LOAD, READ, whole), (PT_LOAD, EXECUTE, whole)];
    let (_, once) = counted(&image(&segments, &[], &body));
    let mut segments = vec![(PT_LOAD, READ, whole)];
    segments.extend([(PT_LOAD, EXECUTE, whole)].repeat(1000));
    let (_, often) = counted(&image(&segments, &[], &body));
    assert!(often.bytes < once.bytes + once.bytes / 4, "{often:?} against {once:?}");
}

#[test]
fn sections_of_the_same_constants_are_searched_once() {
    let body = vec![b'a'; MIB];
    let load = [(PT_LOAD, READ, (0, MIB))];
    let rodata = (".rodata", SHT_PROGBITS, (0, MIB), 0);
    let once = accepted(&image(&load, &[rodata], &body));
    let often = accepted(&image(&load, &[rodata].repeat(3000), &body));
    assert!(often.bytes < once.bytes + once.bytes / 4, "{often:?} against {once:?}");
    let shifted: Vec<Section> =
        (0..3000).map(|at| (".rodata", SHT_PROGBITS, (at, MIB - at), 0)).collect();
    let shifted = accepted(&image(&load, &shifted, &body));
    assert!(shifted.bytes < once.bytes + once.bytes / 4, "{shifted:?} against {once:?}");
}

#[test]
fn more_headers_than_any_linker_makes_are_refused() {
    let body = vec![0; 4096];
    let load = (PT_LOAD, EXECUTE, (0, 4096));
    let symtab = ("", SHT_SYMTAB, (0, 4096), 1);
    let error = refused(&image(&[load].repeat(5000), &[], &body));
    assert!(error.to_string().contains("5000 program headers"), "{error}");
    let error = refused(&image(&[load], &[symtab].repeat(60_000), &body));
    assert!(error.to_string().contains("60001 section headers"), "{error}");
}

#[test]
fn of_many_symbol_tables_one_is_read() {
    let body = vec![0; MIB];
    for kind in [SHT_SYMTAB, SHT_DYNSYM] {
        let tables = [("", kind, (0, MIB), 1)].repeat(4000);
        let work = accepted(&image(&[(PT_LOAD, READ, (0, MIB))], &tables, &body));
        assert!(work.entries <= 4 * (MIB / 24) as u64, "{work:?}");
    }
}

/// Functions, all with the name at this offset among the strings.
fn symbols(count: usize, name: u32) -> Vec<u8> {
    let mut symbol = name.to_le_bytes().to_vec();
    symbol.extend([0x12, 0, 1, 0]);
    symbol.resize(24, 0);
    symbol.repeat(count)
}

#[test]
fn names_that_have_no_end_or_a_far_one_are_not_searched_for_ever() {
    const STRINGS: usize = MIB;
    for (kind, end) in [(SHT_SYMTAB, b'a'), (SHT_SYMTAB, 0), (SHT_DYNSYM, b'a'), (SHT_DYNSYM, 0)] {
        let table = symbols(20_000, 1);
        let mut body = table.clone();
        body.resize(table.len() + STRINGS, b'a');
        *body.last_mut().expect("strings") = end;
        let sections = [
            ("", SHT_STRTAB, (0, 0), 0),
            ("", SHT_STRTAB, (table.len(), STRINGS), 0),
            ("", kind, (0, table.len()), 1),
        ];
        let error = refused(&image(&[(PT_LOAD, READ, (0, body.len()))], &sections, &body));
        assert_eq!(error, Error::TooMuchWork(Limit::Bytes));
    }
}

/// A dynamic segment with these entries.
fn dynamic(entries: &[(u64, usize)]) -> Vec<u8> {
    let words = entries.iter().flat_map(|&(tag, value)| [tag, value as u64]);
    words.chain([0, 0]).flat_map(u64::to_le_bytes).collect()
}

const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_STRSZ: u64 = 10;
const DT_SYMENT: u64 = 11;
const DT_GNU_HASH: u64 = 0x6fff_fef5;

/// An image without sections whose hash table has these words, and then zeros: chains without an end.
fn hashed(words: [u32; 5]) -> Vec<u8> {
    const DYNAMIC: usize = 96;
    let body_at = HEADER + 2 * PROGRAM_HEADER;
    let at = body_at + DYNAMIC;
    let mut body = dynamic(&[
        (DT_STRTAB, at),
        (DT_SYMTAB, at),
        (DT_STRSZ, MIB),
        (DT_SYMENT, 24),
        (DT_GNU_HASH, at),
    ]);
    assert_eq!(body.len(), DYNAMIC);
    body.extend(words.into_iter().flat_map(u32::to_le_bytes));
    body.resize(MIB, 0);
    image(&[(PT_LOAD, READ, (0, MIB)), (PT_DYNAMIC, READ, (0, DYNAMIC))], &[], &body)
}

#[test]
fn hash_chains_without_an_end_are_followed_once_to_the_end_of_the_file() {
    for words in [
        [u32::MAX, 0, 0, 0, 0],
        [1, 0, 0, 0, 5],
        [1, 0, u32::MAX, 0, 5],
        [1 << 17, 0, 1, 0, u32::MAX],
    ] {
        let work = accepted(&hashed(words));
        assert!(work.entries <= 2 * (MIB / 4) as u64, "{words:?}: {work:?}");
    }
}

#[test]
fn a_dynamic_segment_as_long_as_the_file_is_none() {
    let body: Vec<u8> = [(0x6000_0000_u64, 1_u64)]
        .repeat(MIB / 16)
        .into_iter()
        .flat_map(|(tag, value)| [tag, value])
        .flat_map(u64::to_le_bytes)
        .collect();
    let segments = [(PT_DYNAMIC, READ, (0, body.len()))].repeat(1000);
    let work = accepted(&image(&segments, &[], &body));
    assert!(work.bytes <= 8 * body.len() as u64 && work.entries == 0, "{work:?}");
}

#[test]
fn notes_are_read_while_they_are_short() {
    // Notes of 12 bytes with no name and nothing in them.
    let body = vec![0; MIB];
    let work = accepted(&image(&[(PT_NOTE, READ, (0, MIB))].repeat(1000), &[], &body));
    assert_eq!(work.entries, 0);
    let error = refused(&image(&[(PT_NOTE, READ, (0, 60_000))].repeat(1000), &[], &body));
    assert_eq!(error, Error::TooMuchWork(Limit::Entries));
}

#[test]
fn unwind_tables_that_claim_more_than_they_have_are_none() {
    let mut body = vec![1, 0x1b, 0x03, 0x3b, 0, 0, 0, 0];
    body.extend(u32::MAX.to_le_bytes());
    body.resize(MIB, 0);
    accepted(&image(&[(PT_GNU_EH_FRAME, READ, (0, MIB))].repeat(1000), &[], &body));
}

#[test]
fn code_that_names_a_library_everywhere_is_not_decoded_for_ever() {
    const OPENSSL: &[u8] = b"\0ssl_read_internal\0ssl_write_internal\0SSL_read\0SSL_write\0";
    // ret, padding, and the start of a function: push rbp; mov rbp, rsp.
    const FUNCTION: &[u8] = &[0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0x55, 0x48, 0x89, 0xe5];
    for (texts, after) in [(BORINGSSL, &[][..]), (BORINGSSL, FUNCTION), (OPENSSL, FUNCTION)] {
        let body = suspicious(texts, after);
        let whole = (0, body.len());
        let segments = [(PT_LOAD, READ, whole), (PT_LOAD, EXECUTE, whole)];
        let (_, work) = counted(&image(&segments, &[], &body));
        assert!(work.steps > 0, "the code was looked at");
    }
}

#[test]
fn a_table_of_go_that_claims_every_name_is_searched_a_few_times() {
    for magic in [0xf1_u8, 0xf0, 0xfa] {
        let mut body = vec![magic, 0xff, 0xff, 0xff, 0, 0, 1, 8];
        // Names and functions everywhere, as many as there is room for.
        let words = [(MIB / 16) as u64, 0, 0, 80, 0, 0, 80, 80];
        body.extend(words.into_iter().flat_map(u64::to_le_bytes));
        let name = b"crypto/tls.(*Conn).Read\0crypto/tls.(*Conn).Write\0";
        while body.len() < MIB {
            body.extend(name);
        }
        body.truncate(MIB);
        let table = (".gopclntab", SHT_PROGBITS, (0, MIB), 0);
        let work = accepted(&image(&[(PT_LOAD, READ, (0, MIB))], &[table].repeat(2000), &body));
        assert!(work.bytes < 12 * MIB as u64, "{work:?}");
    }
}

#[test]
fn the_name_of_a_debug_file_is_a_file_name() {
    for (len, is_sound) in [(255, true), (256, false), (MIB, false)] {
        let mut body = vec![b'a'; len];
        body.extend([0; 12]);
        let link = (".gnu_debuglink", SHT_PROGBITS, (0, body.len()), 0);
        let image = image(&[(PT_LOAD, READ, (0, body.len()))], &[link], &body);
        assert_eq!(debug_link(&image).is_some(), is_sound, "{len}");
    }
}

#[test]
fn versions_of_rustls_without_number_are_a_few() {
    let mut body = Vec::new();
    for version in 0_usize.. {
        body.extend(format!("/rustls-{version}.0.0/src/a.rs\0").into_bytes());
        if body.len() > MIB {
            break;
        }
    }
    let whole = (0, body.len());
    let work =
        accepted(&image(&[(PT_LOAD, READ, whole)], &[(".rodata", SHT_PROGBITS, whole, 0)], &body));
    assert!(work.bytes < 12 * body.len() as u64, "{work:?}");
}
