//! One connection: what it is taken for now, and how that changes.
//!
//! ```text
//!            101                          frames proven
//!   Http ----------------> Frames <---------------------- Frames (unproven)
//!    ^  \  not HTTP                                         ^     |
//!    |   `--------------------------------------------------'     | searched in vain
//!    |                                                            v
//!    `---------------- a call begins with a request ----------- Other
//! ```

use super::backlog::Backlog;
use super::context::Step;
use super::deferred_counts::Unproven;
use super::hint::Steering;
use super::http::handshake::Agreement;
use super::http::head_scan::Watch;
use super::http::upgrade::{Upgrade, Verdict};
use super::stream::{Arrival, Place};
use super::websocket::direction::Hole;
use super::websocket::session::Session;
use crate::event::{ConnId, Direction, Segment, SegmentStart, TargetId};
use crate::observation::{GapReason, ProtocolError, Role, What};

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) target: TargetId,
    /// When it was last used, on the tracker's own scale.
    pub(super) used: u64,
    places: [Place; 2],
    phase: Phase,
    /// Where an HTTP exchange may begin while nothing else is known.
    watches: [Watch; 2],
    /// The kernel side was told that it may leave bytes out.
    ignored: bool,
    /// What is not told of a socket before it is proven to be a WebSocket.
    unproven: Option<Box<Unproven>>,
    /// What it takes of [`Resources::held_bytes`](super::step::Resources::held_bytes).
    held_bytes: usize,
}

/// How far a connection was seen, so that what passed before is not taken for a loss.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trace {
    places: [Place; 2],
    ignored: bool,
}

#[derive(Debug)]
enum Phase {
    Http(Box<Upgrade>),
    Frames(Box<Session>),
    Other,
}

impl Connection {
    /// A connection that is new, or comes back after it was let go.
    pub(super) fn new(conn: ConnId, target: TargetId, trace: Trace) -> Self {
        let phase = Phase::Http(Box::default());
        let Trace { places, ignored } = trace;
        let watches = Default::default();
        let unproven = conn.is_anything().then(Box::default);
        Self { target, used: 0, places, phase, watches, ignored, unproven, held_bytes: 0 }
    }

    /// One direction goes on.
    pub(super) fn data(&mut self, segment: &Segment<'_>, step: &mut Step<'_>) {
        let direction = segment.direction;
        let place = &mut self.places[direction.index()];
        let before = place.next();
        let Some(arrival) = place.arrive(segment) else { return };
        let Arrival { hole, bytes, absent, why, start } = arrival;
        let passed = self.next(direction) - before;
        self.tell(What::Wire { direction, bytes: passed }, step);
        if hole > 0 {
            self.unseen(direction, hole, Some(GapReason::RingFull), before + hole, step);
        }
        let end = before + hole + bytes.len() as u64;
        if !bytes.is_empty() {
            self.bytes(direction, bytes, start, end, step);
        }
        if absent > 0 {
            self.unseen(direction, absent, why.loss(), end + absent, step);
        }
        self.account(direction, step);
        self.prove(step);
    }

    /// The connection ended, after so many bytes.
    pub(super) fn closed(&mut self, sent: u64, received: u64, step: &mut Step<'_>) {
        for (direction, total) in Direction::BOTH.into_iter().zip([sent, received]) {
            let missing = self.places[direction.index()].finish(total);
            if missing > 0 {
                self.tell(What::Wire { direction, bytes: missing }, step);
                let end = self.next(direction);
                self.unseen(direction, missing, Some(GapReason::RingFull), end, step);
            }
        }
        if let Phase::Http(upgrade) = &mut self.phase {
            let verdict = upgrade.end(step);
            self.settle(verdict, step);
        }
        self.prove(step);
        if let Phase::Frames(session) = &mut self.phase {
            session.close(step);
        }
        self.give_back(step);
    }

    /// The connection ended with its process, after what was seen of it.
    pub(super) fn cut_off(&mut self, step: &mut Step<'_>) {
        let [sent, received] = self.places.map(Place::next);
        self.closed(sent, received, step);
    }

    /// The connection is let go because of a limit, as if it had ended without a word.
    pub(super) fn evict(&mut self, step: &mut Step<'_>) {
        if let Phase::Frames(session) = &mut self.phase {
            session.stop_matching(step);
            session.leave(step);
        }
        self.give_back(step);
    }

    /// Nobody watches the connection any more.
    pub(super) fn leave(&mut self, step: &mut Step<'_>) {
        if let Phase::Frames(session) = &mut self.phase {
            session.leave(step);
        }
        self.give_back(step);
    }

    /// Deadlines of the handshake.
    pub(super) fn tick(&mut self, now_ns: u64, step: &mut Step<'_>) {
        let Phase::Http(upgrade) = &mut self.phase else { return };
        let verdict = upgrade.tick(now_ns, step);
        self.settle(verdict, step);
        self.account(Direction::Sent, step);
        self.prove(step);
    }

