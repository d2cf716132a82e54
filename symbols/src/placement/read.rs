//! OpenSSL's reads, probed where one instruction shows a whole read.

use super::Mover;
use crate::elf::Image;
use crate::error_messages::{functions_with, is_called};
use crate::plan::{Action, Probe, Read, Technique};
use crate::search::Definition;
use crate::site::{self, ReadSite};
use crate::stacks;

/// `mov $23, %esi`: the type of record that applications read and write, as second argument.
pub(super) const APPLICATION_DATA: &[u8] = &[0xbe, 23, 0, 0, 0];
/// Most functions with that constant that are looked at.
pub(super) const MAX_FUNCTIONS: usize = 64;

/// The probes for all reads, if exactly one function of the image is the one that reads, and
/// something refers to it: it is called, or it stands in a table of methods.
pub(super) fn probes(
    image: &Image<'_>,
    definitions: &[Definition],
    movers: &[Mover],
) -> Option<Vec<Probe>> {
    let reads = ["SSL_read", "SSL_read_ex", stacks::OPENSSL_READ_INTERNAL];
    definitions.iter().find(|it| reads.contains(&it.row.name))?;
    let mut found = functions_with(image, APPLICATION_DATA, MAX_FUNCTIONS)
        .into_iter()
        .filter_map(|entry| Some((entry, site::read_sites(image, entry)?)));
    let (entry, sites) = found.next().filter(|_| found.next().is_none())?;
    (image.holds_address(entry) || is_called(image, entry)).then_some(())?;
    let covers: Vec<&'static str> = movers.iter().flat_map(|it| &it.covers).copied().collect();
    sites.iter().map(|site| probe(image, &covers, site)).collect()
}

fn probe(image: &Image<'_>, covers: &[&'static str], site: &ReadSite) -> Option<Probe> {
    let ReadSite { address, emulated, handle, buffer, count, peek } = *site;
    let (technique, how) = match emulated {
        Some(name) => (Technique::ReturnJump, format!("this {name}, which is emulated")),
        None => (Technique::Return, "this instruction, which is single-stepped".to_owned()),
    };
    let reason = format!("a read passes {how}, with its arguments and its result in registers");
    Some(Probe {
        covers: covers.to_vec(),
        offset: image.code_offset(address)?,
        action: Action::Read(Read { handle, buffer, count, peek }),
        technique,
        reason,
    })
}
