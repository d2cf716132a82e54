//! What is known of registers and stack at a point of a function.
//!
//! An abstract machine: it follows moves, the stack pointer, and where results of calls go, and
//! forgets everything else. It models what compilers emit around a call that passes arguments on
//! (System V AMD64 calling convention); any other instruction makes its destination unknown.

use iced_x86::{
    ConditionCode, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

use super::frame::{Frame, replaces_return_address};
use super::value::{Method, Value};

/// Registers of the six integer arguments, in order.
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];

/// Registers that a called function leaves as they were.
const PRESERVED: [Register; 7] = [
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

/// Most calls on one path that are remembered; the results of later ones name nothing.
const MAX_CALLS: usize = 32;

/// A call, and what was in the argument registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Call {
    /// Address called; `None` for a call through a register or memory.
    pub(super) target: Option<u64>,
    /// The six argument registers.
    pub(super) arguments: [Value; 6],
}

/// Registers, stack slots and calls so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    registers: [Value; 16],
    frame: Frame,
    calls: Vec<Call>,
    /// What the flags compare with 0, as a signed 32-bit integer.
    compared: Option<Value>,
    /// An address in the frame was passed on or stored: others may write the frame.
    escaped: bool,
    /// The flags say whether the stack protector's word is as it was put there.
    checks_stack: bool,
}

impl State {
    /// At the first instruction of a function.
    pub(super) fn at_entry() -> Self {
        let mut state = Self {
            registers: [Value::Unknown; 16],
            frame: Frame::default(),
            calls: Vec::new(),
            compared: None,
            escaped: false,
            checks_stack: false,
        };
        for (index, register) in (0_u8..).zip(ARGUMENTS) {
            state.registers[register.number()] = Value::Arg(index);
        }
        state.registers[Register::RSP.number()] = Value::Stack(0);
        state
    }

    /// The return address is on top of the stack.
    pub(super) fn stack_is_as_at_entry(&self) -> bool {
        self.stack_change() == Some(0)
    }

    /// Bytes by which the stack pointer differs from its value at entry, if that is known.
    pub(super) fn stack_change(&self) -> Option<i64> {
        match self.registers[Register::RSP.number()] {
            Value::Stack(change) => Some(change),
            _ => None,
        }
    }

    /// The six argument registers.
    pub(super) fn arguments(&self) -> [Value; 6] {
        ARGUMENTS.map(|register| self.registers[register.number()])
    }

    /// What a general register of 64 bits holds.
    pub(super) fn register(&self, register: Register) -> Option<Value> {
        register.is_gpr64().then(|| self.registers[register.number()])
    }

    /// What the word at the stack pointer holds: the first argument that is passed on the stack.
    pub(super) fn top_of_stack(&self) -> Value {
        self.stack_change().map_or(Value::Unknown, |at| self.frame.load(at, 8))
    }

    /// The method of the object in the first argument that this instruction calls or jumps to.
    pub(super) fn method(&self, instruction: &Instruction) -> Option<Method> {
        match self.source(instruction, 0) {
            Value::Method(method) => Some(method),
            _ => None,
        }
    }

    /// The register of the return value.
    pub(super) fn return_value(&self) -> Value {
        self.registers[Register::RAX.number()]
    }

    /// The call that a value names.
    pub(super) fn call(&self, number: usize) -> Option<&Call> {
        self.calls.get(number)
    }

    /// What the low 32 bits of a general register are compared with 0 after a branch: on the way
    /// that proves a call's result not to be positive, every copy of it becomes that.
    pub(super) fn after_branch(mut self, condition: ConditionCode, taken: bool) -> Self {
        if let Some(Value::Result(call)) = self.compared
            && proves_not_positive(condition, taken)
        {
            let copies = self.registers.iter_mut();
            let copies = copies.chain(self.frame.values_mut());
            for value in copies.filter(|value| **value == Value::Result(call)) {
                *value = Value::NotPositive;
            }
            self.compared = Some(Value::NotPositive);
        }
        self
    }

    /// The flags are equal unless the stack was overwritten: the other branch never returns.
    pub(super) fn checks_stack(&self) -> bool {
        self.checks_stack
    }

