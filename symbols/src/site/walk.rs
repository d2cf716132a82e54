//! Walking a function's code.
//!
//! [`Walk::paths`] follows every path with all that is known on it; [`Walk::instructions`] visits every
//! reachable one once. Both are bounded: code that is larger than the bound proves nothing.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use iced_x86::{
    ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    Mnemonic, OpKind,
};

use super::Text;
use super::returns::Exits;
use super::state::State;

/// Longest x86 instruction, in bytes.
const MAX_INSTRUCTION: usize = 15;
/// Most instructions that one walk looks at.
const MAX_STEPS: usize = 4096;

/// A walk that could not be finished proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unprovable;

/// Decodes the instruction at `address`; `None` outside the code, for undefined ones, and when too
/// many have been decoded in this image.
pub(crate) fn decode(text: &dyn Text, address: u64) -> Option<Instruction> {
    text.step().then_some(())?;
    let bytes = text.bytes(address)?;
    let bytes = bytes.get(..bytes.len().min(MAX_INSTRUCTION))?;
    let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// Where a branch that names its target goes.
fn direct_target(instruction: &Instruction) -> Option<u64> {
    (instruction.op0_kind() == OpKind::NearBranch64).then(|| instruction.near_branch_target())
}

/// One walk over one function.
pub(super) struct Walk<'text> {
    text: &'text dyn Text,
    info: InstructionInfoFactory,
    /// The function that the walk began in.
    home: Range<u64>,
    pending: Vec<Point>,
    /// Where control leaves with the stack as it was at entry: visited last.
    tail_calls: Vec<Point>,
    steps: usize,
}

/// A place that is still to be visited.
struct Point {
    address: u64,
    /// Code that belongs together: running out at its end means that a call did not return.
    function: Range<u64>,
    state: State,
}

impl<'text> Walk<'text> {
    /// A walk that starts at a function's entry; `end` is where the function ends, if known.
    pub(super) fn new(text: &'text dyn Text, entry: u64, end: Option<u64>) -> Self {
        let end = end.or_else(|| text.function_end(entry)).unwrap_or(u64::MAX);
        let home = entry..end;
        let start = Point { address: entry, function: home.clone(), state: State::at_entry() };
        Self {
            text,
            info: InstructionInfoFactory::new(),
            home,
            pending: vec![start],
            tail_calls: Vec::new(),
            steps: 0,
        }
    }

    /// Calls `returned` with the state at every return, for every path through the function.
    ///
    /// A jump out of the function is walked through: the code there returns for this one.
    pub(super) fn paths(mut self, mut returned: impl FnMut(&State)) -> Result<(), Unprovable> {
        let mut seen = HashSet::new();
        while let Some(point) = self.pending.pop().or_else(|| self.tail_calls.pop()) {
            if !seen.insert((point.address, point.state.clone())) {
                continue;
            }
            let Some(instruction) = self.step(&point)? else { continue };
            let before = &point.state;
            match instruction.flow_control() {
                FlowControl::Return if returns_as_called(&instruction, before) => returned(before),
                FlowControl::Return | FlowControl::IndirectBranch => return Err(Unprovable),
                _ => self.advance(point, &instruction)?,
            }
        }
        Ok(())
    }

