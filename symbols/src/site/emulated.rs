//! Which instructions the kernel emulates under a probe, which it single-steps in a copy, and which it
//! refuses.
//!
//! `branch_setup_xol_ops` and `push_setup_xol_ops` in the kernel's `arch/x86/kernel/uprobes.c`, as
//! of 5.15. The forms are taken narrowly: an encoding with a prefix that the kernel may treat in
//! its own way is left out, which costs time on that instruction and nothing else.

use iced_x86::{Instruction, Mnemonic, OpKind};

/// How an instruction is run under a probe; the cheaper first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Emulation {
    /// Emulated by every supported kernel. The name is for people.
    Always(&'static str),
    /// The 5-byte no-op, which newer kernels turn into a call and older ones single-step.
    Recent(&'static str),
    /// Single-stepped in a copy, which is many times slower.
    Stepped,
}

impl Emulation {
    /// The class of the instruction with these bytes; `None` for the slow ones.
    pub(super) fn of(instruction: &[u8]) -> Option<Self> {
        let name = match instruction {
            [0x50..=0x57] | [0x41, 0x50..=0x57] => "push",
            [0x90] => "nop",
            [0xeb, _] | [0xe9, _, _, _, _] => "jump",
            [0x70..=0x7f, _] | [0x0f, 0x80..=0x8f, _, _, _, _] => "conditional jump",
            [0xe8, _, _, _, _] => "call",
            [0x0f, 0x1f, 0x44, 0x00, 0x00] => return Some(Self::Recent("5-byte nop")),
            _ => return None,
        };
        Some(Self::Always(name))
    }

    /// The same, where a slow one is better than none; `None` for those on which the kernel takes no probe.
    pub(super) fn of_any(instruction: &[u8]) -> Option<Self> {
        Self::of(instruction).or_else(|| takes_probe(instruction).then_some(Self::Stepped))
    }

    /// The instruction's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Always(name) | Self::Recent(name) => name,
            Self::Stepped => "instruction",
        }
    }
}

/// Whether the kernel takes a probe on the instruction with these bytes (`is_prefix_bad` and `good_insns_64` in
/// the same file). It refuses segment prefixes, with which assemblers pad instructions so that no branch crosses 32
/// bytes. It accepts only some AVX instructions, so all of them count as refused here.
pub(crate) fn takes_probe(instruction: &[u8]) -> bool {
    let is_harmless = |byte: &u8| matches!(byte, 0x64..=0x67 | 0xf2 | 0xf3 | 0x40..=0x4f);
    let opcode = instruction.iter().find(|byte| !is_harmless(byte));
    !matches!(
        opcode,
        None | Some(
            0x06 | 0x07
                | 0x0e
                | 0x16
                | 0x17
                | 0x1e
                | 0x1f
                | 0x26
                | 0x27
                | 0x2e
                | 0x2f
                | 0x36
                | 0x37
                | 0x3e
                | 0x3f
                | 0x60..=0x62
                | 0x6c..=0x6f
                | 0x82
                | 0x8e
                | 0x9a
                | 0xc4
                | 0xc5
                | 0xcc..=0xcf
                | 0xd4..=0xd6
                | 0xe4..=0xe7
                | 0xea
                | 0xec..=0xf1
                | 0xf4
                | 0xfa
                | 0xfb
        )
    )
}

