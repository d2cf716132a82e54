//! Where probes go, on code that compilers made of OpenSSL and of variations on it.

use wstap_symbols::{
    Action, CallResult, Library, Options, Probe, Stack, SymbolSource, Technique, Transfer, Verdict,
};

use super::{AT_SYMBOLS, entries, only_library, probe};

macro_rules! openssl {
    ($name:literal) => {
        include_bytes!(concat!("../fixtures/openssl/", $name)).as_slice()
    };
}

macro_rules! wrappers {
    ($name:literal) => {
        include_bytes!(concat!("../fixtures/wrappers/", $name)).as_slice()
    };
}

fn planned(image: &[u8]) -> Library {
    only_library(image, &Options::default())
}

fn transfer(probe: &Probe) -> Transfer {
    match probe.action {
        Action::Transfer(transfer) => transfer,
        _ => panic!("{probe:?} moves plaintext"),
    }
}

/// The argument with the count's address, counted from 0.
fn count_argument(probe: &Probe) -> u8 {
    match transfer(probe).result {
        CallResult::Status { count } => count.get(),
        _ => panic!("{probe:?} returns a count"),
    }
}

/// The instruction at a probe is one that the kernel emulates: a push or a branch.
fn is_emulated(image: &[u8], probe: &Probe) -> bool {
    let at = usize::try_from(probe.offset).expect("an offset in the file");
    match image[at..] {
        [0x41, second, ..] => (0x50..=0x57).contains(&second),
        [0x0f, second, ..] => (0x80..=0x8f).contains(&second),
        [first, ..] => matches!(first, 0x50..=0x57 | 0x70..=0x7f | 0xe8 | 0xe9 | 0xeb),
        [] => false,
    }
}

#[test]
fn both_forms_of_openssl_lead_to_one_probe_for_each_direction() {
    // The pointer to the count is the fourth argument of both internal functions, until
    // ssl_write_internal got a flags argument before it in OpenSSL 3.3.
    for (name, image, read_count, write_count) in [
        ("1.1.1w, -O3", openssl!("1.1.1w/o3.so"), 3, 3),
        ("3.0.8, -O2", openssl!("3.0.8/o2.so"), 3, 3),
        ("3.2.1, -O3", openssl!("3.2.1/o3.so"), 3, 3),
        ("3.6.3, -O3", openssl!("3.6.3/o3.so"), 3, 4),
        ("3.6.3, -O0", openssl!("3.6.3/o0.so"), 3, 4),
        ("3.6.3, -Os", openssl!("3.6.3/os.so"), 3, 4),
        ("3.6.3, -fcf-protection=full", openssl!("3.6.3/cet.so"), 3, 4),
        ("4.0.3, -O3", openssl!("4.0.3/o3.so"), 3, 4),
    ] {
        let library = planned(image);
        let read = probe(&library, "SSL_read");
        let write = probe(&library, "SSL_write");
        assert_eq!(read.covers, ["SSL_read", "SSL_read_ex"], "{name}");
        assert_eq!(write.covers, ["SSL_write", "SSL_write_ex"], "{name}");
        assert_eq!(
            (count_argument(read), count_argument(write)),
            (read_count, write_count),
            "{name}"
        );
        for probe in [read, write] {
            assert_eq!(probe.technique, Technique::Internal, "{name}");
            assert!(is_emulated(image, probe), "{name}: {probe:?}");
            let Transfer { handle, buffer, length, .. } = transfer(probe);
            assert_eq!([handle, buffer, length].map(|arg| arg.get()), [0, 1, 2], "{name}");
        }
        assert_eq!(entries(&library).count(), 4, "{name}: read, write, SSL_free, SSL_clear");
    }
}

#[test]
fn symbols_are_used_when_asked_for() {
    let library = only_library(openssl!("3.6.3/cet.so"), &AT_SYMBOLS);
    assert_eq!(entries(&library).count(), 6);
    for probe in entries(&library) {
        assert_eq!(probe.technique, Technique::Symbol);
        assert_eq!(probe.covers.len(), 1);
    }
    assert_eq!(transfer(probe(&library, "SSL_write")).result, CallResult::Count);
    assert_eq!(count_argument(probe(&library, "SSL_write_ex")), 3);
}

