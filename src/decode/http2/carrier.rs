//! A connection while it speaks HTTP/2: both directions and the streams that they share.

use super::frame::{Header, Item, Kind, Passed};
use super::heads::Complete;
use super::streams::{Said, Streams};
use super::way::Way;
use crate::decode::backlog::Backlog;
use crate::decode::context::Context;
use crate::decode::limits::Limits;
use crate::decode::stream::Chunk;
use crate::decode::websocket::direction::Hole;
use crate::event::{Direction, SegmentStart};
use crate::observation::{ProtocolError, What};

/// Both directions of an HTTP/2 connection, from its preface (or from where it was met) to its end.
#[derive(Debug)]
pub(in crate::decode) struct Carrier {
    ways: [Way; 2],
    /// The direction of requests; `None` where the connection was met in mid-stream.
    asking: Option<Direction>,
    streams: Streams,
    extended_connect: ExtendedConnect,
    /// Bytes that passed while it was not known whether extended CONNECT is allowed.
    passed: u64,
}

/// Whether the server takes requests that begin a WebSocket (RFC 8441, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExtendedConnect {
    /// Its first SETTINGS were not seen.
    Unknown,
    Allowed,
    Refused,
}

impl Carrier {
    /// A connection whose client sends in `asking`, from its first byte on.
    pub(in crate::decode) fn new(asking: Direction) -> Self {
        Self {
            ways: Direction::BOTH.map(|it| Way::new(it == asking)),
            asking: Some(asking),
            streams: Streams::default(),
            extended_connect: ExtendedConnect::Unknown,
            passed: 0,
        }
    }

    /// A connection that was met in mid-stream.
    pub(in crate::decode) fn met() -> Self {
        Self { ways: [(); 2].map(|()| Way::met()), asking: None, ..Self::new(Direction::Sent) }
    }

    /// One direction goes on.
    pub(in crate::decode) fn bytes(&mut self, chunk: Chunk<'_>, context: &mut Context<'_>) {
        if self.extended_connect != ExtendedConnect::Allowed {
            self.passed = self.passed.saturating_add(chunk.bytes.len() as u64);
        }
        let Chunk { direction, mut bytes, start, .. } = chunk;
        self.way(direction).take_preface(&mut bytes);
        match start {
            SegmentStart::Http2Header => self.header_starts(direction, context),
            SegmentStart::StreamFrameHeader => self.way(direction).content_start = start,
            SegmentStart::Call | SegmentStart::Middle | SegmentStart::FrameHeader => {
                self.way(direction).call_starts();
            }
        }
        self.walk(direction, bytes, start, context);
        self.way(direction).position = Some(chunk.end);
    }

    /// Tells the kernel side where the next frames begin, until it walks them by itself.
    pub(in crate::decode) fn announce(&mut self, context: &mut Context<'_>) {
        let Some(asking) = self.asking.or(self.streams.asking()) else { return };
        if self.extended_connect != ExtendedConnect::Allowed && !self.is_proven() {
            return;
        }
        // Once requests are walked, what answers them should be walked, too.
        for direction in [asking.opposite(), asking] {
            let Some(offset) = self.way(direction).take_announcement() else { continue };
            context.resources.hints.http2_at(context.conn, direction, offset, direction == asking);
        }
    }

    /// A border of a connection met in mid-stream was found: decodes what passed since then.
    pub(in crate::decode) fn resume(
        &mut self,
        direction: Direction,
        passed: &Backlog,
        context: &mut Context<'_>,
    ) {
        self.way(direction).search = None;
        let now = context.stamp;
        for (bytes, stamp) in passed.pieces() {
            context.stamp = stamp;
            self.walk(direction, bytes, SegmentStart::Middle, context);
        }
        context.stamp = now;
    }

    /// `n` bytes of one direction are not here.
    pub(in crate::decode) fn absent(
        &mut self,
        direction: Direction,
        n: u64,
        hole: Hole,
        context: &mut Context<'_>,
    ) {
        let way = self.way(direction);
        way.position = way.position.map(|position| position + n);
        if let Some(search) = &mut way.search {
            search.interrupt();
            return self.tell_unsynced(direction, context);
        }
        let Passed { header, content, torn, ended, beyond } = self.way(direction).reader.pass(n);
        if let Some(header) = header {
            self.miss(direction, header, content, torn, hole, context);
            if ended {
                self.end_frame(direction, header, context);
            }
        }
        if beyond > 0 {
            self.lose_border(direction, context);
        }
    }

    /// The connection ended.
    pub(in crate::decode) fn close(&mut self, context: &mut Context<'_>) {
        self.streams.close(context);
    }

