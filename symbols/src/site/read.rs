//! The place in OpenSSL where a whole read is known: one probe instead of two.
//!
//! `ssl3_read_internal(s, buf, len, peek, readbytes)` in ssl/s3_lib.c, through which every read of a
//! TLS connection goes, calls a method of the protocol through a table:
//! `ssl_read_bytes(s, 23, NULL, buf, len, peek, readbytes)`. If the result is -1 it may repeat the
//! call with the same arguments, so behind the first call all of them are still in registers. There
//! stands a conditional jump that depends on the result, and that every read passes. Compilers may
//! make two functions of it, one for reading and one for peeking; then the one for reading is wanted.

use iced_x86::{FlowControl, Instruction, OpKind, Register};

use super::Text;
use super::returns::{ReturnSite, after_call};
use super::state::State;
use super::value::Value;
use super::walk::Walk;

/// An instruction that a read passes once, with the status in RAX. Registers are numbered as in
/// machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadSite {
    pub(crate) address: u64,
    pub(crate) emulated: Option<&'static str>,
    pub(crate) handle: u8,
    pub(crate) buffer: u8,
    /// Address of the count.
    pub(crate) count: u8,
    /// Not zero for a peek, whose bytes come again.
    pub(crate) peek: Option<u8>,
}

/// What is behind a call of the protocol's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Behind {
    next: u64,
    /// Which method of the table.
    method: u64,
    handle: Register,
    buffer: Register,
    count: Register,
    peek: Option<Register>,
}

/// The sites in the function at `entry`, if it is the one that reads: behind the first call, and
/// behind the repeated one.
pub(crate) fn read_sites(text: &impl Text, entry: u64) -> Option<[ReadSite; 2]> {
    let mut calls: Vec<Behind> = Vec::new();
    let walked = Walk::new(text, entry, None).instructions(|instruction, state| {
        // A third call of the kind proves that it is another function.
        if calls.len() < 3 {
            calls.extend(behind(instruction, state));
        }
    });
    walked.ok()?;
    calls.sort_by_key(|call| call.next);
    let &[first, again] = calls.as_slice() else { return None };
    if (Behind { next: again.next, ..first }) != again {
        return None;
    }
    let [first, again] = [site(text, &first)?, site(text, &again)?];
    first.emulated.is_some().then_some([first, again])
}

/// What is known behind this instruction, if it calls the method with a reader's arguments.
fn behind(instruction: &Instruction, state: &State) -> Option<Behind> {
    let is_method = instruction.flow_control() == FlowControl::IndirectCall
        && instruction.op0_kind() == OpKind::Memory
        && instruction.memory_index() == Register::None;
    let [Value::Arg(0), _, _, Value::Arg(1), Value::Arg(2), peek] = state.arguments() else {
        return None;
    };
    let (count, peek) = match peek {
        Value::Arg(3) | Value::ArgLow(3) => (4, Some(3)),
        // The form that never peeks: a constant 0.
        Value::NotPositive => (3, None),
        _ => return None,
    };
    (is_method && state.top_of_stack() == Value::Arg(count)).then_some(())?;
    let peek = match peek {
        Some(peek) => Some(kept(state, |it| it == Value::Arg(peek) || it == Value::ArgLow(peek))?),
        None => None,
    };
    Some(Behind {
        next: instruction.next_ip(),
        method: instruction.memory_displacement64(),
        handle: kept(state, |it| it == Value::Arg(0))?,
        buffer: kept(state, |it| it == Value::Arg(1))?,
        count: kept(state, |it| it == Value::Arg(count))?,
        peek,
    })
}

/// A register that a called function leaves as it is, and that holds what is wanted.
fn kept(state: &State, wanted: impl Fn(Value) -> bool) -> Option<Register> {
    const KEPT: [Register; 6] =
        [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];
    KEPT.into_iter().find(|&register| state.register(register).is_some_and(&wanted))
}

