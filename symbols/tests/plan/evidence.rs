//! What is beside an image: a debug file, functions that a user has found.

use wstap_symbols::{
    Action, Evidence, Library, Options, Probe, Stack, SymbolSource, UserOffset, Verdict,
    debug_link, known_functions, plan, plan_with,
};

use super::{AT_SYMBOLS, only_library};

const WHOLE: &[u8] = include_bytes!("../fixtures/openssl/3.6.3/exec");
const STRIPPED: &[u8] = include_bytes!("../fixtures/openssl/3.6.3/exec-stripped");
const BORINGSSL: &[u8] = include_bytes!("../fixtures/boringssl/stripped");

fn with(image: &[u8], evidence: Evidence<'_>) -> Library {
    let mut libraries =
        plan_with(image, evidence, &Options::default()).expect("a readable image").libraries;
    assert_eq!(libraries.len(), 1, "{libraries:?}");
    libraries.remove(0)
}

fn offsets(library: &Library) -> Vec<(u64, Action)> {
    library.probes.iter().map(|probe: &Probe| (probe.offset, probe.action)).collect()
}

#[test]
fn a_debug_file_serves_like_the_symbols_that_were_taken_out() {
    let library = with(STRIPPED, Evidence { debug: Some(WHOLE), user_offsets: &[] });
    assert_eq!(library.symbols, SymbolSource::DebugFile);
    let whole = only_library(WHOLE, &Options::default());
    assert_eq!(whole.symbols, SymbolSource::Symtab);
    assert_eq!(offsets(&library), offsets(&whole));
}

/// Its addresses are then not those of functions, and some even lie in the middle of instructions.
#[test]
fn a_debug_file_of_another_build_leads_nowhere() {
    let other = include_bytes!("../fixtures/openssl/1.1.1w/exec");
    let library = with(STRIPPED, Evidence { debug: Some(other), user_offsets: &[] });
    let alone = only_library(STRIPPED, &Options::default());
    assert_eq!(offsets(&library), offsets(&alone));
    assert_eq!(library.symbols, SymbolSource::Messages);
    let damaged = &WHOLE[..WHOLE.len() / 2];
    assert_eq!(with(STRIPPED, Evidence { debug: Some(damaged), user_offsets: &[] }), alone);
}

/// SSL_read and SSL_write of the image, so many bytes later.
fn user_offsets(later: u64) -> Vec<UserOffset> {
    let library = only_library(BORINGSSL, &AT_SYMBOLS);
    ["SSL_read", "SSL_write"]
        .map(|name| {
            let offset = super::probe(&library, name).offset + later;
            UserOffset { name: name.to_owned(), offset }
        })
        .into()
}

#[test]
fn functions_that_a_user_has_found_are_believed_where_the_code_is_theirs() {
    let library = with(BORINGSSL, Evidence { debug: None, user_offsets: &user_offsets(0) });
    assert_eq!((library.stack, library.verdict), (Stack::BoringSsl, Verdict::Tappable));
    assert_eq!(library.symbols, SymbolSource::UserOffsets);
    assert_eq!(offsets(&library), offsets(&only_library(BORINGSSL, &Options::default())));
}

#[test]
fn offsets_of_no_function_are_refused() {
    for later in [1, 4, 16, BORINGSSL.len() as u64, u64::MAX / 2] {
        let library = with(BORINGSSL, Evidence { debug: None, user_offsets: &user_offsets(later) });
        assert_eq!(library.verdict, Verdict::NotFunctions, "{later} bytes later");
        assert!(library.probes.is_empty());
        let why = library.refusal().expect("a refusal");
        assert!(why.contains("OpenSSL") && why.contains("no function begins"), "{why}");
    }
    assert!(known_functions().any(|name| name == "SSL_write"));
}

/// `.gnu_debuglink` as objcopy writes it: a name, zeros up to a multiple of four, a checksum.
#[test]
fn an_image_without_a_debug_link_has_none() {
    assert_eq!(debug_link(WHOLE), None);
    assert_eq!(debug_link(b"\x7fELF"), None);
    assert!(plan(STRIPPED, &Options::default()).is_ok());
}