    /// The connection is dropped because of a limit.
    pub(in crate::decode) fn evict(&mut self, context: &mut Context<'_>) {
        self.streams.evict(context);
    }

    /// Nobody watches the connection any more.
    pub(in crate::decode) fn leave(&mut self, context: &mut Context<'_>) {
        self.streams.leave(context);
    }

    /// Frees memory that quiet streams do not need.
    pub(in crate::decode) fn expire(&mut self, now_ns: u64, identical_bytes: &mut usize) {
        self.streams.expire(now_ns, identical_bytes);
    }

    /// No stream of it is, or can become, a WebSocket.
    pub(in crate::decode) fn is_ordinary(&self, limits: &Limits) -> bool {
        match self.extended_connect {
            ExtendedConnect::Allowed => false,
            ExtendedConnect::Refused => true,
            ExtendedConnect::Unknown => {
                self.passed >= limits.search_bytes && !self.streams.has_websocket()
            }
        }
    }

    /// It carries a WebSocket, beyond doubt.
    pub(in crate::decode) fn is_proven(&self) -> bool {
        self.streams.has_websocket()
    }

    /// Where the next frame of a direction, or of a stream, begins is not known.
    pub(in crate::decode) fn is_adrift(&self) -> bool {
        self.has_lost_border() || self.streams.is_adrift()
    }

    /// Where the next frame of a direction begins is not known.
    pub(in crate::decode) fn has_lost_border(&self) -> bool {
        self.ways.iter().any(|way| way.search.is_some())
    }

    /// Bytes that it holds back.
    pub(in crate::decode) fn held_bytes(&self) -> usize {
        self.ways.iter().map(Way::held_bytes).sum::<usize>() + self.streams.held_bytes()
    }

    /// Lets go of what it holds back.
    pub(in crate::decode) fn let_go(&mut self, context: &mut Context<'_>) {
        for direction in Direction::BOTH {
            if let Some(search) = &mut self.way(direction).search {
                search.interrupt();
                self.tell_unsynced(direction, context);
            }
            if self.way(direction).heads.held_bytes() > 0 {
                self.poison(direction, context);
            }
        }
        self.streams.let_go();
    }

    fn way(&mut self, direction: Direction) -> &mut Way {
        &mut self.ways[direction.index()]
    }
}

/// Borders.
impl Carrier {
    fn walk(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        start: SegmentStart,
        context: &mut Context<'_>,
    ) {
        let mut rest = bytes;
        while self.ways[direction.index()].search.is_none() {
            // Nothing that follows can matter, in the same call either.
            if self.extended_connect == ExtendedConnect::Refused {
                return;
            }
            let Some(item) = self.way(direction).reader.next(&mut rest) else { return };
            match item {
                Item::Begin(header) if !self.allows(direction, header) => {
                    context.error(direction, ProtocolError::Resync);
                    self.lose_border(direction, context);
                }
                Item::Begin(header) => self.begin_frame(direction, header, context),
                Item::Content(header, bytes) => self.content(direction, header, bytes, context),
                Item::End(header) => self.end_frame(direction, header, context),
            }
        }
        // A call begins with all of it, or with nothing that is left.
        let start = if rest.len() == bytes.len() { start } else { SegmentStart::Middle };
        self.search(direction, rest, start, context);
    }

    /// The connection can go on behind such a frame.
    fn allows(&self, direction: Direction, header: Header) -> bool {
        let longest = self.ways[direction.opposite().index()].settings.frame_bytes;
        header.is_possible() && header.length <= longest
    }

    fn search(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        start: SegmentStart,
        context: &mut Context<'_>,
    ) {
        let Self { ways, streams, .. } = self;
        let Some(search) = &mut ways[direction.index()].search else { return };
        let limit = context.resources.limits.held_bytes;
        match search.look(bytes, start, context.stamp, limit, |id| streams.knows(id)) {
            Some(passed) => {
                self.tell_unsynced(direction, context);
                self.resume(direction, &passed, context);
            }
            None => self.tell_unsynced(direction, context),
        }
    }

    /// Counts bytes of a direction that nobody will decode.
    fn tell_unsynced(&mut self, direction: Direction, context: &mut Context<'_>) {
        let search = &mut self.way(direction).search;
        let bytes = search.as_mut().map_or(0, |search| search.take_let_go());
        if bytes > 0 && self.is_proven() {
            context.emit(What::Unsynced { direction, bytes });
        }
    }

