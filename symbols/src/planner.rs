//! From an image to a plan: the order of the steps, and nothing else.

use crate::anchors;
use crate::elf::{Error, Image, Machine};
use crate::foreign;
use crate::golang;
use crate::placement;
use crate::plan::{Direction, Library, Linkage, Options, Plan, Verdict};
use crate::rtld;
use crate::rustls;
use crate::search::{self, Definition, Found};
use crate::stacks::{Role, StackRow};
use crate::version;

/// Plans the probes for one ELF image.
///
/// Works on any bytes in time proportional to the symbol tables: an image without a TLS library is
/// turned away after them.
///
/// # Errors
///
/// [`Error`] when the bytes are not an ELF image that a 64-bit process could have mapped.
pub fn plan(image: &[u8], options: &Options) -> Result<Plan, Error> {
    let image = Image::parse(image)?;
    let mut found = search::by_symbols(&image);
    found.retain(Found::moves_plaintext);
    if found.is_empty() && image.machine() == Machine::X86_64 {
        found = anchors::by_messages(&image);
    }
    let libraries = found.iter().map(|found| library(&image, found, options));
    let mut libraries: Vec<Library> =
        libraries.chain(golang::search(&image)).chain(rustls::search(&image)).collect();
    if libraries.is_empty() {
        libraries.extend(foreign::search(&image));
    }
    Ok(Plan {
        libraries,
        build_id: image.build_id(),
        companion: version::companion(&image),
        loader_notifier: rtld::notifier(&image),
    })
}

fn library(image: &Image<'_>, found: &Found, options: &Options) -> Library {
    let linkage = linkage(image, found.stack);
    let verdict = verdict(image, &found.definitions);
    Library {
        stack: found.stack.stack,
        version: version::detect(image, found.stack, linkage),
        linkage,
        symbols: found.source,
        verdict,
        probes: match verdict {
            Verdict::Tappable => placement::probes(image, &found.definitions, options.site),
            _ => Vec::new(),
        },
    }
}

fn linkage(image: &Image<'_>, stack: &StackRow) -> Linkage {
    match image.soname() {
        Some(name) if name.starts_with(stack.soname.as_bytes()) => Linkage::Shared,
        _ => Linkage::Static,
    }
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
