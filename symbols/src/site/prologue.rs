//! A cheap instruction near the start of a function that is as good as the first.
//!
//! The site must be passed exactly once by every call, with the arguments still in registers. For a
//! return probe the stack pointer must be what it was at entry, because the kernel takes the
//! return address from the top of the stack. Where the kernel takes no probe on the first instruction
//! ([`takes_probe_at`]), a site with another stack pointer is better than none, and so is a slow one.

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic};

use super::emulated::{Emulation, takes_probe};
use super::state::State;
use super::value::Value;
use super::walk::{Walk, decode};
use super::{Roles, Text};
use crate::plan::ArgIndex;

/// Most instructions of a prologue that are looked at.
const MAX_PROLOGUE: usize = 16;

/// Where the calls of a function that moves plaintext can be probed, at entry and at return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransferSite {
    pub(crate) address: u64,
    /// Where the arguments are at the site.
    pub(crate) roles: Roles,
    pub(crate) emulation: Emulation,
    /// How far the stack pointer is above the one at entry, in bytes; at most 0.
    pub(crate) stack_change: i32,
}

/// Where the calls of a function can be probed at entry, with its first argument in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReleaseSite {
    pub(crate) address: u64,
    pub(crate) emulation: Emulation,
}

/// Looks for a site in the function at `entry`, whose arguments are `roles`; `end` is where the
/// function ends, if known.
pub(crate) fn transfer_site(
    text: &dyn Text,
    entry: u64,
    end: Option<u64>,
    roles: Roles,
) -> Option<TransferSite> {
    best_site(text, entry, end, Emulation::of, |address, state, emulation| {
        state.stack_is_as_at_entry().then_some(())?;
        Some(TransferSite { address, roles: locate(roles, state)?, emulation, stack_change: 0 })
    })
}

/// The same where the kernel takes no probe on the first instruction. Such a function can have no return
/// probe unless the stack pointer is what it was.
pub(crate) fn later_transfer_site(
    text: &dyn Text,
    entry: u64,
    end: Option<u64>,
    roles: Roles,
) -> Option<TransferSite> {
    best_site(text, entry, end, Emulation::of_any, |address, state, emulation| {
        let stack_change = i32::try_from(state.stack_change()?).ok().filter(|it| *it <= 0)?;
        Some(TransferSite { address, roles: locate(roles, state)?, emulation, stack_change })
    })
}

/// Looks for a site in the function at `entry` that needs no return probe.
pub(crate) fn release_site(text: &dyn Text, entry: u64, end: Option<u64>) -> Option<ReleaseSite> {
    best_site(text, entry, end, Emulation::of, released)
}

/// The same where the kernel takes no probe on the first instruction.
pub(crate) fn later_release_site(
    text: &dyn Text,
    entry: u64,
    end: Option<u64>,
) -> Option<ReleaseSite> {
    best_site(text, entry, end, Emulation::of_any, released)
}

fn released(address: u64, state: &State, emulation: Emulation) -> Option<ReleaseSite> {
    let in_place = state.arguments()[0] == Value::Arg(0);
    in_place.then_some(ReleaseSite { address, emulation })
}

/// Whether there is an instruction at `address` on which the kernel takes a probe.
pub(crate) fn takes_probe_at(text: &dyn Text, address: u64) -> bool {
    let bytes = || text.bytes(address)?.get(..decode(text, address)?.len());
    bytes().is_some_and(takes_probe)
}

/// The first of the cheapest instructions for which `site` has an answer; `class` says how each is run.
fn best_site<S>(
    text: &dyn Text,
    entry: u64,
    end: Option<u64>,
    class: impl Fn(&[u8]) -> Option<Emulation>,
    site: impl Fn(u64, &State, Emulation) -> Option<S>,
) -> Option<S> {
    let mut info = InstructionInfoFactory::new();
    let mut state = State::at_entry();
    let mut address = entry;
    let mut plain = true;
    let mut best: Option<(Emulation, S)> = None;
    for _ in 0..MAX_PROLOGUE {
        let Some(instruction) = decode(text, address).and_then(|it| inside(end, it)) else { break };
        if instruction.flow_control() == FlowControl::Return {
            break;
        }
        let emulation = text.bytes(address)?.get(..instruction.len()).and_then(&class);
        let here = emulation
            .filter(|it| best.as_ref().is_none_or(|(known, _)| it < known))
            .and_then(|emulation| Some((emulation, site(address, &state, emulation)?)))
            .filter(|_| is_passed_once(text, entry, end, address, plain));
        best = here.or(best);
        if matches!(best, Some((Emulation::Always(_), _))) {
            break;
        }
        let goes_on = instruction.flow_control() == FlowControl::Next;
        if !goes_on || state.apply(&instruction, &mut info).is_none() {
            break;
        }
        plain &= matches!(instruction.mnemonic(), Mnemonic::Endbr64 | Mnemonic::Nop);
        address = instruction.next_ip();
    }
    best.map(|(_, site)| site)
}

/// `None` for an instruction that is not wholly before `end`.
fn inside(end: Option<u64>, instruction: Instruction) -> Option<Instruction> {
    end.is_none_or(|end| instruction.next_ip() <= end).then_some(instruction)
}

/// Whether control gets to `site` only along the straight line from `entry`.
///
/// Where that cannot be proven, it is taken for granted behind nothing but no-ops (`plain`): a jump
/// to there would be as good as a jump to the entry.
fn is_passed_once(text: &dyn Text, entry: u64, end: Option<u64>, site: u64, plain: bool) -> bool {
    if site == entry {
        return true;
    }
    let mut skipped = false;
    let walked =
        Walk::new(text, entry, end).targets(|target| skipped |= entry < target && target <= site);
    !skipped && (walked.is_ok() || plain)
}

/// The registers in which the arguments are now; `None` if one of them is gone.
fn locate(roles: Roles, state: &State) -> Option<Roles> {
    let arguments = state.arguments();
    let find = |role: ArgIndex, wanted: &dyn Fn(Value) -> bool| {
        let in_place = arguments.get(usize::from(role.get())).is_some_and(|&value| wanted(value));
        if in_place {
            return Some(role);
        }
        let index = arguments.iter().position(|&value| wanted(value))?;
        ArgIndex::new(u8::try_from(index).ok()?)
    };
    let whole = |role: ArgIndex| find(role, &|value| value == Value::Arg(role.get()));
    // Lengths are often 32 bits wide and extended on the way.
    let length = |value| match value {
        Value::Arg(index) | Value::ArgLow(index) => index == roles.length.get(),
        _ => false,
    };
    Some(Roles {
        handle: whole(roles.handle)?,
        buffer: whole(roles.buffer)?,
        length: find(roles.length, &length)?,
        count: match roles.count {
            Some(count) => Some(whole(count)?),
            None => None,
        },
    })
}
