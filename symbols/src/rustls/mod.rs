//! rustls, compiled into Rust programs that still have their symbols.
//!
//! Its public functions are generic and inlined into their callers. Two private ones are passed by
//! all plaintext, and usually stay functions. Neither their names nor what they are given is
//! promised; so the version, which panic messages name, must be one that was tried, and the code
//! must use its arguments as that version does.
//!
//! Nothing leads to them in a stripped program.

mod code;
mod legacy;

use std::collections::BTreeSet;

use memchr::memmem;

use self::code::{Receiver, Sender};
use self::legacy::{Functions, Passage, Passages};
use crate::elf::{Function, Image, Machine, SymbolTable};
use crate::plan::{
    Action, Identity, Library, Linkage, Probe, Stack, SymbolSource, Technique, Verdict,
};

/// What the names of rustls's own functions contain, in either of Rust's manglings.
const CRATE: &[u8] = b"6rustls";
/// The type whose methods they are.
const STATE: &[u8] = b"11CommonState";
/// The method that encrypts what the application sends.
const SEND: &[u8] = b"20send_appdata_encrypt";
/// The method that keeps decrypted bytes until the application reads them.
const RECEIVE: &[u8] = b"23take_received_plaintext";
/// What the end of a connection is called in Rust's older mangling.
const DROP: &[u8] = b"drop_in_place$LT$rustls..common_state..CommonState$GT$";
/// In its newer one ("v0"), the beginning and the end of the same: between them is the crate's hash.
const DROP_V0: [&[u8]; 2] = [b"3ptr13drop_in_placeNtNtC", b"_6rustls12common_state11CommonStateE"];

/// Before 0.23, the method that takes what the application sends, and two that show where things
/// are.
const SEND_SOME: &[u8] = b"19send_some_plaintext";
const FRAGMENT: &[u8] = b"20send_single_fragment";
const IO_STATE: &[u8] = b"16current_io_state";
/// Before 0.23, where what is sent waits for the end of the handshake.
const APPEND: &[u8] = b"14ChunkVecBuffer19append_limited_copy";
/// Before 0.23, the method that gives the application decrypted bytes. In Rust's later mangling it
/// is not found.
const READ: &[u8] = b"rustls..conn..Reader$u20$as$u20$std..io..Read$GT$4read17h";

/// The versions whose code was looked at and tried.
const KNOWN: &str = "0.23.";
/// Those before it.
const KNOWN_BEFORE: [&str; 2] = ["0.21.", "0.22."];

/// Most copies of one function that are looked at.
const MAX_COPIES: usize = 32;

/// What the symbols lead to.
#[derive(Default)]
struct Found {
    /// There are names of rustls at all.
    named: bool,
    send: Vec<Function>,
    receive: Vec<Function>,
    drop: Vec<Function>,
    send_some: Vec<Function>,
    fragment: Vec<Function>,
    io_state: Vec<Function>,
    read: Vec<Function>,
    append: Vec<Function>,
}

/// rustls, if it is in the image. `debug` has the symbols that were taken out of it, if any.
pub(crate) fn search(image: &Image<'_>, debug: Option<&Image<'_>>) -> Option<Library> {
    let versions = versions(image);
    let version = versions.first()?.clone();
    let (found, symbols) = functions(image, debug);
    let (verdict, probes) = match probes(image, &versions, &found) {
        Ok(probes) => (Verdict::Experimental, probes),
        Err(verdict) => (verdict, Vec::new()),
    };
    Some(Library {
        stack: Stack::Rustls,
        version: Some(version),
        linkage: Linkage::Static,
        symbols,
        verdict,
        probes,
    })
}

/// The functions that the image's own symbols lead to, or else those of its debug file. If neither
/// has a name of rustls, nothing but its messages is known.
fn functions(image: &Image<'_>, debug: Option<&Image<'_>>) -> (Found, SymbolSource) {
    let own = by_symbols(image);
    if own.named {
        return (own, SymbolSource::Symtab);
    }
    let apart = debug.map(by_symbols).unwrap_or_default();
    let source = if apart.named { SymbolSource::DebugFile } else { SymbolSource::Messages };
    (apart, source)
}

/// The versions in the paths of source files that panic messages name, such as
/// `/root/.cargo/registry/src/REGISTRY/rustls-0.23.46/src/vecbuf.rs`, or
/// `external/crates_vendor__rustls-0.23.46/src/vecbuf.rs` where Bazel built it.
fn versions(image: &Image<'_>) -> BTreeSet<String> {
    let mut versions = BTreeSet::new();
    for (_, bytes) in image.constants() {
        collect_versions(bytes, &mut versions);
    }
    versions
}

