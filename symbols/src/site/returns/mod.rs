//! Where calls of a function return: instructions to probe instead of a return probe.
//!
//! A return probe changes the return address on the stack. The kernel forgets such a change when it
//! meets a stack pointer below it, so a program that switches stacks inside the call dies. A probe
//! on an instruction that every return passes does no such harm. There are two places to look:
//!
//! - the function itself ([`own`]): the ways to each of its `ret` instructions, and to those of the
//!   functions that it ends by jumping to ([`Exits`]);
//! - its callers ([`after_call`]): the instruction behind each call, if all calls are known.
//!
//! An instruction near there that the kernel emulates is preferred; the others are single-stepped.
//! The BPF program must still distinguish calls by the stack pointer: a `ret` may be shared
//! with functions that are not probed.

mod exits;
mod straight;

use std::collections::BTreeSet;

use iced_x86::{FlowControl, Instruction, Mnemonic, Register};

pub(super) use self::exits::Exits;
use self::straight::Straight;
use super::emulated::{Emulation, may_be_stepped};
use super::value::Method;
use super::walk::{Walk, decode};
use super::{Text, body, jumps_out};

/// An instruction that a returning call passes once, with the function's result in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReturnSite {
    pub(crate) address: u64,
    /// The instruction's name, if every kernel emulates it.
    pub(crate) emulated: Option<&'static str>,
    /// The register with the result, as machine code numbers it: 0 is RAX. `None` where only calls
    /// return that have failed.
    pub(crate) register: Option<u8>,
    /// How far the stack pointer is above the one at the function's first instruction, in bytes.
    pub(crate) distance: i32,
    /// The call returns only if this condition holds for the flags, as machine code numbers it
    /// ("tttn" in Intel's manual, volume 2, appendix B.1.4.7). Else it passes here and goes on.
    pub(crate) condition: Option<u8>,
    /// Calls of other functions return here as well.
    pub(crate) is_shared: bool,
}

impl ReturnSite {
    fn ret(address: u64) -> Self {
        Self {
            address,
            emulated: None,
            register: Some(0),
            distance: 0,
            condition: None,
            is_shared: false,
        }
    }
}

/// Why the places where a function returns are not all known; a clause for people.
pub(crate) type Unknown = &'static str;

const NO_END: Unknown = "nothing says where it ends";
const POINTER: Unknown = "it ends in a jump through a pointer";
const UNDECODED: Unknown = "its code cannot be followed";
const REFUSED: Unknown = "the kernel takes no probe where it returns";

/// Most functions that are followed from one by jumps out of it.
const MAX_PARTS: usize = 16;
/// Most instructions between an emulated one and the return, or the call.
const MAX_NEAR: usize = 24;

/// Every place where the function at `entry` returns; `end` is where it ends, if known.
pub(crate) fn own(
    text: &impl Text,
    entry: u64,
    end: Option<u64>,
) -> Result<Vec<ReturnSite>, Unknown> {
    through(text, entry, end, |_| None)
}

/// The same for a function that ends by jumping to a method of its first argument: `methods` names
/// all functions that it may be.
pub(crate) fn through(
    text: &impl Text,
    entry: u64,
    end: Option<u64>,
    methods: impl Fn(Method) -> Option<Vec<u64>>,
) -> Result<Vec<ReturnSite>, Unknown> {
    let mut exits = Exits::of(entry);
    let walked = Walk::new(text, entry, end).exits(&mut exits);
    if let Some(why) = exits.blocked {
        return Err(why);
    }
    let mut sites = match walked {
        Ok(()) => exits.sites(text),
        Err(_) => return swept(text, entry, end),
    };
    for &method in &exits.methods {
        for function in methods(method).ok_or(POINTER)? {
            let shared = own(text, function, None)?.into_iter();
            sites.extend(shared.map(|site| ReturnSite { is_shared: true, ..site }));
        }
    }
    if sites.is_empty() {
        return swept(text, entry, end);
    }
    sites.sort_unstable();
    sites.dedup();
    taken_by_kernel(text, sites)
}

/// All of these sites, if the kernel takes a probe on each.
fn taken_by_kernel(text: &impl Text, sites: Vec<ReturnSite>) -> Result<Vec<ReturnSite>, Unknown> {
    let is_sound = |site: &ReturnSite| {
        decode(text, site.address).is_some_and(|instruction| is_taken(text, &instruction))
    };
    if sites.iter().all(is_sound) { Ok(sites) } else { Err(REFUSED) }
}

