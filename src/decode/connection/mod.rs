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
//!
//! Http also becomes Http2, with its preface, where each stream may be a WebSocket. That becomes
//! Other where the server does not allow it.

mod transitions;

use crate::decode::context::{Context, Resources};
use crate::decode::deferred_counts::DeferredCounts;
use crate::decode::hint::StreamContent;
use crate::decode::http::head_scan::{HeadScan, Scanned};
use crate::decode::http::upgrade::Upgrade;
use crate::decode::http2::carrier::Carrier;
use crate::decode::http2::scan::Http2Scan;
use crate::decode::stream::{Arrival, Chunk, StreamPosition};
use crate::decode::websocket::direction::Hole;
use crate::decode::websocket::session::Session;
use crate::event::{ConnId, Direction, Segment, SegmentStart, TargetId};
use crate::observation::{GapReason, ProtocolError, Role, What};

/// The state of one connection.
#[derive(Debug)]
pub(in crate::decode) struct Connection {
    pub(in crate::decode) target: TargetId,
    /// When it was last used: the decoder's count of events.
    pub(in crate::decode) used: u64,
    /// When it last passed anything, `CLOCK_MONOTONIC` nanoseconds.
    pub(in crate::decode) heard_ns: u64,
    positions: [StreamPosition; 2],
    phase: Phase,
    /// Find an HTTP head at the start of a call while the connection is no proven WebSocket.
    head_scans: [HeadScan; 2],
    /// Present while a connection that was met in mid-stream may turn out to speak HTTP/2.
    http2_scan: Option<Box<Http2Scan>>,
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
pub(in crate::decode) struct Trace {
    positions: [StreamPosition; 2],
    ignored: bool,
}

#[derive(Debug)]
enum Phase {
    Http(Box<Upgrade>),
    Frames(Box<Session>),
    Http2(Box<Carrier>),
    Other,
}

impl Connection {
    /// A connection that is new, or comes back after it was let go.
    pub(in crate::decode) fn new(conn: ConnId, target: TargetId, trace: Trace) -> Self {
        let phase = Phase::Http(Box::default());
        let Trace { positions, ignored } = trace;
        let head_scans = Default::default();
        let deferred = conn.is_anything().then(Box::default);
        Self {
            target,
            used: 0,
            heard_ns: 0,
            positions,
            phase,
            head_scans,
            http2_scan: None,
            ignored,
            deferred,
            held_bytes: 0,
        }
    }