fn collect_versions(bytes: &[u8], versions: &mut BTreeSet<String>) {
    const BEFORE: &[u8] = b"rustls-";
    const STARTS: [&[u8]; 2] = [b"/", b"__"];
    const AFTER: &[u8] = b"/src/";
    const MAX_LEN: usize = 32;
    /// Two are too many already.
    const MAX_VERSIONS: usize = 8;
    for at in memmem::find_iter(bytes, BEFORE) {
        if versions.len() == MAX_VERSIONS {
            return;
        }
        // Other crates' names end like this one.
        if !STARTS.iter().any(|start| bytes[..at].ends_with(start)) {
            continue;
        }
        let rest = bytes.get(at + BEFORE.len()..).unwrap_or_default();
        let rest = rest.get(..rest.len().min(MAX_LEN)).unwrap_or_default();
        let version = memmem::find(rest, AFTER).and_then(|end| rest.get(..end));
        let version = version.and_then(|version| std::str::from_utf8(version).ok());
        let is_plain = |text: &&str| {
            text.starts_with(|first: char| first.is_ascii_digit())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        };
        versions.extend(version.filter(is_plain).map(str::to_owned));
    }
}

fn by_symbols(names: &Image<'_>) -> Found {
    let mut found = Found::default();
    names.functions(SymbolTable::Symtab, |name, function| {
        let has = |part: &[u8]| memmem::find(name, part).is_some();
        if has(DROP) || is_drop_v0(name) {
            push(&mut found.drop, function);
        }
        if has(READ) {
            push(&mut found.read, function);
        }
        if !has(CRATE) {
            return;
        }
        found.named = true;
        if has(APPEND) {
            push(&mut found.append, function);
        }
        for (method, functions) in [
            (SEND, &mut found.send),
            (RECEIVE, &mut found.receive),
            (SEND_SOME, &mut found.send_some),
            (FRAGMENT, &mut found.fragment),
            (IO_STATE, &mut found.io_state),
        ] {
            if has(STATE) && has(method) {
                push(functions, function);
            }
        }
    });
    found
}

/// Whether a function of the newer mangling drops a `CommonState`, and not something that has one.
fn is_drop_v0(name: &[u8]) -> bool {
    let [begin, end] = DROP_V0;
    let hash = memmem::find(name, begin).and_then(|at| name.get(at + begin.len()..));
    hash.is_some_and(|rest| {
        let at = memmem::find(rest, end);
        let hash = at.and_then(|at| rest.get(..at));
        hash.is_some_and(|hash| hash.iter().all(u8::is_ascii_alphanumeric))
    })
}

fn push(functions: &mut Vec<Function>, function: Function) {
    if functions.len() < MAX_COPIES && !functions.contains(&function) {
        functions.push(function);
    }
}

fn probes(
    image: &Image<'_>,
    versions: &BTreeSet<String>,
    found: &Found,
) -> Result<Vec<Probe>, Verdict> {
    if !found.named {
        return Err(Verdict::Stripped);
    }
    if image.machine() != Machine::X86_64 {
        return Err(Verdict::UnsupportedMachine);
    }
    let version = versions.first().filter(|_| versions.len() == 1).ok_or(Verdict::Unproven)?;
    let mut probes = if KNOWN_BEFORE.iter().any(|known| version.starts_with(known)) {
        probes_before(image, found)?
    } else if version.starts_with(KNOWN) {
        probes_now(image, found)?
    } else {
        return Err(Verdict::Unproven);
    };
    probes.sort_by_key(|probe| probe.offset);
    probes.dedup_by_key(|probe| probe.offset);
    Ok(probes)
}

/// Of 0.23.
fn probes_now(image: &Image<'_>, found: &Found) -> Result<Vec<Probe>, Verdict> {
    let &[receive] = found.receive.as_slice() else { return Err(missing(&found.receive, true)) };
    let &[send] = found.send.as_slice() else { return Err(missing(&found.send, false)) };
    let sender = Sender::prove(image, send).ok_or(Verdict::Unproven)?;
    let receiver = Receiver::prove(image, receive).ok_or(Verdict::Unproven)?;
    let mut probes = sending(image, &sender);
    probes.extend(probe(
        image,
        "CommonState::take_received_plaintext",
        receiver.entry,
        Action::RustlsReceived(sender.identity),
        Technique::Internal,
        "all that is received passes it",
    ));
    probes.extend(releases(image, found, sender.identity));
    Ok(probes)
}

/// Of 0.21 and 0.22.
fn probes_before(image: &Image<'_>, found: &Found) -> Result<Vec<Probe>, Verdict> {
    const WRITE: &str = "CommonState::send_some_plaintext";
    const READ: &str = "Reader::read";
    let &[read] = found.read.as_slice() else { return Err(missing(&found.read, true)) };
    let &[write] = found.send_some.as_slice() else {
        return Err(missing(&found.send_some, false));
    };
    let (&[fragment], &[io_state]) = (found.fragment.as_slice(), found.io_state.as_slice()) else {
        return Err(Verdict::Unproven);
    };
    let append = found.append.first().copied();
    let functions = Functions { write, read, fragment, io_state, append };
    let passages = Passages::prove(image, functions).ok_or(Verdict::Unproven)?;
    let (entered, returned) = (Action::RustlsWrite(passages.identity), Action::RustlsSent);
    let mut probes = passing(image, WRITE, &passages.write, entered, returned);
    let (entered, returned) = (Action::RustlsRead(passages.distance), Action::RustlsReadDone);
    probes.extend(passing(image, READ, &passages.read, entered, returned));
    probes.extend(releases(image, found, passages.identity));
    Ok(probes)
}