    /// Applies what `instruction` does to data; where control goes next is the caller's business.
    /// `None` when nothing can be said any more.
    pub(super) fn apply(
        &mut self,
        instruction: &Instruction,
        info: &mut InstructionInfoFactory,
    ) -> Option<()> {
        if instruction.rflags_modified() != 0 {
            self.checks_stack = is_stack_check(instruction);
        }
        match instruction.mnemonic() {
            Mnemonic::Mov => self.apply_move(instruction, info),
            Mnemonic::Movsxd => self.apply_extension(instruction, info),
            Mnemonic::Cdqe => {
                let value = self.registers[Register::RAX.number()].low_half();
                self.registers[Register::RAX.number()] = value;
            }
            Mnemonic::Lea => self.apply_lea(instruction),
            Mnemonic::Push => self.apply_push(instruction, info),
            Mnemonic::Pop => self.apply_pop(instruction, info),
            Mnemonic::Leave => self.apply_leave(),
            Mnemonic::Add | Mnemonic::Sub => self.apply_sum(instruction, info),
            Mnemonic::Xor | Mnemonic::Or | Mnemonic::And | Mnemonic::Sbb => {
                self.apply_logic(instruction, info);
            }
            Mnemonic::Test | Mnemonic::Cmp => self.compared = self.compared_by(instruction),
            Mnemonic::Nop | Mnemonic::Endbr64 => {}
            Mnemonic::Call => return self.apply_call(instruction),
            _ if is_conditional_move(instruction) => self.apply_conditional_move(instruction),
            _ => self.forget(instruction, info),
        }
        self.is_framed().then_some(())
    }

    /// The stack pointer is known, and has not been moved above the return address.
    fn is_framed(&self) -> bool {
        self.stack_change().is_some_and(|change| change <= 0)
    }

    fn apply_move(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        if self.address(instruction).is_none() && instruction.op0_kind() == OpKind::Memory {
            return self.forget(instruction, info);
        }
        let value = self.source(instruction, 1);
        match instruction.op0_kind() {
            OpKind::Register => self.set(instruction.op0_register(), value),
            OpKind::Memory => self.store(instruction, value),
            _ => self.forget(instruction, info),
        }
    }

    fn apply_extension(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        if instruction.op0_register().size() != 8 {
            return self.forget(instruction, info);
        }
        let value = self.source(instruction, 1).low_half();
        self.registers[instruction.op0_register().number()] = value;
    }

    fn apply_lea(&mut self, instruction: &Instruction) {
        let value = self.address(instruction).map_or(Value::Unknown, Value::Stack);
        self.set(instruction.op0_register(), value);
    }

    fn apply_push(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        let value = self.source(instruction, 0);
        let (Some(change), -8) = (self.stack_change(), instruction.stack_pointer_increment())
        else {
            return self.forget(instruction, info);
        };
        let at = change.wrapping_sub(8);
        self.registers[Register::RSP.number()] = Value::Stack(at);
        self.escaped |= matches!(value, Value::Stack(_));
        self.set_slot(at, 8, value);
    }

    fn apply_pop(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        let (Some(at), OpKind::Register, 8) =
            (self.stack_change(), instruction.op0_kind(), instruction.stack_pointer_increment())
        else {
            return self.forget(instruction, info);
        };
        let value = self.frame.load(at, 8);
        self.registers[Register::RSP.number()] = Value::Stack(at.wrapping_add(8));
        self.set(instruction.op0_register(), value);
    }

    fn apply_leave(&mut self) {
        let Value::Stack(at) = self.registers[Register::RBP.number()] else {
            self.registers[Register::RSP.number()] = Value::Unknown;
            return;
        };
        self.registers[Register::RBP.number()] = self.frame.load(at, 8);
        self.registers[Register::RSP.number()] = Value::Stack(at.wrapping_add(8));
    }

    /// `add` and `sub` of a constant to an address in the frame, foremost the stack pointer.
    fn apply_sum(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        let register = instruction.op0_register();
        let constant = instruction.try_immediate(1).ok().map(u64::cast_signed);
        let (Some(Value::Stack(at)), Some(by), 8) =
            (self.known(register), constant, register.size())
        else {
            return self.forget(instruction, info);
        };
        let sum = match instruction.mnemonic() {
            Mnemonic::Add => at.wrapping_add(by),
            _ => at.wrapping_sub(by),
        };
        self.compared = None;
        self.registers[register.number()] = Value::Stack(sum);
    }

