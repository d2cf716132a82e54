//! Where a Go method can be probed.

use iced_x86::{Instruction, Mnemonic, Register};

/// Where the arguments of a call are.
pub(super) struct Enter {
    pub(super) address: u64,
    pub(super) reason: &'static str,
}

/// The place to probe for the arguments of a method whose stack is checked by instruction number
/// `check`.
///
/// If there is too little stack left, it is grown, and the method begins again. The `push` of the
/// frame pointer behind the check is passed once by each call; before Go 1.21 the frame pointer is
/// saved otherwise. The kernel emulates either.
pub(super) fn enter(body: &[Instruction], check: usize) -> Option<Enter> {
    let is_push =
        |i: &&Instruction| i.mnemonic() == Mnemonic::Push && i.op0_register() == Register::RBP;
    if let Some(push) = body.get(check + 1).filter(is_push) {
        let reason = "the kernel emulates the push behind the stack check";
        return Some(Enter { address: push.ip(), reason });
    }
    let reason =
        "the kernel emulates the jump of the stack check; calls that grow the stack pass it twice";
    Some(Enter { address: body.get(check)?.ip(), reason })
}
