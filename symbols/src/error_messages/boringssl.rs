//! BoringSSL without symbols: Chromium and what is built on it, and Bun.
//!
//! An error is raised as `ERR_put_error(library, unused, reason, file, line)`. All functions wanted
//! are in one source file, so the reasons that a function raises, and the order of the lines, tell
//! them apart. (Reasons are numbers of openssl/ssl.h that do not change.) The unused argument is
//! dropped by some compilers; so the reason is the argument before the file, and the line the one
//! after it.
//!
//! SSL_free(3) raises no error and is not found. SSL_do_handshake(3), which every connection begins
//! with, raises one that no other function does, and is called by the functions that move plaintext.

use std::collections::BTreeSet;

use iced_x86::{InstructionInfoFactory, OpAccess, Register};

use super::calls::{self, Constants};
use super::references::{References, strings_ending};
use super::{extent, is_entered};
use crate::elf::{Function, Image};
use crate::plan::SymbolSource;
use crate::search::{Definition, Found};
use crate::stacks;

/// The source file of all the functions.
pub(crate) const SOURCE_FILE: &str = "ssl/ssl_lib.cc";

/// `SSL_R_SHOULD_NOT_HAVE_BEEN_CALLED`: the connection speaks QUIC.
const QUIC: u64 = 66;
/// `SSL_R_BAD_LENGTH`.
const BAD_LENGTH: u64 = 111;
/// `SSL_R_CONNECTION_TYPE_NOT_SET`.
const NEITHER_END: u64 = 134;
/// `SSL_R_SSL_HANDSHAKE_FAILURE`.
const HANDSHAKE_FAILURE: u64 = 215;
/// `SSL_R_UNINITIALIZED`.
const UNINITIALIZED: u64 = 226;

/// What the function that reads records raises, besides what is inlined into it.
const READING: [u64; 2] = [HANDSHAKE_FAILURE, UNINITIALIZED];
/// What SSL_write raises.
const WRITING: [u64; 4] = [QUIC, BAD_LENGTH, HANDSHAKE_FAILURE, UNINITIALIZED];

/// A function and the errors that it raises.
struct Raiser {
    entry: u64,
    /// Reasons, sorted, each once.
    reasons: Vec<u64>,
    /// Lines, sorted.
    lines: Vec<u64>,
}

/// Searches for both directions.
pub(super) fn search(image: &Image<'_>) -> Option<Found> {
    let raisers: Vec<Raiser> = strings_ending(image, SOURCE_FILE)
        .into_iter()
        .flat_map(|file| raisers(image, file))
        .collect();
    let write = only(raisers.iter().filter(|raiser| raiser.reasons == WRITING))?;
    let read = read(image, &raisers, write)?;
    if !is_entered(image, read) || !is_entered(image, write.entry) {
        return None;
    }
    let stack = stacks::boringssl();
    let define = |name: &str, address| {
        Some(Definition { row: stack.row(name)?, function: Function { address, size: 0 } })
    };
    let mut definitions = vec![define("SSL_read", read)?, define("SSL_write", write.entry)?];
    definitions.extend(handshake(image, &raisers, write));
    Some(Found { stack, source: SymbolSource::Messages, definitions })
}

/// SSL_do_handshake, which SSL_write calls. SSL_connect and SSL_accept, which it may be inlined into,
/// raise the same error; SSL_write calls neither.
fn handshake(image: &Image<'_>, raisers: &[Raiser], write: &Raiser) -> Option<Definition> {
    let called: BTreeSet<u64> = extent::instructions(image, write.entry)
        .filter(|it| it.is_call_near())
        .map(|it| it.near_branch_target())
        .collect();
    let raising = raisers.iter().filter(|raiser| raiser.reasons == [NEITHER_END]);
    let found = only(raising.filter(|raiser| called.contains(&raiser.entry)))?;
    let function = Function { address: found.entry, size: 0 };
    Some(Definition { row: stacks::BORINGSSL_HANDSHAKE, function })
}

/// SSL_read, into which the compiler put SSL_peek.
///
/// Both refuse QUIC connections in the same line, which comes after the lines of the function that
/// reads records and before those of SSL_write. SSL_read then takes what it read from the buffer,
/// and so writes to it; SSL_peek changes nothing.
fn read(image: &Image<'_>, raisers: &[Raiser], write: &Raiser) -> Option<u64> {
    let first_of_write = write.lines.first()?;
    let reading = raisers
        .iter()
        .filter(|raiser| READING.iter().all(|reason| raiser.reasons.contains(reason)))
        .flat_map(|raiser| &raiser.lines)
        .filter(|line| *line < first_of_write)
        .max()?;
    let between = raisers.iter().filter(|raiser| {
        raiser.reasons == [QUIC]
            && raiser.lines.iter().all(|line| reading < line && line < first_of_write)
    });
    only(between.filter(|raiser| changes_memory(image, raiser.entry))).map(|raiser| raiser.entry)
}

/// The functions that raise errors with the source file at `file`.
fn raisers(image: &Image<'_>, file: u64) -> Vec<Raiser> {
    let functions = References::to(image, file).functions(image);
    functions.into_iter().filter_map(|entry| raiser(image, entry, file)).collect()
}

fn raiser(image: &Image<'_>, entry: u64, file: u64) -> Option<Raiser> {
    let raised = calls::constants(image, entry).filter_map(|passed| reason_and_line(&passed, file));
    let (mut reasons, mut lines): (Vec<u64>, Vec<u64>) = raised.unzip();
    reasons.sort_unstable();
    reasons.dedup();
    lines.sort_unstable();
    (!reasons.is_empty()).then_some(Raiser { entry, reasons, lines })
}

fn reason_and_line(passed: &Constants, file: u64) -> Option<(u64, u64)> {
    let at = passed.iter().position(|value| *value == Some(file))?;
    let reason = *passed.get(at.checked_sub(1)?)?;
    let line = *passed.get(at.checked_add(1)?)?;
    Some((reason?, line?))
}

/// Whether the function at `entry` writes to memory that is not its own frame.
fn changes_memory(image: &Image<'_>, entry: u64) -> bool {
    let mut info = InstructionInfoFactory::new();
    extent::instructions(image, entry).any(|instruction| {
        let accesses = info.info(&instruction).used_memory();
        accesses.iter().any(|used| {
            let is_own = matches!(used.base(), Register::RSP | Register::RBP | Register::None);
            let is_read = matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
            !is_own && !is_read && used.access() != OpAccess::NoMemAccess
        })
    })
}

/// The element of an iterator that has one.
fn only<T>(mut elements: impl Iterator<Item = T>) -> Option<T> {
    elements.next().filter(|_| elements.next().is_none())
}
