//! Libraries and programs of the machine that runs the tests.
//!
//! A file that is missing is named and skipped; under `CI=true`, where the image is known to have
//! what [`installed`] asks for, that is a failure.

use wstap_symbols::{
    Action, CallResult, Companion, Handles, Linkage, Options, Stack, SymbolSource, Transfer,
    Verdict,
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