#[test]
fn a_program_that_has_only_the_ex_functions_is_tapped_at_the_internal_ones() {
    let image = openssl!("3.6.3/exec");
    let library = planned(image);
    assert_eq!(library.symbols, SymbolSource::Symtab);
    assert_eq!(library.verdict, Verdict::Tappable);
    let write = probe(&library, "SSL_write_ex");
    assert_eq!(write.covers, ["SSL_write_ex"]);
    assert_eq!(write.technique, Technique::Internal);
    assert_eq!(count_argument(write), 4);
    assert!(is_emulated(image, write));
}

#[test]
fn a_program_that_has_only_the_plain_functions_is_tapped_at_the_internal_ones() {
    for (image, count) in [(openssl!("1.1.1w/exec"), 3), (openssl!("3.0.8/exec"), 3)] {
        let library = planned(image);
        let write = probe(&library, "SSL_write");
        assert_eq!(write.technique, Technique::Internal);
        assert_eq!(count_argument(write), count);
    }
}

#[test]
fn functions_that_hold_the_internal_ones_are_tapped_themselves() {
    let image = openssl!("3.6.3/inlined");
    let library = planned(image);
    for function in ["SSL_read", "SSL_write"] {
        let probe = probe(&library, function);
        assert_eq!(probe.technique, Technique::Symbol);
        assert_eq!(transfer(probe).result, CallResult::Count);
        assert!(is_emulated(image, probe));
    }
}

/// The offsets and actions of the probes that move plaintext.
fn transfers(library: &Library) -> Vec<(u64, Action)> {
    let probes = library.probes.iter().filter(|probe| probe.action != Action::Release);
    probes.map(|probe| (probe.offset, probe.action)).collect()
}

#[test]
fn error_messages_lead_a_stripped_program_to_the_same_probes_as_symbols() {
    for (name, whole, stripped) in [
        ("1.1.1w", openssl!("1.1.1w/exec"), openssl!("1.1.1w/exec-stripped")),
        ("3.0.8", openssl!("3.0.8/exec"), openssl!("3.0.8/exec-stripped")),
        ("3.6.3", openssl!("3.6.3/exec"), openssl!("3.6.3/exec-stripped")),
        ("3.6.3, inlined", openssl!("3.6.3/inlined"), openssl!("3.6.3/inlined-stripped")),
    ] {
        let (whole, stripped) = (planned(whole), planned(stripped));
        assert_eq!(stripped.symbols, SymbolSource::Messages, "{name}");
        assert_eq!(stripped.version, whole.version, "{name}");
        assert_eq!(transfers(&stripped), transfers(&whole), "{name}");
    }
}

#[test]
fn the_reset_of_a_connection_is_found_by_its_messages() {
    for (whole, stripped) in [
        (openssl!("1.1.1w/exec"), openssl!("1.1.1w/exec-stripped")),
        (openssl!("3.0.8/exec"), openssl!("3.0.8/exec-stripped")),
    ] {
        let (whole, stripped) = (planned(whole), planned(stripped));
        assert_eq!(probe(&stripped, "SSL_clear"), probe(&whole, "SSL_clear"));
    }
}

#[test]
fn boringssl_is_found_by_reasons_and_lines() {
    let whole = planned(include_bytes!("../fixtures/boringssl/whole"));
    let stripped = planned(include_bytes!("../fixtures/boringssl/stripped"));
    assert_eq!(stripped.stack, Stack::BoringSsl);
    assert_eq!(stripped.symbols, SymbolSource::Messages);
    assert_eq!(transfers(&stripped), transfers(&whole));
}

/// Where the end of a function happens to be aligned, a jump may be its last instruction, and no
/// padding follows. What looks like neither proves no start: the two functions are then taken for
/// one, whose errors are those of no known function.
#[test]
fn a_boringssl_function_may_follow_a_jump() {
    let image = include_bytes!("../fixtures/boringssl/stripped");
    let whole = planned(image);
    let write = usize::try_from(probe(&whole, "SSL_write").offset).expect("an offset");
    let mut jumping = image.to_vec();
    jumping[write - 5..write].copy_from_slice(&[0xe9, 0xf0, 0xff, 0xff, 0xff]);
    assert_eq!(planned(&jumping), whole);
    jumping[write - 5] = 0xf9;
    assert_eq!(planned(&jumping).verdict, Verdict::Stripped);
}

#[test]
fn the_end_of_a_connection_needs_only_its_handle() {
    let image = openssl!("3.6.3/cet.so");
    let library = planned(image);
    for function in ["SSL_free", "SSL_clear"] {
        let release = probe(&library, function);
        assert_eq!(release.action, Action::Release);
        assert_eq!(release.technique, Technique::Prologue);
        assert!(is_emulated(image, release));
    }
}

