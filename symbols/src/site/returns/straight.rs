//! Follows instructions that run one after the other, from a place in the middle of a function.
//!
//! Knows of each register which register's value it has from the start, and how far the stack
//! pointer has moved. Everything else is left to [`crate::site::state`].

use iced_x86::{
    Code, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

/// What is known after some instructions.
pub(super) struct Straight {
    /// For each general register, the one that held its value at the start.
    origins: [Option<Register>; 16],
    /// Bytes by which the stack pointer is higher than at the start.
    moved: i64,
    info: InstructionInfoFactory,
}

impl Straight {
    /// Nothing has run yet.
    pub(super) fn new() -> Self {
        let mut origins = [None; 16];
        for (number, origin) in origins.iter_mut().enumerate() {
            *origin = register(number);
        }
        Self { origins, moved: 0, info: InstructionInfoFactory::new() }
    }

    /// The register that held at the start what `register` holds now.
    pub(super) fn origin(&self, register: Register) -> Option<Register> {
        *self.origins.get(register.full_register().number())?
    }

    /// Bytes by which the stack pointer is higher than at the start.
    pub(super) fn moved(&self) -> i64 {
        self.moved
    }

    /// Applies one instruction; `None` where control may go elsewhere, or the stack pointer is lost.
    pub(super) fn apply(&mut self, instruction: &Instruction) -> Option<()> {
        if instruction.flow_control() != FlowControl::Next {
            return None;
        }
        let by = instruction.try_immediate(1).ok().map(u64::cast_signed);
        match (instruction.mnemonic(), instruction.op0_register(), by) {
            (Mnemonic::Add, Register::RSP, Some(by)) => self.moved += by,
            (Mnemonic::Sub, Register::RSP, Some(by)) => self.moved -= by,
            (Mnemonic::Push | Mnemonic::Pop, to, _) if to != Register::RSP => {
                self.moved += i64::from(instruction.stack_pointer_increment());
                self.forget(instruction, true);
            }
            _ if is_copy(instruction) => {
                let origin = self.origin(instruction.op1_register());
                let to = instruction.op0_register().full_register();
                *self.origins.get_mut(to.number())? = origin;
                (to != Register::RSP).then_some(())?;
            }
            _ => {
                self.forget(instruction, false);
                self.origin(Register::RSP)?;
            }
        }
        Some(())
    }

    fn forget(&mut self, instruction: &Instruction, keeps_stack: bool) {
        for used in self.info.info(instruction).used_registers() {
            let register = used.register().full_register();
            let is_read = matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
            if is_read || !register.is_gpr64() || (keeps_stack && register == Register::RSP) {
                continue;
            }
            if let Some(origin) = self.origins.get_mut(register.number()) {
                *origin = None;
            }
        }
    }
}

/// `mov` of one general register to another, 64 or 32 bits of it: results of 32 bits are what is
/// followed.
fn is_copy(instruction: &Instruction) -> bool {
    matches!(
        instruction.code(),
        Code::Mov_r64_rm64 | Code::Mov_rm64_r64 | Code::Mov_r32_rm32 | Code::Mov_rm32_r32
    ) && instruction.op0_kind() == OpKind::Register
        && instruction.op1_kind() == OpKind::Register
}

/// The 64-bit register with this number in machine code.
fn register(number: usize) -> Option<Register> {
    Register::values().find(|it| it.is_gpr64() && it.number() == number)
}
