//! Follows instructions that run one after the other, from a place in the middle of a function.
//!
//! Knows of each register which register's value it has from the start, or that it is a constant
//! which says that a call failed, and how far the stack pointer has moved. Everything else is left to [`crate::site::state`].

use iced_x86::{
    Code, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

/// What a register holds after some instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// What this register held at the start.
    Register(Register),
    /// A constant whose low 32 bits are 0 or negative.
    NotPositive,
    /// Something else.
    Unknown,
}

/// What is known after some instructions.
pub(super) struct Straight {
    /// Of each general register.
    origins: [Origin; 16],
    /// Bytes by which the stack pointer is higher than at the start, while that is known.
    moved: Option<i64>,
    info: InstructionInfoFactory,
}

impl Straight {
    /// Nothing has run yet.
    pub(super) fn new() -> Self {
        let mut origins = [Origin::Unknown; 16];
        for (number, origin) in origins.iter_mut().enumerate() {
            *origin = register(number).map_or(Origin::Unknown, Origin::Register);
        }
        Self { origins, moved: Some(0), info: InstructionInfoFactory::new() }
    }

    /// What `register` holds now.
    pub(super) fn origin(&self, register: Register) -> Origin {
        let number = register.full_register().number();
        self.origins.get(number).copied().unwrap_or(Origin::Unknown)
    }

    /// Whether `register` holds what it held at the start.
    pub(super) fn keeps(&self, register: Register) -> bool {
        self.origin(register) == Origin::Register(register)
    }

    /// Bytes by which the stack pointer is higher than at the start, if that is known.
    pub(super) fn moved(&self) -> Option<i64> {
        self.moved
    }

    /// Applies one instruction; `None` where control may go elsewhere.
    pub(super) fn apply(&mut self, instruction: &Instruction) -> Option<()> {
        if instruction.flow_control() != FlowControl::Next {
            return None;
        }
        let by = instruction.try_immediate(1).ok().map(u64::cast_signed);
        match (instruction.mnemonic(), instruction.op0_register(), by) {
            (Mnemonic::Add, Register::RSP, Some(by)) => self.move_stack(by),
            (Mnemonic::Sub, Register::RSP, Some(by)) => self.move_stack(by.wrapping_neg()),
            (Mnemonic::Push | Mnemonic::Pop, to, _) if to != Register::RSP => {
                self.move_stack(instruction.stack_pointer_increment().into());
                self.forget(instruction, true);
            }
            (_, to, _) if is_copy(instruction) && to.full_register() != Register::RSP => {
                let origin = self.origin(instruction.op1_register());
                *self.origins.get_mut(to.full_register().number())? = origin;
            }
            (_, to, _) if is_not_positive(instruction) && to.full_register() != Register::RSP => {
                *self.origins.get_mut(to.full_register().number())? = Origin::NotPositive;
            }
            _ => self.forget(instruction, false),
        }
        Some(())
    }

    fn move_stack(&mut self, by: i64) {
        self.moved = self.moved.and_then(|moved| moved.checked_add(by));
    }

    fn forget(&mut self, instruction: &Instruction, keeps_stack: bool) {
        for used in self.info.info(instruction).used_registers() {
            let register = used.register().full_register();
            let is_read = matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
            if is_read || !register.is_gpr64() || (keeps_stack && register == Register::RSP) {
                continue;
            }
            if register == Register::RSP {
                self.moved = None;
            }
            if let Some(origin) = self.origins.get_mut(register.number()) {
                *origin = Origin::Unknown;
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

/// A constant that is not positive, moved to a general register of 32 or 64 bits, or made by `xor`.
fn is_not_positive(instruction: &Instruction) -> bool {
    let is_whole = matches!(instruction.op0_register().size(), 4 | 8);
    let is_general = instruction.op0_register().full_register().is_gpr64();
    let constant = instruction.try_immediate(1).ok().map(|value| value as i32);
    let same = instruction.op1_kind() == OpKind::Register
        && instruction.op1_register() == instruction.op0_register();
    let is_constant = match instruction.mnemonic() {
        Mnemonic::Mov => constant.is_some_and(|value| value <= 0),
        Mnemonic::Or => constant == Some(-1),
        Mnemonic::Xor => same,
        _ => false,
    };
    instruction.op0_kind() == OpKind::Register && is_whole && is_general && is_constant
}

/// The 64-bit register with this number in machine code.
fn register(number: usize) -> Option<Register> {
    Register::values().find(|it| it.is_gpr64() && it.number() == number)
}
