//! rustls 0.21 and 0.22: proves the two functions that all plaintext passes.
//!
//! Both take an address and a length, as C functions do. The one that sends also takes the
//! connection's state. The one that reads takes only the buffer of decrypted bytes, which is a part
//! of that state; the buffer's offset in the state is read from the code of two more functions.

use std::collections::BTreeSet;

use iced_x86::{Code, FlowControl, Instruction, OpKind, Register};

use super::code::{KEPT, encrypter, keeper, leaves, overwrites};
use crate::elf::{Function, Image};
use crate::plan::{Distance, Identity};
use crate::site;

/// The functions that are looked at, each of them the only one of its name.
#[derive(Clone, Copy)]
pub(super) struct Functions {
    /// `CommonState::send_some_plaintext`
    pub(super) write: Function,
    /// `<Reader as Read>::read`
    pub(super) read: Function,
    /// `CommonState::send_single_fragment`, which encrypts.
    pub(super) fragment: Function,
    /// `CommonState::current_io_state`, which looks at what waits in either direction.
    pub(super) io_state: Function,
    /// `ChunkVecBuffer::append_limited_copy`, which keeps what is sent before the handshake is
    /// over. `send_some_plaintext` may end by going there: such bytes are not seen.
    pub(super) append: Option<Function>,
}

/// A function that is probed.
pub(super) struct Passage {
    pub(super) entry: u64,
    /// Every instruction that returns.
    pub(super) returns: Vec<u64>,
}

/// What all plaintext passes.
pub(super) struct Passages {
    pub(super) write: Passage,
    pub(super) read: Passage,
    pub(super) identity: Identity,
    pub(super) distance: Distance,
}

impl Passages {
    /// The functions are left by returning, and use their arguments as these versions do.
    pub(super) fn prove(image: &Image<'_>, functions: Functions) -> Option<Self> {
        let body = |function: Function| site::body(image, function.address, function.end()?);
        let (write, read) = (body(functions.write)?, body(functions.read)?);
        let given = [Register::RDI, Register::RSI, Register::RDX];
        if given.into_iter().any(|argument| keeper(&write, argument).is_none()) {
            return None;
        }
        let fragment = body(functions.fragment)?;
        let identity = encrypter(&fragment)?;
        let buffer = plaintext_buffer(&body(functions.io_state)?, &fragment)?;
        let part = buffer.checked_sub(queue_in_buffer(&read)?)?;
        let bytes = i32::from(identity.offset).checked_sub(i32::try_from(part).ok()?)?;
        Some(Self {
            write: passage(functions.write, &write, functions.append)?,
            read: passage(functions.read, &read, None)?,
            identity,
            distance: Distance { bytes },
        })
    }
}

/// The function, if it can only be left by returning, or by going on to `append`.
fn passage(function: Function, body: &[Instruction], append: Option<Function>) -> Option<Passage> {
    let (start, end) = (function.address, function.end()?);
    let goes_on = |it: &Instruction| {
        it.flow_control() == FlowControl::UnconditionalBranch
            && append.is_some_and(|append| it.near_branch_target() == append.address)
    };
    let returns = site::returns(body);
    let is_proven =
        !returns.is_empty() && !body.iter().any(|it| leaves(it, start, end) && !goes_on(it));
    is_proven.then_some(Passage { entry: start, returns })
}

/// Where in the state the queue of decrypted bytes is: `current_io_state` looks at two queues, and
/// the other one is that of encrypted bytes, to which what was encrypted is added.
fn plaintext_buffer(io_state: &[Instruction], fragment: &[Instruction]) -> Option<u64> {
    // The first argument says where the result goes.
    let looked_at = queues(&words(io_state, Register::RSI));
    let (kept, state) = keeper(fragment, Register::RDI)?;
    let added_to = queues(&words(fragment.get(kept + 1..)?, state));
    let [one, other] = looked_at.as_slice() else { return None };
    match (added_to.contains(one), added_to.contains(other)) {
        (true, false) => Some(*other),
        (false, true) => Some(*one),
        _ => None,
    }
}

/// Where in a buffer its queue is: `read` takes bytes from the queue of the buffer whose address
/// begins its first argument.
fn queue_in_buffer(read: &[Instruction]) -> Option<u64> {
    let loads_it = |instruction: &Instruction| {
        instruction.code() == Code::Mov_r64_rm64
            && instruction.op1_kind() == OpKind::Memory
            && instruction.memory_base() == Register::RDI
            && instruction.memory_index() == Register::None
            && instruction.memory_displacement64() == 0
            && KEPT.contains(&instruction.op0_register())
    };
    let at = read.iter().position(loads_it)?;
    let buffer = read[at].op0_register();
    let &[queue] = queues(&words(&read[at + 1..], buffer)).as_slice() else { return None };
    Some(queue)
}

/// Which 64-bit words after the address in `register` are read or written, until it holds another.
fn words(body: &[Instruction], register: Register) -> BTreeSet<u64> {
    const WORD: usize = 8;
    let mut words = BTreeSet::new();
    for instruction in body {
        let is_word = instruction.op_kinds().any(|kind| kind == OpKind::Memory)
            && instruction.memory_base() == register
            && instruction.memory_index() == Register::None
            && instruction.memory_size().size() == WORD;
        if is_word {
            words.insert(instruction.memory_displacement64());
        }
        if overwrites(instruction, register) {
            break;
        }
    }
    words
}

/// Where queues are: a `VecDeque` is four words, its capacity, its memory, its first item, its
/// length, in whatever order.
fn queues(words: &BTreeSet<u64>) -> Vec<u64> {
    let is_queue = |&&word: &&u64| {
        // Displacements of other code may be negative.
        let holds = |offset: u64| words.contains(&word.wrapping_add(offset));
        (1..4).all(|n| holds(8 * n)) && !holds(32) && !holds(8_u64.wrapping_neg())
    };
    words.iter().filter(is_queue).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_words_that_stand_alone_are_a_queue() {
        let found = |words: &[u64]| queues(&words.iter().copied().collect());
        assert_eq!(found(&[0x30, 0x58, 0x60, 0x68, 0x70, 0xb8, 0xc0, 0xc8, 0xd0]), [0x58, 0xb8]);
        assert_eq!(found(&[0x58, 0x60, 0x70]), [0; 0]);
        assert_eq!(found(&[0x10, 0x18, 0x20, 0x28, 0x30]), [0; 0], "which four?");
        assert_eq!(found(&[0, 8, 16, 24]), [0]);
        assert_eq!(found(&[u64::MAX - 8, u64::MAX]), [0; 0]);
    }
}
