//! From an image to a plan: the order of the steps, and nothing else.

use memchr::memmem;

use crate::elf::{Error, Image, Machine};
use crate::error_messages;
use crate::golang;
use crate::placement;
use crate::plan::{Direction, Library, Linkage, Options, Plan, Stack, SymbolSource, Verdict, Zlib};
use crate::rtld;
use crate::rustls;
use crate::search::{self, Definition, Found};
use crate::stacks::{Role, StackRow};
use crate::unsupported;
use crate::user_offsets::{self, UserOffset};
use crate::version;
use crate::work::Work;
use crate::zlib;

/// What there is beside an image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// A separate debug file: an ELF image with the symbols that were taken out.
    pub debug: Option<&'a [u8]>,
    /// Functions that a user has found.
    pub user_offsets: &'a [UserOffset],
}

/// Plans the probes for one ELF image.
///
/// An image without a TLS library is turned away after a look at its symbols and its constants.
/// Whatever the bytes are, the work is bounded by [`Work::bound`].
///
/// # Errors
///
/// [`Error`] when the bytes are not an ELF image that a 64-bit process could have mapped, or when the
/// image takes more work than an honest one ([`Error::is_refusal`]).
pub fn plan(image: &[u8], options: &Options) -> Result<Plan, Error> {
    plan_with(image, Evidence::default(), options)
}

/// The same, with what there is beside the image.
///
/// A given function is believed only if the code is that of one. A debug file is ignored if it is
/// of another build.
///
/// # Errors
///
/// As [`plan`].
pub fn plan_with(image: &[u8], evidence: Evidence<'_>, options: &Options) -> Result<Plan, Error> {
    plan_counted(image, evidence, options).0
}

/// The same, with the work that it took on the image itself (not on a debug file, which has the
/// same bounds of its own).
pub fn plan_counted(
    image: &[u8],
    evidence: Evidence<'_>,
    options: &Options,
) -> (Result<Plan, Error>, Work) {
    let image = match Image::parse(image) {
        Ok(image) => image,
        Err(error) => return (Err(error), Work::default()),
    };
    let plan = planned(&image, evidence, options);
    let (work, reached) = image.work();
    (reached.map_or(Ok(plan), |limit| Err(Error::TooMuchWork(limit))), work)
}

fn planned(image: &Image<'_>, evidence: Evidence<'_>, options: &Options) -> Plan {
    let debug = evidence.debug.and_then(|debug| Image::parse(debug).ok());
    let debug = debug.filter(|debug| debug.build_id() == image.build_id());
    let (found, mut libraries) = user_offsets::search(image, evidence.user_offsets);
    if found.is_empty() && libraries.is_empty() {
        let found = searched(image, debug.as_ref());
        libraries.extend(found.iter().map(|found| library(image, found, options)));
        libraries.extend(golang::search(image));
        libraries.extend(golang::copies(image));
        libraries.extend(rustls::search(image, debug.as_ref()));
    } else {
        libraries.extend(found.iter().map(|found| library(image, found, options)));
    }
    if libraries.is_empty() {
        libraries.extend(unsupported::search(image));
    }
    libraries.iter_mut().for_each(|library| leave_what_is_refused(image, library));
    let takes_all = |zlib: &Zlib| zlib.probes.iter().all(|probe| takes_probe(image, probe.offset));
    Plan {
        may_copy_itself: !libraries.is_empty() && may_copy_itself(image),
        libraries,
        build_id: image.build_id(),
        companion: version::companion(image),
        loader_notifier: rtld::notifier(image).filter(|&offset| takes_probe(image, offset)),
        zlib: zlib::search(image).filter(takes_all),
    }
}

/// A file of which the kernel refuses one probe gets none, so a library with such a probe is better left alone,
/// and the others in its file are tapped.
fn leave_what_is_refused(image: &Image<'_>, library: &mut Library) {
    if library.probes.iter().all(|probe| takes_probe(image, probe.offset)) {
        return;
    }
    library.verdict = Verdict::NoPlace;
    library.probes.clear();
}

/// Whether the kernel takes a probe at this offset in the file, as far as is known.
fn takes_probe(image: &Image<'_>, offset: u64) -> bool {
    image.code_address(offset).is_none_or(|address| placement::takes_probe(image, address))
}

/// Node.js names the option in its help.
fn may_copy_itself(image: &Image<'_>) -> bool {
    image.constants().any(|(_, bytes)| memmem::find(bytes, b"--use-largepages").is_some())
}

/// Libraries of C: by their names, or else by their messages.
fn searched(image: &Image<'_>, debug: Option<&Image<'_>>) -> Vec<Found> {
    let mut found = search::by_symbols(image);
    found.retain(Found::moves_plaintext);
    if let Some(debug) = debug.filter(|_| found.is_empty()) {
        found = search::by_debug_file(image, debug);
        found.retain(Found::moves_plaintext);
    }
    if found.is_empty() && image.machine() == Machine::X86_64 {
        found = error_messages::by_messages(image);
    }
    found
}

fn library(image: &Image<'_>, found: &Found, options: &Options) -> Library {
    let linkage = linkage(image, found.stack);
    let is_boringssl = found.stack.stack == Stack::OpenSsl
        && found.source != SymbolSource::Messages
        && is_boringssl(image);
    let verdict = verdict(image, &found.definitions);
    let probes = match verdict {
        Verdict::Tappable => placement::probes(image, &found.definitions, options.site),
        _ => Some(Vec::new()),
    };
    Library {
        stack: if is_boringssl { Stack::BoringSsl } else { found.stack.stack },
        version: version::detect(image, found.stack, linkage).filter(|_| !is_boringssl),
        linkage,
        symbols: found.source,
        verdict: if probes.is_some() { verdict } else { Verdict::NoPlace },
        probes: probes.unwrap_or_default(),
    }
}

fn linkage(image: &Image<'_>, stack: &StackRow) -> Linkage {
    match image.soname() {
        Some(name) if version::after_name(name, stack.soname).is_some() => Linkage::Shared,
        _ => Linkage::Static,
    }
}

/// Whether it is BoringSSL, or a library made from it, that has OpenSSL's functions here: its source
/// files are C++.
fn is_boringssl(image: &Image<'_>) -> bool {
    image.holds_string_ending(error_messages::BORINGSSL_SOURCE)
}

fn verdict(image: &Image<'_>, definitions: &[Definition]) -> Verdict {
    let moves = |direction| {
        definitions.iter().any(|definition| match definition.row.role {
            Role::Transfer(transfer) => {
                transfer.direction == direction
                    && image.code_offset(definition.function.address).is_some()
            }
            _ => false,
        })
    };
    if image.machine() == Machine::Other {
        Verdict::UnsupportedMachine
    } else if !moves(Direction::Received) {
        Verdict::NoRead
    } else if !moves(Direction::Sent) {
        Verdict::NoWrite
    } else {
        Verdict::Tappable
    }
}
