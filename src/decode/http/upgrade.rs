//! A connection while it speaks HTTP/1.1: which answer belongs to which request, and whether one
//! of them turns the connection into a WebSocket (RFC 6455, section 4).
//!
//! Requests before the upgrade, refused upgrades and interim answers are legal and are stepped
//! over. Events of two threads may arrive inverted, so what follows an upgrade request is held
//! until its answer is here, and a 101 without a request is held until that is.

use std::collections::VecDeque;

use super::handshake::Agreement;
use super::head::{
    Framing, HeadInvalid, Method, Offer, Opening, RequestHead, ResponseHead, UpgradeHeader,
};
use super::http2_opening::Http2Opening;
use super::reader::{Begun, HttpReader, Read};
use crate::decode::backlog::Backlog;
use crate::decode::context::Context;
use crate::decode::hint::StreamContent;
use crate::event::{Direction, Stamp};
use crate::observation::{ProtocolError, What};

/// Requests that wait for their answers; beyond it the oldest is forgotten.
const WAITING_MAX: usize = 64;

/// What became of a connection.
#[derive(Debug)]
pub(in crate::decode) enum Becomes {
    /// It goes on with HTTP.
    Http,
    /// It is a WebSocket from these bytes on.
    WebSocket(Box<Agreement>, Vec<u8>),
    /// It is something else that begins with these bytes, or was met in mid-stream.
    Unknown(Begun),
    /// It is HTTP/2. What was kept of both directions comes before the bytes that are left.
    Http2 {
        /// The direction of requests.
        asking: Direction,
        kept: [Vec<u8>; 2],
    },
    /// It is certainly not a WebSocket.
    Other,
}

/// Both directions of an HTTP/1.1 connection.
#[derive(Debug, Default)]
pub(in crate::decode) struct Upgrade {
    readers: [HttpReader; 2],
    /// The direction of requests, once the first head told it.
    asking: Option<Direction>,
    waiting: VecDeque<Asked>,
    /// An answer whose request has not been seen: when, and with which status.
    answered: Option<(u64, u16)>,
    /// A 101 whose request has not been seen, and when it came.
    early: Option<(ResponseHead, u64)>,
    held: Held,
    /// The kernel side was told that nothing of interest passes.
    ignored: bool,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Asked {
    method: Method,
    offer: Option<Box<Offer>>,
}

/// Bytes whose meaning depends on an answer that is not here.
#[derive(Debug)]
struct Held {
    direction: Direction,
    backlog: Backlog,
    /// Some of them were missed or did not fit.
    torn: bool,
}

impl Upgrade {
    /// Takes what it understands off the front of `bytes`.
    pub(in crate::decode) fn bytes(
        &mut self,
        direction: Direction,
        bytes: &mut &[u8],
        context: &mut Context<'_>,
    ) -> Becomes {
        while !bytes.is_empty() {
            if self.holds(direction) {
                let limit = context.resources.limits.head_bytes;
                self.held.push(direction, bytes, context.stamp, limit);
                *bytes = &[];
                if self.early.is_some() && self.held.torn {
                    return self.conclude_early();
                }
                break;
            }
            let limit = context.resources.limits.head_bytes;
            let becomes = match self.reader(direction).read(bytes, limit) {
                Read::Passed => Becomes::Http,
                Read::Head(kind, head) => self.head(direction, kind, &head, context),
                Read::Http2(opening) => self.http2(direction, opening),
                Read::NotAHead(kept) => self.not_a_head(direction, kept),
                Read::TooLong => {
                    context.error(direction, ProtocolError::HandshakeTooLong);
                    Becomes::Other
                }
            };
            if !matches!(becomes, Becomes::Http) {
                return becomes;
            }
        }
        Becomes::Http
    }

    /// `n` bytes are not here.
    pub(in crate::decode) fn absent(&mut self, direction: Direction, n: u64) -> Becomes {
        if self.holds(direction) {
            self.held.tear(direction);
            return if self.early.is_some() { self.conclude_early() } else { Becomes::Http };
        }
        let lost = self.reader(direction).pass(n).is_err();
        if lost && self.early.is_some() && self.asking == Some(direction) {
            return self.conclude_early();
        }
        if lost && self.may_have_upgraded_unseen(direction) {
            return Becomes::Unknown(Begun::default());
        }
        Becomes::Http
    }

    /// A hole in `direction` may have hidden all that tells of an upgrade: frames can tell, or the
    /// next head.
    fn may_have_upgraded_unseen(&self, direction: Direction) -> bool {
        let answer = self.asking == Some(direction.opposite());
        let nothing_known = self.asking.is_none() || self.readers.iter().all(HttpReader::is_lost);
        // Of what is ignored the kernel side copies the answer to an upgrade.
        (self.is_upgrading() && answer) || (nothing_known && !self.ignored)
    }

