//! The version of a library, as far as the image proves it.
//!
//! Libraries bring a text with their version; a shared `libssl` leaves that to `libcrypto` and proves
//! only what its name says.

use memchr::memmem;

use crate::elf::Image;
use crate::plan::{Companion, Linkage, Stack};
use crate::stacks::StackRow;

/// The version of `stack` in `image`.
pub(crate) fn detect(image: &Image<'_>, stack: &StackRow, linkage: Linkage) -> Option<String> {
    match (stack.stack, linkage) {
        (Stack::OpenSsl, Linkage::Shared) => from_soname(image.soname()?, stack.soname),
        (stack, _) => banner(image, stack),
    }
}

/// The version of the library that `image` is the other half of.
pub(crate) fn companion(image: &Image<'_>) -> Option<Companion> {
    const HALVES: [(&str, Stack); 2] =
        [("libcrypto.so", Stack::OpenSsl), ("libmbedcrypto.so", Stack::MbedTls)];
    let soname = image.soname()?;
    let &(_, stack) = HALVES.iter().find(|(name, _)| after_name(soname, name).is_some())?;
    Some(Companion { stack, version: banner(image, stack)? })
}

/// The version in the text with which a library presents itself, if it has one.
pub(crate) fn banner(image: &Image<'_>, stack: Stack) -> Option<String> {
    let read: fn(&[u8]) -> Option<String> = match stack {
        Stack::OpenSsl => openssl_banner,
        Stack::GnuTls => |bytes| between(bytes, b"Enabled GnuTLS ", b" logging"),
        Stack::WolfSsl => |bytes| between(bytes, b"\0wolfSSL ", b"\0"),
        Stack::MbedTls => |bytes| {
            between(bytes, b"\0mbed TLS ", b"\0").or_else(|| between(bytes, b"\0Mbed TLS ", b"\0"))
        },
        _ => return None,
    };
    image.constants().find_map(|(_, bytes)| read(bytes))
}

/// The dotted version that stands between two texts.
fn between(bytes: &[u8], before: &[u8], after: &[u8]) -> Option<String> {
    memmem::find_iter(bytes, before).find_map(|at| {
        let rest = bytes.get(at.checked_add(before.len())?..)?;
        let rest = rest.get(..rest.len().min(MAX_BANNER))?;
        let text = std::str::from_utf8(rest.get(..memmem::find(rest, after)?)?).ok()?;
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        (is_plain && is_dotted_version(text)).then(|| text.to_owned())
    })
}

/// What follows the name of a library, such as `libssl.so`, in a `DT_SONAME`; `None` if that names
/// another library. Tools that bundle libraries put a hash into the name: `libssl-8b66dd34.so.3`.
pub(crate) fn after_name<'a>(soname: &'a [u8], library: &str) -> Option<&'a [u8]> {
    if let Some(rest) = soname.strip_prefix(library.as_bytes()) {
        return Some(rest);
    }
    let base = library.strip_suffix(".so")?;
    let hashed = soname.strip_prefix(base.as_bytes())?.strip_prefix(b"-")?;
    let end = hashed.iter().position(|byte| !byte.is_ascii_hexdigit()).filter(|&end| end > 0)?;
    hashed.get(end..)?.strip_prefix(b".so")
}

/// `libssl.so.3` is version 3. Only OpenSSL counts its library's versions as it counts its own.
fn from_soname(soname: &[u8], library: &str) -> Option<String> {
    let version = after_name(soname, library)?.strip_prefix(b".")?;
    let plausible = !version.is_empty()
        && library == "libssl.so"
        && version.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'.');
    plausible.then(|| String::from_utf8_lossy(version).into_owned())
}

/// Longest version string that is taken for one, in bytes.
const MAX_BANNER: usize = 80;

/// The version in `OPENSSL_VERSION_TEXT`, such as `OpenSSL 3.0.19 27 Jan 2026`.
///
/// Programs also carry texts that talk about OpenSSL, so the whole string must have the form: its
/// own beginning, a dotted version, and a year at the end.
fn openssl_banner(bytes: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"OpenSSL ";
    memmem::find_iter(bytes, NAME).find_map(|at| {
        let begins = at == 0 || bytes.get(at.checked_sub(1)?) == Some(&0);
        let rest = bytes.get(at.checked_add(NAME.len())?..)?;
        let rest = rest.get(..rest.len().min(MAX_BANNER))?;
        let text = rest.get(..memchr::memchr(0, rest)?)?;
        let text = std::str::from_utf8(text).ok().filter(|_| begins)?;
        let mut words = text.split_ascii_whitespace();
        let version = words.next().filter(|word| is_dotted_version(word))?;
        let year = words.next_back()?;
        let is_year = year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit());
        is_year.then(|| version.to_owned())
    })
}

fn is_dotted_version(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_string_must_have_the_whole_form() {
        let version = |text: &[u8]| openssl_banner(text);
        assert_eq!(version(b"\0OpenSSL 3.0.19 27 Jan 2026\0"), Some("3.0.19".to_owned()));
        assert_eq!(version(b"OpenSSL 1.1.1w  11 Sep 2023\0"), Some("1.1.1w".to_owned()));
        assert_eq!(version(b"\0OpenSSL 1.1.1k  FIPS 25 Mar 2021\0"), Some("1.1.1k".to_owned()));
        assert_eq!(version(b"needs OpenSSL 3.0.19 27 Jan 2026\0"), None);
        assert_eq!(version(b"\0OpenSSL 3.0 or newer\0"), None);
        assert_eq!(version(b"\0OpenSSL 3.0.19 27 Jan 2026"), None);
    }

    #[test]
    fn a_text_about_openssl_does_not_hide_the_version_string() {
        let bytes = b"\0OpenSSL is required\0OpenSSL 3.6.3 9 Jun 2026\0";
        assert_eq!(openssl_banner(bytes), Some("3.6.3".to_owned()));
    }

    #[test]
    fn a_version_stands_where_the_library_puts_it() {
        let version = |bytes| between(bytes, b"\0wolfSSL ", b"\0");
        assert_eq!(version(b"\0wolfSSL 5.5.4\0"), Some("5.5.4".to_owned()));
        assert_eq!(version(b"\0wolfSSL error\0\0wolfSSL 5.5.4\0"), Some("5.5.4".to_owned()));
        assert_eq!(version(b"\0wolfSSL 5.5.4"), None);
        assert_eq!(version(b"\0wolfSSL 5.5.4 or newer\0"), None);
    }

    #[test]
    fn a_shared_library_proves_the_version_in_its_name() {
        let version = |name: &[u8]| from_soname(name, "libssl.so");
        assert_eq!(version(b"libssl.so.3"), Some("3".to_owned()));
        assert_eq!(version(b"libssl.so.1.1"), Some("1.1".to_owned()));
        assert_eq!(version(b"libssl.so"), None);
        // As wheels of Python bring it.
        assert_eq!(version(b"libssl-8b66dd34.so.3"), Some("3".to_owned()));
        assert_eq!(version(b"libssl-.so.3"), None);
        assert_eq!(version(b"libssl-gost.so.3"), None);
        assert_eq!(after_name(b"libssl3.so", "libssl.so"), None);
        assert_eq!(version(b"libssl.so.../x"), None);
        assert_eq!(from_soname(b"libgnutls.so.30", "libgnutls.so"), None);
    }
}
