//! A connection while it speaks HTTP/1.1: which answer belongs to which request, and whether one
//! of them turns the connection into a WebSocket (RFC 6455, section 4).
//!
//! Requests before the upgrade, refused upgrades and interim answers are legal and are stepped
//! over. Events of two threads may arrive inverted, so what follows an upgrade request is held
//! until its answer is here, and a 101 without a request is held until that is.

use std::collections::VecDeque;

use super::backlog::{Backlog, Stamp};
use super::event::Direction;
use super::handshake::Agreement;
use super::http::{
    BlankLine, Chunks, Framing, HeadInvalid, Method, Offer, Opening, RequestHead, ResponseHead,
    opening,
};
use super::observation::{ProtocolError, What};
use super::steering::Steering;
use super::step::Step;

/// Requests that wait for their answers; beyond it the oldest is forgotten.
const WAITING_MAX: usize = 64;

/// Longest opening that [`opening`] may ask for.
const OPENING_MAX: usize = 16;

/// What became of a connection.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It goes on with HTTP.
    Http,
    /// It is a WebSocket from here on.
    WebSocket(Box<Agreement>),
    /// It is something else that begins with these bytes, or was met in mid-stream.
    Unknown(Vec<u8>),
    /// It is certainly not a WebSocket.
    Other,
}

/// Both directions of an HTTP/1.1 connection.
#[derive(Debug, Default)]
pub(super) struct Upgrade {
    lanes: [Lane; 2],
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

/// One direction.
#[derive(Debug, Default)]
struct Lane {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Head {
        buffer: Vec<u8>,
        line: BlankLine,
    },
    /// In a body; so many bytes are left, at least 1.
    Body(u64),
    Chunked(Chunks),
    UntilClose,
    /// Lost: the next head is found at the start of a call.
    Adrift,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Head { buffer: Vec::new(), line: BlankLine::default() }
    }
}

impl Upgrade {
    /// Takes what it understands off the front of `bytes`.
    pub(super) fn bytes(
        &mut self,
        direction: Direction,
        bytes: &mut &[u8],
        step: &mut Step<'_>,
    ) -> Verdict {
        while !bytes.is_empty() {
            if self.holds(direction) {
                let limit = step.resources.limits.head_bytes;
                self.held.push(direction, bytes, step.stamp, limit);
                *bytes = &[];
                if self.early.is_some() && self.held.torn {
                    return self.settle_early(step);
                }
                break;
            }
            let verdict = match &mut self.lanes[direction.index()].stage {
                Stage::Head { .. } => self.head(direction, bytes, step),
                Stage::Body(left) => {
                    let take = usize::try_from(*left).map_or(bytes.len(), |n| n.min(bytes.len()));
                    *left -= take as u64;
                    *bytes = &bytes[take..];
                    if *left == 0 {
                        self.expect_head(direction);
                    }
                    Verdict::Http
                }
                Stage::Chunked(chunks) => {
                    match chunks.pass(bytes) {
                        Ok(true) => self.expect_head(direction),
                        Ok(false) => {}
                        Err(HeadInvalid) => self.lanes[direction.index()].stage = Stage::Adrift,
                    }
                    Verdict::Http
                }
                Stage::UntilClose | Stage::Adrift => {
                    *bytes = &[];
                    Verdict::Http
                }
            };
            if !matches!(verdict, Verdict::Http) {
                return verdict;
            }
        }
        Verdict::Http
    }

    /// `n` bytes are not here.
    pub(super) fn absent(&mut self, direction: Direction, n: u64, step: &mut Step<'_>) -> Verdict {
        if self.holds(direction) {
            self.held.tear(direction);
            return if self.early.is_some() { self.settle_early(step) } else { Verdict::Http };
        }
        match self.lanes[direction.index()].pass(n) {
            Ok(true) => self.expect_head(direction),
            Ok(false) => {}
            Err(HeadInvalid) => {
                self.lanes[direction.index()].stage = Stage::Adrift;
                // The answer to an upgrade may have been in it: only frames can tell.
                if self.is_upgrading() && self.asking == Some(direction.opposite()) {
                    return Verdict::Unknown(Vec::new());
                }
            }
        }
        Verdict::Http
    }

    /// A call begins with `bytes`: a direction that is lost may go on with a head.
    pub(super) fn call_starts(&mut self, direction: Direction, bytes: &[u8]) {
        let lane = &mut self.lanes[direction.index()];
        let head =
            matches!(opening(bytes), Opening::Request | Opening::Response | Opening::NeedMore);
        if head && matches!(lane.stage, Stage::Adrift) {
            lane.stage = Stage::default();
        }
    }

    /// The direction whose bytes were held and must be decoded now, and those bytes; `None` if
    /// some of them are missing.
    pub(super) fn take_held(&mut self) -> (Direction, Option<Backlog>) {
        let held = std::mem::take(&mut self.held);
        (held.direction, (!held.torn).then_some(held.backlog))
    }