    /// Calls `seen` with every instruction that the function can reach, and with what is known
    /// before it on one of the ways there.
    ///
    /// A jump through a register or memory with the stack as it was at entry is a tail call, and
    /// leaves the function. With a frame it is a jump table: [`Unprovable`]. A direct jump out of
    /// the function with the stack as it was at entry is a tail call too, or else leads to a part
    /// of the function that the compiler moved away; so it is followed as far as it can be.
    pub(super) fn instructions(
        mut self,
        mut seen: impl FnMut(&Instruction, &State),
    ) -> Result<(), Unprovable> {
        let mut visited = HashSet::new();
        while let Some(point) = self.pending.pop() {
            if visited.insert(point.address) {
                self.visit(point, &mut seen)?;
            }
        }
        while let Some(point) = self.tail_calls.pop().or_else(|| self.pending.pop()) {
            if visited.insert(point.address) && self.visit(point, &mut seen).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Calls `target` with the target of every direct jump and call that the function can reach;
    /// otherwise like [`Walk::instructions`].
    pub(super) fn targets(self, mut target: impl FnMut(u64)) -> Result<(), Unprovable> {
        self.instructions(|instruction, _| {
            if let Some(address) = direct_target(instruction) {
                target(address);
            }
        })
    }

    /// Notes in `exits` how the function is left; each instruction is looked at once.
    ///
    /// A jump out of the function is walked through: the code there returns for this one.
    pub(super) fn exits(mut self, exits: &mut Exits) -> Result<(), Unprovable> {
        let mut visited = HashMap::new();
        while let Some(point) = self.pending.pop().or_else(|| self.tail_calls.pop()) {
            let change = point.state.stack_change().ok_or(Unprovable)?;
            if let Some(before) = visited.insert(point.address, change) {
                if before != change {
                    return Err(Unprovable);
                }
                continue;
            }
            let Some(instruction) = self.step(&point)? else { continue };
            let (at, state) = (point.address, &point.state);
            let target = direct_target(&instruction).map(|it| self.arrival(it, &point.function));
            exits.visit(&instruction, target, change, state.checks_stack());
            match instruction.flow_control() {
                FlowControl::Return if returns_as_called(&instruction, state) => {
                    exits.returned(at);
                    continue;
                }
                FlowControl::IndirectBranch if state.stack_is_as_at_entry() => {
                    exits.tail_jump(state.method(&instruction));
                    continue;
                }
                FlowControl::Return | FlowControl::IndirectBranch => return Err(Unprovable),
                _ => {}
            }
            self.advance(point, &instruction)?;
        }
        Ok(())
    }

    fn visit(
        &mut self,
        point: Point,
        seen: &mut impl FnMut(&Instruction, &State),
    ) -> Result<(), Unprovable> {
        let Some(instruction) = self.step(&point)? else { return Ok(()) };
        seen(&instruction, &point.state);
        match instruction.flow_control() {
            FlowControl::Return => Ok(()),
            FlowControl::IndirectBranch if point.state.stack_is_as_at_entry() => Ok(()),
            FlowControl::IndirectBranch => Err(Unprovable),
            _ => self.advance(point, &instruction),
        }
    }

    /// The instruction at `point`; `Ok(None)` when control does not get there.
    fn step(&mut self, point: &Point) -> Result<Option<Instruction>, Unprovable> {
        if !point.function.contains(&point.address) {
            return Ok(None);
        }
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(Unprovable);
        }
        decode(self.text, point.address).map(Some).ok_or(Unprovable)
    }

    /// Queues what comes after `instruction`.
    fn advance(&mut self, point: Point, instruction: &Instruction) -> Result<(), Unprovable> {
        let Point { function, mut state, .. } = point;
        let next = instruction.next_ip();
        match instruction.flow_control() {
            FlowControl::Call if instruction.mnemonic() != Mnemonic::Call => {
                return Err(Unprovable);
            }
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => {
                state.apply(instruction, &mut self.info).ok_or(Unprovable)?;
                self.pending.push(Point { address: next, function, state });
            }
            FlowControl::UnconditionalBranch => {
                let target = direct_target(instruction).ok_or(Unprovable)?;
                self.jump(target, function, state);
            }
            FlowControl::ConditionalBranch if instruction.is_jcc_short_or_near() => {
                let target = direct_target(instruction).ok_or(Unprovable)?;
                let condition = instruction.condition_code();
                let is_possible =
                    |taken| !state.checks_stack() || taken == (condition == ConditionCode::e);
                let [is_taken, is_passed] = [true, false].map(is_possible);
                if is_taken {
                    let taken = state.clone().after_branch(condition, true);
                    self.jump(target, function.clone(), taken);
                }
                if is_passed {
                    let state = state.after_branch(condition, false);
                    self.pending.push(Point { address: next, function, state });
                }
            }
            // These mark places that control never reaches.
            _ if matches!(instruction.mnemonic(), Mnemonic::Ud2 | Mnemonic::Int3) => {}
            _ => return Err(Unprovable),
        }
        Ok(())
    }

    /// Where control arrives that jumps to `target` from a function.
    fn arrival(&self, target: u64, from: &Range<u64>) -> u64 {
        if from.contains(&target) { target } else { self.text.callee(target) }
    }

    fn jump(&mut self, target: u64, from: Range<u64>, state: State) {
        let target = self.arrival(target, &from);
        let function = if from.contains(&target) {
            from
        } else if self.home.contains(&target) {
            self.home.clone()
        } else {
            target..self.text.function_end(target).unwrap_or(u64::MAX)
        };
        let leaves = !self.home.contains(&target) && state.stack_is_as_at_entry();
        let queue = if leaves { &mut self.tail_calls } else { &mut self.pending };
        queue.push(Point { address: target, function, state });
    }
}

/// A plain `ret` with the return address on top of the stack.
fn returns_as_called(instruction: &Instruction, state: &State) -> bool {
    instruction.mnemonic() == Mnemonic::Ret
        && instruction.op_count() == 0
        && state.stack_is_as_at_entry()
}