    /// A call begins with `bytes`: a direction that is lost may go on with a head.
    pub(in crate::decode) fn call_starts(&mut self, direction: Direction, bytes: &[u8]) {
        self.reader(direction).call_starts(bytes);
    }

    /// A direction goes on at the start of a call, if at all.
    pub(in crate::decode) fn is_lost(&self) -> bool {
        self.readers.iter().any(HttpReader::is_lost)
    }

    /// The direction whose bytes were held and must be decoded now, and those bytes; `None` if
    /// some of them are missing.
    pub(in crate::decode) fn take_held(&mut self) -> (Direction, Option<Backlog>) {
        let held = std::mem::take(&mut self.held);
        (held.direction, (!held.torn).then_some(held.backlog))
    }

    /// A 101 does not wait for its request for longer than `patience_ns`.
    pub(in crate::decode) fn tick(&mut self, now_ns: u64, patience_ns: u64) -> Becomes {
        match &self.early {
            Some((_, since)) if now_ns.saturating_sub(*since) > patience_ns => {
                self.conclude_early()
            }
            _ => Becomes::Http,
        }
    }

    /// The connection ended.
    pub(in crate::decode) fn end(&mut self) -> Becomes {
        self.conclude_early()
    }

    /// A 101 waits for its request.
    pub(in crate::decode) fn has_deadline(&self) -> bool {
        self.early.is_some()
    }
}

/// Heads.
impl Upgrade {
    fn head(
        &mut self,
        direction: Direction,
        kind: Opening,
        head: &[u8],
        context: &mut Context<'_>,
    ) -> Becomes {
        let asking = match kind {
            Opening::Request => direction,
            Opening::Response => direction.opposite(),
            Opening::Http2(_) | Opening::Neither | Opening::NeedMore => return Becomes::Other,
        };
        if *self.asking.get_or_insert(asking) != asking {
            self.reader(direction).lose();
            return Becomes::Http;
        }
        let becomes = if asking == direction {
            RequestHead::parse(head).map(|request| self.request(direction, request, context))
        } else {
            ResponseHead::parse(head).map(|response| self.response(direction, response, context))
        };
        becomes.unwrap_or_else(|HeadInvalid| self.invalid_head(direction, context))
    }

    /// HTTP/2 begins here. Behind heads of HTTP/1.1 it is the answer to another upgrade.
    fn http2(&mut self, direction: Direction, begun: Http2Opening) -> Becomes {
        if self.asking.is_some() {
            return Becomes::Other;
        }
        let asking = match begun {
            Http2Opening::Preface => direction,
            Http2Opening::Settings => direction.opposite(),
        };
        let kept = Direction::BOTH.map(|it| self.reader(it).take_begun());
        Becomes::Http2 { asking, kept }
    }

    /// What begins here is not HTTP.
    fn not_a_head(&mut self, direction: Direction, kept: Begun) -> Becomes {
        if self.early.is_some() {
            // Frames of a client whose request passed before wstap attached.
            match self.conclude_early() {
                Becomes::WebSocket(agreement, _) => Becomes::WebSocket(agreement, kept.bytes),
                becomes => becomes,
            }
        } else if self.asking.is_none()
            // The answer to the upgrade passed before its probe was placed.
            || self.is_upgrading() && self.asking == Some(direction.opposite())
        {
            Becomes::Unknown(kept)
        } else {
            Becomes::Http
        }
    }

    fn invalid_head(&mut self, direction: Direction, context: &mut Context<'_>) -> Becomes {
        if self.is_upgrading() {
            context.error(direction, ProtocolError::HandshakeInvalid);
        }
        Becomes::Other
    }

    fn request(
        &mut self,
        direction: Direction,
        head: RequestHead,
        context: &mut Context<'_>,
    ) -> Becomes {
        self.reader(direction).expect_body(head.framing);
        if let Some((early, _)) = self.early.take_if(|_| head.offer.is_some()) {
            return Self::conclude(head.offer, &early, direction);
        }
        // Its answer came first: the other thread was faster to report.
        if let Some((_, status)) = self.answered.take_if(|(at_ns, _)| *at_ns >= context.stamp.at_ns)
        {
            if head.offer.is_some() {
                context.emit(What::Refused { status });
            }
            return Becomes::Http;
        }
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Asked { method: head.method, offer: head.offer });
        // An upload may be longer than the ring buffer; nothing comes before it has passed.
        if head.framing != Framing::Length(0) {
            self.ignore(context);
        }
        Becomes::Http
    }

    fn response(
        &mut self,
        direction: Direction,
        head: ResponseHead,
        context: &mut Context<'_>,
    ) -> Becomes {
        match head.status {
            101 => return self.switching_protocols(direction, head, context),
            // "A client MUST be able to parse one or more 1xx responses received prior to a
            // final response" (RFC 9110, section 15.2).
            100..=199 => {
                self.reader(direction).expect_head();
                return Becomes::Http;
            }
            _ => {}
        }
        let asked = self.waiting.pop_front();
        match asked.as_ref().map(|asked| asked.method) {
            Some(Method::Head) => self.reader(direction).expect_head(),
            Some(Method::Connect) if head.status < 300 => return Becomes::Other,
            _ => self.reader(direction).expect_body(head.framing),
        }
        match asked {
            None => self.answered = Some((context.stamp.at_ns, head.status)),
            Some(Asked { offer: Some(_), .. }) => return self.refused(head.status, context),
            Some(Asked { offer: None, .. }) => self.ignore(context),
        }
        Becomes::Http
    }