    /// The ways to write 0 and -1 that compilers prefer to `mov`.
    fn apply_logic(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        let register = instruction.op0_register();
        let same =
            instruction.op1_kind() == OpKind::Register && instruction.op1_register() == register;
        let constant = instruction.try_immediate(1).ok().map(|value| value as i32);
        let zero_or_minus_one = match instruction.mnemonic() {
            Mnemonic::Xor | Mnemonic::Sbb => same,
            Mnemonic::Or => constant == Some(-1),
            Mnemonic::And => constant == Some(0),
            _ => false,
        };
        self.forget(instruction, info);
        if zero_or_minus_one && self.known(register).is_some() {
            self.set(register, Value::NotPositive);
        }
    }

    fn apply_conditional_move(&mut self, instruction: &Instruction) {
        let register = instruction.op0_register();
        let refine = |value, taken| match (self.compared, value) {
            (Some(Value::Result(compared)), Value::Result(call))
                if compared == call && proves_not_positive(instruction.condition_code(), taken) =>
            {
                Value::NotPositive
            }
            _ => value,
        };
        let kept = refine(self.known(register).unwrap_or(Value::Unknown), false);
        let moved = refine(self.source(instruction, 1), true);
        self.set(register, kept.either(moved));
    }

    fn apply_call(&mut self, instruction: &Instruction) -> Option<()> {
        let number = self.calls.len();
        let arguments = self.arguments();
        let direct = instruction.op0_kind() == OpKind::NearBranch64;
        let target = direct.then(|| instruction.near_branch_target());
        if number < MAX_CALLS {
            self.calls.push(Call { target, arguments });
        }
        self.escaped |= arguments.iter().any(|value| matches!(value, Value::Stack(_)));
        if self.escaped {
            self.frame.forget();
        }
        for (arg, value) in (0_u8..).zip(arguments) {
            if let Value::Stack(at) = value {
                self.set_slot(at, 8, Value::Count { call: number, arg });
            }
        }
        for (number, value) in self.registers.iter_mut().enumerate() {
            if !PRESERVED.iter().any(|register| register.number() == number) {
                *value = Value::Unknown;
            }
        }
        self.registers[Register::RAX.number()] = Value::Result(number);
        self.compared = None;
        self.is_framed().then_some(())
    }

    /// What the flags say after `test r,r` or `cmp r,0` of 32 bits.
    fn compared_by(&self, instruction: &Instruction) -> Option<Value> {
        if instruction.mnemonic() == Mnemonic::Test {
            let register = instruction.op0_register();
            let same = instruction.op1_kind() == OpKind::Register
                && instruction.op1_register() == register;
            return (same && register.size() == 4).then(|| self.known(register)).flatten();
        }
        (instruction.try_immediate(1).ok()? == 0).then_some(())?;
        match instruction.op0_kind() {
            OpKind::Register if instruction.op0_register().size() == 4 => {
                self.known(instruction.op0_register())
            }
            OpKind::Memory if instruction.memory_size().size() == 4 => {
                Some(self.frame.load(self.address(instruction)?, 4))
            }
            _ => None,
        }
    }

    /// Makes everything that `instruction` writes unknown.
    fn forget(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        if instruction.rflags_modified() != 0 {
            self.compared = None;
        }
        let info = info.info(instruction);
        for used in info.used_registers() {
            let register = used.register().full_register();
            let is_frame = matches!(register, Register::RSP | Register::RBP);
            // An address in the frame that goes where it is not followed may come back.
            self.escaped |= !is_frame && self.is_in_frame(register);
            if register.is_gpr64() && writes(used.access()) {
                self.registers[register.number()] = Value::Unknown;
            }
        }
        for used in info.used_memory().iter().filter(|used| writes(used.access())) {
            match self.address(instruction) {
                Some(at) if used.base() == instruction.memory_base() => {
                    self.set_slot(at, used.memory_size().size(), Value::Unknown);
                }
                _ if self.escaped || self.is_in_frame(used.base()) => self.frame.forget(),
                _ => {}
            }
        }
    }

