//! How a Go method is given its arguments, as its own code says.
//!
//! The version does not decide it: Go 1.17 passes arguments in registers unless it was built with
//! `GOEXPERIMENT=noregabi`. The stack check that a method begins with does. It
//! compares the stack pointer with a bound that it finds through the goroutine. Where arguments are
//! in registers, that is in R14; elsewhere it is in memory behind FS. If there is too little stack
//! left, the method calls for more; but first it saves its arguments, each register to a place of
//! its own (Go's src/cmd/compile/abi-internal.md, and cmd/internal/obj/x86).

use iced_x86::{
    FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

/// How arguments are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Convention {
    /// In RAX, RBX, RCX, in this order; at least as many as were asked for. R14 is the goroutine.
    Registers {
        /// Number of the instruction that goes on to where the stack is grown. Up to there the
        /// arguments are where they were.
        check: usize,
    },
    /// On the stack, as before Go 1.17.
    Stack,
    /// The code does not say.
    Unknown,
}

/// Registers of the first arguments, if those are integers or addresses.
const ARGUMENTS: [Register; 3] = [Register::RAX, Register::RBX, Register::RCX];

/// What a tap reads where a method is entered: the same, and the goroutine.
const NEEDED: [Register; 4] = [Register::RAX, Register::RBX, Register::RCX, Register::R14];

/// Most instructions until the stack is checked, and until more of it is called for.
const MAX_CHECK: usize = 6;
const MAX_SAVES: usize = 12;

/// Where a goroutine has the bound of its stack, in bytes (`stackguard0` in runtime/runtime2.go).
const STACK_BOUND: u64 = 16;

/// How the method with this code is given its first `arguments` words, up to three.
pub(super) fn convention(body: &[Instruction], arguments: usize) -> Convention {
    let Some(check) = stack_check(body) else { return Convention::Unknown };
    let (before, bound) = (&body[..check - 1], &body[check - 1]);
    if bound.memory_base() != Register::R14 {
        let finds_goroutine = before.iter().any(|i| i.memory_segment() == Register::FS);
        return if finds_goroutine { Convention::Stack } else { Convention::Unknown };
    }
    let growing = target(body, &body[check]);
    let is_proven = growing.is_some_and(|code| saves_arguments(code, arguments))
        && !body[..check].iter().any(changes_needed);
    if is_proven { Convention::Registers { check } } else { Convention::Unknown }
}

/// Number of the jump that is taken when there is too little stack; the comparison stands before it.
fn stack_check(body: &[Instruction]) -> Option<usize> {
    let at = body.iter().take(MAX_CHECK).position(|i| i.mnemonic() == Mnemonic::Cmp)?;
    let (before, compare, jump) = (&body[..at], &body[at], body.get(at + 1)?);
    let is_check = before.iter().all(|i| i.flow_control() == FlowControl::Next)
        && compare.op1_kind() == OpKind::Memory
        && compare.memory_index() == Register::None
        && compare.memory_displacement64() == STACK_BOUND
        && jump.mnemonic() == Mnemonic::Jbe;
    is_check.then_some(at + 1)
}

/// The code to which a jump leads inside the same method.
fn target<'body>(body: &'body [Instruction], jump: &Instruction) -> Option<&'body [Instruction]> {
    let at = body.binary_search_by_key(&jump.near_branch_target(), Instruction::ip).ok()?;
    body.get(at..)
}

/// Whether the first arguments are saved, in their order from above the return address on, and
/// nothing else is done before a call.
fn saves_arguments(code: &[Instruction], arguments: usize) -> bool {
    let call = code.iter().take(MAX_SAVES).position(|i| i.flow_control() == FlowControl::Call);
    let Some(saves) = call.and_then(|call| code.get(..call)) else { return false };
    let is_saved = |(register, place): (Register, u64)| {
        let mut places = saves.iter().filter(|i| i.op1_register() == register);
        places.next().is_some_and(|i| i.memory_displacement64() == place)
    };
    let mut expected = ARGUMENTS.into_iter().take(arguments).zip((8..).step_by(8));
    saves.iter().all(is_save) && expected.all(is_saved)
}

/// Whether this saves a register to the stack.
fn is_save(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Mov
        && instruction.op0_kind() == OpKind::Memory
        && instruction.memory_base() == Register::RSP
        && instruction.memory_index() == Register::None
        && instruction.op1_kind() == OpKind::Register
}

