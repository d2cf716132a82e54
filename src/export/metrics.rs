//! Observations in, metrics out: the decode thread's half of the exporter.
//!
//! [`Metrics::record`] is on the hot path, so it only changes plain numbers of its own: every
//! series it may need is looked up once and kept. [`Metrics::flush`] moves the numbers to the
//! shared registry; the owner calls it at the end of each batch, and whenever it falls idle.
//! Scrapes therefore never hold up the decoder, and see a batch whole.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::GenericLocalCounter;
use prometheus::core::AtomicU64;
use prometheus::{IntGauge, Registry};

use super::catalogue::{Catalogue, StatusCollector};
use super::status::{LossCounters, Status};
use super::timings::{Timing, TimingVec};
use crate::decode::event::{Direction, TargetId};
use crate::decode::observation::{
    Exchange, Fidelity, GapReason, Message, MessageType, Observation, Opcode, Origin, Outcome,
    ProtocolError, Role, Table, What,
};

type LocalCounter = GenericLocalCounter<AtomicU64>;

/// Observations after which [`Metrics::record`] flushes by itself, so that a batch without end
/// cannot pile up durations or hide from scrapes.
const FLUSH_EVERY: u32 = 4_096;

/// Name of the series for a target that was not announced; it should never appear.
const UNKNOWN_TARGET: &str = "__unknown__";

/// Turns observations into metrics. One thread owns it; scrapes go through [`Metrics::registry`].
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    all: Catalogue,
    turnaround_count: LocalCounter,
    turnaround_sum: LocalCounter,
    packets: [LocalCounter; 2],
    identical_packets: LocalCounter,
    /// In `TargetId` order, and the unknown one at the end.
    targets: Vec<Target>,
    unflushed: u32,
}

impl Metrics {
    /// Registers every metric, with `targets` as the `target` label in `TargetId` order, and makes
    /// every series that is known in advance exist at 0.
    ///
    /// `status` and `losses` are read at each scrape. Fails only where two metrics clash, which is
    /// a mistake in the catalogue.
    pub fn new(
        targets: &[impl AsRef<str>],
        status: Arc<Status>,
        losses: impl LossCounters + 'static,
    ) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let all = Catalogue::register(&registry)?;
        StatusCollector::register(&registry, status, Box::new(losses))?;
        Table::ALL.iter().for_each(|table| drop(all.evictions.with_label_values(&[table.as_str()])));
        all.label_overflow.with_label_values(&["method"]);
        let names = targets.iter().map(AsRef::as_ref);
        Ok(Self {
            registry,
            turnaround_count: all.turnaround_count.local(),
            turnaround_sum: all.turnaround_sum.local(),
            packets: [all.packet_send_count.local(), all.packet_recv_count.local()],
            identical_packets: all.identical_packets_count.local(),
            targets: names.map(|name| Target::new(name, &all)).collect(),
            all,
            unflushed: 0,
        })
    }

    /// The registry to gather from, on any thread.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// The turnaround histograms, for views that want quantiles. Label values are in the order
    /// target, origin, protocol, method.
    #[must_use]
    pub fn turnarounds(&self) -> TimingVec {
        self.all.turnaround.clone()
    }

    /// Counts one observation.
    pub fn record(&mut self, observation: &Observation<'_>) {
        let at = self.target_index(observation.target);
        let target = &mut self.targets[at];
        match &observation.what {
            What::Wire { direction, bytes } => target.wire[direction.index()].inc_by(*bytes),
            What::Frame(frame) => {
                target.frames[frame.direction.index()][frame.opcode as usize].inc();
            }
            What::Message(message) => {
                self.packets[message.direction.index()].inc();
                if message.identical {
                    self.identical_packets.inc();
                }
                target.message(message);
            }
            What::Started { origin, protocol, method } => {
                target.pending_change += 1;
                target.exchanges(&self.all, *origin, protocol, method);
            }
            What::Exchange(exchange) => {
                target.exchange(&self.all, exchange);
                if is_answered(exchange.outcome) {
                    self.turnaround_count.inc();
                    self.turnaround_sum.inc_by(exchange.turnaround_ns.unwrap_or(0));
                }
            }
            What::Skipped { bytes, .. } => target.skipped.inc_by(*bytes),
            rare => target.rare(&self.all, observation.role, rare),
        }
        self.unflushed += 1;
        if self.unflushed >= FLUSH_EVERY {
            self.flush();
        }
    }

    /// Makes everything recorded so far visible to scrapes. Costs next to nothing where nothing
    /// was recorded.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.unflushed) == 0 {
            return;
        }
        self.turnaround_count.flush();
        self.turnaround_sum.flush();
        self.packets.iter().for_each(LocalCounter::flush);
        self.identical_packets.flush();
        self.targets.iter_mut().for_each(Target::flush);
    }

    /// A `TargetId` that was not announced shares one more entry, made when it is needed.
    fn target_index(&mut self, id: TargetId) -> usize {
        let at = usize::from(id.0);
        if at < self.targets.len() {
            return at;
        }
        let last = self.targets.len().checked_sub(1);
        match last {
            Some(last) if self.targets[last].name == UNKNOWN_TARGET => last,
            _ => {
                self.targets.push(Target::new(UNKNOWN_TARGET, &self.all));
                self.targets.len() - 1
            }
        }
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Whether a turnaround was observed: an error is an answer.
fn is_answered(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Matched | Outcome::Error)
}

