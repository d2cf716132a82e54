//! One stream: from an extended CONNECT and its answer to the end of a WebSocket (RFC 8441,
//! section 5).

use super::held::Held;
use crate::decode::context::Context;
use crate::decode::http::handshake::{Agreement, Terms};
use crate::decode::http::head::Offer;
use crate::decode::limits::Limits;
use crate::decode::websocket::direction::Hole;
use crate::decode::websocket::session::Session;
use crate::event::{Direction, SegmentStart};
use crate::observation::Role;

/// A stream that is, or may become, a WebSocket.
#[derive(Debug)]
pub(super) struct Stream {
    phase: Phase,
    /// Which directions have nothing more to say.
    ended: [bool; 2],
    /// When it was last used: the carrier's count.
    pub(super) used: u64,
}

#[derive(Debug)]
enum Phase {
    /// An extended CONNECT waits for its answer.
    Asked(Box<Offer>, [Held; 2]),
    /// An answer waits for its request: a WebSocket if that turns out to be an extended CONNECT.
    Answered(Terms, [Held; 2]),
    /// A WebSocket, or what may be one by its frames.
    Open(Box<Session>),
    /// It is none, as its content shows.
    Other,
}

impl Stream {
    fn new(phase: Phase) -> Self {
        Self { phase, ended: [false; 2], used: 0 }
    }

    /// An extended CONNECT was seen.
    pub(super) fn asked(offer: Box<Offer>) -> Self {
        Self::new(Phase::Asked(offer, Default::default()))
    }

    /// An answer was seen whose request was not.
    pub(super) fn answered(terms: Terms) -> Self {
        Self::new(Phase::Answered(terms, Default::default()))
    }

    /// Neither can be read: the content tells.
    pub(super) fn met(limits: &Limits) -> Self {
        Self::new(Phase::Open(Box::new(Session::met([0; 2], limits.search_bytes))))
    }

    /// The terms of an answer that came first.
    pub(super) fn take_terms(&mut self) -> Option<Terms> {
        match &mut self.phase {
            Phase::Answered(terms, _) => Some(std::mem::take(terms)),
            _ => None,
        }
    }

    /// The request that waits for an answer.
    pub(super) fn take_offer(&mut self) -> Option<Box<Offer>> {
        match &mut self.phase {
            Phase::Asked(offer, _) => Some(std::mem::take(offer)),
            _ => None,
        }
    }

    /// Request and answer agree: a WebSocket begins.
    pub(super) fn open(&mut self, agreement: &Agreement, context: &mut Context<'_>) {
        let session = Session::agreed(agreement, [0; 2], context);
        self.begin(session, context);
    }

    /// An answer cannot be read: whether it agreed, frames tell.
    pub(super) fn open_unanswered(&mut self, context: &mut Context<'_>) {
        if matches!(self.phase, Phase::Asked(..)) {
            self.begin(Session::asked_for([0; 2]), context);
        }
    }

    fn begin(&mut self, session: Session, context: &mut Context<'_>) {
        let before = std::mem::replace(&mut self.phase, Phase::Open(Box::new(session)));
        let (Phase::Asked(_, held) | Phase::Answered(_, held)) = before else { return };
        for (direction, held) in Direction::BOTH.into_iter().zip(held) {
            self.replay(direction, held, context);
        }
    }

    /// Decodes held content with the times at which it passed.
    fn replay(&mut self, direction: Direction, held: Held, context: &mut Context<'_>) {
        let Phase::Open(session) = &mut self.phase else { return };
        let Some(backlog) = held.into_backlog() else {
            return session.lose_border(direction, context);
        };
        let now = context.stamp;
        for (bytes, stamp) in backlog.pieces() {
            context.stamp = stamp;
            session.bytes(direction, bytes, SegmentStart::Middle, context);
        }
        context.stamp = now;
    }

