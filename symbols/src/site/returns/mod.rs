//! Where calls of a function return: instructions to probe instead of a return probe.
//!
//! A return probe changes the return address on the stack. The kernel forgets such a change when it
//! meets a stack pointer below it, so a program that switches stacks inside the call dies. A probe
//! on an instruction that every return passes does no such harm. There are two places to look:
//!
//! - the function itself ([`own`]): each of its `ret` instructions, and those of the functions
//!   that it ends by jumping to;
//! - its callers ([`after_call`]): the instruction behind each call, if all calls are known.
//!
//! An instruction near there that the kernel emulates is preferred; the others are single-stepped.
//! The BPF program must still distinguish calls by the stack pointer: a `ret` may be shared
//! with functions that are not probed.

mod straight;

use std::collections::{BTreeSet, HashMap};

use iced_x86::{ConditionCode, FlowControl, Instruction, Mnemonic, Register};

use self::straight::Straight;
use super::emulated::Emulation;
use super::walk::{Walk, decode};
use super::{Text, body, jumps_out};

/// An instruction that a returning call passes once, with the function's result in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReturnSite {
    pub(crate) address: u64,
    /// The instruction's name, if every kernel emulates it.
    pub(crate) emulated: Option<&'static str>,
    /// The register with the result, as machine code numbers it: 0 is RAX.
    pub(crate) register: u8,
    /// How far the stack pointer is above the one at the function's first instruction, in bytes.
    pub(crate) distance: i32,
}

impl ReturnSite {
    fn ret(address: u64) -> Self {
        Self { address, emulated: None, register: 0, distance: 0 }
    }
}

/// Why the places where a function returns are not all known; a clause for people.
pub(crate) type Unknown = &'static str;

const NO_END: Unknown = "nothing says where it ends";
const POINTER: Unknown = "it ends in a jump through a pointer";
const UNDECODED: Unknown = "its code cannot be followed";

/// Registers in which a result is looked for: where it is returned, and those that are kept across
/// calls.
const RESULTS: [Register; 7] = [
    Register::RAX,
    Register::RBX,
    Register::RBP,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

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
    let mut found = Exits::default();
    if Walk::new(text, entry, end).exits(&mut found).is_ok() && !found.returns.is_empty() {
        return Ok(found.sites(text));
    }
    if let Some(why) = found.blocked {
        return Err(why);
    }
    swept(text, entry, end)
}

/// What a walk over a whole function shows of how it is left.
#[derive(Default)]
pub(super) struct Exits {
    /// Instructions that return.
    pub(super) returns: BTreeSet<u64>,
    /// Targets of jumps.
    pub(super) targets: BTreeSet<u64>,
    /// Jumps that are taken where the stack was overwritten, and how far the stack pointer is above
    /// its value at the function's entry.
    pub(super) stack_checks: HashMap<u64, i64>,
    /// There is a return that will not be found.
    pub(super) blocked: Option<Unknown>,
}

impl Exits {
    /// A jump through a pointer with the stack as it was at entry.
    pub(super) fn tail_jump(&mut self) {
        self.blocked = Some(POINTER);
    }

    /// A site for each return: the check of the stack before it, or else the return itself.
    fn sites(&self, text: &impl Text) -> Vec<ReturnSite> {
        let mut left = self.returns.clone();
        let mut sites = Vec::new();
        for (&jump, &distance) in &self.stack_checks {
            if let Some((site, returned)) = self.check_before_return(text, jump, distance) {
                left.remove(&returned);
                sites.push(site);
            }
        }
        sites.extend(left.into_iter().map(ReturnSite::ret));
        sites.sort_unstable();
        sites
    }

    /// The site at the jump that checks the stack, if nothing but a return follows, and that return.
    fn check_before_return(
        &self,
        text: &impl Text,
        jump: u64,
        distance: i64,
    ) -> Option<(ReturnSite, u64)> {
        let check = decode(text, jump)?;
        let emulated = emulated(text, &check)?;
        (check.condition_code() == ConditionCode::ne).then_some(())?;
        let mut straight = Straight::new();
        let mut at = check.next_ip();
        for _ in 0..MAX_NEAR {
            if self.targets.contains(&at) {
                return None;
            }
            let instruction = decode(text, at)?;
            if self.returns.contains(&at) {
                let register = straight.origin(Register::RAX).filter(|it| RESULTS.contains(it))?;
                let register = u8::try_from(register.number()).ok()?;
                let distance = i32::try_from(distance).ok()?;
                let site =
                    ReturnSite { address: jump, emulated: Some(emulated), register, distance };
                return Some((site, at));
            }
            straight.apply(&instruction)?;
            at = instruction.next_ip();
        }
        None
    }
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
    Ok(returns.into_iter().map(ReturnSite::ret).collect())
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
        Some(ReturnSite { address, emulated, register: 0, distance })
    };
    let mut straight = Straight::new();
    let mut at = next;
    for _ in 0..MAX_NEAR {
        let Some(instruction) = decode(text, at) else { break };
        let mut needed = kept.iter().chain([&Register::RAX]);
        if needed.any(|&register| straight.origin(register) != Some(register)) {
            break;
        }
        if let Some(emulated) = emulated(text, &instruction) {
            return site(at, Some(emulated), straight.moved());
        }
        if straight.apply(&instruction).is_none() {
            break;
        }
        at = instruction.next_ip();
    }
    decode(text, next)?;
    site(next, None, 0)
}