    fn switching_protocols(
        &mut self,
        direction: Direction,
        head: ResponseHead,
        context: &mut Context<'_>,
    ) -> Becomes {
        self.reader(direction).expect_head();
        if head.upgrade == UpgradeHeader::Other {
            return Becomes::Other;
        }
        let upgrade = self.waiting.iter().position(|asked| asked.offer.is_some());
        match upgrade.and_then(|index| self.waiting.remove(index)) {
            Some(asked) => Self::conclude(asked.offer, &head, direction.opposite()),
            // The kernel side notices the answer only; what was asked is not to be had.
            None if self.ignored => Self::conclude(None, &head, direction.opposite()),
            None => {
                self.early = Some((head, context.stamp.at_ns));
                Becomes::Http
            }
        }
    }

    fn refused(&mut self, status: u16, context: &mut Context<'_>) -> Becomes {
        context.emit(What::Refused { status });
        let Some(asking) = self.asking else { return Becomes::Http };
        if self.is_upgrading() {
            return Becomes::Http;
        }
        let (_, Some(held)) = self.take_held() else {
            self.reader(asking).lose();
            return Becomes::Http;
        };
        let now = context.stamp;
        let mut becomes = Becomes::Http;
        for (mut piece, stamp) in held.pieces() {
            context.stamp = stamp;
            becomes = self.bytes(asking, &mut piece, context);
            if !matches!(becomes, Becomes::Http) {
                break;
            }
        }
        context.stamp = now;
        becomes
    }

    /// The request of a 101 passed before wstap attached.
    fn conclude_early(&mut self) -> Becomes {
        match (self.early.take(), self.asking) {
            (Some((response, _)), Some(asking)) => Self::conclude(None, &response, asking),
            _ => Becomes::Http,
        }
    }

    fn conclude(offer: Option<Box<Offer>>, response: &ResponseHead, asking: Direction) -> Becomes {
        // Without the request, the 101 itself must say what it upgrades to.
        if offer.is_none() && response.upgrade < UpgradeHeader::Sloppy {
            return Becomes::Other;
        }
        let agreement = Agreement::conclude(offer.map(|offer| *offer), response, asking);
        Becomes::WebSocket(Box::new(agreement), Vec::new())
    }
}

/// Places.
impl Upgrade {
    /// What passes in `direction` cannot be told from frames now.
    fn holds(&self, direction: Direction) -> bool {
        if !self.readers[direction.index()].is_between_messages() {
            return false;
        }
        match self.asking {
            Some(asking) if asking == direction => self.is_upgrading(),
            Some(_) => self.early.is_some(),
            None => false,
        }
    }

    /// A request to upgrade waits for its answer.
    pub(in crate::decode) fn is_upgrading(&self) -> bool {
        self.waiting.iter().any(|asked| asked.offer.is_some())
    }

    fn reader(&mut self, direction: Direction) -> &mut HttpReader {
        &mut self.readers[direction.index()]
    }

    /// An ordinary request was answered, or has a body: nothing here needs to be copied.
    fn ignore(&mut self, context: &mut Context<'_>) {
        if !self.ignored && !self.is_upgrading() {
            self.ignored = true;
            context.resources.hints.ignore(context.conn, StreamContent::Plaintext);
        }
    }

    /// Bytes of heads and of what is held.
    pub(in crate::decode) fn held_bytes(&self) -> usize {
        let heads: usize = self.readers.iter().map(HttpReader::held_bytes).sum();
        let offers = self.waiting.iter().flat_map(|asked| &asked.offer);
        heads
            + offers.map(|offer| offer.held_bytes()).sum::<usize>()
            + self.held.backlog.held_bytes()
    }

    /// The kernel side may have left bytes out on purpose.
    pub(in crate::decode) fn is_ignored(&self) -> bool {
        self.ignored
    }
}

impl Default for Held {
    fn default() -> Self {
        Self { direction: Direction::Sent, backlog: Backlog::default(), torn: false }
    }
}

impl Held {
    fn push(&mut self, direction: Direction, bytes: &[u8], stamp: Stamp, limit: usize) {
        self.direction = direction;
        if self.torn {
            return;
        }
        if self.backlog.bytes().len() + bytes.len() > limit {
            return self.tear(direction);
        }
        self.backlog.push(bytes, stamp);
    }

    fn tear(&mut self, direction: Direction) {
        self.direction = direction;
        self.torn = true;
        self.backlog = Backlog::default();
    }
}
