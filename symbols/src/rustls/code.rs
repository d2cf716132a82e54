//! Whether the code of two functions does with its arguments what rustls 0.23's does.

use iced_x86::{
    Code, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

use super::Identity;
use crate::elf::{Function, Image};
use crate::site;

/// Registers that a function leaves as they were: where it keeps what it needs throughout.
pub(super) const KEPT: [Register; 6] =
    [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];

/// Instructions at the beginning in which arguments are looked for.
const BEGINNING: usize = 40;

/// `CommonState::send_appdata_encrypt`.
pub(super) struct Sender {
    pub(super) entry: u64,
    /// Every instruction that returns.
    pub(super) returns: Vec<u64>,
    pub(super) identity: Identity,
}

impl Sender {
    /// The function reads the words of `OutboundChunks`, calls the encrypter, and can only be left
    /// by returning.
    pub(super) fn prove(image: &Image<'_>, function: Function) -> Option<Self> {
        const WORDS: [u64; 3] = [0, 0x10, 0x18];
        let (start, end) = (function.address, function.end()?);
        let body = site::body(image, start, end)?;
        let returns = site::returns(&body);
        let is_proven = !returns.is_empty()
            && !body.iter().any(|instruction| leaves(instruction, start, end))
            && reads_words(&body, Register::RSI, &WORDS);
        let identity = is_proven.then(|| encrypter(&body)).flatten()?;
        Some(Self { entry: start, returns, identity })
    }
}

/// `CommonState::take_received_plaintext`.
pub(super) struct Receiver {
    pub(super) entry: u64,
}

impl Receiver {
    /// The function reads the words of `Payload`.
    pub(super) fn prove(image: &Image<'_>, function: Function) -> Option<Self> {
        const WORDS: [u64; 3] = [0, 8, 0x10];
        let body = site::body(image, function.address, function.end()?)?;
        let is_proven = reads_words(&body, Register::RSI, &WORDS);
        is_proven.then_some(Self { entry: function.address })
    }
}

/// Whether control goes elsewhere without returning: by a tail call, or through a table that cannot
/// be told from one.
pub(super) fn leaves(instruction: &Instruction, start: u64, end: u64) -> bool {
    instruction.flow_control() == FlowControl::IndirectBranch
        || site::jumps_out(instruction, start, end)
}

/// Whether the beginning reads 64-bit words at each of `offsets` from the address in `argument`, or
/// in a copy of it.
fn reads_words(body: &[Instruction], argument: Register, offsets: &[u64]) -> bool {
    let mut info = InstructionInfoFactory::new();
    let mut copies = vec![argument];
    let mut read = Vec::new();
    for instruction in body.iter().take(BEGINNING) {
        let at_argument = (0..instruction.op_count())
            .any(|operand| instruction.op_kind(operand) == OpKind::Memory)
            && copies.contains(&instruction.memory_base())
            && instruction.memory_index() == Register::None;
        if at_argument {
            read.push(instruction.memory_displacement64());
        }
        let copied = is_copy(instruction) && copies.contains(&instruction.op1_register());
        copies.retain(|&register| !writes(instruction, register, &mut info));
        if copied {
            copies.push(instruction.op0_register());
        }
    }
    offsets.iter().all(|offset| read.contains(offset))
}

/// Where in the state the address of the encrypter is.
///
/// It is a trait object: two words, the address of its memory and that of its table of methods. A
/// call loads both and goes through the second. There may be several such calls; all must agree.
pub(super) fn encrypter(body: &[Instruction]) -> Option<Identity> {
    let (copied, state) = keeper(body, Register::RDI)?;
    let mut offsets: Vec<u64> = (copied..body.len())
        .take_while(|&at| at == copied || !overwrites(&body[at], state))
        .filter_map(|at| object_called(&body[..=at], state))
        .collect();
    offsets.sort_unstable();
    offsets.dedup();
    let &[offset] = offsets.as_slice() else { return None };
    Some(Identity { offset: u16::try_from(offset).ok()? })
}

/// The register that keeps `argument`, and which instruction puts it there.
pub(super) fn keeper(body: &[Instruction], argument: Register) -> Option<(usize, Register)> {
    let mut beginning = body.iter().take(BEGINNING).enumerate();
    beginning.find_map(|(at, instruction)| {
        let is_kept = is_copy(instruction)
            && instruction.op1_register() == argument
            && KEPT.contains(&instruction.op0_register());
        is_kept.then(|| (at, instruction.op0_register()))
    })
}

/// Whether the register gets another value, other than its old one before a return.
pub(super) fn overwrites(instruction: &Instruction, register: Register) -> bool {
    instruction.mnemonic() != Mnemonic::Pop
        && writes(instruction, register, &mut InstructionInfoFactory::new())
}

/// Where in the state the trait object is whose method the last of `instructions` calls.
fn object_called(instructions: &[Instruction], state: Register) -> Option<u64> {
    /// The table begins with three words that are no methods.
    const FIRST_METHOD: u64 = 0x18;
    const LAST_METHOD: u64 = 0x80;
    /// Instructions before the call in which both are loaded.
    const NEAR: usize = 8;
    let (call, before) = instructions.split_last()?;
    let is_method = call.flow_control() == FlowControl::IndirectCall
        && call.op0_kind() == OpKind::Memory
        && (FIRST_METHOD..=LAST_METHOD).contains(&call.memory_displacement64());
    let near =
        before.iter().rev().take(NEAR).take_while(|it| it.flow_control() == FlowControl::Next);
    let loads: Vec<(Register, u64)> = near.filter_map(|it| loaded(it, state)).collect();
    let of = |register| loads.iter().find(|(loaded, _)| *loaded == register).map(|&(_, at)| at);
    let table = of(call.memory_base()).filter(|_| is_method)?;
    let object = table.checked_sub(8)?;
    // The first argument, or the second where the first says where the result goes.
    [Register::RDI, Register::RSI].into_iter().any(|it| of(it) == Some(object)).then_some(object)
}

/// The register that a word of the state is loaded into, and which word.
fn loaded(instruction: &Instruction, state: Register) -> Option<(Register, u64)> {
    let is_load = instruction.code() == Code::Mov_r64_rm64
        && instruction.op1_kind() == OpKind::Memory
        && instruction.memory_base() == state
        && instruction.memory_index() == Register::None;
    is_load.then(|| (instruction.op0_register(), instruction.memory_displacement64()))
}

/// `mov` of one 64-bit register to another.
fn is_copy(instruction: &Instruction) -> bool {
    matches!(instruction.code(), Code::Mov_r64_rm64 | Code::Mov_rm64_r64)
        && instruction.op0_kind() == OpKind::Register
        && instruction.op1_kind() == OpKind::Register
}

fn writes(
    instruction: &Instruction,
    register: Register,
    info: &mut InstructionInfoFactory,
) -> bool {
    info.info(instruction).used_registers().iter().any(|used| {
        let is_read = matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
        !is_read && used.register().full_register() == register
    })
}
