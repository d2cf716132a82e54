//! Recognises TLS libraries that cannot be tapped, so that a refusal can name them.
//!
//! Looked for only where the other searches found nothing ([`crate::planner`]).

use memchr::memmem;

use crate::elf::{Image, SymbolTable};
use crate::plan::{Library, Linkage, Stack, SymbolSource, Verdict};
use crate::version;

/// Runtimes that compile their TLS library while they run, by a function that only they define.
const RUNTIMES: [(&[u8], Stack); 2] =
    [(b"JNI_CreateJavaVM", Stack::Jsse), (b"enif_make_badarg", Stack::Erlang)];

/// Source files that the messages of a library name, whose functions were not found.
const SOURCE_FILES: [(&str, Stack); 2] =
    [("ssl/ssl_lib.c", Stack::OpenSsl), ("ssl/ssl_lib.cc", Stack::BoringSsl)];

/// The library in an image in which the other searches found none.
pub(crate) fn search(image: &Image<'_>) -> Option<Library> {
    managed(image).or_else(|| stripped(image))
}

fn managed(image: &Image<'_>) -> Option<Library> {
    let mut found = None;
    image.functions(SymbolTable::Dynsym, |name, _| {
        let runtime = RUNTIMES.iter().find(|(marker, _)| *marker == name);
        found = found.or(runtime.map(|&(_, stack)| stack));
    });
    Some(refused(found?, None, SymbolSource::Dynsym, Verdict::Managed))
}

fn stripped(image: &Image<'_>) -> Option<Library> {
    let names = |file: &str| image.holds_string_ending(file);
    let &(_, stack) = SOURCE_FILES.iter().find(|(file, _)| names(file))?;
    (!searches_itself(image)).then_some(())?;
    let version = version::banner(image, stack);
    Some(refused(stack, version, SymbolSource::Messages, Verdict::Stripped))
}

/// Whether the texts are in the image because this crate is: it looks for them.
fn searches_itself(image: &Image<'_>) -> bool {
    /// Wherever this function is, its text is, too.
    const MARK: &[u8] = b"wstap looks for the messages of TLS libraries, and is none itself";
    image.constants().any(|(_, bytes)| memmem::find(bytes, MARK).is_some())
}

fn refused(
    stack: Stack,
    version: Option<String>,
    symbols: SymbolSource,
    verdict: Verdict,
) -> Library {
    Library { stack, version, linkage: Linkage::Static, symbols, verdict, probes: Vec::new() }
}
