//! Functions that a user has found, checked against the code.
//!
//! A probe in the middle of an instruction would crash the program, and the kernel refuses only
//! what it cannot decode. So an offset must be that of a function's start, by the unwind table or
//! by a call to it, and the code there must decode.

use crate::elf::{Function, Image, Machine};
use crate::error_messages;
use crate::plan::{Library, Linkage, SymbolSource, Verdict};
use crate::search::{Definition, Found};
use crate::site;
use crate::stacks::{FunctionRow, STACKS, StackRow};

/// A function of a TLS library, by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenFunction {
    /// Its name, one of [`known_functions`].
    pub name: String,
    /// Where it begins, as an offset in the file, in bytes.
    pub offset: u64,
}

/// The names that a [`GivenFunction`] can have.
pub fn known_functions() -> impl Iterator<Item = &'static str> {
    STACKS.iter().flat_map(|stack| stack.functions).map(|function| function.name)
}

/// What the given functions lead to: libraries to be planned, and those that are refused.
pub(crate) fn search(image: &Image<'_>, given: &[GivenFunction]) -> (Vec<Found>, Vec<Library>) {
    let (mut found, mut refused) = (Vec::new(), Vec::new());
    for stack in STACKS {
        let rows: Vec<(&FunctionRow, u64)> = given
            .iter()
            .filter_map(|given| Some((stack.row(&given.name)?, given.offset)))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let definitions = rows.into_iter().map(|(row, offset)| define(image, row, offset));
        match definitions.collect::<Option<Vec<Definition>>>() {
            Some(definitions) => {
                found.push(Found { stack, source: SymbolSource::Given, definitions });
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
        symbols: SymbolSource::Given,
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
