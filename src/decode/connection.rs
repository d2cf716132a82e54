//! One connection: which protocol it is read as now, and how that changes.
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
use super::context::{Context, Resources};
use super::deferred_counts::DeferredCounts;
use super::hint::StreamContent;
use super::http::handshake::Agreement;
use super::http::head_scan::HeadScan;
use super::http::upgrade::{Becomes, Upgrade};
use super::stream::{Arrival, Chunk, StreamPosition};
use super::websocket::direction::Hole;
use super::websocket::session::Session;
use crate::event::{ConnId, Direction, Segment, SegmentStart, TargetId};
use crate::observation::{GapReason, ProtocolError, Role, What};

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) target: TargetId,
    /// When it was last used: the decoder's count of events.
    pub(super) used: u64,
    positions: [StreamPosition; 2],
    phase: Phase,
    /// Find an HTTP head at the start of a call while the connection is no proven WebSocket.
    head_scans: [HeadScan; 2],
    /// The kernel side was told that it may leave bytes out.
    ignored: bool,
    /// Counts of a socket that are emitted once it is proven to be a WebSocket.
    deferred: Option<Box<DeferredCounts>>,
    /// Its share of [`Resources::held_bytes`](super::context::Resources::held_bytes).
    held_bytes: usize,
}

/// Stream offsets of a connection that was evicted. If it comes back, bytes before them are not
/// counted as lost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trace {
    positions: [StreamPosition; 2],
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
        let Trace { positions, ignored } = trace;
        let head_scans = Default::default();
        let deferred = conn.is_anything().then(Box::default);
        Self { target, used: 0, positions, phase, head_scans, ignored, deferred, held_bytes: 0 }
    }

    /// One direction goes on.
    pub(super) fn data(&mut self, segment: &Segment<'_>, context: &mut Context<'_>) {
        let direction = segment.direction;
        let position = &mut self.positions[direction.index()];
        let before = position.next();
        let Some(arrival) = position.arrive(segment) else { return };
        let Arrival { hole, bytes, absent, why, start } = arrival;
        let passed = self.next(direction) - before;
        self.tell(What::Wire { direction, bytes: passed }, context);
        if hole > 0 {
            self.unseen(direction, hole, Some(GapReason::RingFull), before + hole, context);
        }
        let end = before + hole + bytes.len() as u64;
        if !bytes.is_empty() {
            self.bytes(Chunk { direction, bytes, start, end }, context);
        }
        if absent > 0 {
            self.unseen(direction, absent, why.loss(), end + absent, context);
        }
        self.account(direction, context);
        self.prove(context);
    }

    /// The connection ended, after so many bytes.
    pub(super) fn closed(&mut self, sent: u64, received: u64, context: &mut Context<'_>) {
        for (direction, total) in Direction::BOTH.into_iter().zip([sent, received]) {
            let missing = self.positions[direction.index()].finish(total);
            if missing > 0 {
                self.tell(What::Wire { direction, bytes: missing }, context);
                let end = self.next(direction);
                self.unseen(direction, missing, Some(GapReason::RingFull), end, context);
            }
        }
        if let Phase::Http(upgrade) = &mut self.phase {
            let becomes = upgrade.end();
            self.turn_without_bytes(becomes, context);
        }
        self.prove(context);
        if let Phase::Frames(session) = &mut self.phase {
            session.close(context);
        }
        self.give_back(context.resources);
    }

    /// The connection ended with its process, after what was seen of it.
    pub(super) fn cut_off(&mut self, context: &mut Context<'_>) {
        let [sent, received] = self.positions.map(StreamPosition::next);
        self.closed(sent, received, context);
    }

    /// The connection is let go because of a limit, as if it had ended without a word.
    pub(super) fn evict(&mut self, context: &mut Context<'_>) {
        if let Phase::Frames(session) = &mut self.phase {
            session.stop_matching(context);
            session.leave(context);
        }
        self.give_back(context.resources);
    }

    /// Nobody watches the connection any more.
    pub(super) fn leave(&mut self, context: &mut Context<'_>) {
        if let Phase::Frames(session) = &mut self.phase {
            session.leave(context);
        }
        self.give_back(context.resources);
    }

    /// Deadlines of the handshake.
    pub(super) fn tick(&mut self, now_ns: u64, context: &mut Context<'_>) {
        let Phase::Http(upgrade) = &mut self.phase else { return };
        let becomes = upgrade.tick(now_ns, context.resources.limits.handshake_ns);
        self.turn_without_bytes(becomes, context);
        self.account(Direction::Sent, context);
        self.prove(context);
    }

    /// [`Connection::tick`] should be called.
    pub(super) fn has_deadline(&self) -> bool {
        matches!(&self.phase, Phase::Http(upgrade) if upgrade.has_deadline())
    }

    /// Frees memory that a quiet connection does not need.
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

    /// It is not known where its next head or frame begins, so starts of calls are searched.
    pub(super) fn is_adrift(&self) -> bool {
        match &self.phase {
            Phase::Http(upgrade) => upgrade.is_lost(),
            // Behind a close, HTTP may begin again with any call.
            Phase::Frames(session) => session.is_adrift() || session.is_closing(),
            Phase::Other => true,
        }
    }

    /// What is remembered of it when it is evicted.
    pub(super) fn trace(&self) -> Trace {
        Trace { positions: self.positions, ignored: self.ignored }
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
        self.positions[direction.index()].next()
    }

    /// Emits a count, or keeps it for a socket that is not a proven WebSocket.
    fn tell(&mut self, what: What<'_>, context: &mut Context<'_>) {
        let told = match &mut self.deferred {
            Some(deferred) => deferred.keep(what),
            None => Some(what),
        };
        if let Some(what) = told {
            context.emit(what);
        }
    }

    /// Emits the kept counts of a socket once it is a WebSocket.
    fn prove(&mut self, context: &mut Context<'_>) {
        let proven = self.is_proven();
        if let Some(deferred) = self.deferred.take_if(|_| proven) {
            deferred.tell(|what| context.emit(what));
        }
    }
}

