//! Where a function that moves plaintext has the protocol's method put the count.

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::Text;
use super::state::State;
use super::value::Value;
use super::walk::Walk;
use crate::plan::ArgIndex;

/// First argument that can be it: connection, buffer and length come before.
const FIRST: u8 = 3;

/// Whether the function at `entry` lets the method put the count into a local variable, as one that
/// returns the count itself must.
pub(crate) fn counts_in_frame(text: &dyn Text, entry: u64) -> bool {
    let mut shown = false;
    let walked = Walk::new(text, entry, None).instructions(|instruction, state| {
        shown |= matches!(handed_on(instruction, state), Some(Value::Stack(_)));
    });
    shown && walked.is_ok()
}

/// The argument of the function at `entry` that points to the count; `None` unless the code shows
/// exactly one.
///
/// The function hands its work to a method of the protocol, called through a table as `(connection,
/// buffer, length, pointer to the count)`. Where it can also run as an asynchronous job, it copies
/// the job's count through the pointer itself.
pub(crate) fn count_argument(text: &dyn Text, entry: u64) -> Option<ArgIndex> {
    let mut shown = [false; 6];
    let walked = Walk::new(text, entry, None).instructions(|instruction, state| {
        let argument = match handed_on(instruction, state) {
            Some(Value::Arg(index)) => Some(index),
            _ => stored_through(instruction, state),
        };
        let argument = argument.filter(|&index| index >= FIRST);
        if let Some(shown) = argument.and_then(|index| shown.get_mut(usize::from(index))) {
            *shown = true;
        }
    });
    let mut indexes = (0_u8..).zip(shown).filter(|(_, shown)| *shown).map(|(index, _)| index);
    match (walked, indexes.next(), indexes.next()) {
        (Ok(()), Some(index), None) => ArgIndex::new(index),
        _ => None,
    }
}

/// What a call through a table gets as its fourth argument, after our first three.
fn handed_on(instruction: &Instruction, state: &State) -> Option<Value> {
    let control = instruction.flow_control();
    if !matches!(control, FlowControl::IndirectCall | FlowControl::IndirectBranch) {
        return None;
    }
    match state.arguments() {
        [Value::Arg(0), Value::Arg(1), Value::Arg(2) | Value::ArgLow(2), fourth, ..] => {
            Some(fourth)
        }
        _ => None,
    }
}

/// The argument through which 64 bits are stored.
fn stored_through(instruction: &Instruction, state: &State) -> Option<u8> {
    let is_store = instruction.mnemonic() == Mnemonic::Mov
        && instruction.op0_kind() == OpKind::Memory
        && instruction.memory_size().size() == 8;
    let is_plain = instruction.memory_index() == Register::None
        && instruction.segment_prefix() == Register::None
        && instruction.memory_displacement64() == 0;
    match state.register(instruction.memory_base()) {
        Some(Value::Arg(index)) if is_store && is_plain => Some(index),
        _ => None,
    }
}