/// The name of an instruction that every kernel emulates.
fn emulated(text: &impl Text, instruction: &Instruction) -> Option<&'static str> {
    let bytes = text.bytes(instruction.ip())?.get(..instruction.len())?;
    match Emulation::of(bytes)? {
        Emulation::Always(name) => Some(name),
        Emulation::Recent(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::*;

    fn returns(code: &[&[u8]]) -> Result<Vec<ReturnSite>, Unknown> {
        own(&Code(code.concat()), Code::ENTRY, None)
    }

    /// `sub $24, %rsp`
    const FRAME: &[u8] = &[0x48, 0x83, 0xec, 0x18];
    /// `add $24, %rsp; ret`
    const LEAVE: &[u8] = &[0x48, 0x83, 0xc4, 0x18, 0xc3];
    /// `sub %fs:0x28, %rdx`
    const CHECK: &[u8] = &[0x64, 0x48, 0x2b, 0x14, 0x25, 0x28, 0, 0, 0];
    /// `call` of what is behind the function, which never returns.
    const FAIL: &[u8] = &[0xe8, 0, 1, 0, 0];

    #[test]
    fn every_return_of_a_function_is_found() {
        // test %edi, %edi; je +1; ret; ret
        let sites = returns(&[&[0x85, 0xff, 0x74, 0x01, 0xc3, 0xc3]]);
        let at = |address| ReturnSite::ret(Code::ENTRY + address);
        assert_eq!(sites, Ok(vec![at(4), at(5)]));
    }

    #[test]
    fn the_check_of_the_stack_stands_for_the_return_behind_it() {
        // mov %ebx, %eax; jne to the failure
        let jump: &[u8] = &[0x75, 0x05];
        let code = [FRAME, CHECK, jump, LEAVE, FAIL];
        let site = ReturnSite {
            address: Code::ENTRY + 13,
            emulated: Some("conditional jump"),
            register: 0,
            distance: -24,
        };
        assert_eq!(returns(&code), Ok(vec![site]));
        // mov %ebx, %eax behind it: the result is in RBX at the check.
        let code = [FRAME, CHECK, &[0x75, 0x07], &[0x89, 0xd8], LEAVE, FAIL];
        assert_eq!(returns(&code), Ok(vec![ReturnSite { register: 3, ..site }]));
        // mov %edx, %eax: it is in no register that is known, so the return itself is the site.
        let code = [FRAME, CHECK, &[0x75, 0x07], &[0x89, 0xd0], LEAVE, FAIL];
        assert_eq!(returns(&code), Ok(vec![ReturnSite::ret(Code::ENTRY + 21)]));
        // Someone jumps to behind the check.
        let into: &[u8] = &[0x74, 0x0b];
        let code = [FRAME, into, CHECK, jump, LEAVE, FAIL];
        assert_eq!(returns(&code), Ok(vec![ReturnSite::ret(Code::ENTRY + 21)]));
    }

    #[test]
    fn a_function_that_ends_in_a_jump_through_a_pointer_returns_elsewhere() {
        // mov (%rdi), %rax; jmp *0x10(%rax)
        assert_eq!(returns(&[&[0x48, 0x8b, 0x07, 0xff, 0x60, 0x10]]), Err(POINTER));
        // The same with a frame, as for a switch, but not through a table.
        assert_eq!(returns(&[FRAME, &[0xff, 0xe0], LEAVE]), Err(POINTER));
        // movslq (%rdx,%rax,4), %rax; add %rdx, %rax; jmp *%rax
        let table: &[u8] = &[0x48, 0x63, 0x04, 0x82, 0x48, 0x01, 0xd0, 0xff, 0xe0];
        let sites = returns(&[FRAME, table, LEAVE]);
        assert_eq!(sites, Ok(vec![ReturnSite::ret(Code::ENTRY + 17)]));
    }

    #[test]
    fn behind_a_call_the_first_emulated_instruction_is_the_site() {
        let site = |code: &[u8], kept: &[Register]| {
            after_call(&Code(code.to_vec()), Code::ENTRY, kept).expect("code")
        };
        // pop %rcx; test %eax, %eax; jle
        let found = site(&[0x59, 0x85, 0xc0, 0x7e, 0x01], &[Register::RBX]);
        assert_eq!((found.address, found.distance), (Code::ENTRY + 3, 16));
        assert_eq!(found.emulated, Some("conditional jump"));
        // xor %eax, %eax before the jump: the status is gone.
        let found = site(&[0x31, 0xc0, 0x7e, 0x01], &[]);
        assert_eq!((found.address, found.distance, found.emulated), (Code::ENTRY, 8, None));
        // pop %rbx before it.
        let found = site(&[0x5b, 0x7e, 0x01], &[Register::RBX]);
        assert_eq!((found.address, found.distance, found.emulated), (Code::ENTRY, 8, None));
    }
}