/// What the planner did with the reading functions of a variation; the writing ones are always
/// plain wrappers.
fn reading(image: &[u8]) -> Vec<(Vec<&'static str>, Technique)> {
    let library = planned(image);
    assert_eq!(probe(&library, "SSL_write").technique, Technique::Internal);
    let received = entries(&library).filter(|probe| probe.function().contains("read"));
    received.map(|probe| (probe.covers.clone(), probe.technique)).collect()
}

#[test]
fn plain_wrappers_are_followed() {
    let expected = vec![(vec!["SSL_read", "SSL_read_ex"], Technique::Internal)];
    assert_eq!(reading(wrappers!("plain.so")), expected);
}

#[test]
fn a_single_wrapper_is_followed_when_its_callee_confirms_the_pointer() {
    let expected = vec![(vec!["SSL_read"], Technique::Internal)];
    assert_eq!(reading(wrappers!("one-form.so")), expected);
}

#[test]
fn nothing_that_would_miss_or_repeat_bytes_is_followed() {
    for (why, image) in [
        ("peeks go through the same function", wrappers!("peek-shares.so")),
        ("some bytes do not pass the internal function", wrappers!("bypass.so")),
        ("the two forms lead to different functions", wrappers!("disagree.so")),
        ("the internal function gets another buffer", wrappers!("shifted.so")),
    ] {
        for (covers, technique) in reading(image) {
            assert_ne!(technique, Technique::Internal, "{why}");
            assert_eq!(covers.len(), 1, "{why}");
        }
    }
}

#[test]
fn a_form_that_calls_the_other_is_covered_by_it() {
    // Called directly, and through the procedure linkage table.
    for (image, options) in [
        (wrappers!("nested.so"), Options::default()),
        (wrappers!("nested.so"), AT_SYMBOLS),
        (wrappers!("nested-plt.so"), Options::default()),
        (wrappers!("nested-plt.so"), AT_SYMBOLS),
    ] {
        let library = only_library(image, &options);
        assert_eq!(probe(&library, "SSL_read_ex").covers, ["SSL_read", "SSL_read_ex"]);
        let reading = entries(&library).filter(|probe| probe.function() == "SSL_read");
        assert_eq!(reading.count(), 1);
    }
}

/// The return sites of a function.
fn returns<'a>(library: &'a Library, function: &str) -> Vec<&'a Probe> {
    let of = |probe: &&Probe| probe.is_return() && probe.covers.contains(&function);
    library.probes.iter().filter(of).collect()
}

#[test]
fn no_function_of_openssl_needs_a_return_probe() {
    for (name, image) in [
        ("1.1.1w, -O3", openssl!("1.1.1w/o3.so")),
        ("3.0.8, -O2", openssl!("3.0.8/o2.so")),
        ("3.6.3, -O0", openssl!("3.6.3/o0.so")),
        ("4.0.3, -O3", openssl!("4.0.3/o3.so")),
        ("3.6.3, static", openssl!("3.6.3/exec")),
        ("3.6.3, stripped", openssl!("3.6.3/exec-stripped")),
    ] {
        for options in [Options::default(), AT_SYMBOLS] {
            let library = only_library(image, &options);
            for probe in entries(&library) {
                let Action::Transfer(transfer) = probe.action else { continue };
                assert!(!transfer.return_probe, "{name}: {probe:?}");
                assert!(!returns(&library, probe.function()).is_empty(), "{name}: {probe:?}");
            }
        }
    }
}

/// Behind each call of the internal function its caller has the status in RAX, and the stack pointer
/// is above that of the entry by the return address; at a `ret` of the function itself it is the same.
#[test]
fn return_sites_say_how_far_they_are_from_the_entry() {
    let library = planned(openssl!("3.0.8/o2.so"));
    let internal = returns(&library, "SSL_read");
    assert!(internal.len() >= 2, "SSL_read and SSL_read_ex call it");
    for probe in internal {
        let Action::TransferReturn(site) = probe.action else { panic!("{probe:?}") };
        assert_eq!((site.register, site.distance % 8), (Some(0), 0), "{probe:?}");
        assert!(site.distance >= 8, "{probe:?}");
        assert!(matches!(site.result, CallResult::Status { .. }), "{probe:?}");
    }
    let library = only_library(openssl!("3.0.8/o2.so"), &AT_SYMBOLS);
    for probe in returns(&library, "SSL_read") {
        let Action::TransferReturn(site) = probe.action else { panic!("{probe:?}") };
        // At the check of the stack there is still a frame.
        let is_check = probe.technique == Technique::ReturnJump;
        assert_eq!(site.distance < 0, is_check, "{probe:?}");
        assert!(site.distance <= 0 && site.result == CallResult::Count, "{probe:?}");
    }
}

