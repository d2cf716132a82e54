//! A WebSocket connection, or one that may turn out to be: two flows and what they share.

use super::direction::{Flow, Hole};
use crate::decode::context::Step;
use crate::decode::hint::Steering;
use crate::decode::http::handshake::Agreement;
use crate::decode::message::compression::Compression;
use crate::decode::message::shared::Link;
use crate::decode::resync::tls_records::TlsRecords;
use crate::event::{Direction, SegmentStart};
use crate::observation::{Fidelity, Role};

/// A direction that was searched in vain speaks for both once so many times the bytes of a search have
/// passed there: the other one may be silent for ever.
const ONE_SIDED: u64 = 16;

/// A stream that is not understood after so many bytes never will be: the longest frame that is believed,
/// twice.
const ENDLESS_BYTES: u64 = 128 << 20;

/// Both directions of one connection, from its 101 (or from where it was met) to its end.
#[derive(Debug)]
pub(in crate::decode) struct Session {
    flows: [Flow; 2],
    link: Link,
    /// Present while it may be something else than a WebSocket.
    doubt: Option<Box<Doubt>>,
}

/// What is looked at where neither a handshake nor frames say what a connection is.
#[derive(Debug)]
struct Doubt {
    records: [TlsRecords; 2],
    /// Bytes of each direction that were looked at.
    passed: [u64; 2],
    /// It is TLS.
    encrypted: bool,
}