fn changes_needed(instruction: &Instruction) -> bool {
    let mut info = InstructionInfoFactory::new();
    info.info(instruction).used_registers().iter().any(|used| {
        let is_read = matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
        !is_read && NEEDED.contains(&used.register().full_register())
    })
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions};

    use super::*;

    /// `lea -0x70(%rsp), %r12; cmp 0x10(%r14), %r12; jbe +1; ret`
    const CHECK: [u8; 12] =
        [0x4c, 0x8d, 0x64, 0x24, 0x90, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x01, 0xc3];
    /// `mov %rax, 8(%rsp); mov %rbx, 16(%rsp); mov %rcx, 24(%rsp)`
    const SAVES: [u8; 15] =
        [0x48, 0x89, 0x44, 0x24, 8, 0x48, 0x89, 0x5c, 0x24, 16, 0x48, 0x89, 0x4c, 0x24, 24];
    /// `call .`
    const GROW: [u8; 5] = [0xe8, 0xfb, 0xff, 0xff, 0xff];
    /// `mov %fs:-8, %rcx; cmp 0x10(%rcx), %rsp; jbe +1; ret`: the stack's convention.
    const OLD_CHECK: [u8; 16] = [
        0x64, 0x48, 0x8b, 0x0c, 0x25, 0xf8, 0xff, 0xff, 0xff, 0x48, 0x3b, 0x61, 0x10, 0x76, 1, 0xc3,
    ];

    fn of(code: &[&[u8]], arguments: usize) -> Convention {
        let code = code.concat();
        let decoder = Decoder::with_ip(64, &code, 0x40_1000, DecoderOptions::NONE);
        convention(&decoder.into_iter().collect::<Vec<_>>(), arguments)
    }

    #[test]
    fn a_method_that_saves_its_registers_before_its_stack_grows_was_given_them() {
        for arguments in 0..=3 {
            let convention = of(&[&CHECK, &SAVES, &GROW], arguments);
            assert_eq!(convention, Convention::Registers { check: 2 });
        }
        // Two arguments are saved: there is no third.
        assert_eq!(of(&[&CHECK, &SAVES[..10], &GROW], 2), Convention::Registers { check: 2 });
        assert_eq!(of(&[&CHECK, &SAVES[..10], &GROW], 3), Convention::Unknown);
    }

    #[test]
    fn a_goroutine_behind_fs_means_arguments_on_the_stack() {
        assert_eq!(of(&[&OLD_CHECK, &GROW], 3), Convention::Stack);
        // Whatever it saves.
        assert_eq!(of(&[&OLD_CHECK, &SAVES, &GROW], 3), Convention::Stack);
    }

    #[test]
    fn what_is_saved_elsewhere_or_changed_before_proves_nothing() {
        let mut swapped = SAVES;
        swapped.swap(4, 9);
        let mut sums = SAVES;
        // add instead of mov
        sums[1] = 0x01;
        let nop: &[u8] = &[0x90];
        let clobber: &[u8] = &[0x31, 0xdb]; // xor %ebx, %ebx
        for code in [
            [&CHECK[..], &swapped, &GROW],
            [&CHECK, &sums, &GROW],
            [&CHECK, &SAVES, nop],
            [&CHECK, nop, &GROW],
            [&CHECK[..9], nop, &SAVES],
        ] {
            assert_eq!(of(&code, 3), Convention::Unknown, "{code:x?}");
        }
        assert_eq!(of(&[clobber, &CHECK, &SAVES, &GROW], 3), Convention::Unknown);
        assert_eq!(of(&[nop, &CHECK, &SAVES, &GROW], 3), Convention::Registers { check: 3 });
    }

    #[test]
    fn code_that_is_cut_off_proves_nothing() {
        let code = [&CHECK[..], &SAVES, &GROW].concat();
        for end in 0..code.len() {
            assert_eq!(of(&[&code[..end]], 3), Convention::Unknown, "{end}");
        }
        let mut jump = code.clone();
        for distance in u8::MIN..=u8::MAX {
            jump[10] = distance;
            let is_proven = of(&[&jump], 3) != Convention::Unknown;
            assert_eq!(is_proven, distance == CHECK[10], "{distance}");
        }
    }
}