    /// [`Connection::tick`] should be called.
    pub(super) fn has_deadline(&self) -> bool {
        matches!(&self.phase, Phase::Http(upgrade) if upgrade.has_deadline())
    }

    /// Frees what a connection that has gone quiet need not keep.
    pub(super) fn expire(&mut self, now_ns: u64, identical_bytes: &mut usize) {
        if let Phase::Frames(session) = &mut self.phase {
            session.expire(now_ns, identical_bytes);
        }
    }

    /// The role of the tapped process, as far as it is known.
    pub(super) fn role(&self) -> Role {
        match &self.phase {
            Phase::Frames(session) => session.role(),
            Phase::Http(_) | Phase::Other => Role::Unknown,
        }
    }

    /// Where its next head or frame begins is not known: calls are looked at where they begin.
    pub(super) fn is_adrift(&self) -> bool {
        match &self.phase {
            Phase::Http(upgrade) => upgrade.is_lost(),
            Phase::Frames(session) => session.is_adrift(),
            Phase::Other => true,
        }
    }

    /// What must be remembered of it when it is let go.
    pub(super) fn trace(&self) -> Trace {
        Trace { places: self.places, ignored: self.ignored }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.phase {
            Phase::Http(upgrade) => size_of_val(&**upgrade),
            Phase::Frames(session) => size_of_val(&**session) + session.heap_bytes(),
            Phase::Other => 0,
        }
    }

    /// It is a WebSocket, beyond doubt.
    fn is_proven(&self) -> bool {
        matches!(&self.phase, Phase::Frames(session) if session.is_proven())
    }

    fn next(&self, direction: Direction) -> u64 {
        self.places[direction.index()].next()
    }

    /// Emits what is only a count, as far as it is to be told.
    fn tell(&mut self, what: What<'_>, step: &mut Step<'_>) {
        let told = match &mut self.unproven {
            Some(unproven) => unproven.keep(what),
            None => Some(what),
        };
        if let Some(what) = told {
            step.emit(what);
        }
    }

    /// Tells what was kept of a socket, once it is a WebSocket.
    fn prove(&mut self, step: &mut Step<'_>) {
        let proven = self.is_proven();
        if let Some(unproven) = self.unproven.take_if(|_| proven) {
            unproven.tell(|what| step.emit(what));
        }
    }
}

impl Connection {
    /// `bytes` end at stream offset `end`.
    fn bytes(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        start: SegmentStart,
        end: u64,
        step: &mut Step<'_>,
    ) {
        self.look_for_a_head(direction, bytes, start, end, step);
        let mut rest = bytes;
        match &mut self.phase {
            Phase::Http(upgrade) => {
                let verdict = upgrade.bytes(direction, &mut rest, step);
                self.ignored |= upgrade.is_ignored();
                let start = if rest.len() == bytes.len() { start } else { SegmentStart::Middle };
                self.turn(verdict, direction, rest, start, end, step);
            }
            Phase::Frames(session) => {
                session.bytes(direction, bytes, start, step);
                self.lose_hope(step);
            }
            Phase::Other => {}
        }
    }

    /// What is not (proven to be) a WebSocket may begin an HTTP exchange with any call.
    fn look_for_a_head(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        start: SegmentStart,
        end: u64,
        step: &mut Step<'_>,
    ) {
        if let Phase::Http(upgrade) = &mut self.phase {
            if start == SegmentStart::Call {
                upgrade.call_starts(direction, bytes);
            }
            return;
        }
        if self.is_proven() {
            return;
        }
        let Some(begun) = self.watches[direction.index()].look(start, bytes) else { return };
        self.phase = Phase::Http(Box::default());
        let other = std::mem::take(&mut self.watches[direction.opposite().index()]);
        let other_end = self.next(direction.opposite());
        self.resume(direction.opposite(), other.bytes(), other_end, step);
        self.resume(direction, begun.bytes(), end - bytes.len() as u64, step);
    }

    /// Takes up HTTP with what passed of a head.
    fn resume(&mut self, direction: Direction, begun: &[u8], end: u64, step: &mut Step<'_>) {
        let Phase::Http(upgrade) = &mut self.phase else { return };
        let mut rest = begun;
        let verdict = upgrade.bytes(direction, &mut rest, step);
        self.turn(verdict, direction, rest, SegmentStart::Middle, end, step);
    }

    /// `n` bytes are not here, for `loss` or else on purpose; they end at stream offset `end`.
    fn unseen(
        &mut self,
        direction: Direction,
        n: u64,
        loss: Option<GapReason>,
        end: u64,
        step: &mut Step<'_>,
    ) {
        self.watches[direction.index()].interrupt();
        let hole = match loss {
            Some(reason) => {
                self.tell(What::Gap { direction, bytes: n, reason }, step);
                Hole::Lost
            }
            None => {
                self.tell(What::Skipped { direction, bytes: n }, step);
                Hole::Skipped
            }
        };
        match &mut self.phase {
            Phase::Http(upgrade) => {
                let verdict = upgrade.absent(direction, n, step);
                self.turn(verdict, direction, &[], SegmentStart::Middle, end, step);
                if let Phase::Frames(session) = &mut self.phase {
                    session.lose_border(direction, step);
                }
            }
            Phase::Frames(session) => session.absent(direction, n, hole, step),
            Phase::Other => {}
        }
    }