impl Session {
    /// A connection whose 101 was seen; frames begin at these offsets.
    pub(in crate::decode) fn agreed(
        agreement: &Agreement,
        starts: [u64; 2],
        step: &mut Step<'_>,
    ) -> Self {
        let flow = |direction: Direction| {
            let compression = Compression::agreed(agreement.extension, agreement.role, direction);
            Flow::synced(direction, starts[direction.index()], compression)
        };
        let flows = Direction::BOTH.map(flow);
        let link = Link::agreed(agreement.role, agreement.unmasked);
        let mut session = Self { flows, link, doubt: None };
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

    /// A connection that was met in mid-stream, at these offsets, and may be anything.
    pub(in crate::decode) fn met(starts: [u64; 2], step: &Step<'_>) -> Self {
        let search_bytes = step.resources.limits.search_bytes;
        let records = starts.map(|start| TlsRecords::new(start, search_bytes));
        let doubt = Some(Box::new(Doubt { records, passed: [0; 2], encrypted: false }));
        Self { doubt, ..Self::asked_for(starts) }
    }

    /// A connection whose upgrade was asked for, and whose answer was not seen. Frames begin
    /// anywhere from these offsets on.
    pub(in crate::decode) fn asked_for(starts: [u64; 2]) -> Self {
        let flow = |direction: Direction| {
            let compression = Compression::Unknown { unreadable: false };
            Flow::adrift(direction, starts[direction.index()], compression)
        };
        Self { flows: Direction::BOTH.map(flow), link: Link::default(), doubt: None }
    }

    /// One direction goes on with `bytes`.
    pub(in crate::decode) fn bytes(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        start: SegmentStart,
        step: &mut Step<'_>,
    ) {
        if bytes.is_empty() || self.is_encrypted() {
            return;
        }
        if let Some(doubt) = &mut self.doubt {
            doubt.passed[direction.index()] += bytes.len() as u64;
        }
        self.begin(direction, start, step);
        let rest = self.look_for_tls(direction, bytes, step);
        self.flows[direction.index()].bytes(rest, &mut self.link, step);
        self.doubt.take_if(|_| self.link.is_proven());
        self.announce(direction, step);
        self.announce_windows(step);
    }

    /// One direction goes on with `n` bytes that are not here.
    pub(in crate::decode) fn absent(
        &mut self,
        direction: Direction,
        n: u64,
        hole: Hole,
        step: &mut Step<'_>,
    ) {
        if hole == Hole::Lost {
            self.link.gap(direction, step);
        }
        if let Some(doubt) = &mut self.doubt {
            doubt.records[direction.index()].absent(n);
        }
        self.flows[direction.index()].absent(n, hole, &mut self.link, step);
        self.announce_windows(step);
    }

    /// Bytes before the first frame border of one direction are missing.
    pub(in crate::decode) fn lose_border(&mut self, direction: Direction, step: &mut Step<'_>) {
        let flow = &mut self.flows[direction.index()];
        if !flow.is_adrift() {
            self.link.gap(direction, step);
            flow.lose_border(&mut self.link, step);
        }
    }

    /// The TLS connection ended.
    pub(in crate::decode) fn close(&mut self, step: &mut Step<'_>) {
        if self.link.is_proven() {
            self.flows.iter_mut().for_each(|flow| flow.end(step));
        }
        self.link.end(step);
        self.release(step);
    }

    /// What waits for an answer ends, since the connection is let go.
    pub(in crate::decode) fn stop_matching(&mut self, step: &mut Step<'_>) {
        self.link.stop_matching(step);
    }

    /// Nobody watches the connection any more.
    pub(in crate::decode) fn leave(&mut self, step: &mut Step<'_>) {
        self.link.leave(step);
        self.release(step);
    }

    /// Frees what a connection that has gone quiet need not keep.
    pub(in crate::decode) fn expire(&mut self, now_ns: u64, identical_bytes: &mut usize) {
        self.link.identical.expire(now_ns, identical_bytes);
    }

    /// Bytes that searches for frame borders take.
    pub(in crate::decode) fn held_bytes(&self) -> usize {
        self.flows.iter().map(Flow::held_bytes).sum()
    }

    /// Lets go of what searches have found so far.
    pub(in crate::decode) fn let_go(&mut self) {
        self.flows.iter_mut().for_each(Flow::let_go);
    }

    /// The role of the tapped process, as far as it is known.
    pub(in crate::decode) fn role(&self) -> Role {
        self.link.role
    }

    /// Where the next frame of a direction begins is being searched for.
    pub(in crate::decode) fn is_adrift(&self) -> bool {
        self.flows.iter().any(Flow::is_adrift)
    }

    /// There is no more doubt that this is WebSocket.
    pub(in crate::decode) fn is_proven(&self) -> bool {
        self.link.is_proven()
    }

    /// It is TLS, whatever that carries.
    pub(in crate::decode) fn is_encrypted(&self) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| doubt.encrypted)
    }

    /// It is something else: what has passed was searched in vain. While a frame is followed that a call
    /// has begun with, it was not, unless that has no end.
    pub(in crate::decode) fn is_hopeless(&self, step: &Step<'_>) -> bool {
        let Some(doubt) = &self.doubt else { return false };
        let passed = |it: Direction| doubt.passed[it.index()];
        let in_vain = |it: Direction| {
            let flow = &self.flows[it.index()];
            flow.is_exhausted(&self.link, step) && !flow.is_promising()
        };
        let without_the_other = ONE_SIDED * step.resources.limits.search_bytes;
        let mut spoken = Direction::BOTH.into_iter().filter(|&it| passed(it) > 0).peekable();
        doubt.encrypted
            || (spoken.peek().is_some() && spoken.all(in_vain))
            || Direction::BOTH.into_iter().any(|it| {
                let enough = if in_vain(it) { without_the_other } else { ENDLESS_BYTES };
                passed(it) >= enough
            })
    }

    /// Bytes on the heap, besides what is only there while a search or a message is under way.
    #[cfg(test)]
    pub(in crate::decode) fn heap_bytes(&self) -> usize {
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

    /// Takes as much off `bytes` as it takes to see whether they are TLS, all of them if they are,
    /// and decodes that. What is proven first, records or frames, wins, and frames that may well be
    /// true win time: TLS goes on for ever, and records inside of a frame end with it.
    fn look_for_tls<'a>(
        &mut self,
        direction: Direction,
        bytes: &'a [u8],
        step: &mut Step<'_>,
    ) -> &'a [u8] {
        let flow = &mut self.flows[direction.index()];
        let mut rest = bytes;
        while let Some(doubt) = self.doubt.as_mut().filter(|_| !self.link.is_proven())
            && let Some(n) = doubt.records[direction.index()].look(rest)
        {
            let (looked_at, behind) = rest.split_at(n);
            flow.bytes(looked_at, &mut self.link, step);
            doubt.encrypted = !self.link.is_proven() && !flow.is_promising();
            rest = if doubt.encrypted { &[] } else { behind };
        }
        rest
    }

    fn refresh(&mut self, direction: Direction, step: &mut Step<'_>) {
        let fidelity: Fidelity = self.flows[direction.index()].fidelity();
        self.link.set_fidelity(direction, fidelity, step);
    }

    fn announce(&mut self, direction: Direction, step: &mut Step<'_>) {
        let flow = &mut self.flows[direction.index()];
        let Some(offset) = flow.take_announcement(&mut self.link) else { return };
        let (conn, whole) = (step.conn, flow.needs_whole());
        let narrow = self.link.windows.is_narrow(direction);
        step.resources.hints.push(Steering::FrameAt { conn, direction, offset, whole, narrow });
    }

    fn announce_windows(&mut self, step: &mut Step<'_>) {
        for direction in Direction::BOTH {
            if self.link.windows.has_changed(direction) {
                self.announce(direction, step);
            }
        }
    }

    fn release(&mut self, step: &mut Step<'_>) {
        self.flows.iter_mut().for_each(|flow| flow.release(step));
        self.link.identical.clear(&mut step.resources.identical_bytes);
    }
}