/// The images with the protocol's methods: all writes go through one of them.
const METHODS: [(&str, &[u8]); 5] = [
    ("1.1.1w", openssl!("1.1.1w/methods.so")),
    ("3.0.8", openssl!("3.0.8/methods.so")),
    ("3.0.8, protected", openssl!("3.0.8/methods-protected.so")),
    ("3.6.3", openssl!("3.6.3/methods.so")),
    ("4.0.3, protected", openssl!("4.0.3/methods.so")),
];

#[test]
fn both_ways_to_write_return_where_the_kernel_emulates() {
    for (name, image) in METHODS {
        let library = planned(image);
        let entered: Vec<&Probe> =
            entries(&library).filter(|it| it.covers.contains(&"SSL_write_ex")).collect();
        let [entered] = entered[..] else { panic!("{name}: {entered:?}") };
        assert_eq!(entered.covers, ["SSL_write", "SSL_write_ex"], "{name}");
        assert!(is_emulated(image, entered) && !transfer(entered).return_probe, "{name}");
        assert_eq!(count_argument(entered), 3, "{name}");
        let returns = returns(&library, "SSL_write_ex");
        let emulated = returns.iter().filter(|it| it.technique == Technique::ReturnJump);
        assert!(emulated.clone().count() > 0, "{name}: {returns:?}");
        for probe in emulated {
            let Action::TransferReturn(site) = probe.action else { panic!("{probe:?}") };
            assert!(is_emulated(image, probe), "{name}: {probe:?}");
            assert_eq!(site.result, transfer(entered).result, "{name}: {probe:?}");
        }
        // Handshakes write there, too.
        let is_shared = |it: &&Probe| match it.action {
            Action::TransferReturn(site) => site.is_shared,
            _ => false,
        };
        assert!(returns.iter().filter(|it| is_shared(it)).count() > 1, "{name}: {returns:?}");
    }
}

#[test]
fn a_program_that_writes_in_one_way_only_is_tapped_at_the_same_method() {
    for (name, image) in METHODS {
        let whole = planned(image);
        for (gone, kept) in [("SSL_write", "SSL_write_ex"), ("SSL_write_ex", "SSL_write")] {
            let mut one = image.to_vec();
            let symbol = [b"\0", gone.as_bytes(), b"\0"].concat();
            let at = memchr::memmem::find(&one, &symbol).expect("its name");
            one[at + 1] = b'X';
            let probe = probe(&planned(&one), kept).clone();
            assert_eq!(probe.covers, [kept], "{name}");
            assert_eq!(probe.offset, self::probe(&whole, kept).offset, "{name}, {kept} alone");
        }
    }
}

/// Without the tables nothing says which function the method is; with a direct call, it may be that
/// of another object.
#[test]
fn a_method_that_is_not_known_is_not_followed() {
    let (_, image) = METHODS[1];
    let write = probe(&planned(image), "SSL_write").offset;
    let others = |image: &[u8]| {
        let library = planned(image);
        let at_methods = entries(&library).any(|it| it.offset == write);
        assert!(entries(&library).any(|it| it.covers.contains(&"SSL_write_ex")));
        !at_methods
    };
    let mut untold = image.to_vec();
    let address = write.to_le_bytes();
    let places: Vec<usize> = memchr::memmem::find_iter(image, &address).collect();
    assert!(!places.is_empty(), "the loader writes it into the tables");
    for place in places {
        untold[place] ^= 1;
    }
    assert!(others(&untold));
    // A call of it, in the padding behind a function.
    let mut called = image.to_vec();
    let padding = memchr::memmem::find(image, &[0x66, 0x2e, 0x0f, 0x1f, 0x84]).expect("padding");
    let distance = i32::try_from(write as i64 - (padding as i64 + 5)).expect("near");
    called[padding] = 0xe8;
    called[padding + 1..padding + 5].copy_from_slice(&distance.to_le_bytes());
    assert!(others(&called));
}