/// The series of one target.
#[derive(Debug)]
struct Target {
    name: String,
    wire: [LocalCounter; 2],
    skipped: LocalCounter,
    /// By direction, then by `Opcode` in declaration order.
    frames: [Vec<LocalCounter>; 2],
    /// By direction, then by `MessageType` in declaration order.
    messages: [Vec<LocalCounter>; 2],
    message_bytes: [Vec<LocalCounter>; 2],
    pending: IntGauge,
    pending_change: i64,
    ping_rtt: [Timing; 2],
    exchanges: Vec<ExchangeSeries>,
    /// By origin: protocol, then method, to an index into `exchanges`. Bounded by the decoder,
    /// which folds methods into `__other__` and knows a closed set of protocols.
    index: [HashMap<Box<str>, HashMap<Box<str>, usize>>; 2],
    /// The last one used, by origin: most traffic repeats itself.
    recent: [Option<usize>; 2],
    /// Indices of exchanges that changed since the last flush.
    dirty: Vec<usize>,
}

impl Target {
    fn new(name: &str, all: &Catalogue) -> Self {
        let both = |vec: &[prometheus::IntCounterVec; 2]| {
            Direction::BOTH.map(|way| vec[way.index()].with_label_values(&[name]).local())
        };
        let by = |vec: &[prometheus::IntCounterVec; 2], values: &[&'static str]| {
            Direction::BOTH.map(|way| {
                let child = |value| vec[way.index()].with_label_values(&[name, value]).local();
                values.iter().map(|value| child(*value)).collect()
            })
        };
        let opcodes: Vec<_> = Opcode::ALL.iter().map(|opcode| opcode.as_str()).collect();
        let types: Vec<_> = MessageType::ALL.iter().map(|kind| kind.as_str()).collect();
        announce(name, all);
        Self {
            wire: both(&all.wire_bytes),
            skipped: all.skipped_bytes.with_label_values(&[name]).local(),
            frames: by(&all.frames, &opcodes),
            messages: by(&all.messages, &types),
            message_bytes: by(&all.message_bytes, &types),
            pending: all.requests_pending.with_label_values(&[name]),
            pending_change: 0,
            ping_rtt: [Origin::Local, Origin::Remote]
                .map(|origin| all.ping_rtt.series(&[name, origin.as_str()])),
            exchanges: Vec::new(),
            index: Default::default(),
            recent: [None; 2],
            dirty: Vec::new(),
            name: name.to_owned(),
        }
    }