    /// A 101 does not wait for its request for ever.
    pub(super) fn tick(&mut self, now_ns: u64, step: &mut Step<'_>) -> Verdict {
        let patience = step.resources.limits.handshake_ns;
        match &self.early {
            Some((_, since)) if now_ns.saturating_sub(*since) > patience => self.settle_early(step),
            _ => Verdict::Http,
        }
    }

    /// The connection ended.
    pub(super) fn end(&mut self, step: &mut Step<'_>) -> Verdict {
        self.settle_early(step)
    }

    /// A 101 waits for its request.
    pub(super) fn has_deadline(&self) -> bool {
        self.early.is_some()
    }
}

/// Heads.
impl Upgrade {
    fn head(&mut self, direction: Direction, bytes: &mut &[u8], step: &mut Step<'_>) -> Verdict {
        let known = self.asking;
        let Stage::Head { buffer, line } = &mut self.lanes[direction.index()].stage else {
            return Verdict::Http;
        };
        // "a server [...] SHOULD ignore at least one empty line" (RFC 9112, section 2.2).
        if buffer.is_empty() && matches!(bytes[0], b'\r' | b'\n') && known.is_some() {
            *bytes = &bytes[1..];
            return Verdict::Http;
        }
        let kind = opening(&prefix(buffer, bytes));
        let asking = match kind {
            Opening::Request => Some(direction),
            Opening::Response => Some(direction.opposite()),
            Opening::NeedMore => known,
            Opening::Http2 => return Verdict::Other,
            Opening::Neither => return self.not_a_head(direction, step),
        };
        if known.is_some() && asking != known {
            return self.not_a_head(direction, step);
        }
        let end = line.find(bytes);
        let head_len = buffer.len() + end.unwrap_or(bytes.len());
        if head_len > step.resources.limits.head_bytes {
            step.error(direction, ProtocolError::HandshakeTooLong);
            return Verdict::Other;
        }
        let Some(end) = end else {
            buffer.extend_from_slice(bytes);
            *bytes = &[];
            return Verdict::Http;
        };
        let (last, rest) = bytes.split_at(end);
        *bytes = rest;
        let mut head = std::mem::take(buffer);
        let head = if head.is_empty() {
            last
        } else {
            head.extend_from_slice(last);
            &head
        };
        self.asking = asking;
        if asking == Some(direction) {
            match RequestHead::parse(head) {
                Ok(request) => self.request(direction, request, step),
                Err(HeadInvalid) => self.invalid_head(direction, step),
            }
        } else {
            match ResponseHead::parse(head) {
                Ok(response) => self.response(direction, response, step),
                Err(HeadInvalid) => self.invalid_head(direction, step),
            }
        }
    }

    /// What begins here is not HTTP.
    fn not_a_head(&mut self, direction: Direction, step: &mut Step<'_>) -> Verdict {
        // Frames of a client whose request passed before wstap attached.
        if self.early.is_some() {
            return self.settle_early(step);
        }
        let lane = &mut self.lanes[direction.index()];
        match std::mem::replace(&mut lane.stage, Stage::Adrift) {
            Stage::Head { buffer, .. } if self.asking.is_none() => Verdict::Unknown(buffer),
            _ => Verdict::Http,
        }
    }

    fn invalid_head(&mut self, direction: Direction, step: &mut Step<'_>) -> Verdict {
        if self.is_upgrading() {
            step.error(direction, ProtocolError::HandshakeInvalid);
        }
        Verdict::Other
    }