impl Connection {
    fn bytes(&mut self, chunk: Chunk<'_>, context: &mut Context<'_>) {
        self.look_for_a_head(chunk, context);
        let mut rest = chunk.bytes;
        match &mut self.phase {
            Phase::Http(upgrade) => {
                let becomes = upgrade.bytes(chunk.direction, &mut rest, context);
                self.ignored |= upgrade.is_ignored();
                self.turn(becomes, chunk.behind(rest), context);
            }
            Phase::Frames(session) => {
                session.bytes(chunk.direction, chunk.bytes, chunk.start, context);
                self.lose_hope(context);
            }
            Phase::Other => {}
        }
    }

    /// Looks for an HTTP head at the start of a call, unless the connection is a proven WebSocket.
    fn look_for_a_head(&mut self, chunk: Chunk<'_>, context: &mut Context<'_>) {
        let Chunk { direction, bytes, start, .. } = chunk;
        if let Phase::Http(upgrade) = &mut self.phase {
            if start == SegmentStart::Call {
                upgrade.call_starts(direction, bytes);
            }
            return;
        }
        if !self.may_begin_anew() {
            return;
        }
        let Some(begun) = self.head_scans[direction.index()].look(start, bytes) else { return };
        self.begin_anew(context);
        let other = std::mem::take(&mut self.head_scans[direction.opposite().index()]);
        let other_end = self.next(direction.opposite());
        self.resume(direction.opposite(), other.bytes(), other_end, context);
        self.resume(direction, begun.bytes(), chunk.offset(), context);
    }

    /// What passes next may be HTTP: it is not known to be a WebSocket, or its peers have said that
    /// they are done with that. A library's object may be used again without being freed.
    fn may_begin_anew(&self) -> bool {
        match &self.phase {
            Phase::Frames(session) => !session.is_proven() || session.is_closing(),
            Phase::Http(_) | Phase::Other => true,
        }
    }

    fn begin_anew(&mut self, context: &mut Context<'_>) {
        if let Phase::Frames(session) = &mut self.phase {
            if session.is_proven() {
                session.close(context);
                context.role = Role::Unknown;
                self.ignored = false;
            } else {
                session.leave(context);
            }
        }
        self.phase = Phase::Http(Box::default());
    }

    /// Reads the beginning of a head that passed before HTTP was recognised.
    fn resume(&mut self, direction: Direction, begun: &[u8], end: u64, context: &mut Context<'_>) {
        let Phase::Http(upgrade) = &mut self.phase else { return };
        let mut rest = begun;
        let becomes = upgrade.bytes(direction, &mut rest, context);
        let start = SegmentStart::Middle;
        self.turn(becomes, Chunk { direction, bytes: rest, start, end }, context);
    }

    /// `n` bytes that end at stream offset `end` are missing: lost for the reason `loss`, or left
    /// out on purpose where that is `None`.
    fn unseen(
        &mut self,
        direction: Direction,
        n: u64,
        loss: Option<GapReason>,
        end: u64,
        context: &mut Context<'_>,
    ) {
        self.head_scans[direction.index()].interrupt();
        let hole = match loss {
            Some(reason) => {
                self.tell(What::Gap { direction, bytes: n, reason }, context);
                Hole::Lost
            }
            None => {
                self.tell(What::Skipped { direction, bytes: n }, context);
                Hole::Skipped
            }
        };
        match &mut self.phase {
            Phase::Http(upgrade) => {
                let becomes = upgrade.absent(direction, n);
                self.turn(becomes, Chunk::nothing(direction, end), context);
                if let Phase::Frames(session) = &mut self.phase {
                    session.lose_border(direction, context);
                }
            }
            Phase::Frames(session) => session.absent(direction, n, hole, context),
            Phase::Other => {}
        }
    }

