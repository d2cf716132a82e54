//! A whole function, instruction by instruction.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};

use super::Text;

/// Longest function that is taken for one, in bytes.
const MAX_LEN: usize = 64 * 1024;

/// Every instruction in `[start, end)`; `None` unless all of these bytes are instructions.
pub(crate) fn body(text: &impl Text, start: u64, end: u64) -> Option<Vec<Instruction>> {
    let len = usize::try_from(end.checked_sub(start)?).ok().filter(|&len| len <= MAX_LEN)?;
    let code = text.bytes(start)?.get(..len)?;
    let instructions: Vec<Instruction> =
        Decoder::with_ip(64, code, start, DecoderOptions::NONE).into_iter().collect();
    instructions.iter().all(|instruction| !instruction.is_invalid()).then_some(instructions)
}

/// Whether this is a jump that names its target, and that is not in `[start, end)`: a tail call, if
/// the function is there.
pub(crate) fn jumps_out(instruction: &Instruction, start: u64, end: u64) -> bool {
    let is_jump = matches!(
        instruction.flow_control(),
        FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
    );
    is_jump && !(start..end).contains(&instruction.near_branch_target())
}

/// Addresses of the instructions that return.
pub(crate) fn returns(body: &[Instruction]) -> Vec<u64> {
    let returns = body.iter().filter(|i| i.flow_control() == FlowControl::Return);
    returns.map(Instruction::ip).collect()
}
