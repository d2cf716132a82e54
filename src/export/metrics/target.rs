//! The series of one target.

use prometheus::{IntCounterVec, IntGauge};

use super::LocalCounter;
use super::exchanges::Exchanges;
use super::labels::{CLOSE_CODE_CLASSES, CLOSE_CODES, close_code_label, status_label};
use crate::decode::event::Direction;
use crate::decode::observation::{
    Exchange, Fidelity, GapReason, Message, MessageType, Opcode, Origin, ProtocolError, Role, What,
};
use crate::export::catalogue::Catalogue;
use crate::export::timings::Timing;

/// The series of one target.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) wire: [LocalCounter; 2],
    pub(super) skipped: LocalCounter,
    /// By direction, then by `Opcode` in declaration order.
    pub(super) frames: [Vec<LocalCounter>; 2],
    /// By direction, then by `MessageType` in declaration order.
    messages: [Vec<LocalCounter>; 2],
    message_bytes: [Vec<LocalCounter>; 2],
    pending: IntGauge,
    pending_change: i64,
    ping_rtt: [Timing; 2],
    exchanges: Exchanges,
}

impl Target {
    pub(super) fn new(name: &str, all: &Catalogue) -> Self {
        let both = |vec: &[IntCounterVec; 2]| {
            Direction::BOTH.map(|way| vec[way.index()].with_label_values(&[name]).local())
        };
        let by = |vec: &[IntCounterVec; 2], values: &[&'static str]| {
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
            exchanges: Exchanges::default(),
            name: name.to_owned(),
        }
    }

    pub(super) fn message(&mut self, message: &Message<'_>) {
        let (way, kind) = (message.direction.index(), message.message_type as usize);
        self.messages[way][kind].inc();
        self.message_bytes[way][kind].inc_by(message.length.unwrap_or(message.wire_length));
    }

    /// A request began to wait.
    pub(super) fn started(
        &mut self,
        all: &Catalogue,
        origin: Origin,
        protocol: &str,
        method: &str,
    ) {
        self.pending_change += 1;
        self.exchanges.announce(all, &self.name, origin, protocol, method);
    }

    /// A request ended.
    pub(super) fn exchange(&mut self, all: &Catalogue, exchange: &Exchange<'_>) {
        self.pending_change -= 1;
        self.exchanges.record(all, &self.name, exchange);
    }

    /// What does not happen for every message takes the way through the label values.
    pub(super) fn rare(&mut self, all: &Catalogue, role: Role, what: &What<'_>) {
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
            // The further answers of a stream and the application's own heartbeats have no series
            // yet; each is counted as a message.
            What::StreamItem { .. } | What::StreamEnd { .. } | What::HeartbeatRtt { .. } => {}
            What::Wire { .. }
            | What::Skipped { .. }
            | What::Frame(_)
            | What::Message(_)
            | What::Started { .. }
            | What::Exchange(_) => debug_assert!(false, "not rare: {what:?}"),
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
        self.exchanges.flush();
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
