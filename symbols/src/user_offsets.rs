//! Checks the function offsets that a user wrote into a configuration file.
//!
//! A probe in the middle of an instruction would crash the program, and the kernel refuses only
//! bytes that it cannot decode. So an offset is used only if a function starts there: the unwind
//! table says so or some code calls it, and the bytes decode as instructions.

use crate::elf::{Function, Image, Machine};
use crate::error_messages;
use crate::plan::{Library, Linkage, SymbolSource, Verdict};
use crate::search::{Definition, Found};
use crate::site;
use crate::stacks::{FunctionRow, STACKS, StackRow};

/// Where a user says that a function of a TLS library begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserOffset {
    /// Its name, one of [`known_functions`].
    pub name: String,
    /// Where it begins, as an offset in the file, in bytes.
    pub offset: u64,
}

/// The names that a [`UserOffset`] can have.
pub fn known_functions() -> impl Iterator<Item = &'static str> {
    STACKS.iter().flat_map(|stack| stack.functions).map(|function| function.name)
}

/// Sorts a user's offsets by library: the libraries that can be planned, and those whose offsets are
/// not those of functions.
pub(crate) fn search(image: &Image<'_>, offsets: &[UserOffset]) -> (Vec<Found>, Vec<Library>) {
    let (mut found, mut refused) = (Vec::new(), Vec::new());
    for stack in STACKS {
        let rows: Vec<(&FunctionRow, u64)> =
            offsets.iter().filter_map(|it| Some((stack.row(&it.name)?, it.offset))).collect();
        if rows.is_empty() {
            continue;
        }
        let definitions = rows.into_iter().map(|(row, offset)| define(image, row, offset));
        match definitions.collect::<Option<Vec<Definition>>>() {
            Some(definitions) => {
                found.push(Found { stack, source: SymbolSource::UserOffsets, definitions });
            }
            None => refused.push(refusal(stack)),
        }
    }
    (found, refused)
}

fn define(image: &Image<'_>, row: &'static FunctionRow, offset: u64) -> Option<Definition> {
    let address = image.code_address(offset)?;
    begins_function(image, address)
        .then_some(Definition { row, function: Function { address, size: 0 } })
}

fn refusal(stack: &StackRow) -> Library {
    Library {
        stack: stack.stack,
        version: None,
        linkage: Linkage::Static,
        symbols: SymbolSource::UserOffsets,
        verdict: Verdict::NotFunctions,
        probes: Vec::new(),
    }
}

/// Whether a function begins at `address`, as far as the image itself proves it.
pub(crate) fn begins_function(image: &Image<'_>, address: u64) -> bool {
    /// Instructions that must decode.
    const MANY: usize = 8;
    if image.machine() != Machine::X86_64 {
        return image.function_start(address) == Some(address);
    }
    let mut at = address;
    for _ in 0..MANY {
        let Some(instruction) = site::decode(image, at) else { return false };
        at = instruction.next_ip();
    }
    image.function_start(address) == Some(address) || error_messages::is_called(image, address)
}
