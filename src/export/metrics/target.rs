//! The series of one target.

use prometheus::{IntCounterVec, IntGauge};

use super::LocalCounter;
use super::by_request::{ByRequest, Request};
use super::catalogue::Catalogue;
use super::exchanges::Exchanges;
use super::histogram::labelled::Timing;
use super::labels::{CLOSE_CODE_CLASSES, CLOSE_CODES, close_code_label, status_label};
use crate::event::{Direction, Transport};
use crate::observation::{
    Fidelity, GapReason, Message, MessageType, Opcode, Origin, ProtocolError, Role, What,
    WindowMiss,
};

/// Counts what happens at one target: the frequent kinds in numbers of its own, the rare ones
/// straight in the registry.
#[derive(Debug)]
pub(super) struct Target {
    name: String,
    all: Catalogue,
    wire: [LocalCounter; 2],
    skipped: LocalCounter,
    /// By direction, then by `Opcode` in declaration order.
    frames: [Vec<LocalCounter>; 2],
    /// By direction, then by `MessageType` in declaration order.
    messages: [Vec<LocalCounter>; 2],
    message_bytes: [Vec<LocalCounter>; 2],
    pending: IntGauge,
    pending_change: i64,
    /// By `Origin` in declaration order.
    ping_rtt: [Timing; 2],
    heartbeat_rtt: ByRequest<Timing>,
    exchanges: Exchanges,
}

impl Target {
    pub(super) fn new(name: &str, all: Catalogue) -> Self {
        let child = |vec: &IntCounterVec, labels: &[&str]| vec.with_label_values(labels).local();
        let each = |vecs: &[IntCounterVec; 2], values: &[&'static str]| {
            Direction::BOTH.map(|way| {
                values.iter().map(|value| child(&vecs[way.index()], &[name, value])).collect()
            })
        };
        let opcodes: Vec<_> = Opcode::ALL.iter().map(|opcode| opcode.as_str()).collect();
        let types: Vec<_> = MessageType::ALL.iter().map(|kind| kind.as_str()).collect();
        announce_rare(name, &all);
        Self {
            wire: Direction::BOTH.map(|way| child(&all.wire_bytes[way.index()], &[name])),
            skipped: child(&all.skipped_bytes, &[name]),
            frames: each(&all.frames, &opcodes),
            messages: each(&all.messages, &types),
            message_bytes: each(&all.message_bytes, &types),
            pending: all.requests_pending.with_label_values(&[name]),
            pending_change: 0,
            ping_rtt: [Origin::Local, Origin::Remote]
                .map(|origin| all.ping_rtt.series(&[name, origin.as_str()])),
            heartbeat_rtt: ByRequest::default(),
            exchanges: Exchanges::new(name, all.clone()),
            name: name.to_owned(),
            all,
        }
    }

    pub(super) fn record(&mut self, transport: Transport, role: Role, what: &What<'_>) {
        let (name, all) = (&*self.name, &self.all);
        match what {
            What::Wire { direction, bytes } => self.wire[direction.index()].inc_by(*bytes),
            What::Skipped { bytes, .. } => self.skipped.inc_by(*bytes),
            What::Frame(frame) => self.frames[frame.direction.index()][frame.opcode as usize].inc(),
            What::Message { message, .. } => self.message(message),
            What::Started { origin, protocol, method } => {
                self.pending_change += 1;
                self.exchanges.announce(Request { origin: *origin, protocol, method });
            }
            What::Exchange(exchange) => {
                self.pending_change -= 1;
                self.exchanges.record(exchange);
            }
            What::StreamItem { origin, protocol, method } => {
                self.exchanges.stream_item(Request { origin: *origin, protocol, method });
            }
            What::StreamEnd { origin, protocol, method, duration_ns, answers: _ } => {
                let request = Request { origin: *origin, protocol, method };
                self.exchanges.stream_end(request, *duration_ns);
            }
            What::HeartbeatRtt { origin, protocol, rtt_ns } => {
                self.heartbeat(*origin, protocol, *rtt_ns);
            }
            What::PingRtt { origin, rtt_ns } => self.ping_rtt[*origin as usize].observe(*rtt_ns),
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
                from.map(|state| self.connections(transport, state).dec());
                to.map(|state| self.connections(transport, state).inc());
            }
            What::Orphan { protocol, reason } => {
                all.orphans.with_label_values(&[name, protocol, reason.as_str()]).inc();
            }
            What::ProtocolError { reason, .. } => {
                all.protocol_errors.with_label_values(&[name, reason.as_str()]).inc();
            }
            What::WindowMiss { reason, .. } => {
                all.window_misses.with_label_values(&[name, reason.as_str()]).inc();
            }
            What::Evicted(table) => all.evictions.with_label_values(&[table.as_str()]).inc(),
            What::LabelOverflow(label) => all.label_overflow.with_label_values(&[label]).inc(),
        }
    }

    pub(super) fn flush(&mut self) {
        self.wire.iter().for_each(LocalCounter::flush);
        self.skipped.flush();
        for counters in [&self.frames, &self.messages, &self.message_bytes] {
            counters.iter().flatten().for_each(LocalCounter::flush);
        }
        self.pending.add(std::mem::take(&mut self.pending_change));
        self.ping_rtt.iter_mut().for_each(Timing::flush);
        self.heartbeat_rtt.flush(Timing::flush);
        self.exchanges.flush();
    }

    fn message(&self, message: &Message<'_>) {
        let (way, kind) = (message.direction.index(), message.message_type as usize);
        self.messages[way][kind].inc();
        self.message_bytes[way][kind].inc_by(message.length.unwrap_or(message.wire_length));
    }

    fn heartbeat(&mut self, origin: Origin, protocol: &str, rtt_ns: u64) {
        let (name, all) = (&*self.name, &self.all);
        let new = || all.heartbeat_rtt.series(&[name, origin.as_str(), protocol]);
        self.heartbeat_rtt.change(Request { origin, protocol, method: "" }, new).observe(rtt_ns);
    }

    fn connections(&self, transport: Transport, (role, fidelity): (Role, Fidelity)) -> IntGauge {
        let labels = [&*self.name, transport.as_str(), role.as_str(), fidelity.as_str()];
        self.all.connections.with_label_values(&labels)
    }
}

fn transports_and_fidelities() -> impl Iterator<Item = (Transport, Fidelity)> {
    Transport::ALL
        .into_iter()
        .flat_map(|transport| Fidelity::ALL.iter().map(move |&fidelity| (transport, fidelity)))
}

/// Makes the rare series of a target exist at 0.
fn announce_rare(target: &str, all: &Catalogue) {
    for reason in ProtocolError::ALL {
        all.protocol_errors.with_label_values(&[target, reason.as_str()]);
    }
    for reason in GapReason::ALL {
        all.gaps.with_label_values(&[target, reason.as_str()]);
        all.gap_bytes.with_label_values(&[target, reason.as_str()]);
    }
    for reason in WindowMiss::ALL {
        all.window_misses.with_label_values(&[target, reason.as_str()]);
    }
    for code in CLOSE_CODES.iter().map(|&(_, label)| label).chain(CLOSE_CODE_CLASSES) {
        all.connections_closed.with_label_values(&[target, code]);
    }
    for role in Role::ALL {
        all.connections_opened.with_label_values(&[target, role.as_str()]);
        for (transport, fidelity) in transports_and_fidelities() {
            let labels = [target, transport.as_str(), role.as_str(), fidelity.as_str()];
            all.connections.with_label_values(&labels);
        }
    }
}
