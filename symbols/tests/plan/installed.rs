//! Libraries and programs of the machine that runs the tests.
//!
//! A file that is missing is named and skipped; under `CI=true`, where the image is known to have
//! what [`installed`] asks for, that is a failure.

use wstap_symbols::{
    Action, CallResult, Companion, Direction, Handles, Linkage, Options, Stack, SymbolSource,
    Transfer, Verdict,
};

use super::{only_library, planned, probe};

/// The bytes of an installed file.
fn installed(path: &str) -> Option<Vec<u8>> {
    match std::fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{path}: {error}");
            eprintln!("skipped: {path}: {error}");
            None
        }
    }
}

#[test]
fn debian_libssl_is_a_shared_openssl_3() {
    let Some(image) = installed("/usr/lib/x86_64-linux-gnu/libssl.so.3") else { return };
    let library = only_library(&image, &Options::default());
    assert_eq!(library.version.as_deref(), Some("3"));
    assert_eq!(library.linkage, Linkage::Shared);
    assert_eq!(library.symbols, SymbolSource::Dynsym);
    assert_eq!(library.verdict, Verdict::Tappable);
}

#[test]
fn node_has_openssl_inside() {
    let Some(image) = installed(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/node"))
    else {
        return;
    };
    let library = only_library(&image, &Options::default());
    assert!(library.version.is_some_and(|version| version.starts_with("3.")));
    assert_eq!(library.linkage, Linkage::Static);
    assert_eq!(library.verdict, Verdict::Tappable);
}

/// The bytes of a program that `make deps-test` takes from npm.
fn from_npm(path: &str) -> Option<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/node_modules");
    installed(&format!("{folder}/{path}"))
}

/// Programs as their makers shipped them: stripped, and older than any Go that is to be had.
#[test]
fn go_1_17_is_entered_at_the_check_of_the_stack_and_left_at_returns() {
    for (path, version) in
        [("turbo-1.1.10/bin/turbo", "1.17.8"), ("turbo-1.3.1/bin/turbo", "1.18.3")]
    {
        let Some(image) = from_npm(path) else { continue };
        let library = only_library(&image, &Options::default());
        assert_eq!((library.stack, library.verdict), (Stack::Go, Verdict::Tappable), "{path}");
        assert_eq!(library.symbols, SymbolSource::GoTable);
        assert_eq!(library.version.as_deref(), Some(version), "{path}");
        let mut returns = [0; 2];
        for probe in &library.probes {
            let code = &image[usize::try_from(probe.offset).expect("an offset in the file")..];
            match probe.action {
                Action::GoReturn(direction) => {
                    // ret
                    assert_eq!(code[0], 0xc3, "{path}: {probe:?}");
                    returns[usize::from(direction == Direction::Received)] += 1;
                }
                // jbe with a distance of four bytes
                _ => assert_eq!(code[..2], [0x0f, 0x86], "{path}: {probe:?}"),
            }
        }
        // As many as `objdump` shows in the method that sends and in the one that receives.
        assert_eq!(returns, [8, 7], "{path}");
        // With one where each of these is entered, and one where a connection is closed.
        assert_eq!(library.probes.len(), 8 + 7 + 3, "{path}");
    }
}

#[test]
fn go_1_16_passes_arguments_on_the_stack() {
    let Some(image) = from_npm("esbuild-0.12.15/bin/esbuild") else { return };
    let library = only_library(&image, &Options::default());
    assert_eq!((library.stack, library.verdict), (Stack::Go, Verdict::StackArguments));
    assert_eq!(library.version.as_deref(), Some("1.16.3"));
    assert!(library.probes.is_empty());
}

#[test]
fn gnutls_counts_in_64_bits_and_sends_through_one_function() {
    let Some(image) = installed("/usr/lib/x86_64-linux-gnu/libgnutls.so.30") else { return };
    let library = only_library(&image, &Options::default());
    assert_eq!((library.stack, library.linkage), (Stack::GnuTls, Linkage::Shared));
    let send = probe(&library, "gnutls_record_send");
    assert_eq!(send.covers, ["gnutls_record_send2", "gnutls_record_send"]);
    let Action::Transfer(transfer) = send.action else { panic!("{send:?} moves plaintext") };
    assert_eq!(transfer.result, CallResult::LongCount);
}