    fn message(&mut self, message: &Message<'_>) {
        let (way, kind) = (message.direction.index(), message.message_type as usize);
        self.messages[way][kind].inc();
        self.message_bytes[way][kind].inc_by(message.length.unwrap_or(message.wire_length));
    }

    fn exchange(&mut self, all: &Catalogue, exchange: &Exchange<'_>) {
        self.pending_change -= 1;
        let at = self.exchanges(all, exchange.origin, exchange.protocol, exchange.method);
        let series = &mut self.exchanges[at];
        series.outcomes[exchange.outcome as usize].inc();
        if let (true, Some(ns)) = (is_answered(exchange.outcome), exchange.turnaround_ns) {
            series.turnaround.observe(ns);
        }
        if !std::mem::replace(&mut series.is_dirty, true) {
            self.dirty.push(at);
        }
    }

    /// Index of the exchange series with these labels. They all come into being at 0 with the
    /// first request, so that no outcome is missing from a rate.
    fn exchanges(&mut self, all: &Catalogue, origin: Origin, protocol: &str, method: &str) -> usize {
        let way = origin as usize;
        if let Some(at) = self.recent[way] {
            let series = &self.exchanges[at];
            if *series.method == *method && *series.protocol == *protocol {
                return at;
            }
        }
        let known = self.index[way].get(protocol).and_then(|methods| methods.get(method));
        let at = known.copied().unwrap_or_else(|| {
            let at = self.exchanges.len();
            self.exchanges.push(ExchangeSeries::new(all, &self.name, origin, protocol, method));
            self.index[way].entry(protocol.into()).or_default().insert(method.into(), at);
            at
        });
        self.recent[way] = Some(at);
        at
    }

    /// What does not happen for every message takes the way through the label values.
    fn rare(&mut self, all: &Catalogue, role: Role, what: &What<'_>) {
        let name = &*self.name;
        match what {
            What::Gap { bytes, reason, .. } => {
                all.gaps.with_label_values(&[name, reason.as_str()]).inc();
                all.gap_bytes.with_label_values(&[name, reason.as_str()]).inc_by(*bytes);
            }
            What::Open(_) => all.connections_opened.with_label_values(&[name, role.as_str()]).inc(),
            What::Close { code } => {
                all.connections_closed.with_label_values(&[name, close_code_label(*code)]).inc();
            }
            What::Refused { status } => {
                all.upgrades_refused.with_label_values(&[name, &status_label(*status)]).inc();
            }
            What::State { from, to } => {
                let gauge = |(role, fidelity): (Role, Fidelity)| {
                    all.connections.with_label_values(&[name, role.as_str(), fidelity.as_str()])
                };
                from.map(gauge).inspect(IntGauge::dec);
                to.map(gauge).inspect(IntGauge::inc);
            }
            What::Orphan { protocol, reason } => {
                all.orphans.with_label_values(&[name, protocol, reason.as_str()]).inc();
            }
            What::PingRtt { origin, rtt_ns } => {
                self.ping_rtt[*origin as usize].observe(*rtt_ns);
            }
            What::ProtocolError { reason, .. } => {
                all.protocol_errors.with_label_values(&[name, reason.as_str()]).inc();
            }
            What::Evicted(table) => all.evictions.with_label_values(&[table.as_str()]).inc(),
            What::LabelOverflow(label) => all.label_overflow.with_label_values(&[label]).inc(),
            What::Wire { .. }
            | What::Skipped { .. }
            | What::Frame(_)
            | What::Message(_)
            | What::Started { .. }
            | What::Exchange(_) => debug_assert!(false, "not rare: {what:?}"),
        }
    }

