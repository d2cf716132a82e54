//! Where a Go function can be probed.

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register};

use crate::elf::Image;
use crate::site;

/// Most instructions before the frame is set up.
const MAX_PROLOGUE: usize = 8;

/// Receiver, address and length of the buffer, and the goroutine.
const NEEDED: [Register; 4] = [Register::RAX, Register::RBX, Register::RCX, Register::R14];

/// Where the arguments of a call are.
pub(super) struct Enter {
    pub(super) address: u64,
    pub(super) reason: &'static str,
}

/// The place to probe for the arguments.
///
/// A Go function first compares the stack pointer with the end of the stack; if there is too little
/// left, the stack is grown, and the function begins again. The `push` of the frame pointer behind
/// that is passed once by each call, and is emulated.
pub(super) fn enter(image: &Image<'_>, start: u64, end: u64) -> Enter {
    behind_stack_check(image, start, end).unwrap_or(Enter {
        address: start,
        reason: "its first instruction; calls that grow the stack pass it twice",
    })
}

fn behind_stack_check(image: &Image<'_>, start: u64, end: u64) -> Option<Enter> {
    let mut info = InstructionInfoFactory::new();
    let mut checked = false;
    for instruction in site::body(image, start, end)?.iter().take(MAX_PROLOGUE) {
        let is_push = instruction.mnemonic() == Mnemonic::Push;
        if is_push && checked && instruction.op0_register() == Register::RBP {
            return Some(Enter {
                address: instruction.ip(),
                reason: "the kernel emulates the push behind the stack check",
            });
        }
        let is_check = instruction.flow_control() == FlowControl::ConditionalBranch;
        if is_push || (!is_check && instruction.flow_control() != FlowControl::Next) {
            return None;
        }
        checked |= is_check;
        if writes_needed(instruction, &mut info) {
            return None;
        }
    }
    None
}

/// Addresses of the instructions that return; empty if the code cannot be decoded.
pub(super) fn returns(image: &Image<'_>, start: u64, end: u64) -> Vec<u64> {
    site::returns(&site::body(image, start, end).unwrap_or_default())
}

fn writes_needed(instruction: &Instruction, info: &mut InstructionInfoFactory) -> bool {
    info.info(instruction).used_registers().iter().any(|used| {
        let is_read = matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
        !is_read && NEEDED.contains(&used.register().full_register())
    })
}
