//! A WebSocket connection, or one that may turn out to be: two ways and what they share.

use super::direction::{Hole, OneWay};
use crate::decode::context::{Context, Resources};
use crate::decode::hint::FrameAt;
use crate::decode::http::handshake::Agreement;
use crate::decode::limits::Limits;
use crate::decode::message::compression::Compression;
use crate::decode::message::shared::Shared;
use crate::decode::resync::tls_records::TlsRecords;
use crate::event::{Direction, SegmentStart};
use crate::observation::{Fidelity, Role};

/// After `ONE_SIDED` x `search_bytes`, one direction decides for both: the other one may be silent
/// for ever.
const ONE_SIDED: u64 = 16;

/// Bytes after which a search ends in any case: twice the longest frame that a search believes.
const ENDLESS_BYTES: u64 = 128 << 20;

/// Both directions of one connection, from its 101 (or from where it was met) to its end.
#[derive(Debug)]
pub(in crate::decode) struct Session {
    ways: [OneWay; 2],
    shared: Shared,
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
        context: &mut Context<'_>,
    ) -> Self {
        let way = |direction: Direction| {
            let compression = Compression::agreed(agreement.extension, agreement.role, direction);
            OneWay::synced(direction, starts[direction.index()], compression)
        };
        let ways = Direction::BOTH.map(way);
        let shared = Shared::agreed(agreement.role, agreement.unmasked);
        let mut session = Self { ways, shared, doubt: None };
        context.role = agreement.role;
        for direction in Direction::BOTH {
            let reason = agreement.violations.iter().filter(|_| direction == agreement.answered());
            reason.for_each(|&reason| context.error(direction, reason));
            session.refresh(direction, context);
            session.announce(direction, context);
        }
        session.shared.open(agreement.open(), agreement.hint(), context);
        session
    }

    /// A connection that was met in mid-stream, at these offsets, and may be anything.
    /// TLS is looked for in the next `search_bytes`.
    pub(in crate::decode) fn met(starts: [u64; 2], search_bytes: u64) -> Self {
        let records = starts.map(|start| TlsRecords::new(start, search_bytes));
        let doubt = Some(Box::new(Doubt { records, passed: [0; 2], encrypted: false }));
        Self { doubt, ..Self::asked_for(starts) }
    }

    /// A connection whose upgrade was asked for, and whose answer was not seen. Frames begin
    /// anywhere from these offsets on.
    pub(in crate::decode) fn asked_for(starts: [u64; 2]) -> Self {
        let way = |direction: Direction| {
            let compression = Compression::Unknown { unreadable: false };
            OneWay::adrift(direction, starts[direction.index()], compression)
        };
        Self { ways: Direction::BOTH.map(way), shared: Shared::default(), doubt: None }
    }

    /// One direction goes on with `bytes`.
    pub(in crate::decode) fn bytes(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        start: SegmentStart,
        context: &mut Context<'_>,
    ) {
        if bytes.is_empty() || self.is_encrypted() {
            return;
        }
        if let Some(doubt) = &mut self.doubt {
            doubt.passed[direction.index()] += bytes.len() as u64;
        }
        self.begin(direction, start, context);
        let rest = self.look_for_tls(direction, bytes, context);
        self.ways[direction.index()].bytes(rest, &mut self.shared, context);
        self.doubt.take_if(|_| self.shared.is_proven());
        self.announce(direction, context);
        self.announce_windows(context);
    }

    /// One direction goes on with `n` bytes that are not here.
    pub(in crate::decode) fn absent(
        &mut self,
        direction: Direction,
        n: u64,
        hole: Hole,
        context: &mut Context<'_>,
    ) {
        if hole == Hole::Lost {
            self.shared.gap(direction, context);
        }
        if let Some(doubt) = &mut self.doubt {
            doubt.records[direction.index()].absent(n);
        }
        self.ways[direction.index()].absent(n, hole, &mut self.shared, context);
        self.announce_windows(context);
    }

    /// Bytes before the first frame border of one direction are missing.
    pub(in crate::decode) fn lose_border(
        &mut self,
        direction: Direction,
        context: &mut Context<'_>,
    ) {
        let way = &mut self.ways[direction.index()];
        if !way.is_adrift() {
            self.shared.gap(direction, context);
            way.lose_border(&mut self.shared, context);
        }
    }

    /// The TLS connection ended.
    pub(in crate::decode) fn close(&mut self, context: &mut Context<'_>) {
        if self.shared.is_proven() {
            self.ways.iter_mut().for_each(|way| way.end(&mut self.shared, context));
        }
        self.shared.end(context);
        self.release(context.resources);
    }

    /// What waits for an answer ends, since the connection is let go.
    pub(in crate::decode) fn stop_matching(&mut self, context: &mut Context<'_>) {
        self.shared.stop_matching(context);
    }

    /// Nobody watches the connection any more.
    pub(in crate::decode) fn leave(&mut self, context: &mut Context<'_>) {
        context.tell(self.shared.leave());
        self.release(context.resources);
    }

    /// Frees what a connection that has gone quiet need not keep.
    pub(in crate::decode) fn expire(&mut self, now_ns: u64, identical_bytes: &mut usize) {
        self.shared.identical.expire(now_ns, identical_bytes);
    }

    /// Bytes that searches for frame borders take.
    pub(in crate::decode) fn held_bytes(&self) -> usize {
        self.ways.iter().map(OneWay::held_bytes).sum()
    }

    /// Lets go of what searches have found so far.
    pub(in crate::decode) fn let_go(&mut self) {
        self.ways.iter_mut().for_each(OneWay::let_go);
    }

    /// The role of the tapped process, as far as it is known.
    pub(in crate::decode) fn role(&self) -> Role {
        self.shared.role
    }

    /// Where the next frame of a direction begins is being searched for.
    pub(in crate::decode) fn is_adrift(&self) -> bool {
        self.ways.iter().any(OneWay::is_adrift)
    }

    /// There is no more doubt that this is WebSocket.
    pub(in crate::decode) fn is_proven(&self) -> bool {
        self.shared.is_proven()
    }

    /// A close frame has passed: the peers are done with this WebSocket.
    pub(in crate::decode) fn is_closing(&self) -> bool {
        Direction::BOTH.into_iter().any(|direction| self.shared.is_closing(direction))
    }

    /// A frame of this direction has begun and not ended, as far as borders are known.
    pub(in crate::decode) fn is_within_frame(&self, direction: Direction) -> bool {
        self.ways[direction.index()].is_within_frame()
    }

    /// It is TLS, whatever that carries.
    pub(in crate::decode) fn is_encrypted(&self) -> bool {
        self.doubt.as_ref().is_some_and(|doubt| doubt.encrypted)
    }

    /// It may be something else than a WebSocket.
    pub(in crate::decode) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// It is something else: what has passed was searched in vain. While a frame is followed that a call
    /// has begun with, it was not, unless that has no end.
    pub(in crate::decode) fn is_hopeless(&self, limits: &Limits) -> bool {
        let Some(doubt) = &self.doubt else { return false };
        let passed = |it: Direction| doubt.passed[it.index()];
        let in_vain = |it: Direction| {
            let way = &self.ways[it.index()];
            way.is_exhausted(&self.shared, limits) && !way.is_promising()
        };
        let without_the_other = ONE_SIDED * limits.search_bytes;
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
        self.ways.iter().map(OneWay::heap_bytes).sum::<usize>() + self.shared.heap_bytes()
    }

    fn begin(&mut self, direction: Direction, start: SegmentStart, context: &mut Context<'_>) {
        if !self.shared.has_passed(direction) {
            self.refresh(direction, context);
        }
        let way = &mut self.ways[direction.index()];
        match start {
            SegmentStart::Middle | SegmentStart::StreamFrameHeader | SegmentStart::Http2Header => {}
            SegmentStart::Call => way.call_starts(),
            SegmentStart::FrameHeader => way.header_starts(&mut self.shared, context),
        }
    }

    /// Takes as much off `bytes` as it takes to see whether they are TLS, all of them if they are,
    /// and decodes that. What is proven first, records or frames, wins, and frames that may well be
    /// true win time: TLS goes on for ever, and records inside of a frame end with it.
    fn look_for_tls<'a>(
        &mut self,
        direction: Direction,
        bytes: &'a [u8],
        context: &mut Context<'_>,
    ) -> &'a [u8] {
        let way = &mut self.ways[direction.index()];
        let mut rest = bytes;
        while let Some(doubt) = self.doubt.as_mut().filter(|_| !self.shared.is_proven())
            && let Some(n) = doubt.records[direction.index()].look(rest)
        {
            let (looked_at, behind) = rest.split_at(n);
            way.bytes(looked_at, &mut self.shared, context);
            doubt.encrypted = !self.shared.is_proven() && !way.is_promising();
            rest = if doubt.encrypted { &[] } else { behind };
        }
        rest
    }

    fn refresh(&mut self, direction: Direction, context: &mut Context<'_>) {
        let fidelity: Fidelity = self.ways[direction.index()].fidelity();
        context.tell(self.shared.set_fidelity(direction, fidelity));
    }

    fn announce(&mut self, direction: Direction, context: &mut Context<'_>) {
        let way = &mut self.ways[direction.index()];
        let Some(offset) = way.take_announcement(&mut self.shared) else { return };
        let (conn, whole) = (context.conn, way.needs_whole());
        let narrow = self.shared.windows.is_narrow(direction);
        context.resources.hints.frame_at(FrameAt { conn, direction, offset, whole, narrow });
    }

    fn announce_windows(&mut self, context: &mut Context<'_>) {
        for direction in Direction::BOTH {
            if self.shared.windows.has_changed(direction) {
                self.announce(direction, context);
            }
        }
    }

    fn release(&mut self, resources: &mut Resources) {
        self.ways.iter_mut().for_each(|way| way.release(resources));
        self.shared.identical.clear(&mut resources.identical_bytes);
    }
}
