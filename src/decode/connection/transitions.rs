//! How a connection goes from one protocol to another.

use super::{Connection, Phase};
use crate::decode::backlog::Backlog;
use crate::decode::context::Context;
use crate::decode::http::handshake::Agreement;
use crate::decode::http::upgrade::Becomes;
use crate::decode::http2::carrier::Carrier;
use crate::decode::http2::scan::Http2Scan;
use crate::decode::stream::{Chunk, StreamPosition};
use crate::decode::websocket::session::Session;
use crate::event::{Direction, SegmentStart};
use crate::observation::Role;

impl Connection {
    /// Acts on a change of the handshake that no bytes brought about.
    pub(super) fn turn_without_bytes(&mut self, becomes: Becomes, context: &mut Context<'_>) {
        let direction = Direction::Sent;
        self.turn(becomes, Chunk::nothing(direction, self.next(direction)), context);
    }

    /// Acts on a change of the handshake. `rest` holds the bytes that it did not use.
    pub(super) fn turn(&mut self, becomes: Becomes, rest: Chunk<'_>, context: &mut Context<'_>) {
        let direction = rest.direction;
        let Phase::Http(upgrade) = &mut self.phase else { return };
        match becomes {
            Becomes::Http => {}
            Becomes::Other => self.give_up(context),
            Becomes::WebSocket(agreement, buffer) => {
                let held = upgrade.take_held();
                self.open(&agreement, held, &buffer, rest, context);
            }
            Becomes::Unknown(begun) => {
                let (held_direction, held) = upgrade.take_held();
                let mut starts = self.positions.map(StreamPosition::next);
                let start = if begun.from_call { SegmentStart::Call } else { SegmentStart::Middle };
                let begun = Chunk { direction, bytes: &begun.bytes, start, end: rest.offset() };
                starts[direction.index()] = begun.offset();
                let held = held.unwrap_or_default();
                rewind(&mut starts, held_direction, &held);
                let mut session = if upgrade.is_upgrading() {
                    Session::asked_for(starts)
                } else {
                    Session::met(starts, context.resources.limits.search_bytes)
                };
                replay(&mut session, held_direction, &held, context);
                for chunk in [begun, rest] {
                    session.bytes(direction, chunk.bytes, chunk.start, context);
                }
                self.phase = Phase::Frames(Box::new(session));
                self.http2_scan = Some(Box::default());
                self.look_for_http2(begun, context);
                self.look_for_http2(rest, context);
                self.lose_hope(context);
            }
            Becomes::Http2 { asking, kept } => {
                let mut carrier = Carrier::new(asking);
                for (direction, bytes) in Direction::BOTH.into_iter().zip(&kept) {
                    let start = SegmentStart::Middle;
                    let end = self.positions[direction.index()].next();
                    carrier.bytes(Chunk { direction, bytes, start, end }, context);
                }
                carrier.bytes(rest, context);
                carrier.announce(context);
                self.phase = Phase::Http2(Box::new(carrier));
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

    pub(super) fn begin_anew(&mut self, context: &mut Context<'_>) {
        match &mut self.phase {
            Phase::Frames(session) if session.is_proven() => {
                session.close(context);
                context.role = Role::Unknown;
                self.ignored = false;
            }
            Phase::Frames(session) => session.leave(context),
            Phase::Http2(carrier) => carrier.close(context),
            Phase::Http(_) | Phase::Other => {}
        }
        self.phase = Phase::Http(Box::default());
    }

    /// Reads the beginning of a head that passed before HTTP was recognised.
    pub(super) fn resume(
        &mut self,
        direction: Direction,
        begun: &[u8],
        end: u64,
        context: &mut Context<'_>,
    ) {
        let Phase::Http(upgrade) = &mut self.phase else { return };
        let mut rest = begun;
        let becomes = upgrade.bytes(direction, &mut rest, context);
        let start = SegmentStart::Middle;
        self.turn(becomes, Chunk { direction, bytes: rest, start, end }, context);
    }

    /// The kernel side has walked frames of HTTP/2 up to here. How the connection began may have been
    /// lost.
    pub(super) fn meet_http2(&mut self, context: &mut Context<'_>) {
        let Phase::Frames(session) = &mut self.phase else { return };
        if session.is_proven() {
            return;
        }
        session.leave(context);
        self.http2_scan = None;
        self.phase = Phase::Http2(Box::new(Carrier::met()));
    }

    /// Looks for frames of HTTP/2 where it is not known what passes.
    pub(super) fn look_for_http2(&mut self, chunk: Chunk<'_>, context: &mut Context<'_>) {
        let Phase::Frames(session) = &mut self.phase else { return };
        let limits = &context.resources.limits;
        let is_over = |scan: &mut Box<Http2Scan>| session.is_proven() || scan.is_exhausted(limits);
        self.http2_scan.take_if(is_over);
        let Some(scan) = &mut self.http2_scan else { return };
        let Some(passed) = scan.look(chunk, context.stamp, limits) else { return };
        session.leave(context);
        self.http2_scan = None;
        let mut carrier = Carrier::met();
        carrier.resume(chunk.direction, &passed, context);
        self.phase = Phase::Http2(Box::new(carrier));
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
