//! Every call of a function that only its own image can call.

use iced_x86::{FlowControl, Instruction};

use super::branches;
use super::references::References;
use crate::elf::{Image, SymbolTable};
use crate::site::decode;

/// Most calls that are looked at. Internal functions are called from a few places.
const MAX_CALLS: usize = 32;
/// Most bytes from the start of a function to a call in it.
const MAX_LEN: u64 = 64 * 1024;

/// The addresses behind all calls of the function at `entry`, by rising address. `None` if there may
/// be calls that are not seen: it is exported, its address is stored or loaded somewhere, or it is
/// jumped to.
pub(crate) fn callers(image: &Image<'_>, entry: u64) -> Option<Vec<u64>> {
    if is_exported(image, entry)
        || image.holds_address(entry)
        || !References::to(image, entry).is_empty()
    {
        return None;
    }
    let mut places: Vec<u64> = Vec::new();
    for (base, code) in image.code_segments() {
        places.extend(branches(base, code, entry).take(MAX_CALLS + 1));
    }
    if places.len() > MAX_CALLS {
        return None;
    }
    let mut calls = Vec::new();
    for place in places {
        match instruction_at(image, place)? {
            // The bytes are part of another instruction.
            None => {}
            Some(call) if call.flow_control() == FlowControl::Call => calls.push(call.next_ip()),
            Some(_) => return None,
        }
    }
    calls.sort_unstable();
    (!calls.is_empty()).then_some(calls)
}

fn is_exported(image: &Image<'_>, entry: u64) -> bool {
    let mut exported = false;
    for table in [SymbolTable::Dynsym, SymbolTable::Dynamic] {
        image.functions(table, |_, function| exported |= function.address == entry);
    }
    exported
}

/// The instruction that begins at `place`, if one does. `None` where that cannot be told: the
/// function's start is not known, or not all bytes from there on are instructions.
#[allow(clippy::option_option, reason = "whether it is known, and what it is")]
fn instruction_at(image: &Image<'_>, place: u64) -> Option<Option<Instruction>> {
    let start = image.function_start(place).filter(|start| place - start <= MAX_LEN)?;
    let mut instruction = decode(image, start)?;
    while instruction.ip() < place {
        instruction = decode(image, instruction.next_ip())?;
    }
    Some((instruction.ip() == place).then_some(instruction))
}