/// Every `ret` in the bytes of the function and of the functions that it jumps to. This is for code
/// that a walk cannot follow, such as jumps through tables.
fn swept(text: &impl Text, entry: u64, end: Option<u64>) -> Result<Vec<ReturnSite>, Unknown> {
    let mut parts: Vec<(u64, Option<u64>)> = vec![(entry, end)];
    let mut returns = BTreeSet::new();
    let mut next = 0;
    while let Some(&(start, end)) = parts.get(next) {
        next += 1;
        let end = end.or_else(|| text.function_end(start)).ok_or(NO_END)?;
        let code = body(text, start, end).ok_or(UNDECODED)?;
        for (at, instruction) in code.iter().enumerate() {
            match instruction.flow_control() {
                FlowControl::Return if instruction.mnemonic() != Mnemonic::Ret => {
                    return Err(UNDECODED);
                }
                FlowControl::Return => {
                    returns.insert(instruction.ip());
                }
                FlowControl::IndirectBranch
                    if !is_table(code.get(..at).unwrap_or_default(), instruction) =>
                {
                    return Err(POINTER);
                }
                _ if jumps_out(instruction, start, end) => {
                    let target = text.callee(instruction.near_branch_target());
                    let part = text.function_start(target).ok_or(NO_END)?;
                    if !parts.iter().any(|&(start, _)| start == part) {
                        parts.push((part, None));
                    }
                }
                _ => {}
            }
        }
        if parts.len() > MAX_PARTS {
            return Err(UNDECODED);
        }
    }
    if returns.is_empty() {
        return Err("it has no instruction that returns");
    }
    taken_by_kernel(text, returns.into_iter().map(ReturnSite::ret).collect())
}

/// Whether a jump goes through a table of the function's own, as a `switch` does: its target was
/// computed from an index.
fn is_table(before: &[Instruction], jump: &Instruction) -> bool {
    const NEAR: usize = 8;
    let is_indexed = |it: &Instruction| it.memory_index() != Register::None;
    is_indexed(jump)
        || before
            .iter()
            .rev()
            .take(NEAR)
            .any(|it| it.mnemonic() == Mnemonic::Movsxd && is_indexed(it))
}

/// The site for calls that return to `next`, the instruction behind the call. There, the `kept`
/// registers hold what they hold during the call.
pub(crate) fn after_call(text: &impl Text, next: u64, kept: &[Register]) -> Option<ReturnSite> {
    /// The call has pushed it, and `ret` has popped it.
    const RETURN_ADDRESS: i64 = 8;
    let site = |address, emulated, moved: i64| {
        let distance = i32::try_from(RETURN_ADDRESS.checked_add(moved)?).ok()?;
        Some(ReturnSite { emulated, distance, ..ReturnSite::ret(address) })
    };
    let mut straight = Straight::new();
    let mut at = next;
    for _ in 0..MAX_NEAR {
        let Some(instruction) = decode(text, at) else { break };
        let mut needed = kept.iter().chain([&Register::RAX]);
        if needed.any(|&register| !straight.keeps(register)) {
            break;
        }
        if let Some(emulated) = emulated(text, &instruction) {
            return site(at, Some(emulated), straight.moved()?);
        }
        if straight.apply(&instruction).is_none() {
            break;
        }
        at = instruction.next_ip();
    }
    is_taken(text, &decode(text, next)?).then_some(())?;
    site(next, None, 0)
}

/// Whether the kernel is known to take a probe on this instruction.
fn is_taken(text: &impl Text, instruction: &Instruction) -> bool {
    let bytes = text.bytes(instruction.ip()).and_then(|code| code.get(..instruction.len()));
    emulated(text, instruction).is_some()
        || bytes.is_some_and(|bytes| may_be_stepped(bytes, instruction))
}

/// The name of an instruction that every kernel emulates.
fn emulated(text: &impl Text, instruction: &Instruction) -> Option<&'static str> {
    let bytes = text.bytes(instruction.ip())?.get(..instruction.len())?;
    match Emulation::of(bytes)? {
        Emulation::Always(name) => Some(name),
        Emulation::Recent(_) | Emulation::Stepped => None,
    }
}

#[cfg(test)]
mod tests;
