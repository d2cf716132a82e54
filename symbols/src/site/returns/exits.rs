//! How a function is left: the ways that lead to each of its returns.
//!
//! A `ret` is single-stepped. But compilers let the ways through a function meet in front of one
//! `ret`, and most of them get there by a jump, which the kernel emulates. If there is an instruction
//! on each way that a call passes only when it returns that way, these stand for the `ret`. What the
//! function's result is there follows from the instructions behind it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use iced_x86::{ConditionCode, FlowControl, Instruction, Register};

use super::straight::{Origin, Straight};
use super::{MAX_NEAR, POINTER, ReturnSite, Text, Unknown, emulated, is_taken};
use crate::site::value::Method;
use crate::site::walk::decode;

/// Most ways to one return. Each is a probe of its own.
const MAX_WAYS: usize = 32;
/// Most of them that calls may pass without returning. Each costs them a probe's hit.
const MAX_CONDITIONS: usize = 4;

/// What a walk over a whole function shows of how it is left.
#[derive(Default)]
pub(in crate::site) struct Exits {
    entry: u64,
    /// Instructions that return.
    returns: BTreeSet<u64>,
    /// For each instruction, those from which control jumps to it.
    jumps: HashMap<u64, Vec<u64>>,
    /// For each instruction, the one before it, if control goes on from there.
    previous: HashMap<u64, u64>,
    /// How far the stack pointer is above its value at the function's entry.
    distances: HashMap<u64, i64>,
    /// Jumps that check the stack: where it was overwritten, the other way never returns.
    stack_checks: HashSet<u64>,
    /// Methods of its first argument that the function ends by jumping to.
    pub(super) methods: BTreeSet<Method>,
    /// There is a return that will not be found.
    pub(super) blocked: Option<Unknown>,
}

impl Exits {
    /// Nothing is known yet of the function at `entry`.
    pub(super) fn of(entry: u64) -> Self {
        Self { entry, ..Self::default() }
    }

    /// Control comes to this instruction with the stack pointer `distance` bytes above the one at
    /// entry. If it is a jump, it leads to `target`; if it checks the stack, one of its ways never
    /// returns.
    pub(in crate::site) fn visit(
        &mut self,
        instruction: &Instruction,
        target: Option<u64>,
        distance: i64,
        checks_stack: bool,
    ) {
        let (at, next) = (instruction.ip(), instruction.next_ip());
        self.distances.insert(at, distance);
        let (mut jumps, mut goes_on) = match instruction.flow_control() {
            FlowControl::UnconditionalBranch => (true, false),
            FlowControl::ConditionalBranch => (true, true),
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => (false, true),
            _ => (false, false),
        };
        if checks_stack && jumps && goes_on {
            jumps = instruction.condition_code() == ConditionCode::e;
            goes_on = !jumps;
            self.stack_checks.insert(at);
        }
        if let Some(target) = target.filter(|_| jumps) {
            self.jumps.entry(target).or_default().push(at);
        }
        if goes_on {
            self.previous.insert(next, at);
        }
    }

    /// The function returns at this address.
    pub(in crate::site) fn returned(&mut self, at: u64) {
        self.returns.insert(at);
    }

    /// A jump through a pointer with the stack as it was at entry.
    pub(in crate::site) fn tail_jump(&mut self, method: Option<Method>) {
        match method {
            Some(method) => _ = self.methods.insert(method),
            None => self.blocked = Some(POINTER),
        }
    }

    /// Sites that each return passes once: on the ways to a return, or else the return itself.
    pub(super) fn sites(&self, text: &impl Text) -> Vec<ReturnSite> {
        let mut sites = BTreeMap::new();
        for &returned in &self.returns {
            let ways = self.ways(text, returned);
            let cheaper = ways.filter(|ways| ways.iter().any(|site| site.emulated.is_some()));
            for site in cheaper.unwrap_or_else(|| vec![ReturnSite::ret(returned)]) {
                join(&mut sites, site);
            }
        }
        sites.into_values().flatten().collect()
    }

    /// A site on each way to this return; `None` if there is a way without one.
    fn ways(&self, text: &impl Text, returned: u64) -> Option<Vec<ReturnSite>> {
        let start = self.start(text, returned)?;
        // Calls that failed seldom come here: they may as well pay for the return itself.
        let Outcome::In(register) = outcome(text, start, returned)? else { return None };
        let jumps = self.jumps.get(&start).map_or(&[][..], Vec::as_slice);
        let mut sites = Vec::new();
        for &jump in jumps {
            sites.push(self.jump(text, jump, true, register)?);
        }
        if let Some(&before) = self.previous.get(&start) {
            sites.push(self.fall(text, before, returned, register)?);
        }
        let conditions = sites.iter().filter(|site| site.condition.is_some()).count();
        (!sites.is_empty() && sites.len() <= MAX_WAYS && conditions <= MAX_CONDITIONS)
            .then_some(sites)
    }

    /// Where the instructions begin that run one after the other up to this return.
    fn start(&self, text: &impl Text, returned: u64) -> Option<u64> {
        let mut at = returned;
        for _ in 0..MAX_NEAR {
            if at == self.entry {
                return None;
            }
            match self.previous.get(&at).filter(|_| !self.jumps.contains_key(&at)) {
                Some(&before) if goes_straight_on(text, before) => at = before,
                _ => return Some(at),
            }
        }
        None
    }