    /// Acts on a change of the handshake that no bytes brought about.
    fn turn_without_bytes(&mut self, becomes: Becomes, context: &mut Context<'_>) {
        let direction = Direction::Sent;
        self.turn(becomes, Chunk::nothing(direction, self.next(direction)), context);
    }

    /// Acts on a change of the handshake. `rest` holds the bytes that it did not use.
    fn turn(&mut self, becomes: Becomes, rest: Chunk<'_>, context: &mut Context<'_>) {
        let direction = rest.direction;
        let Phase::Http(upgrade) = &mut self.phase else { return };
        match becomes {
            Becomes::Http => {}
            Becomes::Other => self.give_up(context),
            Becomes::WebSocket(agreement, buffer) => {
                let held = upgrade.take_held();
                self.open(&agreement, held, &buffer, rest, context);
            }
            Becomes::Unknown(buffer) => {
                let (held_direction, held) = upgrade.take_held();
                let mut starts = self.positions.map(StreamPosition::next);
                starts[direction.index()] = rest.offset() - buffer.len() as u64;
                let held = held.unwrap_or_default();
                rewind(&mut starts, held_direction, &held);
                let mut session = if upgrade.is_upgrading() {
                    Session::asked_for(starts)
                } else {
                    Session::met(starts, context.resources.limits.search_bytes)
                };
                replay(&mut session, held_direction, &held, context);
                session.bytes(direction, &buffer, SegmentStart::Middle, context);
                session.bytes(direction, rest.bytes, rest.start, context);
                self.phase = Phase::Frames(Box::new(session));
                self.lose_hope(context);
            }
        }
    }

    fn open(
        &mut self,
        agreement: &Agreement,
        (held_direction, held): (Direction, Option<Backlog>),
        buffer: &[u8],
        rest: Chunk<'_>,
        context: &mut Context<'_>,
    ) {
        let direction = rest.direction;
        let mut starts = self.positions.map(StreamPosition::next);
        starts[direction.index()] = rest.offset() - buffer.len() as u64;
        let torn = held.is_none();
        let held = held.unwrap_or_default();
        rewind(&mut starts, held_direction, &held);
        let mut session = Session::agreed(agreement, starts, context);
        if torn {
            session.lose_border(held_direction, context);
        }
        replay(&mut session, held_direction, &held, context);
        for bytes in [buffer, rest.bytes] {
            session.bytes(direction, bytes, SegmentStart::Middle, context);
        }
        self.ignored = false;
        self.phase = Phase::Frames(Box::new(session));
    }

    /// Counts the held bytes, and drops them if all connections together hold too many.
    fn account(&mut self, direction: Direction, context: &mut Context<'_>) {
        let held = match &self.phase {
            Phase::Http(upgrade) => upgrade.held_bytes(),
            Phase::Frames(session) => session.held_bytes(),
            Phase::Other => 0,
        };
        let others = context.resources.held_bytes - self.held_bytes;
        context.resources.held_bytes = others + held;
        self.held_bytes = held;
        if held == 0 || others + held <= context.resources.limits.held_bytes_in_all {
            return;
        }
        match &mut self.phase {
            Phase::Http(_) => {
                context.error(direction, ProtocolError::HandshakeTooLong);
                self.give_up(context);
            }
            Phase::Frames(session) => session.let_go(),
            Phase::Other => {}
        }
        self.give_back(context.resources);
    }

    fn give_back(&mut self, resources: &mut Resources) {
        resources.held_bytes -= std::mem::take(&mut self.held_bytes);
    }

    /// Stops searching for frames once there can be none.
    fn lose_hope(&mut self, context: &mut Context<'_>) {
        let limits = &context.resources.limits;
        if matches!(&self.phase, Phase::Frames(session) if session.is_hopeless(limits)) {
            self.give_up(context);
        }
    }

    fn give_up(&mut self, context: &mut Context<'_>) {
        let mut content = StreamContent::Plaintext;
        if let Phase::Frames(session) = &mut self.phase {
            if session.is_encrypted() {
                content = StreamContent::Tls;
            }
            session.leave(context);
        }
        self.phase = Phase::Other;
        if !self.ignored {
            self.ignored = true;
            context.resources.hints.ignore(context.conn, content);
        }
    }
}

/// Moves a direction's start back by the length of its held bytes.
fn rewind(starts: &mut [u64; 2], direction: Direction, held: &Backlog) {
    starts[direction.index()] -= held.bytes().len() as u64;
}

/// Decodes held bytes, each with the time at which it passed.
fn replay(session: &mut Session, direction: Direction, held: &Backlog, context: &mut Context<'_>) {
    let now = context.stamp;
    for (bytes, stamp) in held.pieces() {
        context.stamp = stamp;
        session.bytes(direction, bytes, SegmentStart::Middle, context);
    }
    context.stamp = now;
}
