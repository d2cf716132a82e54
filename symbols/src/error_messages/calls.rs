//! The constants that a function passes to what it calls.

use iced_x86::{Code, FlowControl, Instruction, OpKind, Register};

use super::extent::instructions;
use crate::elf::Image;

/// The argument registers, in order.
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];

/// The constants in the argument registers, as far as they were set since control last came from
/// elsewhere or went there.
pub(super) type Constants = [Option<u64>; 6];

/// What the function at `entry` passes to its calls, in the order of addresses. A jump counts as a
/// call: compilers let several calls of one function end in a common one.
pub(super) fn constants(image: &Image<'_>, entry: u64) -> impl Iterator<Item = Constants> {
    let mut values = [None; 6];
    instructions(image, entry).filter_map(move |instruction| match instruction.flow_control() {
        FlowControl::Next => {
            set(&mut values, &instruction);
            None
        }
        FlowControl::Call | FlowControl::IndirectCall | FlowControl::UnconditionalBranch => {
            Some(std::mem::take(&mut values))
        }
        _ => {
            values = [None; 6];
            None
        }
    })
}

/// Notes a constant that is moved into an argument register; anything else that names the register
/// as its destination forgets it.
fn set(values: &mut Constants, instruction: &Instruction) {
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