    /// The site at a jump that leads to the return if it is taken, or if it is not.
    fn jump(
        &self,
        text: &impl Text,
        jump: u64,
        taken: bool,
        register: Register,
    ) -> Option<ReturnSite> {
        let instruction = decode(text, jump)?;
        let condition = match condition(text, &instruction) {
            None => None,
            // The other way never returns.
            Some(_) if self.stack_checks.contains(&jump) => None,
            // It would be passed again and again.
            Some(_) if self.is_in_tight_loop(text, jump) => return None,
            Some(condition) => Some(condition ^ u8::from(!taken)),
        };
        let site = self.site(text, &instruction, Outcome::In(register))?;
        Some(ReturnSite { condition, ..site })
    }

    /// The site on the way that comes to the return without a jump. `before` is its last instruction
    /// before the ways meet.
    fn fall(
        &self,
        text: &impl Text,
        before: u64,
        returned: u64,
        register: Register,
    ) -> Option<ReturnSite> {
        let instruction = decode(text, before)?;
        match instruction.flow_control() {
            FlowControl::ConditionalBranch => self.jump(text, before, false, register),
            FlowControl::Next => self.straight_site(text, before, returned),
            _ => None,
        }
    }

    /// The site on a way that leads straight on: the last emulated instruction, or else the `last` one.
    fn straight_site(&self, text: &impl Text, last: u64, returned: u64) -> Option<ReturnSite> {
        let site = |at: u64| self.site(text, &decode(text, at)?, outcome(text, at, returned)?);
        let mut at = last;
        for _ in 0..MAX_NEAR {
            if let Some(found) = site(at).filter(|site| site.emulated.is_some()) {
                return Some(found);
            }
            match self.previous.get(&at).filter(|_| !self.jumps.contains_key(&at)) {
                Some(&before) if at != self.entry && goes_straight_on(text, before) => at = before,
                _ => break,
            }
        }
        site(last)
    }

    fn site(
        &self,
        text: &impl Text,
        instruction: &Instruction,
        outcome: Outcome,
    ) -> Option<ReturnSite> {
        is_taken(text, instruction).then_some(())?;
        Some(ReturnSite {
            emulated: emulated(text, instruction),
            register: match outcome {
                Outcome::In(register) => Some(u8::try_from(register.number()).ok()?),
                Outcome::Failed => None,
            },
            distance: i32::try_from(*self.distances.get(&instruction.ip())?).ok()?,
            ..ReturnSite::ret(instruction.ip())
        })
    }

    /// Whether control may come back to this instruction without a call. Beside what a call costs, a
    /// probe that is hit once more is bearable.
    fn is_in_tight_loop(&self, text: &impl Text, at: u64) -> bool {
        let mut seen = HashSet::new();
        let mut pending = vec![at];
        while let Some(next) = pending.pop() {
            let jumps = self.jumps.get(&next).into_iter().flatten();
            for &before in jumps.chain(self.previous.get(&next)) {
                if before == at {
                    return true;
                }
                if seen.insert(before) && !is_call(text, before) {
                    pending.push(before);
                }
            }
        }
        false
    }
}

fn is_call(text: &impl Text, at: u64) -> bool {
    let call = |it: Instruction| {
        matches!(it.flow_control(), FlowControl::Call | FlowControl::IndirectCall)
    };
    decode(text, at).is_some_and(call)
}

/// Adds a site. If a jump leads to a return whether it is taken or not, and the result is in the same
/// register, it is one site.
fn join(sites: &mut BTreeMap<u64, Vec<ReturnSite>>, site: ReturnSite) {
    let here = sites.entry(site.address).or_default();
    let other = site.condition.map(|condition| condition ^ 1);
    let opposite = ReturnSite { condition: other, ..site };
    match here.iter_mut().find(|it| **it == opposite) {
        Some(it) => it.condition = None,
        None => here.push(site),
    }
}

/// Whether control goes from this instruction to the next one and nowhere else, and no call is between.
fn goes_straight_on(text: &impl Text, at: u64) -> bool {
    decode(text, at).is_some_and(|instruction| instruction.flow_control() == FlowControl::Next)
}

/// What is known of a function's result shortly before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is in this register.
    In(Register),
    /// It says that the call failed.
    Failed,
}

/// What is known of the function's result before the instructions from `start` to a return.
fn outcome(text: &impl Text, start: u64, returned: u64) -> Option<Outcome> {
    let mut straight = Straight::new();
    let mut at = start;
    for _ in 0..2 * MAX_NEAR {
        if at == returned {
            return match straight.origin(Register::RAX) {
                Origin::Register(register) => {
                    (register != Register::RSP).then_some(Outcome::In(register))
                }
                Origin::NotPositive => Some(Outcome::Failed),
                Origin::Unknown => None,
            };
        }
        let instruction = decode(text, at)?;
        straight.apply(&instruction)?;
        at = instruction.next_ip();
    }
    None
}

/// The condition of a jump by its number in machine code: the low half of its last opcode byte.
fn condition(text: &impl Text, jump: &Instruction) -> Option<u8> {
    (jump.flow_control() == FlowControl::ConditionalBranch).then_some(())?;
    let opcode = match *text.bytes(jump.ip())?.get(..2)? {
        [0x0f, second] => second,
        [first, _] => first,
        _ => return None,
    };
    Some(opcode & 0xf)
}
