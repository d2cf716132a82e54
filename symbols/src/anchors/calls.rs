//! The constants that a function passes to what it calls.

use iced_x86::{Code, FlowControl, Instruction, OpKind, Register};

use crate::elf::Image;
use crate::site::decode;

/// Most bytes of a function that are looked at.
const MAX_FUNCTION: u64 = 16 * 1024;

/// The argument registers, in order.
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];

/// A call and the constants in the argument registers, as far as they were set since the last
/// place where control could come from elsewhere or go.
pub(super) struct ConstantCall {
    pub(super) values: [Option<u64>; 6],
}

/// The calls of the function at `entry`, in the order of addresses.
pub(super) fn constants(image: &Image<'_>, entry: u64) -> impl Iterator<Item = ConstantCall> {
    let end = image.next_function(entry).unwrap_or(u64::MAX);
    let end = end.min(entry.saturating_add(MAX_FUNCTION));
    let mut address = entry;
    let mut values = [None; 6];
    std::iter::from_fn(move || {
        while address < end {
            let instruction = decode(image, address)?;
            address = instruction.next_ip();
            if instruction.flow_control() == FlowControl::Next {
                set(&mut values, &instruction);
                continue;
            }
            let values = std::mem::take(&mut values);
            if matches!(instruction.flow_control(), FlowControl::Call | FlowControl::IndirectCall) {
                return Some(ConstantCall { values });
            }
        }
        None
    })
}

/// Notes a constant that is moved into an argument register; anything else that names the register
/// as its destination forgets it.
fn set(values: &mut [Option<u64>; 6], instruction: &Instruction) {
    if instruction.op0_kind() != OpKind::Register {
        return;
    }
    let register = instruction.op0_register().full_register();
    let Some(index) = ARGUMENTS.iter().position(|argument| *argument == register) else { return };
    values[index] = match instruction.code() {
        Code::Mov_r32_imm32 => Some(instruction.immediate32().into()),
        Code::Mov_rm64_imm32 => Some(instruction.immediate32to64().cast_unsigned()),
        Code::Lea_r64_m if instruction.is_ip_rel_memory_operand() => {
            Some(instruction.ip_rel_memory_address())
        }
        Code::Xor_r32_rm32 | Code::Xor_rm32_r32
            if instruction.op1_kind() == OpKind::Register
                && instruction.op1_register() == instruction.op0_register() =>
        {
            Some(0)
        }
        _ => None,
    };
}
