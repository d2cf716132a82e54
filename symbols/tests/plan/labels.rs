//! What an image's library is called, and libraries that are built or linked in unusual ways.

use wstap_symbols::{
    Action, CallResult, Linkage, Options, Plan, Stack, SymbolSource, Technique, Verdict,
};

use super::{entries, only_library, planned, probe};

const SHARED: &[u8] = include_bytes!("../fixtures/small/shared.so");
const STATIC: &[u8] = include_bytes!("../fixtures/small/static-exec");
const BLANK: &[u8] = include_bytes!("../fixtures/small/blank.so");
const BORINGSSL: &[u8] = include_bytes!("../fixtures/boringssl/stripped");
const BORINGSSL_WHOLE: &[u8] = include_bytes!("../fixtures/boringssl/whole");
const HANDSHAKES: &[u8] = include_bytes!("../fixtures/boringssl/handshakes");

/// The image with every occurrence of some bytes replaced by as many others.
fn with(image: &[u8], bytes: &[u8], others: &[u8]) -> Vec<u8> {
    assert_eq!(bytes.len(), others.len());
    let mut changed = image.to_vec();
    let places: Vec<usize> = memchr::memmem::find_iter(image, bytes).collect();
    assert!(!places.is_empty(), "{}", String::from_utf8_lossy(bytes));
    for at in places {
        changed[at..at + others.len()].copy_from_slice(others);
    }
    changed
}

fn only(image: &[u8]) -> wstap_symbols::Library {
    only_library(image, &Options::default())
}

#[test]
fn boringssl_with_symbols_is_not_called_openssl() {
    let library = only(BORINGSSL_WHOLE);
    assert_eq!((library.stack, library.symbols), (Stack::BoringSsl, SymbolSource::Symtab));
    assert_eq!(library.version, None);
    assert_eq!(only(STATIC).stack, Stack::OpenSsl);
}

/// Tools that bundle libraries, as for Python wheels, put a hash into their names.
#[test]
fn a_library_with_a_hash_in_its_name_is_shared() {
    let library = only(&with(SHARED, b"libssl.so.3", b"libssl-8.so"));
    assert_eq!(library.linkage, Linkage::Shared);
}

#[test]
fn s2n_is_tapped_by_its_exported_functions() {
    let mut image = BLANK.to_vec();
    for (name, other) in [
        (&b"\0SSL_read\0"[..], &b"\0s2n_recv\0"[..]),
        (b"\0SSL_write\0", b"\0s2n_send\0\0"),
        (b"SSL_read_ex", b"XXX_read_ex"),
        (b"SSL_write_ex", b"XXX_write_ex"),
    ] {
        image = with(&image, name, other);
    }
    // Functions that return at once.
    for at in (0x400..0x400 + 8 * 256).step_by(256) {
        image[at] = 0xc3;
    }
    let library = only(&image);
    assert_eq!((library.stack, library.verdict), (Stack::S2n, Verdict::Tappable));
    for function in ["s2n_recv", "s2n_send"] {
        let Action::Transfer(transfer) = probe(&library, function).action else { panic!() };
        assert_eq!(transfer.result, CallResult::LongCount, "{function}");
        assert!(!transfer.return_probe, "{function}");
    }
}

/// A program may have the addresses of its library's functions only in a table, as with the global
/// offset table of a shared object.
#[test]
fn boringssl_that_is_called_through_pointers_is_found() {
    const CALLS: [usize; 2] = [0x129b, 0x12bb];
    const FUNCTIONS: [u64; 2] = [0x40_10c0, 0x40_11b0];
    let mut image = BORINGSSL.to_vec();
    for at in CALLS {
        assert_eq!(image[at], 0xe8, "a call");
        image[at..at + 5].fill(0x90);
    }
    let functions =
        |plan: Plan| plan.libraries.into_iter().map(|it| it.verdict).collect::<Vec<_>>();
    let refused = functions(planned(&image, &Options::default()));
    assert_eq!(refused, [Verdict::Stripped], "nothing leads to them");
    // The third segment also maps what follows the constants, and the addresses are there.
    let header = 64 + 2 * 56;
    for size in [header + 32, header + 40] {
        image[size] = 0x48;
    }
    for (number, address) in FUNCTIONS.into_iter().enumerate() {
        let at = 0x2028 + 8 * number;
        image[at..at + 8].copy_from_slice(&address.to_le_bytes());
    }
    let library = only(&image);
    assert_eq!((library.stack, library.verdict), (Stack::BoringSsl, Verdict::Tappable));
    assert_eq!(probe(&library, "SSL_read").offset, 0x10c0);
    assert_eq!(probe(&library, "SSL_write").offset, 0x11b0);
}

/// SSL_connect and SSL_accept raise the same error as SSL_do_handshake, which SSL_write calls.
#[test]
fn the_handshake_is_found_where_others_have_it_inlined() {
    let library = only(HANDSHAKES);
    assert_eq!(library.stack, Stack::BoringSsl);
    let handshakes: Vec<_> =
        entries(&library).filter(|probe| probe.action == Action::Handshake).collect();
    let [handshake] = handshakes.as_slice() else { panic!("{handshakes:?}") };
    assert_eq!(handshake.function(), "SSL_do_handshake");
}

/// What looks for the texts of libraries has them in itself.
#[test]
fn a_program_that_searches_for_libraries_is_none() {
    let own = std::env::current_exe().and_then(std::fs::read).expect("this test");
    let plan = planned(&own, &Options::default());
    let named: Vec<_> = plan.libraries.iter().map(|it| (it.stack, it.verdict)).collect();
    assert!(!named.contains(&(Stack::BoringSsl, Verdict::Stripped)), "{named:?}");
    assert!(!named.contains(&(Stack::OpenSsl, Verdict::Stripped)), "{named:?}");
}

/// Both probes of one table are told in one way: where they are in the file.
#[test]
fn a_reason_names_a_place_in_the_file() {
    let library = only(include_bytes!("../fixtures/openssl/3.0.8/exec"));
    let internal = entries(&library).find(|probe| probe.technique == Technique::Internal);
    let internal = internal.expect("an internal function");
    let (_, place) = internal.reason.split_once("0x").expect("a place");
    let place: String = place.chars().take_while(char::is_ascii_hexdigit).collect();
    let place = u64::from_str_radix(&place, 16).expect("a number");
    assert!(place <= internal.offset && internal.offset - place < 16, "{internal:?}");
    assert!(internal.reason.contains("in the file"), "{internal:?}");
}