/// The site behind a call, where everything needed is still in its register.
fn site(text: &impl Text, behind: &Behind) -> Option<ReadSite> {
    let needed = [Some(behind.handle), Some(behind.buffer), Some(behind.count), behind.peek];
    let needed: Vec<Register> = needed.into_iter().flatten().collect();
    let ReturnSite { address, emulated, .. } = after_call(text, behind.next, &needed)?;
    let number = |register: Register| u8::try_from(register.number()).ok();
    Some(ReadSite {
        address,
        emulated,
        handle: number(behind.handle)?,
        buffer: number(behind.buffer)?,
        count: number(behind.count)?,
        peek: match behind.peek {
            Some(peek) => Some(number(peek)?),
            None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::*;

    /// Keeps the arguments (RBX: s, RBP: buf, R12: len, R13: peek, R14: readbytes), calls the method,
    /// compares the result with -1, jumps, returns; there it calls the method again and jumps back.
    const READER: [u8; 117] = [
        0x41, 0x56, 0x4d, 0x89, 0xc6, 0x41, 0x55, 0x41, 0x89, 0xcd, 0x41, 0x54, 0x49, 0x89, 0xd4,
        0x55, 0x48, 0x89, 0xf5, 0x53, 0x48, 0x89, 0xfb, 0x48, 0x83, 0xec, 0x10, 0x48, 0x8b, 0x43,
        0x08, 0x48, 0x83, 0xec, 0x08, 0x48, 0x89, 0xe9, 0xbe, 0x17, 0x00, 0x00, 0x00, 0x45, 0x89,
        0xe9, 0x4d, 0x89, 0xe0, 0x31, 0xd2, 0x48, 0x89, 0xdf, 0x41, 0x56, 0xff, 0x50, 0x68, 0x59,
        0x5e, 0x83, 0xf8, 0xff, 0x74, 0x0d, 0x48, 0x83, 0xc4, 0x10, 0x5b, 0x5d, 0x41, 0x5c, 0x41,
        0x5d, 0x41, 0x5e, 0xc3, 0x48, 0x8b, 0x43, 0x08, 0x48, 0x83, 0xec, 0x08, 0x31, 0xd2, 0x41,
        0x56, 0x45, 0x89, 0xe9, 0x4d, 0x89, 0xe0, 0x48, 0x89, 0xe9, 0xbe, 0x17, 0x00, 0x00, 0x00,
        0x48, 0x89, 0xdf, 0xff, 0x50, 0x68, 0x31, 0xf6, 0x5a, 0x5a, 0xeb, 0xcd,
    ];

    fn sites(code: &[u8]) -> Option<[ReadSite; 2]> {
        read_sites(&Code(code.to_vec()), Code::ENTRY)
    }

    #[test]
    fn a_read_is_known_behind_both_calls_of_the_method() {
        let [first, again] = sites(&READER).expect("the function that reads");
        let expected = ReadSite {
            address: Code::ENTRY + 0x40,
            emulated: Some("conditional jump"),
            handle: 3,
            buffer: 5,
            count: 14,
            peek: Some(13),
        };
        assert_eq!(first, expected);
        let again_expected =
            ReadSite { address: Code::ENTRY + 0x73, emulated: Some("jump"), ..expected };
        assert_eq!(again, again_expected);
    }

    #[test]
    fn a_form_that_never_peeks_has_no_register_that_says_so() {
        let mut code = READER;
        // The count is the fourth argument: mov %rcx, %r14. The constant: xor %r9d, %r9d.
        code[2..5].copy_from_slice(&[0x49, 0x89, 0xce]);
        for at in [0x2b, 0x5b] {
            code[at..at + 3].copy_from_slice(&[0x45, 0x31, 0xc9]);
        }
        let [first, _] = sites(&code).expect("the function that reads");
        assert_eq!((first.count, first.peek), (14, None));
        // The form that always peeks: or $1, %r9d is no constant 0.
        for at in [0x2b, 0x5b] {
            code[at..at + 3].copy_from_slice(&[0x45, 0x09, 0xc9]);
        }
        assert_eq!(sites(&code), None);
    }

    /// Whatever byte is another one: a site that is found has the registers of the arguments.
    #[test]
    fn code_with_other_arguments_or_another_method_is_not_it() {
        for (at, byte) in [
            (0x04, 0xce), // the count is the second argument
            (0x12, 0xd5), // the buffer is the length
            (0x25, 0xd9), // the method gets s as its buffer
            (0x3a, 0x60), // another method than again
            (0x39, 0xd0), // a jump through a register
            (0x40, 0xc3), // no jump behind the call
        ] {
            let mut code = READER;
            code[at] = byte;
            assert_eq!(sites(&code), None, "{at:#x}");
        }
        // Without the second call.
        for end in 0..0x6f {
            assert_eq!(sites(&READER[..end]), None, "{end}");
        }
    }
}
