//! Which instructions the kernel emulates under a probe, instead of single-stepping a copy.
//!
//! `branch_setup_xol_ops` and `push_setup_xol_ops` in the kernel's `arch/x86/kernel/uprobes.c`, as
//! of 5.15. The forms are taken narrowly: an encoding with a prefix that the kernel may treat in
//! its own way is left out, which costs time on that instruction and nothing else.

/// How a cheap instruction is run under a probe; the cheaper first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Emulation {
    /// Emulated by every supported kernel. The name is for people.
    Always(&'static str),
    /// The 5-byte no-op, which newer kernels turn into a call and older ones single-step.
    Recent(&'static str),
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

    /// The instruction's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Always(name) | Self::Recent(name) => name,
        }
    }
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
}
