//! OpenSSL's writes, probed in the function that they all go through.
//!
//! `SSL_write_ex` returns without an instruction that the kernel emulates. `ssl3_write` below it ends
//! in a method of the protocol, which has such instructions on its ways to the end. Three functions
//! have to be known for that, and each is proven on the image:
//!
//! 1. `ssl3_write`: the only function that hands a write to a method as it does ([`site::writer`]),
//!    and nothing calls it but through a table;
//! 2. the tables: every place that holds its address. Where in a table it stands is what the functions
//!    above it show, which hand their arguments to it ([`site::handed_on`]);
//! 3. the method that it ends in: what the tables hold in that place, one function for TLS and
//!    another one for DTLS.
//!
//! OpenSSL alone makes such tables, and they are constant. The functions below write the messages of
//! handshakes as well; the kernel side tells them by the stack pointer.

use std::collections::BTreeSet;

use super::read::{APPLICATION_DATA, MAX_FUNCTIONS};
use super::returns::attached;
use super::{Mover, roles, transfer_probe};
use crate::elf::Image;
use crate::error_messages::{functions_with, is_called};
use crate::plan::{Probe, Technique};
use crate::search::Definition;
use crate::site::{self, Method, ReturnSite};
use crate::stacks::{self, OPENSSL_WRITER};

/// Most tables of methods in an image: OpenSSL has some thirty.
const MAX_TABLES: usize = 128;
/// Bytes of an address, which is aligned to that.
const WORD: u64 = 8;

/// The probes for all writes.
pub(super) fn probes(
    image: &Image<'_>,
    definitions: &[Definition],
    movers: &[Mover],
) -> Option<Vec<Probe>> {
    let writes = ["SSL_write", "SSL_write_ex", stacks::OPENSSL_WRITE_INTERNAL];
    definitions.iter().find(|it| writes.contains(&it.row.name))?;
    let mut found = functions_with(image, APPLICATION_DATA, MAX_FUNCTIONS)
        .into_iter()
        .filter_map(|entry| Some((entry, site::writer(image, entry)?)));
    let (entry, method) = found.next().filter(|_| found.next().is_none())?;
    (!is_called(image, entry)).then_some(())?;
    let slot = slot(image, movers, method)?;
    let returns = returns(image, entry, method, &tables(image, entry, slot)?)?;
    let site = site::transfer_site(image, entry, None, roles(OPENSSL_WRITER))?;
    let covers: Vec<_> = movers.iter().flat_map(|mover| &mover.covers).copied().collect();
    let reason = format!(
        "all writes go through the function at {:#x} in the file, which reaches a {} that the kernel \
         emulates",
        image.code_offset(entry)?,
        site.emulation.name()
    );
    let technique = Technique::Internal;
    let mut probe = transfer_probe(image, covers, OPENSSL_WRITER, &site, technique, reason)?;
    Some(attached(image, &mut probe, Ok(returns)))
}

/// Where in a table of methods the function stands that gets a write from those above it.
fn slot(image: &Image<'_>, movers: &[Mover], method: Method) -> Option<u16> {
    let above = movers.iter().flat_map(|mover| {
        let callees = mover.callees(image).into_iter().map(|callee| (callee.address, None));
        callees.chain([(mover.entry(), mover.end())])
    });
    let methods = above.flat_map(|(entry, end)| site::handed_on(image, entry, end));
    let of_table = methods.filter(|it| it.table == method.table && it.slot != method.slot);
    let slots: BTreeSet<u16> = of_table.map(|it| it.slot).collect();
    slots.first().copied().filter(|_| slots.len() == 1)
}

/// The addresses of the tables that hold the function's address in this place.
fn tables(image: &Image<'_>, entry: u64, slot: u16) -> Option<Vec<u64>> {
    let aligned = |place: &u64| place.is_multiple_of(WORD);
    let places: BTreeSet<u64> =
        image.places_of(entry).filter(aligned).take(MAX_TABLES + 1).collect();
    (1..=MAX_TABLES).contains(&places.len()).then_some(())?;
    places.into_iter().map(|place| place.checked_sub(slot.into())).collect()
}

/// Where writes return, if the kernel emulates one of these instructions at least.
fn returns(
    image: &Image<'_>,
    entry: u64,
    method: Method,
    tables: &[u64],
) -> Option<Vec<ReturnSite>> {
    let places: Vec<u64> = tables.iter().map(|table| table + u64::from(method.slot)).collect();
    let words: BTreeSet<u64> = image.relocated_words(&places)?.into_iter().collect();
    // The address stands in symbol and relocation tables, too. What is no code cannot be called.
    let functions: Vec<u64> = words.into_iter().filter(|&it| image.code(it).is_some()).collect();
    let known = |it| (it == method).then(|| functions.clone());
    let sites = site::returns_through(image, entry, None, known).ok()?;
    sites.iter().any(|site| site.emulated.is_some()).then_some(sites)
}