    /// The kernel side has walked the frames up to here: a header begins with the next byte.
    fn header_starts(&mut self, direction: Direction, context: &mut Context<'_>) {
        let way = self.way(direction);
        way.is_walked = true;
        if way.search.is_none() && !way.reader.is_idle() {
            context.error(direction, ProtocolError::Resync);
            self.lose_border(direction, context);
        }
        if let Some(search) = &mut self.way(direction).search {
            search.interrupt();
            self.tell_unsynced(direction, context);
            self.way(direction).search = None;
        }
    }

    fn lose_border(&mut self, direction: Direction, context: &mut Context<'_>) {
        if self.way(direction).lose_border() {
            self.tell_poisoned(direction, context);
        }
        self.way(direction).settings.miss();
        self.streams.lose_borders(direction, context);
    }

    fn poison(&mut self, direction: Direction, context: &mut Context<'_>) {
        if self.way(direction).heads.poison() {
            self.tell_poisoned(direction, context);
        }
    }

    fn tell_poisoned(&self, direction: Direction, context: &mut Context<'_>) {
        if self.extended_connect != ExtendedConnect::Refused {
            context.error(direction, ProtocolError::HeadsUnreadable);
        }
    }
}

/// Frames.
impl Carrier {
    fn begin_frame(&mut self, direction: Direction, header: Header, context: &mut Context<'_>) {
        let way = self.way(direction);
        way.content_start = SegmentStart::Call;
        if header.kind == Kind::Settings {
            way.settings.begin();
        }
        if way.heads.begin(header) {
            self.tell_poisoned(direction, context);
        }
    }

    fn content(
        &mut self,
        direction: Direction,
        header: Header,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) {
        let way = &mut self.ways[direction.index()];
        let is_poisoned = match header.kind {
            Kind::Data => {
                let start = std::mem::replace(&mut way.content_start, SegmentStart::Middle);
                self.streams.content(header.stream, direction, bytes, start, context);
                false
            }
            Kind::Headers | Kind::PushPromise | Kind::Continuation => {
                way.heads.push(bytes, context.resources.limits.head_bytes)
            }
            Kind::Settings if !header.is_ack() => {
                way.settings.push(bytes);
                false
            }
            _ => false,
        };
        if is_poisoned {
            self.tell_poisoned(direction, context);
        }
    }

    /// `n` content bytes of a frame are not here.
    fn miss(
        &mut self,
        direction: Direction,
        header: Header,
        n: u64,
        torn: bool,
        hole: Hole,
        context: &mut Context<'_>,
    ) {
        match header.kind {
            Kind::Data if torn => self.streams.lose_border(header.stream, direction, context),
            Kind::Data if n > 0 => self.streams.absent(header.stream, direction, n, hole, context),
            Kind::Headers | Kind::PushPromise | Kind::Continuation => {
                self.poison(direction, context);
            }
            Kind::Settings => self.way(direction).settings.miss(),
            _ => {}
        }
    }

    fn end_frame(&mut self, direction: Direction, header: Header, context: &mut Context<'_>) {
        match header.kind {
            Kind::Data if header.ends_stream() => {
                self.streams.end(header.stream, direction, context);
            }
            Kind::Headers | Kind::PushPromise | Kind::Continuation => {
                let (complete, poisoned) = self.way(direction).heads.end(header);
                if poisoned {
                    self.tell_poisoned(direction, context);
                }
                if let Some(complete) = complete {
                    self.head(direction, complete, context);
                }
            }
            Kind::RstStream => self.streams.reset(header.stream, context),
            Kind::Settings if !header.is_ack() => self.settings(direction),
            _ => {}
        }
    }

    fn head(&mut self, direction: Direction, complete: Complete, context: &mut Context<'_>) {
        let Complete { stream, is_promise, ends_stream, head } = complete;
        if is_promise {
            return;
        }
        let said = Said { stream, direction, head };
        match self.asking {
            Some(asking) if asking == direction => self.streams.request(said, context),
            Some(_) => self.streams.answer(said, context),
            None => {}
        }
        if ends_stream {
            self.streams.end(stream, direction, context);
        }
    }

    /// What a client says of extended CONNECT has no meaning (RFC 8441, section 3). A server says
    /// it in the SETTINGS that it begins with.
    fn settings(&mut self, direction: Direction) {
        if self.asking == Some(direction) {
            return;
        }
        if self.way(direction).settings.allows_connect {
            self.extended_connect = ExtendedConnect::Allowed;
        } else if self.asking.is_some() && self.extended_connect == ExtendedConnect::Unknown {
            self.extended_connect = ExtendedConnect::Refused;
        }
    }
}
