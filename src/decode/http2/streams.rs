//! The streams of one connection that are, or may become, WebSockets. All others take no room.

use rustc_hash::FxHashMap;

use super::head::Head;
use super::stream::Stream;
use crate::decode::context::{Context, Resources};
use crate::decode::http::handshake::{Agreement, Terms};
use crate::decode::http::head::Offer;
use crate::decode::websocket::direction::Hole;
use crate::event::{Direction, SegmentStart};
use crate::observation::{Role, Table, What};

/// Streams of one connection that are followed at a time.
const STREAMS_MAX: usize = 1024;

/// The streams by their id.
#[derive(Debug, Default)]
pub(super) struct Streams {
    followed: FxHashMap<u32, Stream>,
    /// The highest id whose request has passed.
    asked: u32,
    /// The highest id whose request was read, or need not be.
    read: u32,
    /// Counts uses: what was used less lately has a smaller number.
    clock: u64,
    /// Bytes that streams hold back.
    held_bytes: usize,
    has_websocket: bool,
    /// The direction of requests, as a WebSocket has shown.
    asking: Option<Direction>,
}

/// A head of a stream, and which way it went.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) stream: u32,
    pub(super) direction: Direction,
    /// `None` where it cannot be read.
    pub(super) head: Option<Head>,
}

impl Streams {
    /// A request, or what follows its body.
    pub(super) fn request(&mut self, said: Said, context: &mut Context<'_>) {
        let Said { stream: id, direction, head } = said;
        // Behind a body there may be more fields.
        if id <= self.asked {
            return;
        }
        self.asked = id;
        let Some(head) = head else { return };
        self.read = id;
        let Some(offer) = head.into_offer() else {
            // What was taken for the answer to an extended CONNECT is not.
            return self.reset(id, context);
        };
        // Its answer may have come first: the other thread was faster to report.
        let terms = self.with(id, context, |stream, _| stream.take_terms()).flatten();
        if let Some(terms) = terms {
            return self.open(id, *offer, terms, direction, context);
        }
        self.reset(id, context);
        self.follow(id, Stream::asked(offer), context);
    }

    /// An answer, or what follows its body.
    pub(super) fn answer(&mut self, said: Said, context: &mut Context<'_>) {
        let Said { stream: id, direction, head } = said;
        let Some(head) = head else {
            self.with(id, context, |stream, context| stream.open_unanswered(context));
            return;
        };
        match head.status {
            200..=299 => self.agreed(id, head.into_terms(), direction.opposite(), context),
            // "A client MUST be able to parse one or more 1xx responses received prior to a
            // final response" (RFC 9110, section 15.2). Fields behind a body have no status.
            0..=199 => {}
            status => {
                let offer = self.with(id, context, |stream, _| stream.take_offer());
                if offer.flatten().is_some() {
                    context.of_stream(id, Role::Unknown).emit(What::Refused { status });
                    self.remove(id, context.resources);
                }
            }
        }
    }

    fn agreed(&mut self, id: u32, terms: Terms, asking: Direction, context: &mut Context<'_>) {
        match self.with(id, context, |stream, _| stream.take_offer()) {
            Some(Some(offer)) => self.open(id, *offer, terms, asking, context),
            None if id > self.asked => self.follow(id, Stream::answered(terms), context),
            Some(None) | None => {}
        }
    }

    fn open(
        &mut self,
        id: u32,
        offer: Offer,
        terms: Terms,
        asking: Direction,
        context: &mut Context<'_>,
    ) {
        let agreement = Agreement::over_http2(offer, terms, asking);
        self.with(id, context, |stream, context| stream.open(&agreement, context));
    }

    /// Content of a DATA frame; see [`Stream::content`].
    pub(super) fn content(
        &mut self,
        id: u32,
        direction: Direction,
        bytes: &[u8],
        start: SegmentStart,
        context: &mut Context<'_>,
    ) {
        // What a client asked for on this stream is not known, so its content must tell.
        if id > self.read && !id.is_multiple_of(2) && !self.followed.contains_key(&id) {
            let stream = Stream::met(&context.resources.limits);
            self.follow(id, stream, context);
        }
        self.with(id, context, |stream, context| stream.content(direction, bytes, start, context));
    }

    /// `n` content bytes of a stream are not here.
    pub(super) fn absent(
        &mut self,
        id: u32,
        direction: Direction,
        n: u64,
        hole: Hole,
        context: &mut Context<'_>,
    ) {
        self.with(id, context, |stream, context| stream.absent(direction, n, hole, context));
    }

    /// An unknown part of a stream's content is not here.
    pub(super) fn lose_border(&mut self, id: u32, direction: Direction, context: &mut Context<'_>) {
        self.with(id, context, |stream, context| stream.lose_border(direction, context));
    }

    /// An unknown part of what passed in one direction is not here.
    pub(super) fn lose_borders(&mut self, direction: Direction, context: &mut Context<'_>) {
        for id in self.ids() {
            self.lose_border(id, direction, context);
        }
    }

