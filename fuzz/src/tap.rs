//! A decoder with its promises checked.

use std::collections::{BTreeMap, BTreeSet};

use wstap::decode::decoder::{Decoder, Limits, StreamContent};
use wstap::event::zlib::ZlibCall;
use wstap::event::{ConnId, Direction, Event, EventKind, Segment, SegmentStart, TargetId};
use wstap::matching::{MatchLimits, Matching, Protocols};
use wstap::observation::{Fidelity, Message, Observation, Role, What};

use crate::trace::{Trace, digest, digest_of_bytes};

/// Between two inputs: nothing of one is waiting when the next begins.
const PAUSE_NS: u64 = 120_000_000_000;
const CONNECTIONS: u32 = 4;

/// Plays one input after the other, each on connections of its own.
pub(crate) struct Tap {
    tracker: Decoder,
    at_ns: u64,
    /// Generation of the input's first connection.
    first: u32,
    offsets: BTreeMap<(u32, Direction), u64>,
    ledger: Ledger,
}

/// What came of an input.
pub(crate) struct Ended {
    pub(crate) trace: Trace,
    /// Digests of all that was observed, but for bytes on the wire.
    pub(crate) seen: Vec<u64>,
    /// How many of them came before the first broken rule.
    pub(crate) until_error: usize,
    /// How many of them came before the event behind which it was not known where the next head or
    /// frame begins; `None` if it always was.
    pub(crate) until_adrift: Option<usize>,
    /// Connections that were taken for TLS.
    pub(crate) encrypted: Vec<u32>,
}

#[derive(Default)]
struct Ledger {
    trace: Trace,
    seen: Vec<u64>,
    until_error: Option<usize>,
    until_adrift: Option<usize>,
    encrypted: Vec<u32>,
    started: u64,
    ended: u64,
    states: BTreeMap<ConnId, (Role, Fidelity)>,
    window: usize,
    /// The messages that were read.
    texts: Vec<Vec<u8>>,
}

impl Tap {
    /// With the protocol of this number forced on all connections; 0 and `None` force none.
    pub(crate) fn new(forced: Option<u8>) -> Self {
        let mut protocols = Protocols::builtin();
        let names: Vec<_> = protocols.names().map(str::to_owned).collect();
        let name = forced.and_then(|number| names.get(usize::from(number).checked_sub(1)?));
        if let Some(name) = name {
            protocols.force(name).expect("it is one of the names");
        }
        let limits = Limits::default();
        let ledger = Ledger { window: limits.window_bytes, ..Ledger::default() };
        // What one input used up of them would show in the next.
        let match_limits = MatchLimits { methods_per_target: usize::MAX, ..Default::default() };
        let matching = Matching::new(protocols, match_limits);
        Self {
            tracker: Decoder::new(limits, matching),
            at_ns: 0,
            first: 0,
            offsets: BTreeMap::new(),
            ledger,
        }
    }

    /// Bytes that one call passed on the first connection.
    pub(crate) fn call(&mut self, direction: Direction, bytes: &[u8]) {
        self.record(direction, bytes, SegmentStart::Call);
    }

    /// A record of a call on the first connection.
    pub(crate) fn record(&mut self, direction: Direction, bytes: &[u8], start: SegmentStart) {
        let segment = Segment {
            direction,
            offset: self.offset(0, direction),
            len: bytes.len() as u64,
            bytes,
            absent: Default::default(),
            start,
        };
        self.event(0, EventKind::Data(segment));
    }

    /// Where the last segment ended.
    pub(crate) fn offset(&self, conn: u32, direction: Direction) -> u64 {
        self.offsets.get(&(conn, direction)).copied().unwrap_or(0)
    }

    pub(crate) fn event(&mut self, conn: u32, kind: EventKind<'_>) {
        if let EventKind::Data(segment) = kind {
            let end = segment.offset.saturating_add(segment.len);
            self.offsets.insert((conn, segment.direction), end);
        }
        let number = conn;
        let conn = ConnId { tgid: 1, generation: self.first + conn, handle: 0, stream: 0 };
        let event = Event { conn, target: TargetId(0), tid: 1, at_ns: self.at_ns, kind };
        let Self { tracker, ledger, .. } = self;
        let before = ledger.seen.len();
        tracker.event(&event, &mut |observation| ledger.enter(observation));
        let tls = tracker.findings().filter(|it| it.content == StreamContent::Tls);
        ledger.encrypted.extend(tls.map(|_| number));
        if ledger.until_adrift.is_none() && tracker.is_adrift(conn) {
            ledger.until_adrift = Some(before);
        }
    }