    fn flush(&mut self) {
        self.wire.iter().for_each(LocalCounter::flush);
        self.skipped.flush();
        for counters in [&self.frames, &self.messages, &self.message_bytes] {
            counters.iter().flatten().for_each(LocalCounter::flush);
        }
        self.pending.add(std::mem::take(&mut self.pending_change));
        self.ping_rtt.iter_mut().for_each(Timing::flush);
        for at in self.dirty.drain(..) {
            self.exchanges[at].flush();
        }
    }
}

/// The series of one (target, origin, protocol, method).
#[derive(Debug)]
struct ExchangeSeries {
    protocol: Box<str>,
    method: Box<str>,
    /// By `Outcome` in declaration order.
    outcomes: Vec<LocalCounter>,
    turnaround: Timing,
    /// It is in its target's `dirty` list.
    is_dirty: bool,
}

impl ExchangeSeries {
    fn new(all: &Catalogue, target: &str, origin: Origin, protocol: &str, method: &str) -> Self {
        let labels = [target, origin.as_str(), protocol, method];
        let outcome = |outcome: &Outcome| {
            let [target, origin, protocol, method] = labels;
            let labels = [target, origin, protocol, method, outcome.as_str()];
            all.requests.with_label_values(&labels).local()
        };
        Self {
            protocol: protocol.into(),
            method: method.into(),
            outcomes: Outcome::ALL.iter().map(outcome).collect(),
            turnaround: all.turnaround.series(&labels),
            is_dirty: false,
        }
    }

    fn flush(&mut self) {
        self.outcomes.iter().for_each(LocalCounter::flush);
        self.turnaround.flush();
        self.is_dirty = false;
    }
}

/// Makes the rare series of a target exist at 0.
fn announce(target: &str, all: &Catalogue) {
    for reason in ProtocolError::ALL {
        all.protocol_errors.with_label_values(&[target, reason.as_str()]);
    }
    for reason in GapReason::ALL {
        all.gaps.with_label_values(&[target, reason.as_str()]);
        all.gap_bytes.with_label_values(&[target, reason.as_str()]);
    }
    for code in CLOSE_CODES.iter().map(|&(_, label)| label).chain(CLOSE_CODE_CLASSES) {
        all.connections_closed.with_label_values(&[target, code]);
    }
    for role in Role::ALL {
        all.connections_opened.with_label_values(&[target, role.as_str()]);
        for fidelity in Fidelity::ALL {
            all.connections.with_label_values(&[target, role.as_str(), fidelity.as_str()]);
        }
    }
}

/// The close codes of the IANA registry "WebSocket Close Code Number".
const CLOSE_CODES: [(u16, &str); 15] = [
    (1000, "1000"),
    (1001, "1001"),
    (1002, "1002"),
    (1003, "1003"),
    (1005, "1005"),
    (1006, "1006"),
    (1007, "1007"),
    (1008, "1008"),
    (1009, "1009"),
    (1010, "1010"),
    (1011, "1011"),
    (1012, "1012"),
    (1013, "1013"),
    (1014, "1014"),
    (1015, "1015"),
];

const CLOSE_CODE_CLASSES: [&str; 3] = ["3xxx", "4xxx", "other"];

/// RFC 6455, section 7.4.2: 3000 to 3999 belong to libraries, 4000 to 4999 to applications.
fn close_code_label(code: u16) -> &'static str {
    if let Some((_, label)) = CLOSE_CODES.iter().find(|&&(known, _)| known == code) {
        return label;
    }
    match code {
        3000..=3999 => "3xxx",
        4000..=4999 => "4xxx",
        _ => "other",
    }
}

/// Registered status codes keep their number; a peer cannot make series with others.
fn status_label(status: u16) -> String {
    let registered = axum::http::StatusCode::from_u16(status)
        .is_ok_and(|status| status.canonical_reason().is_some());
    match (registered, status) {
        (true, _) => status.to_string(),
        (false, 100..=599) => format!("{}xx", status / 100),
        (false, _) => "other".to_owned(),
    }
}