/// Whether the kernel is known to single-step this instruction, whose bytes these are. It refuses prefixes such
/// as `lock`, and rare opcodes (`is_prefix_bad` and `good_insns_64` in the same file). One refusal fails all
/// probes of a file, so only forms are taken that have nothing in common with those: no prefix but REX, and
/// returns, and plain work on general registers and memory. Compilers wrote `repz ret` for old processors.
pub(super) fn may_be_stepped(bytes: &[u8], instruction: &Instruction) -> bool {
    if instruction.mnemonic() == Mnemonic::Ret {
        return matches!(bytes, [0xc2 | 0xc3, ..] | [0xf3, 0xc3]);
    }
    let has_prefix = matches!(
        bytes.first(),
        None | Some(0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
    );
    let is_plain = matches!(
        instruction.mnemonic(),
        Mnemonic::Add
            | Mnemonic::And
            | Mnemonic::Cmp
            | Mnemonic::Dec
            | Mnemonic::Inc
            | Mnemonic::Lea
            | Mnemonic::Leave
            | Mnemonic::Mov
            | Mnemonic::Movsx
            | Mnemonic::Movsxd
            | Mnemonic::Movzx
            | Mnemonic::Neg
            | Mnemonic::Not
            | Mnemonic::Or
            | Mnemonic::Pop
            | Mnemonic::Sub
            | Mnemonic::Test
            | Mnemonic::Xor
    );
    let is_general = |operand: u32| {
        instruction.op_kind(operand) != OpKind::Register
            || instruction.op_register(operand).is_gpr()
    };
    !has_prefix && is_plain && (0..instruction.op_count()).all(is_general)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_branches_and_the_plain_nop_are_emulated() {
        let cheap: [&[u8]; 10] = [
            &[0x55],
            &[0x41, 0x56],
            &[0x90],
            &[0xeb, 0x10],
            &[0xe9, 1, 0, 0, 0],
            &[0xe8, 1, 0, 0, 0],
            &[0x74, 0x10],
            &[0x0f, 0x84, 1, 0, 0, 0],
            &[0x54],
            &[0x7f, 0xfe],
        ];
        for bytes in cheap {
            assert!(matches!(Emulation::of(bytes), Some(Emulation::Always(_))), "{bytes:x?}");
        }
        let nop = Emulation::of(&[0x0f, 0x1f, 0x44, 0, 0]);
        assert!(matches!(nop, Some(Emulation::Recent(_))));
    }

    #[test]
    fn landing_pads_stack_adjustments_and_prefixed_forms_are_not() {
        let slow: [&[u8]; 9] = [
            &[0xf3, 0x0f, 0x1e, 0xfa],
            &[0x48, 0x83, 0xec, 0x18],
            &[0x41, 0x90],
            &[0x66, 0x90],
            &[0xf3, 0x90],
            &[0x66, 0xe8, 0, 0],
            &[0xf2, 0xe9, 0, 0, 0, 0],
            &[0xff, 0x25, 0, 0, 0, 0],
            &[0xc3],
        ];
        for bytes in slow {
            assert_eq!(Emulation::of(bytes), None, "{bytes:x?}");
        }
    }

    /// As Linux 6.18 answered when each of these was probed.
    #[test]
    fn prefixes_for_padding_and_rare_opcodes_take_no_probe() {
        let taken: [&[u8]; 9] = [
            &[0x55],
            &[0x48, 0x83, 0xec, 0x18],
            &[0xf3, 0x0f, 0x1e, 0xfa],                      // endbr64
            &[0x66, 0x48, 0x8d, 0x3d, 0, 0, 0, 0],          // data16 lea
            &[0x64, 0x48, 0x2b, 0x04, 0x25, 0x28, 0, 0, 0], // sub rax, fs:[0x28]
            &[0xf2, 0xc3],                                  // bnd ret
            &[0x0f, 0x28, 0xc1],                            // movaps xmm0, xmm1
            &[0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],       // nop of nine bytes
            &[0x0f, 0x31],                                  // rdtsc
        ];
        for bytes in taken {
            assert!(takes_probe(bytes), "{bytes:x?}");
            assert!(Emulation::of_any(bytes).is_some(), "{bytes:x?}");
        }
        let refused: [&[u8]; 9] = [
            &[],
            &[0x2e, 0x2e, 0x55], // push, padded with prefixes
            &[0x2e, 0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0], // nop, padded
            &[0x3e, 0xff, 0xe0], // notrack jmp rax
            &[0xf0, 0x83, 0x07, 0x01], // lock add [rdi], 1
            &[0xcc],             // int3
            &[0xc5, 0xf8, 0x77], // vzeroupper
            &[0xf4],             // hlt
            &[0xec],             // in al, dx
        ];
        for bytes in refused {
            assert!(!takes_probe(bytes), "{bytes:x?}");
            assert_eq!(Emulation::of_any(bytes), None, "{bytes:x?}");
        }
    }

    #[test]
    fn plain_work_is_stepped_and_what_the_kernel_refuses_is_not() {
        let may_be_stepped = |bytes: &[u8]| {
            let mut decoder = iced_x86::Decoder::new(64, bytes, iced_x86::DecoderOptions::NONE);
            may_be_stepped(bytes, &decoder.decode())
        };
        let plain: [&[u8]; 7] = [
            &[0xc3],                         // ret
            &[0xf3, 0xc3],                   // repz ret
            &[0x31, 0xc0],                   // xor eax, eax
            &[0x48, 0x63, 0xd2],             // movsxd rdx, edx
            &[0x48, 0x8b, 0x44, 0x24, 0x08], // mov rax, [rsp+8]
            &[0x5b],                         // pop rbx
            &[0x48, 0x83, 0xc4, 0x18],       // add rsp, 0x18
        ];
        for bytes in plain {
            assert!(may_be_stepped(bytes), "{bytes:x?}");
        }
        let other: [&[u8]; 9] = [
            &[],
            &[0x3e, 0xc3],                   // ret, with a prefix that does nothing
            &[0xf0, 0x0f, 0xc1, 0x47, 0x20], // lock xadd [rdi+0x20], eax
            &[0xf0, 0x83, 0x07, 0x01],       // lock add [rdi], 1
            &[0x3e, 0x48, 0x89, 0xc8],       // mov rax, rcx, with a prefix that does nothing
            &[0x0f, 0x20, 0xc0],             // mov rax, cr0
            &[0x8e, 0xd8],                   // mov ds, eax
            &[0x0f, 0x0b],                   // ud2
            &[0xec],                         // in al, dx
        ];
        for bytes in other {
            assert!(!may_be_stepped(bytes), "{bytes:x?}");
        }
    }
}