    /// One direction goes on.
    pub(in crate::decode) fn data(&mut self, segment: &Segment<'_>, context: &mut Context<'_>) {
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
    #[inline(never)]
    pub(in crate::decode) fn closed(
        &mut self,
        sent: u64,
        received: u64,
        context: &mut Context<'_>,
    ) {
        for (direction, total) in Direction::BOTH.into_iter().zip([sent, received]) {
            let missing = self.positions[direction.index()].finish(total);
            if missing > 0 {
                self.tell(What::Wire { direction, bytes: missing }, context);
                let end = self.next(direction);
                self.unseen(direction, missing, Some(GapReason::RingFull), end, context);
            }
            self.release(direction, context);
        }
        if let Phase::Http(upgrade) = &mut self.phase {
            let becomes = upgrade.end();
            self.turn_without_bytes(becomes, context);
        }
        self.prove(context);
        match &mut self.phase {
            Phase::Frames(session) => session.close(context),
            Phase::Http2(carrier) => carrier.close(context),
            Phase::Http(_) | Phase::Other => {}
        }
        self.give_back(context.resources);
    }

    /// The connection ended with its process, after what was seen of it.
    pub(in crate::decode) fn cut_off(&mut self, context: &mut Context<'_>) {
        let [sent, received] = self.positions.map(StreamPosition::next);
        self.closed(sent, received, context);
    }

    /// The connection is let go because of a limit, as if it had ended without a word.
    pub(in crate::decode) fn evict(&mut self, context: &mut Context<'_>) {
        match &mut self.phase {
            Phase::Frames(session) => {
                session.stop_matching(context);
                session.leave(context);
            }
            Phase::Http2(carrier) => carrier.evict(context),
            Phase::Http(_) | Phase::Other => {}
        }
        self.give_back(context.resources);
    }

    /// Nobody watches the connection any more.
    pub(in crate::decode) fn leave(&mut self, context: &mut Context<'_>) {
        match &mut self.phase {
            Phase::Frames(session) => session.leave(context),
            Phase::Http2(carrier) => carrier.leave(context),
            Phase::Http(_) | Phase::Other => {}
        }
        self.give_back(context.resources);
    }

    /// Deadlines of the handshake.
    pub(in crate::decode) fn tick(&mut self, now_ns: u64, context: &mut Context<'_>) {
        let Phase::Http(upgrade) = &mut self.phase else { return };
        let becomes = upgrade.tick(now_ns, context.resources.limits.handshake_ns);
        self.turn_without_bytes(becomes, context);
        self.account(Direction::Sent, context);
        self.prove(context);
    }

    /// [`Connection::tick`] should be called.
    pub(in crate::decode) fn has_deadline(&self) -> bool {
        matches!(&self.phase, Phase::Http(upgrade) if upgrade.has_deadline())
    }

    /// Frees memory that a quiet connection does not need.
    pub(in crate::decode) fn expire(&mut self, now_ns: u64, identical_bytes: &mut usize) {
        match &mut self.phase {
            Phase::Frames(session) => session.expire(now_ns, identical_bytes),
            Phase::Http2(carrier) => carrier.expire(now_ns, identical_bytes),
            Phase::Http(_) | Phase::Other => {}
        }
    }

    /// The role of the tapped process, as far as it is known.
    pub(in crate::decode) fn role(&self) -> Role {
        match &self.phase {
            Phase::Frames(session) => session.role(),
            Phase::Http(_) | Phase::Http2(_) | Phase::Other => Role::Unknown,
        }
    }

    /// It is not known where its next head or frame begins, so starts of calls are searched.
    pub(in crate::decode) fn is_adrift(&self) -> bool {
        match &self.phase {
            Phase::Http(upgrade) => upgrade.is_lost(),
            // Behind a close, HTTP may begin again with any call.
            Phase::Frames(session) => session.is_adrift() || session.is_closing(),
            Phase::Http2(carrier) => carrier.is_adrift(),
            Phase::Other => true,
        }
    }

    /// What is remembered of it when it is evicted.
    pub(in crate::decode) fn trace(&self) -> Trace {
        Trace { positions: self.positions, ignored: self.ignored }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(in crate::decode) fn heap_bytes(&self) -> usize {
        match &self.phase {
            Phase::Http(upgrade) => size_of_val(&**upgrade),
            Phase::Frames(session) => size_of_val(&**session) + session.heap_bytes(),
            Phase::Http2(carrier) => size_of_val(&**carrier),
            Phase::Other => 0,
        }
    }

    /// It is a WebSocket, beyond doubt.
    fn is_proven(&self) -> bool {
        match &self.phase {
            Phase::Frames(session) => session.is_proven(),
            Phase::Http2(carrier) => carrier.is_proven(),
            Phase::Http(_) | Phase::Other => false,
        }
    }

    fn next(&self, direction: Direction) -> u64 {
        self.positions[direction.index()].next()
    }

    /// Emits a count, or keeps it for a socket that is not a proven WebSocket.
    fn tell(&mut self, what: What<'_>, context: &mut Context<'_>) {
        let is_kept = self.deferred.as_mut().is_some_and(|deferred| deferred.keep(&what));
        if !is_kept {
            context.emit(what);
        }
    }

    /// Emits the kept counts of a socket once it is a WebSocket.
    fn prove(&mut self, context: &mut Context<'_>) {
        if self.deferred.is_none() || !self.is_proven() {
            return;
        }
        if let Some(deferred) = self.deferred.take() {
            deferred.tell(|what| context.emit(what));
        }
    }
}

impl Connection {
    fn bytes(&mut self, chunk: Chunk<'_>, context: &mut Context<'_>) {
        if chunk.start == SegmentStart::Http2Header {
            self.meet_http2(context);
        }
        let chunk = self.look_for_a_head(chunk, context);
        let mut rest = chunk.bytes;
        match &mut self.phase {
            Phase::Http(upgrade) => {
                let becomes = upgrade.bytes(chunk.direction, &mut rest, context);
                self.ignored |= upgrade.is_ignored();
                self.turn(becomes, chunk.behind(rest), context);
            }
            Phase::Frames(session) => {
                session.bytes(chunk.direction, chunk.bytes, chunk.start, context);
                if session.is_in_doubt() || self.http2_scan.is_some() {
                    self.look_for_http2(chunk, context);
                    self.lose_hope(context);
                }
            }
            Phase::Http2(carrier) => {
                carrier.bytes(chunk, context);
                carrier.announce(context);
                self.lose_hope(context);
            }
            Phase::Other => {}
        }
    }

    /// Looks for an HTTP head at the start of a call, unless the connection is a proven WebSocket.
    /// Returns what is to be read now: nothing, while it may be the beginning of a head instead of
    /// a frame.
    fn look_for_a_head<'a>(&mut self, chunk: Chunk<'a>, context: &mut Context<'_>) -> Chunk<'a> {
        let Chunk { direction, bytes, start, end } = chunk;
        if let Phase::Http(upgrade) = &mut self.phase {
            if start == SegmentStart::Call {
                upgrade.call_starts(direction, bytes);
            }
            return chunk;
        }
        if !self.may_begin_anew(direction) {
            self.release(direction, context);
            return chunk;
        }
        match self.head_scans[direction.index()].look(start, bytes) {
            Scanned::Head(begun) => {
                self.begin_anew(context);
                let other = std::mem::take(&mut self.head_scans[direction.opposite().index()]);
                let other_end = self.next(direction.opposite());
                self.resume(direction.opposite(), other.bytes(), other_end, context);
                self.resume(direction, begun.bytes(), chunk.offset(), context);
                chunk
            }
            Scanned::Neither(kept) => {
                self.read_as_frames(direction, kept, context);
                chunk
            }
            Scanned::Undecided(kept) => {
                self.read_as_frames(direction, kept, context);
                match self.phase {
                    Phase::Frames(_) => Chunk::nothing(direction, end),
                    _ => chunk,
                }
            }
        }
    }

    /// Keeps nothing of a direction any longer because a head might begin with it.
    fn release(&mut self, direction: Direction, context: &mut Context<'_>) {
        let scan = &mut self.head_scans[direction.index()];
        if !scan.is_empty() {
            let kept = std::mem::take(scan);
            self.read_as_frames(direction, kept, context);
        }
    }

    /// Reads what was kept of a direction, which is no head.
    fn read_as_frames(&mut self, direction: Direction, kept: HeadScan, context: &mut Context<'_>) {
        if let Phase::Frames(session) = &mut self.phase {
            session.bytes(direction, kept.bytes(), SegmentStart::Call, context);
        }
    }

    /// What passes next in this direction may be HTTP: it is not known to be a WebSocket, or its peers have
    /// said that they are done with that and no frame is left open. A library's object may be used again
    /// without being freed.
    fn may_begin_anew(&self, direction: Direction) -> bool {
        match &self.phase {
            Phase::Frames(session) => {
                !session.is_proven() || session.is_closing() && !session.is_within_frame(direction)
            }
            Phase::Http2(carrier) => carrier.has_lost_border(),
            Phase::Http(_) | Phase::Other => true,
        }
    }

    /// `n` bytes that end at stream offset `end` are missing: lost for the reason `loss`, or left
    /// out on purpose where that is `None`.
    #[inline(never)]
    fn unseen(
        &mut self,
        direction: Direction,
        n: u64,
        loss: Option<GapReason>,
        end: u64,
        context: &mut Context<'_>,
    ) {
        self.release(direction, context);
        if let Some(scan) = &mut self.http2_scan {
            scan.interrupt(direction);
        }
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
            Phase::Http2(carrier) => carrier.absent(direction, n, hole, context),
            Phase::Other => {}
        }
    }

    /// Counts the held bytes, and drops them if all connections together hold too many.
    fn account(&mut self, direction: Direction, context: &mut Context<'_>) {
        let held = match &self.phase {
            Phase::Http(upgrade) => upgrade.held_bytes(),
            Phase::Frames(session) => {
                let scanned = self.http2_scan.as_ref().map_or(0, |scan| scan.held_bytes());
                session.held_bytes() + scanned
            }
            Phase::Http2(carrier) => carrier.held_bytes(),
            Phase::Other => 0,
        };
        if held == 0 && self.held_bytes == 0 {
            return;
        }
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
            Phase::Frames(session) => {
                session.let_go();
                self.http2_scan = None;
            }
            Phase::Http2(carrier) => carrier.let_go(context),
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
        let is_hopeless = match &self.phase {
            Phase::Frames(session) => session.is_hopeless(limits),
            Phase::Http2(carrier) => carrier.is_ordinary(limits),
            Phase::Http(_) | Phase::Other => false,
        };
        if is_hopeless {
            self.give_up(context);
        }
    }

    #[cold]
    fn give_up(&mut self, context: &mut Context<'_>) {
        let mut content = StreamContent::Plaintext;
        match &mut self.phase {
            Phase::Frames(session) => {
                if session.is_encrypted() {
                    content = StreamContent::Tls;
                }
                session.leave(context);
            }
            Phase::Http2(carrier) => carrier.leave(context),
            Phase::Http(_) | Phase::Other => {}
        }
        self.phase = Phase::Other;
        if !self.ignored {
            self.ignored = true;
            context.resources.hints.ignore(context.conn, content);
        }
    }
}