    fn request(&mut self, direction: Direction, head: RequestHead, step: &mut Step<'_>) -> Verdict {
        self.expect_body(direction, head.framing);
        if let Some((early, _)) = self.early.take_if(|_| head.offer.is_some()) {
            return self.conclude(head.offer, &early, direction, step);
        }
        // Its answer came first: the other thread was faster to report.
        if let Some((_, status)) = self.answered.take_if(|(at_ns, _)| *at_ns >= step.stamp.at_ns) {
            if head.offer.is_some() {
                step.emit(What::Refused { status });
            }
            return Verdict::Http;
        }
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Asked { method: head.method, offer: head.offer });
        Verdict::Http
    }

    fn response(
        &mut self,
        direction: Direction,
        head: ResponseHead,
        step: &mut Step<'_>,
    ) -> Verdict {
        match head.status {
            101 => return self.switching_protocols(direction, head, step),
            // "A client MUST be able to parse one or more 1xx responses received prior to a
            // final response" (RFC 9110, section 15.2).
            100..=199 => {
                self.expect_head(direction);
                return Verdict::Http;
            }
            _ => {}
        }
        let asked = self.waiting.pop_front();
        match asked.as_ref().map(|asked| asked.method) {
            Some(Method::Head) => self.expect_head(direction),
            Some(Method::Connect) if head.status < 300 => return Verdict::Other,
            _ => self.expect_body(direction, head.framing),
        }
        match asked {
            None => self.answered = Some((step.stamp.at_ns, head.status)),
            Some(Asked { offer: Some(_), .. }) => return self.refused(head.status, step),
            Some(Asked { offer: None, .. }) => self.ignore(step),
        }
        Verdict::Http
    }

    fn switching_protocols(
        &mut self,
        direction: Direction,
        head: ResponseHead,
        step: &mut Step<'_>,
    ) -> Verdict {
        self.expect_head(direction);
        if !head.websocket {
            return Verdict::Other;
        }
        let upgrade = self.waiting.iter().position(|asked| asked.offer.is_some());
        match upgrade.and_then(|index| self.waiting.remove(index)) {
            Some(asked) => self.conclude(asked.offer, &head, direction.opposite(), step),
            None => {
                self.early = Some((head, step.stamp.at_ns));
                Verdict::Http
            }
        }
    }

    fn refused(&mut self, status: u16, step: &mut Step<'_>) -> Verdict {
        step.emit(What::Refused { status });
        let Some(asking) = self.asking else { return Verdict::Http };
        if self.is_upgrading() {
            return Verdict::Http;
        }
        let (_, Some(held)) = self.take_held() else {
            self.lanes[asking.index()].stage = Stage::Adrift;
            return Verdict::Http;
        };
        let now = step.stamp;
        let mut verdict = Verdict::Http;
        for (mut piece, stamp) in held.pieces() {
            step.stamp = stamp;
            verdict = self.bytes(asking, &mut piece, step);
            if !matches!(verdict, Verdict::Http) {
                break;
            }
        }
        step.stamp = now;
        verdict
    }

    /// The request of a 101 passed before wstap attached.
    fn settle_early(&mut self, step: &mut Step<'_>) -> Verdict {
        match (self.early.take(), self.asking) {
            (Some((response, _)), Some(asking)) => self.conclude(None, &response, asking, step),
            _ => Verdict::Http,
        }
    }

    fn conclude(
        &mut self,
        offer: Option<Box<Offer>>,
        response: &ResponseHead,
        asking: Direction,
        step: &mut Step<'_>,
    ) -> Verdict {
        match Agreement::conclude(offer.map(|offer| *offer), response, asking) {
            Ok(agreement) => Verdict::WebSocket(Box::new(agreement)),
            Err(reason) => {
                step.error(asking.opposite(), reason);
                Verdict::Other
            }
        }
    }
}

/// Places.
impl Upgrade {
    /// What passes in `direction` cannot be told from frames now.
    fn holds(&self, direction: Direction) -> bool {
        if !matches!(&self.lanes[direction.index()].stage, Stage::Head { buffer, .. } if buffer.is_empty())
        {
            return false;
        }
        match self.asking {
            Some(asking) if asking == direction => self.is_upgrading(),
            Some(_) => self.early.is_some(),
            None => false,
        }
    }

    fn is_upgrading(&self) -> bool {
        self.waiting.iter().any(|asked| asked.offer.is_some())
    }

    fn expect_head(&mut self, direction: Direction) {
        self.lanes[direction.index()].stage = Stage::default();
    }

    fn expect_body(&mut self, direction: Direction, framing: Framing) {
        self.lanes[direction.index()].stage = match framing {
            Framing::Length(0) => Stage::default(),
            Framing::Length(length) => Stage::Body(length),
            Framing::Chunked => Stage::Chunked(Chunks::default()),
            Framing::UntilClose => Stage::UntilClose,
        };
    }

    /// An ordinary request was answered: nothing here needs to be copied.
    fn ignore(&mut self, step: &mut Step<'_>) {
        if !self.ignored && !self.is_upgrading() {
            self.ignored = true;
            step.resources.hints.push(Steering::Ignore { conn: step.conn });
        }
    }

    /// Bytes of heads and of what is held.
    pub(super) fn held_bytes(&self) -> usize {
        let head = |lane: &Lane| match &lane.stage {
            Stage::Head { buffer, .. } => buffer.len(),
            _ => 0,
        };
        self.lanes.iter().map(head).sum::<usize>() + self.held.backlog.held_bytes()
    }

    /// The kernel side may have left bytes out on purpose.
    pub(super) fn is_ignored(&self) -> bool {
        self.ignored
    }
}

impl Default for Held {
    fn default() -> Self {
        Self { direction: Direction::Sent, backlog: Backlog::default(), torn: false }
    }
}

impl Lane {
    /// Steps over `n` bytes that are not here; true if a head begins behind them. Fails where
    /// that cannot be known.
    fn pass(&mut self, n: u64) -> Result<bool, HeadInvalid> {
        match &mut self.stage {
            Stage::Body(left) if *left >= n => {
                *left -= n;
                Ok(*left == 0)
            }
            Stage::Chunked(chunks) => chunks.pass_absent(n).map(|()| false),
            Stage::UntilClose => Ok(false),
            Stage::Head { .. } | Stage::Body(_) | Stage::Adrift => Err(HeadInvalid),
        }
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

/// The first bytes of what is kept and what follows it.
fn prefix(kept: &[u8], bytes: &[u8]) -> Vec<u8> {
    let kept = &kept[..kept.len().min(OPENING_MAX)];
    let more = &bytes[..bytes.len().min(OPENING_MAX - kept.len())];
    [kept, more].concat()
}
