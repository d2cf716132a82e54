//! Images of a few kilobytes, made by `fixtures/small/make.sh`.

use wstap_symbols::{
    Action, CallResult, Direction, Error, Linkage, Options, Probe, Stack, SymbolSource, Technique,
    Verdict, plan,
};

use super::{AT_SYMBOLS, entries, only_library, planned, probe};

const SHARED: &[u8] = include_bytes!("../fixtures/small/shared.so");
const NO_SECTIONS: &[u8] = include_bytes!("../fixtures/small/no-sections.so");
const SYSV_HASH: &[u8] = include_bytes!("../fixtures/small/sysv-hash.so");
const STATIC_EXEC: &[u8] = include_bytes!("../fixtures/small/static-exec");
const IMPORTS: &[u8] = include_bytes!("../fixtures/small/imports.so");

/// `(function, file offset)` of every probe where a call begins.
fn sites(probes: &[Probe]) -> Vec<(&'static str, u64)> {
    let entries = probes.iter().filter(|probe| !probe.is_return());
    entries.map(|probe| (probe.function(), probe.offset)).collect()
}

#[test]
fn a_stripped_shared_library_is_planned_from_dynsym() {
    let plan = planned(SHARED, &AT_SYMBOLS);
    let id = plan.build_id.expect("linked with --build-id").to_string();
    assert_eq!(id, "5858fc583f4e1deec42c6f2b7951e53bb527370e");

    let library = only_library(SHARED, &AT_SYMBOLS);
    assert_eq!(library.stack, Stack::OpenSsl);
    assert_eq!(library.version.as_deref(), Some("3"));
    assert_eq!(library.linkage, Linkage::Shared);
    assert_eq!(library.symbols, SymbolSource::Dynsym);
    assert_eq!(library.verdict, Verdict::Tappable);
    // As `readelf -s` shows them; the segment maps file offset 0 to address 0.
    assert_eq!(
        sites(&library.probes),
        [
            ("SSL_read", 0x3b0),
            ("SSL_read_ex", 0x3bd),
            ("SSL_write", 0x3ca),
            ("SSL_write_ex", 0x3d7),
            ("SSL_free", 0x3fe),
            ("SSL_clear", 0x40b),
        ]
    );
}

#[test]
fn an_image_without_section_headers_gives_the_same_probes() {
    let whole = only_library(SHARED, &AT_SYMBOLS);
    let bare = only_library(NO_SECTIONS, &AT_SYMBOLS);
    assert_eq!(bare.symbols, SymbolSource::Dynamic);
    assert_eq!(bare.probes, whole.probes);
    assert_eq!((bare.linkage, bare.version), (whole.linkage, whole.version));
    assert_eq!(planned(NO_SECTIONS, &AT_SYMBOLS).build_id, planned(SHARED, &AT_SYMBOLS).build_id);
}

#[test]
fn the_older_hash_table_bounds_the_symbols_too() {
    let library = only_library(SYSV_HASH, &AT_SYMBOLS);
    assert_eq!(library.symbols, SymbolSource::Dynamic);
    assert_eq!(entries(&library).count(), 6);
}

#[test]
fn addresses_of_an_executable_become_file_offsets() {
    let library = only_library(STATIC_EXEC, &AT_SYMBOLS);
    assert_eq!(library.linkage, Linkage::Static);
    assert_eq!(library.symbols, SymbolSource::Symtab);
    assert_eq!(library.version.as_deref(), Some("3.0.99"));
    // SSL_read is at 0x401000; its segment maps file offset 0x1000 there.
    assert_eq!(probe(&library, "SSL_read").offset, 0x1000);
    assert_eq!(probe(&library, "SSL_write").offset, 0x101a);
}

#[test]
fn an_image_that_only_imports_the_functions_has_no_library() {
    assert!(planned(IMPORTS, &Options::default()).libraries.is_empty());
}

#[test]
fn arguments_and_results_are_those_of_the_manual() {
    let library = only_library(SHARED, &AT_SYMBOLS);
    let transfer = |function| match probe(&library, function).action {
        Action::Transfer(transfer) => transfer,
        _ => panic!("{function} moves plaintext"),
    };
    for function in ["SSL_read", "SSL_read_ex", "SSL_write", "SSL_write_ex"] {
        let transfer = transfer(function);
        let arguments = [transfer.handle, transfer.buffer, transfer.length].map(|arg| arg.get());
        assert_eq!(arguments, [0, 1, 2], "{function}");
    }
    assert_eq!(transfer("SSL_read").direction, Direction::Received);
    assert_eq!(transfer("SSL_write_ex").direction, Direction::Sent);
    assert_eq!(transfer("SSL_read").result, CallResult::Count);
    let CallResult::Status { count } = transfer("SSL_write_ex").result else { panic!() };
    assert_eq!(count.get(), 3);
    assert_eq!(probe(&library, "SSL_free").action, Action::Release);
}

#[test]
fn peeking_is_never_tapped() {
    for image in [SHARED, NO_SECTIONS, STATIC_EXEC] {
        let library = only_library(image, &Options::default());
        let covered = library.probes.iter().flat_map(|probe| &probe.covers);
        assert!(covered.into_iter().all(|function| !function.contains("peek")));
    }
}

#[test]
fn every_probe_says_how_and_why() {
    for probe in only_library(SHARED, &Options::default()).probes {
        assert!(!probe.reason.is_empty());
        assert!(!probe.function().is_empty());
    }
    let at_symbols = only_library(SHARED, &AT_SYMBOLS).probes;
    for probe in at_symbols {
        let expected = if probe.is_return() { Technique::Return } else { Technique::Symbol };
        assert_eq!(probe.technique, expected, "{probe:?}");
    }
}

#[test]
fn half_a_library_is_reported_but_not_tapped() {
    // Renaming a symbol takes it away.
    let without = |name: &[u8]| {
        let mut image = STATIC_EXEC.to_vec();
        let places: Vec<usize> = memchr::memmem::find_iter(STATIC_EXEC, name).collect();
        for at in places {
            image[at] = b'X';
        }
        only_library(&image, &AT_SYMBOLS)
    };
    let library = without(b"SSL_read");
    assert_eq!(library.verdict, Verdict::NoRead);
    assert!(library.probes.is_empty());
    assert_eq!(without(b"SSL_write").verdict, Verdict::NoWrite);
}

#[test]
fn what_is_not_an_elf_image_is_refused() {
    let error = |image: &[u8]| plan(image, &Options::default()).unwrap_err();
    assert_eq!(error(b""), Error::NotElf);
    assert_eq!(error(b"#!/bin/sh\n"), Error::NotElf);
    assert_eq!(error(&SHARED[..63]), Error::NotElf);
    assert_eq!(error(&SHARED[..64]), Error::ProgramHeaders);

    let mut class_32 = SHARED.to_vec();
    class_32[4] = 1;
    assert_eq!(error(&class_32), Error::Class32);
}

#[test]
fn another_machine_is_reported_but_not_tapped() {
    let mut riscv = SHARED.to_vec();
    riscv[18] = 243;
    let library = only_library(&riscv, &Options::default());
    assert_eq!(library.verdict, Verdict::UnsupportedMachine);
    assert!(library.probes.is_empty());
}