#[test]
fn nspr_is_tapped_at_its_own_functions() {
    let Some(image) = installed("/usr/lib/x86_64-linux-gnu/libnspr4.so") else { return };
    let library = only_library(&image, &Options::default());
    assert_eq!(library.stack, Stack::Nspr);
    for function in ["PR_Read", "PR_Recv", "PR_Write", "PR_Send", "PR_Close"] {
        let probe = probe(&library, function);
        assert_eq!(probe.covers, [function]);
        // Files and bare sockets are no TLS.
        let is_of_layers = |transfer: Transfer| transfer.handles == Handles::Layers;
        assert!(!matches!(probe.action, Action::Transfer(it) if !is_of_layers(it)), "{function}");
    }
}

#[test]
fn chromium_leads_to_boringssl_by_its_error_messages() {
    let Ok(image) = std::fs::read("/usr/lib/chromium/chromium") else {
        eprintln!("skipped: chromium is not installed");
        return;
    };
    let library = only_library(&image, &Options::default());
    assert_eq!((library.stack, library.linkage), (Stack::BoringSsl, Linkage::Static));
    assert_eq!(library.symbols, SymbolSource::Messages);
    for function in ["SSL_read", "SSL_write"] {
        // push rbp; mov rbp, rsp
        let at = usize::try_from(probe(&library, function).offset).expect("an offset in the file");
        assert_eq!(image[at..at + 4], [0x55, 0x48, 0x89, 0xe5], "{function}");
    }
}

#[test]
fn libraries_without_tls_have_an_empty_plan() {
    for path in [
        "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so",
    ] {
        let Some(image) = installed(path) else { continue };
        let plan = planned(&image, &Options::default());
        assert!(plan.libraries.is_empty(), "{path}: {:?}", plan.libraries);
        assert!(plan.build_id.is_some(), "{path}");
    }
}

#[test]
fn libcrypto_knows_the_version_that_libssl_does_not() {
    let Some(ssl) = installed("/usr/lib/x86_64-linux-gnu/libssl.so.3") else { return };
    let Some(crypto) = installed("/usr/lib/x86_64-linux-gnu/libcrypto.so.3") else { return };
    let library = only_library(&ssl, &Options::default());
    let companion = planned(&crypto, &Options::default()).companion.expect("a version");
    assert!(companion.version.starts_with("3."), "{companion:?}");
    assert_eq!(library.version_beside(Some(&companion)), Some(companion.version.as_str()));
    // One of another OpenSSL, which the process has loaded as well.
    let other = Companion { version: "1.1.1w".to_owned(), ..companion };
    assert_eq!(library.version_beside(Some(&other)), Some("3"));
    assert_eq!(library.version_beside(None), Some("3"));
}

#[test]
fn libraries_of_c_say_their_version() {
    for (path, stack, major) in
        [("libgnutls.so.30", Stack::GnuTls, "3."), ("libwolfssl.so.35", Stack::WolfSsl, "5.")]
    {
        let Some(image) = installed(&format!("/usr/lib/x86_64-linux-gnu/{path}")) else { continue };
        let library = only_library(&image, &Options::default());
        assert_eq!(library.stack, stack);
        let version = library.version.unwrap_or_else(|| panic!("{path}: a version"));
        assert!(version.starts_with(major), "{path}: {version}");
    }
}

#[test]
fn the_zlib_of_debian_and_of_node_is_found() {
    let names = |image: &[u8]| {
        let zlib = planned(image, &Options::default()).zlib.expect("a zlib");
        assert_eq!(zlib.refusal, None);
        let version = zlib.version.expect("a version");
        assert!(version.starts_with("1."), "{version}");
        let mut names: Vec<_> =
            zlib.probes.iter().map(|probe| (probe.function, probe.direction)).collect();
        names.sort_by_key(|(name, _)| *name);
        names
    };
    if let Some(image) = installed("/usr/lib/x86_64-linux-gnu/libz.so.1") {
        let all = [("deflate", Direction::Sent), ("inflate", Direction::Received)];
        assert_eq!(names(&image), all);
    }
    let node = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/node");
    if let Some(image) = installed(node) {
        let chromium = ("Cr_z_deflate", Direction::Sent);
        assert!(names(&image).contains(&chromium));
    }
    if let Some(image) = installed("/usr/lib/x86_64-linux-gnu/libssl.so.3") {
        assert_eq!(planned(&image, &Options::default()).zlib, None);
    }
}
