//! Which argument of an internal function points to the count.

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::Text;
use super::state::State;
use super::value::Value;
use super::walk::Walk;
use crate::plan::ArgIndex;

/// First argument that can be it: connection, buffer and length come before.
const FIRST: u8 = 3;

/// The argument of the function at `entry` that points to the count; `None` unless the code shows
/// exactly one.
///
/// The function hands its work to a method of the protocol, called through a table as `(connection,
/// buffer, length, pointer to the count)`. Where it can also run as an asynchronous job, it copies
/// the job's count through the pointer itself.
pub(crate) fn count_argument(text: &dyn Text, entry: u64) -> Option<ArgIndex> {
    let mut shown = [false; 6];
    let walked = Walk::new(text, entry, None).instructions(|instruction, state| {
        let argument = handed_on(instruction, state).or_else(|| stored_through(instruction, state));
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

/// The argument that a call through a table gets as its fourth, after our first three.
fn handed_on(instruction: &Instruction, state: &State) -> Option<u8> {
    let control = instruction.flow_control();
    if !matches!(control, FlowControl::IndirectCall | FlowControl::IndirectBranch) {
        return None;
    }
    match state.arguments() {
        [Value::Arg(0), Value::Arg(1), Value::Arg(2), Value::Arg(index), ..] if index >= FIRST => {
            Some(index)
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
        Some(Value::Arg(index)) if is_store && is_plain && index >= FIRST => Some(index),
        _ => None,
    }
}
