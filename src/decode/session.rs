//! A WebSocket connection, or one that may turn out to be: two flows and what they share.

use super::compression::Compression;
use super::event::{Direction, SegmentStart};
use super::flow::{Flow, Hole};
use super::handshake::Agreement;
use super::link::Link;
use super::observation::{Fidelity, Role};
use super::steering::Steering;
use super::step::Step;

/// Both directions of one connection, from its 101 (or from where it was met) to its end.
#[derive(Debug)]
pub(super) struct Session {
    flows: [Flow; 2],
    link: Link,
}

impl Session {
    /// A connection whose 101 was seen; frames begin at these offsets.
    pub(super) fn agreed(agreement: &Agreement, starts: [u64; 2], step: &mut Step<'_>) -> Self {
        let flow = |direction: Direction| {
            let compression = Compression::agreed(agreement.extension, agreement.role, direction);
            Flow::synced(direction, starts[direction.index()], compression)
        };
        let flows = Direction::BOTH.map(flow);
        let mut session = Self { flows, link: Link::agreed(agreement.role, agreement.unmasked) };
        step.role = agreement.role;
        for direction in Direction::BOTH {
            let reason = agreement.violations.iter().filter(|_| direction == agreement.answered());
            reason.for_each(|&reason| step.error(direction, reason));
            session.refresh(direction, step);
            session.announce(direction, step);
        }
        session.link.open(agreement.open(), agreement.hint(), step);
        session
    }

    /// A connection that was met in mid-stream, at these offsets.
    pub(super) fn adrift(starts: [u64; 2]) -> Self {
        let flow = |direction: Direction| {
            let compression = Compression::Unknown { unreadable: false };
            Flow::adrift(direction, starts[direction.index()], compression)
        };
        Self { flows: Direction::BOTH.map(flow), link: Link::default() }
    }

    /// One direction goes on with `bytes`.
    pub(super) fn bytes(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        start: SegmentStart,
        step: &mut Step<'_>,
    ) {
        if bytes.is_empty() {
            return;
        }
        self.begin(direction, start, step);
        self.flows[direction.index()].bytes(bytes, &mut self.link, step);
        self.announce(direction, step);
    }

    /// One direction goes on with `n` bytes that are not here.
    pub(super) fn absent(&mut self, direction: Direction, n: u64, hole: Hole, step: &mut Step<'_>) {
        if hole == Hole::Lost && self.link.is_proven() {
            step.matching_gap(direction);
        }
        self.flows[direction.index()].absent(n, hole, &mut self.link, step);
    }

    /// Bytes before the first frame border of one direction are missing.
    pub(super) fn lose_border(&mut self, direction: Direction, step: &mut Step<'_>) {
        step.matching_gap(direction);
        self.flows[direction.index()].lose_border(&mut self.link, step);
    }

    /// The TLS connection ended.
    pub(super) fn close(&mut self, step: &mut Step<'_>) {
        if self.link.is_proven() {
            self.flows.iter_mut().for_each(|flow| flow.end(step));
        }
        self.link.end(step);
        self.release(step);
    }

    /// Nobody watches the connection any more.
    pub(super) fn leave(&mut self, step: &mut Step<'_>) {
        self.link.leave(step);
        self.release(step);
    }

    /// Frees what a connection that has gone quiet need not keep.
    pub(super) fn expire(&mut self, now_ns: u64, identical_bytes: &mut usize) {
        self.link.identical.expire(now_ns, identical_bytes);
    }

    /// Bytes that searches for frame borders take.
    pub(super) fn held_bytes(&self) -> usize {
        self.flows.iter().map(Flow::held_bytes).sum()
    }

    /// Lets go of what searches have found so far.
    pub(super) fn let_go(&mut self) {
        self.flows.iter_mut().for_each(Flow::let_go);
    }

    /// The role of the tapped process, as far as it is known.
    pub(super) fn role(&self) -> Role {
        self.link.role
    }

    /// Where the next frame of a direction begins is being searched for.
    pub(super) fn is_adrift(&self) -> bool {
        self.flows.iter().any(Flow::is_adrift)
    }

    /// There is no more doubt that this is WebSocket.
    pub(super) fn is_proven(&self) -> bool {
        self.link.is_proven()
    }

    /// Every direction that carried bytes was searched in vain.
    pub(super) fn is_hopeless(&self, step: &Step<'_>) -> bool {
        !self.is_proven()
            && Direction::BOTH
                .into_iter()
                .filter(|&it| self.link.has_passed(it))
                .all(|it| self.flows[it.index()].is_exhausted(&self.link, step))
    }

    /// Bytes on the heap, besides what is only there while a search or a message is under way.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.flows.iter().map(Flow::heap_bytes).sum::<usize>() + self.link.heap_bytes()
    }

    fn begin(&mut self, direction: Direction, start: SegmentStart, step: &mut Step<'_>) {
        if !self.link.has_passed(direction) {
            self.refresh(direction, step);
        }
        let flow = &mut self.flows[direction.index()];
        match start {
            SegmentStart::Middle => {}
            SegmentStart::Call => flow.call_starts(),
            SegmentStart::FrameHeader => flow.header_starts(&mut self.link, step),
        }
    }

    fn refresh(&mut self, direction: Direction, step: &mut Step<'_>) {
        let fidelity: Fidelity = self.flows[direction.index()].fidelity();
        self.link.set_fidelity(direction, fidelity, step);
    }

    fn announce(&mut self, direction: Direction, step: &mut Step<'_>) {
        let flow = &mut self.flows[direction.index()];
        let Some(offset) = flow.take_announcement() else { return };
        let (conn, whole) = (step.conn, flow.needs_whole());
        step.resources.hints.push(Steering::FrameAt { conn, direction, offset, whole });
    }

    fn release(&mut self, step: &mut Step<'_>) {
        self.flows.iter_mut().for_each(|flow| flow.release(step));
        self.link.identical.clear(&mut step.resources.identical_bytes);
    }
}