    /// Acts on what became of the handshake with time.
    fn settle(&mut self, verdict: Verdict, step: &mut Step<'_>) {
        let direction = Direction::Sent;
        self.turn(verdict, direction, &[], SegmentStart::Middle, self.next(direction), step);
    }

    /// Acts on what became of the handshake. `rest` is not used up, and ends at `end`.
    fn turn(
        &mut self,
        verdict: Verdict,
        direction: Direction,
        rest: &[u8],
        start: SegmentStart,
        end: u64,
        step: &mut Step<'_>,
    ) {
        let Phase::Http(upgrade) = &mut self.phase else { return };
        match verdict {
            Verdict::Http => {}
            Verdict::Other => self.give_up(step),
            Verdict::WebSocket(agreement, buffer) => {
                let held = upgrade.take_held();
                self.open(&agreement, held, direction, [&buffer, rest], end, step);
            }
            Verdict::Unknown(buffer) => {
                let (held_direction, held) = upgrade.take_held();
                let mut starts = self.places.map(Place::next);
                starts[direction.index()] = end - (rest.len() + buffer.len()) as u64;
                let held = held.unwrap_or_default();
                rewind(&mut starts, held_direction, &held);
                let mut session = if upgrade.is_upgrading() {
                    Session::asked_for(starts)
                } else {
                    Session::met(starts, step)
                };
                replay(&mut session, held_direction, &held, step);
                session.bytes(direction, &buffer, SegmentStart::Middle, step);
                session.bytes(direction, rest, start, step);
                self.phase = Phase::Frames(Box::new(session));
                self.lose_hope(step);
            }
        }
    }

    fn open(
        &mut self,
        agreement: &Agreement,
        (held_direction, held): (Direction, Option<Backlog>),
        direction: Direction,
        rest: [&[u8]; 2],
        end: u64,
        step: &mut Step<'_>,
    ) {
        let mut starts = self.places.map(Place::next);
        starts[direction.index()] = end - (rest[0].len() + rest[1].len()) as u64;
        let torn = held.is_none();
        let held = held.unwrap_or_default();
        rewind(&mut starts, held_direction, &held);
        let mut session = Session::agreed(agreement, starts, step);
        if torn {
            session.lose_border(held_direction, step);
        }
        replay(&mut session, held_direction, &held, step);
        for bytes in rest {
            session.bytes(direction, bytes, SegmentStart::Middle, step);
        }
        self.ignored = false;
        self.phase = Phase::Frames(Box::new(session));
    }

    /// Counts what is held now, and lets go of it if all connections together hold too much.
    fn account(&mut self, direction: Direction, step: &mut Step<'_>) {
        let held = match &self.phase {
            Phase::Http(upgrade) => upgrade.held_bytes(),
            Phase::Frames(session) => session.held_bytes(),
            Phase::Other => 0,
        };
        let others = step.resources.held_bytes - self.held_bytes;
        step.resources.held_bytes = others + held;
        self.held_bytes = held;
        if held == 0 || others + held <= step.resources.limits.held_bytes_in_all {
            return;
        }
        match &mut self.phase {
            Phase::Http(_) => {
                step.error(direction, ProtocolError::HandshakeTooLong);
                self.give_up(step);
            }
            Phase::Frames(session) => session.let_go(),
            Phase::Other => {}
        }
        self.give_back(step);
    }

    fn give_back(&mut self, step: &mut Step<'_>) {
        step.resources.held_bytes -= std::mem::take(&mut self.held_bytes);
    }

    /// Gives up frames that are not there.
    fn lose_hope(&mut self, step: &mut Step<'_>) {
        if matches!(&self.phase, Phase::Frames(session) if session.is_hopeless(step)) {
            self.give_up(step);
        }
    }

    fn give_up(&mut self, step: &mut Step<'_>) {
        let mut encrypted = false;
        if let Phase::Frames(session) = &mut self.phase {
            encrypted = session.is_encrypted();
            session.leave(step);
        }
        self.phase = Phase::Other;
        if !self.ignored {
            self.ignored = true;
            step.resources.hints.push(Steering::Ignore { conn: step.conn, encrypted });
        }
    }
}

/// Moves a direction's start to before what was held of it.
fn rewind(starts: &mut [u64; 2], direction: Direction, held: &Backlog) {
    starts[direction.index()] -= held.bytes().len() as u64;
}

/// Decodes what was held, with its own times.
fn replay(session: &mut Session, direction: Direction, held: &Backlog, step: &mut Step<'_>) {
    let now = step.stamp;
    for (bytes, stamp) in held.pieces() {
        step.stamp = stamp;
        session.bytes(direction, bytes, SegmentStart::Middle, step);
    }
    step.stamp = now;
}