/// A function that all plaintext of a direction passes, at its entry and wherever it returns.
fn passing(
    image: &Image<'_>,
    name: &'static str,
    passage: &Passage,
    entered: Action,
    returned: Action,
) -> Vec<Probe> {
    let why = "all plaintext passes it";
    let entry = probe(image, name, passage.entry, entered, Technique::Internal, why);
    let returns = passage.returns.iter().filter_map(|&address| {
        let why = "it returns here how much passed; a panic could not pass a return probe";
        probe(image, name, address, returned, Technique::Return, why)
    });
    entry.into_iter().chain(returns).collect()
}

fn releases(image: &Image<'_>, found: &Found, identity: Identity) -> Vec<Probe> {
    const NAME: &str = "drop_in_place::<CommonState>";
    let (action, why) = (Action::RustlsRelease(identity), "a connection ends here");
    let drops = found.drop.iter();
    let probes =
        drops.filter_map(|drop| probe(image, NAME, drop.address, action, Technique::Internal, why));
    probes.collect()
}

/// No symbol, or symbols of several versions that cannot be assigned to one.
fn missing(functions: &[Function], is_read: bool) -> Verdict {
    match (functions.is_empty(), is_read) {
        (true, true) => Verdict::NoRead,
        (true, false) => Verdict::NoWrite,
        (false, _) => Verdict::Unproven,
    }
}

fn sending(image: &Image<'_>, sender: &Sender) -> Vec<Probe> {
    const NAME: &str = "CommonState::send_appdata_encrypt";
    let entered = probe(
        image,
        NAME,
        sender.entry,
        Action::RustlsSend(sender.identity),
        Technique::Internal,
        "all that is sent passes it",
    );
    let returned = sender.returns.iter().filter_map(|&address| {
        let why = "it returns here how much was taken; a panic could not pass a return probe";
        probe(image, NAME, address, Action::RustlsSent, Technique::Return, why)
    });
    entered.into_iter().chain(returned).collect()
}

fn probe(
    image: &Image<'_>,
    name: &'static str,
    address: u64,
    action: Action,
    technique: Technique,
    reason: &str,
) -> Option<Probe> {
    let offset = image.code_offset(address)?;
    Some(Probe { covers: vec![name], offset, action, technique, reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions_in(text: &str) -> Vec<String> {
        let mut versions = BTreeSet::new();
        collect_versions(text.as_bytes(), &mut versions);
        versions.into_iter().collect()
    }

    #[test]
    fn the_version_is_found_however_the_crate_was_brought() {
        for path in [
            "/root/.cargo/registry/src/6f17d22bba15001f/rustls-0.23.46/src/vecbuf.rs",
            "external/crates_vendor__rustls-0.23.46/src/vecbuf.rs",
            "/build/vendor/rustls-0.23.46/src/conn.rs",
        ] {
            assert_eq!(versions_in(path), ["0.23.46"], "{path}");
        }
        for path in [
            "/root/.cargo/registry/src/x/tokio-rustls-0.26.2/src/lib.rs",
            "external/crates_vendor__tokio-rustls-0.26.2/src/lib.rs",
            "/registry/rustls-native-certs-0.8.1/src/lib.rs",
            "/registry/rustls-0.23.46/tests/api.rs",
        ] {
            assert_eq!(versions_in(path), [""; 0], "{path}");
        }
    }

    #[test]
    fn the_end_of_a_connection_is_known_in_the_newer_mangling_whatever_the_crates_hash() {
        for name in [
            "_RINvNtCs4fqI2P2rA04_4core3ptr13drop_in_placeNtNtCs9Kd0mVQd1JD_6rustls12common_state11CommonStateECsfoo_3app",
            "_RINvNtCsa_4core3ptr13drop_in_placeNtNtCs0_6rustls12common_state11CommonStateEB4_",
        ] {
            assert!(is_drop_v0(name.as_bytes()), "{name}");
        }
        for name in [
            // Of something that has one.
            "_RINvNtCsa_4core3ptr13drop_in_placeNtNtCsb_6client4ConnINtNtCs0_6rustls12common_state11CommonStateEE",
            "_RINvNtCsa_4core3ptr13drop_in_placeNtNtCs0_6rustls6client16ClientConnectionE",
            "_RNvMNtCs0_6rustls12common_state11CommonState20send_appdata_encrypt",
            "",
        ] {
            assert!(!is_drop_v0(name.as_bytes()), "{name}");
        }
    }
}