    /// One direction of a stream has nothing more to say.
    pub(super) fn end(&mut self, id: u32, direction: Direction, context: &mut Context<'_>) {
        let Some(stream) = self.followed.get_mut(&id) else { return };
        let is_over = stream.end(direction);
        // How it began may not have been seen, and so whether the other direction has ended.
        let may_be_over = id > self.read && !stream.is_proven();
        if is_over || may_be_over {
            self.reset(id, context);
        }
    }

    /// A stream is over.
    pub(super) fn reset(&mut self, id: u32, context: &mut Context<'_>) {
        if let Some(stream) = self.remove(id, context.resources) {
            let role = stream.role();
            stream.close(&mut context.of_stream(id, role));
        }
    }

    /// The connection is over, and all streams with it.
    pub(super) fn close(&mut self, context: &mut Context<'_>) {
        for id in self.ids() {
            self.reset(id, context);
        }
    }

    /// The connection is dropped because of a limit.
    pub(super) fn evict(&mut self, context: &mut Context<'_>) {
        for id in self.ids() {
            let Some(stream) = self.remove(id, context.resources) else { continue };
            let role = stream.role();
            stream.evict(&mut context.of_stream(id, role));
        }
    }

    /// Nobody watches any more.
    pub(super) fn leave(&mut self, context: &mut Context<'_>) {
        for id in self.ids() {
            let Some(stream) = self.remove(id, context.resources) else { continue };
            let role = stream.role();
            stream.leave(&mut context.of_stream(id, role));
        }
    }

    /// Frees what quiet streams do not need.
    pub(super) fn expire(&mut self, now_ns: u64, identical_bytes: &mut usize) {
        self.followed.values_mut().for_each(|stream| stream.expire(now_ns, identical_bytes));
    }

    /// Lets go of what streams hold back.
    pub(super) fn let_go(&mut self) {
        self.followed.values_mut().for_each(Stream::let_go);
        self.held_bytes = self.followed.values().map(Stream::held_bytes).sum();
    }

    /// A stream is, or may become, a WebSocket.
    pub(super) fn knows(&self, id: u32) -> bool {
        self.followed.contains_key(&id)
    }

    /// A WebSocket has passed here.
    pub(super) fn has_websocket(&self) -> bool {
        self.has_websocket
    }

    /// The direction of requests, as far as a WebSocket has shown it.
    pub(super) fn asking(&self) -> Option<Direction> {
        self.asking
    }

    /// Where the next frame of some WebSocket begins is not known.
    pub(super) fn is_adrift(&self) -> bool {
        self.followed.values().any(Stream::is_adrift)
    }

    /// Bytes that streams hold back.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// In order, so that equal input gives equal output.
    fn ids(&self) -> Vec<u32> {
        let mut ids: Vec<_> = self.followed.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Lets `act` go on with a stream that is followed.
    fn with<T>(
        &mut self,
        id: u32,
        context: &mut Context<'_>,
        act: impl FnOnce(&mut Stream, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let stream = self.followed.get_mut(&id)?;
        self.clock += 1;
        stream.used = self.clock;
        let (before, role) = (stream.held_bytes(), stream.role());
        let result = act(stream, &mut context.of_stream(id, role));
        // Of a thousand streams one has changed, so only that one is asked.
        self.held_bytes = (self.held_bytes + stream.held_bytes()).saturating_sub(before);
        if stream.is_proven() {
            self.has_websocket = true;
            self.asking = self.asking.or(asking(stream.role()));
        }
        Some(result)
    }

    /// Begins to follow a stream that is not followed.
    fn follow(&mut self, id: u32, mut stream: Stream, context: &mut Context<'_>) {
        let limit = context.resources.limits.connections.max(1);
        if self.followed.len() >= STREAMS_MAX || context.resources.streams >= limit {
            let oldest = self.followed.iter().min_by_key(|(_, stream)| stream.used);
            let oldest = oldest.map(|(id, _)| *id);
            context.emit(What::Evicted(Table::Connections));
            let Some(oldest) = oldest else { return };
            if let Some(stream) = self.remove(oldest, context.resources) {
                let role = stream.role();
                stream.evict(&mut context.of_stream(oldest, role));
            }
        }
        self.clock += 1;
        stream.used = self.clock;
        self.held_bytes += stream.held_bytes();
        context.resources.streams += 1;
        self.followed.insert(id, stream);
    }

    fn remove(&mut self, id: u32, resources: &mut Resources) -> Option<Stream> {
        let stream = self.followed.remove(&id)?;
        self.held_bytes = self.held_bytes.saturating_sub(stream.held_bytes());
        resources.streams -= 1;
        Some(stream)
    }
}

/// The direction of requests where the tapped process is this.
fn asking(role: Role) -> Option<Direction> {
    match role {
        Role::Client => Some(Direction::Sent),
        Role::Server => Some(Direction::Received),
        Role::Unknown => None,
    }
}