    /// Nothing happens for a while.
    pub(crate) fn rest(&mut self) {
        self.at_ns += 5_000_000;
    }

    /// A call of zlib in the process.
    pub(crate) fn zlib(&mut self, call: &ZlibCall<'_>) {
        self.at_ns += 1;
        self.tracker.zlib_call(&ZlibCall { at_ns: self.at_ns, ..*call });
    }

    /// Every message of this input that was read must have been one of these.
    pub(crate) fn allow_only(&mut self, texts: BTreeSet<Vec<u8>>) {
        let strange = self.ledger.texts.iter().find(|text| !texts.contains(*text));
        assert!(strange.is_none(), "what was read did not pass: {strange:?}");
    }

    /// Closes the input's connections and checks that nothing of it is left.
    pub(crate) fn end(&mut self) -> Ended {
        for conn in 0..CONNECTIONS {
            if Direction::BOTH.iter().any(|it| self.offsets.contains_key(&(conn, *it))) {
                let [sent, received] = Direction::BOTH.map(|it| self.offset(conn, it));
                self.event(conn, EventKind::Closed { sent, received });
            }
        }
        self.at_ns += PAUSE_NS;
        let Self { tracker, ledger, .. } = self;
        tracker.tick(self.at_ns, &mut |observation| ledger.enter(observation));
        tracker.kernel_hints().for_each(drop);
        tracker.findings().for_each(drop);
        tracker.window_requests().for_each(drop);
        assert_eq!(tracker.connections(), 0, "closed connections are let go");
        assert_eq!(ledger.started, ledger.ended, "a request ends in exactly one outcome");
        assert!(
            ledger.states.is_empty(),
            "closed connections leave the gauge: {:?}",
            ledger.states
        );
        self.first = self.first.wrapping_add(CONNECTIONS);
        self.offsets.clear();
        let next = Ledger { window: ledger.window, ..Ledger::default() };
        let Ledger { mut trace, seen, until_error, until_adrift, encrypted, texts, .. } =
            std::mem::replace(ledger, next);
        trace.add(&("encrypted", encrypted.len()));
        trace.add(&("read", texts.len()));
        let until_error = until_error.unwrap_or(seen.len());
        Ended { trace, until_error, seen, until_adrift, encrypted }
    }
}

impl Ledger {
    fn enter(&mut self, observation: &Observation<'_>) {
        match &observation.what {
            What::Wire { .. } => return,
            What::Skipped { .. } | What::Unsynced { .. } => return,
            What::State { from, to } => self.change(observation.conn, *from, *to),
            What::Started { .. } => self.started += 1,
            What::Exchange(exchange) => {
                self.ended += 1;
                self.trace.add(&exchange.outcome);
            }
            What::Message { message, reading } => {
                assert!(message.payload.len() <= self.window, "a message beyond the window");
                let kind = (reading.protocol, reading.kind, reading.id.is_some());
                self.trace.add(&(kind, message.truncated, message.compressed));
                if !message.payload.is_empty() {
                    self.texts.push(message.payload.to_vec());
                }
            }
            What::Frame(frame) => self.trace.add(&(frame.opcode, frame.fin)),
            What::ProtocolError { reason, .. } => {
                self.trace.add(reason);
                self.until_error.get_or_insert(self.seen.len());
            }
            What::Gap { reason, .. } => {
                self.trace.add(reason);
                self.until_error.get_or_insert(self.seen.len());
            }
            other => self.trace.add(&std::mem::discriminant(other)),
        }
        let role = observation.role;
        self.seen.push(match &observation.what {
            // To print every byte as a number would take longer than all the rest.
            What::Message { message, reading } => {
                let bare = Message { payload: b"", ..*message };
                digest(&(role, bare, reading)) ^ digest_of_bytes(message.payload)
            }
            what => digest(&(role, what)),
        });
    }

    fn change(
        &mut self,
        conn: ConnId,
        from: Option<(Role, Fidelity)>,
        to: Option<(Role, Fidelity)>,
    ) {
        let before = match to {
            Some(state) => self.states.insert(conn, state),
            None => self.states.remove(&conn),
        };
        assert_eq!(before, from, "a change of state begins where the last one ended");
        self.trace.add(&to);
    }
}