    /// The value of an operand that is read.
    fn source(&self, instruction: &Instruction, operand: u32) -> Value {
        match instruction.op_kind(operand) {
            OpKind::Register => {
                let register = instruction.op_register(operand);
                let value = self.known(register).unwrap_or(Value::Unknown);
                if register.size() == 8 { value } else { value.low_half() }
            }
            OpKind::Memory => match self.address(instruction) {
                Some(at) => self.frame.load(at, instruction.memory_size().size()),
                None => self.pointed(instruction).unwrap_or(Value::Unknown),
            },
            OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32
            | OpKind::Immediate32to64
            | OpKind::Immediate64 => {
                // Only the low half is ever looked at.
                let low = instruction.immediate(operand) as i32;
                if low <= 0 { Value::NotPositive } else { Value::Unknown }
            }
            _ => Value::Unknown,
        }
    }

    /// The value in a general register of 32 or 64 bits.
    fn known(&self, register: Register) -> Option<Value> {
        let whole = register.is_gpr64() || register.is_gpr32();
        whole.then(|| self.registers[register.number()])
    }

    /// Writes a register: 32 bits clear the upper half, fewer leave a mixture.
    fn set(&mut self, register: Register, value: Value) {
        let full = register.full_register();
        if !full.is_gpr64() {
            return;
        }
        self.registers[full.number()] = match register.size() {
            8 => value,
            4 => value.low_half(),
            _ => Value::Unknown,
        };
    }

    /// Where in the frame the memory operand of `instruction` is.
    fn address(&self, instruction: &Instruction) -> Option<i64> {
        let plain = instruction.memory_index() == Register::None
            && instruction.segment_prefix() == Register::None;
        let base = instruction.memory_base();
        if !plain || !base.is_gpr64() {
            return None;
        }
        match self.registers[base.number()] {
            Value::Stack(at) => {
                Some(at.wrapping_add(instruction.memory_displacement64().cast_signed()))
            }
            _ => None,
        }
    }

    /// What the memory operand of `instruction` is, if it is part of an object or of its table.
    fn pointed(&self, instruction: &Instruction) -> Option<Value> {
        let base = self.known(instruction.memory_base())?;
        let offset = u16::try_from(instruction.memory_displacement64()).ok()?;
        let is_word = instruction.memory_size().size() == 8;
        let is_plain = instruction.memory_index() == Register::None
            && instruction.segment_prefix() == Register::None;
        match base {
            _ if !is_word || !is_plain => None,
            Value::Arg(0) => Some(Value::Field(offset)),
            Value::Field(table) => Some(Value::Method(Method { table, slot: offset })),
            _ => None,
        }
    }

    fn is_in_frame(&self, base: Register) -> bool {
        matches!(self.known(base), Some(Value::Stack(_)))
    }

    fn store(&mut self, instruction: &Instruction, value: Value) {
        let Some(at) = self.address(instruction) else { return };
        self.escaped |= matches!(value, Value::Stack(_));
        self.set_slot(at, instruction.memory_size().size(), value);
    }

    fn set_slot(&mut self, at: i64, len: usize, value: Value) {
        if replaces_return_address(at, len) {
            // From here on nothing holds that holds for calls.
            self.registers[Register::RSP.number()] = Value::Unknown;
        }
        self.frame.store(at, len, value);
    }
}

/// Whether this compares with the word that `-fstack-protector` puts on the stack (the ABI of glibc
/// and musl keeps it at `%fs:0x28`).
fn is_stack_check(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Sub | Mnemonic::Xor | Mnemonic::Cmp)
        && instruction.memory_segment() == Register::FS
        && instruction.memory_base() == Register::None
        && instruction.memory_displacement64() == 0x28
}

fn writes(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

fn is_conditional_move(instruction: &Instruction) -> bool {
    instruction.condition_code() != ConditionCode::None
        && instruction.op_count() == 2
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register().size() >= 4
}

/// Whether the value compared with 0 is 0 or negative when a branch on `condition` is taken, or
/// when it is not.
fn proves_not_positive(condition: ConditionCode, taken: bool) -> bool {
    use ConditionCode as Cc;
    match condition {
        Cc::le | Cc::l | Cc::s | Cc::e => taken,
        Cc::g | Cc::ge | Cc::ns | Cc::ne => !taken,
        _ => false,
    }
}