    /// Content of a DATA frame. `start` says whether the frame begins with it: where a border is
    /// searched, that is a likely one.
    pub(super) fn content(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        start: SegmentStart,
        context: &mut Context<'_>,
    ) {
        let limit = context.resources.limits.held_bytes;
        match &mut self.phase {
            Phase::Asked(_, held) | Phase::Answered(_, held) => {
                held[direction.index()].push(bytes, context.stamp, limit);
            }
            Phase::Open(session) => {
                // The kernel side also walks what is no WebSocket after all.
                let start = match start {
                    SegmentStart::StreamFrameHeader if session.is_proven() => {
                        SegmentStart::FrameHeader
                    }
                    SegmentStart::StreamFrameHeader => SegmentStart::Call,
                    start => start,
                };
                session.bytes(direction, bytes, start, context);
                if session.is_hopeless(&context.resources.limits) {
                    session.leave(context);
                    self.phase = Phase::Other;
                }
            }
            Phase::Other => {}
        }
    }

    /// `n` bytes of the content are not here.
    pub(super) fn absent(
        &mut self,
        direction: Direction,
        n: u64,
        hole: Hole,
        context: &mut Context<'_>,
    ) {
        match &mut self.phase {
            Phase::Asked(_, held) | Phase::Answered(_, held) => held[direction.index()].tear(),
            Phase::Open(session) => session.absent(direction, n, hole, context),
            Phase::Other => {}
        }
    }

    /// An unknown part of the content is not here.
    pub(super) fn lose_border(&mut self, direction: Direction, context: &mut Context<'_>) {
        match &mut self.phase {
            Phase::Asked(_, held) | Phase::Answered(_, held) => held[direction.index()].tear(),
            Phase::Open(session) => session.lose_border(direction, context),
            Phase::Other => {}
        }
    }

    /// One direction has nothing more to say. True if both have.
    pub(super) fn end(&mut self, direction: Direction) -> bool {
        self.ended[direction.index()] = true;
        self.ended == [true; 2]
    }

    /// The stream is over.
    pub(super) fn close(mut self, context: &mut Context<'_>) {
        if let Phase::Open(session) = &mut self.phase {
            session.close(context);
        }
    }

    /// The stream is dropped because of a limit.
    pub(super) fn evict(mut self, context: &mut Context<'_>) {
        if let Phase::Open(session) = &mut self.phase {
            session.stop_matching(context);
            session.leave(context);
        }
    }

    /// Nobody watches any more.
    pub(super) fn leave(mut self, context: &mut Context<'_>) {
        if let Phase::Open(session) = &mut self.phase {
            session.leave(context);
        }
    }

    /// Frees what a quiet connection does not need.
    pub(super) fn expire(&mut self, now_ns: u64, identical_bytes: &mut usize) {
        if let Phase::Open(session) = &mut self.phase {
            session.expire(now_ns, identical_bytes);
        }
    }

    /// Lets go of what it holds back.
    pub(super) fn let_go(&mut self) {
        match &mut self.phase {
            Phase::Asked(_, held) | Phase::Answered(_, held) => {
                held.iter_mut().for_each(Held::tear)
            }
            Phase::Open(session) => session.let_go(),
            Phase::Other => {}
        }
    }

    /// The role of the tapped process, as far as it is known.
    pub(super) fn role(&self) -> Role {
        match &self.phase {
            Phase::Open(session) => session.role(),
            _ => Role::Unknown,
        }
    }

    /// It is a WebSocket, beyond doubt.
    pub(super) fn is_proven(&self) -> bool {
        matches!(&self.phase, Phase::Open(session) if session.is_proven())
    }

    /// Where its next frame begins is not known.
    pub(super) fn is_adrift(&self) -> bool {
        matches!(&self.phase, Phase::Open(session) if session.is_adrift())
    }

    /// Bytes that it holds back.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.phase {
            Phase::Asked(offer, held) => {
                offer.held_bytes() + held.iter().map(Held::held_bytes).sum::<usize>()
            }
            Phase::Answered(_, held) => held.iter().map(Held::held_bytes).sum(),
            Phase::Open(session) => session.held_bytes(),
            Phase::Other => 0,
        }
    }
}
