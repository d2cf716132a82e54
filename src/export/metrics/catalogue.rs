//! Every metric that wstap has: its name, its help and its labels. No other file names one.
//!
//! The first five keep the names of the system that wstap replaces: no prefix, no labels, one of
//! them in nanoseconds. All others start with `wstap_`, use base units, keep sent and received
//! apart, and never carry an id, a pid, an address or a path as a label.

use prometheus::core::Collector;
use prometheus::proto::MetricType;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, Result};

use super::families::Family;
use super::histogram::labelled::TimingVec;
use super::histogram::{ANSWER_BOUNDS_NS, STREAM_BOUNDS_NS};

/// The metrics that observations change, registered.
#[derive(Clone, Debug)]
pub(in crate::export) struct Catalogue {
    pub(in crate::export) turnaround_count: IntCounter,
    pub(in crate::export) turnaround_sum: IntCounter,
    pub(in crate::export) packet_send_count: IntCounter,
    pub(in crate::export) packet_recv_count: IntCounter,
    pub(in crate::export) identical_packets_count: IntCounter,

    /// By target, origin, protocol, method.
    pub(in crate::export) turnaround: TimingVec,
    /// By target, origin, protocol, method, outcome.
    pub(in crate::export) requests: IntCounterVec,
    pub(in crate::export) requests_pending: IntGaugeVec,
    pub(in crate::export) orphans: IntCounterVec,
    /// By target, origin, protocol, method, as is the one below.
    pub(in crate::export) stream_items: IntCounterVec,
    pub(in crate::export) stream_duration: TimingVec,
    /// By target, origin, protocol.
    pub(in crate::export) heartbeat_rtt: TimingVec,

    /// These tables of two are sent and received, in `Direction::index` order.
    pub(in crate::export) messages: [IntCounterVec; 2],
    pub(in crate::export) message_bytes: [IntCounterVec; 2],
    pub(in crate::export) frames: [IntCounterVec; 2],
    pub(in crate::export) wire_bytes: [IntCounterVec; 2],
    pub(in crate::export) ping_rtt: TimingVec,

    pub(in crate::export) connections: IntGaugeVec,
    pub(in crate::export) connections_opened: IntCounterVec,
    pub(in crate::export) connections_closed: IntCounterVec,
    pub(in crate::export) upgrades_refused: IntCounterVec,

    pub(in crate::export) protocol_errors: IntCounterVec,
    pub(in crate::export) gaps: IntCounterVec,
    pub(in crate::export) gap_bytes: IntCounterVec,
    pub(in crate::export) skipped_bytes: IntCounterVec,
    pub(in crate::export) window_misses: IntCounterVec,
    pub(in crate::export) label_overflow: IntCounterVec,
    pub(in crate::export) evictions: IntCounterVec,
}

impl Catalogue {
    /// Fails where one of the metrics is registered already.
    #[rustfmt::skip] // one metric a line reads like the table that it is
    pub(in crate::export) fn register(to: &Registry) -> Result<Self> {
        let exchange = &["target", "origin", "protocol", "method"];
        Ok(Self {
            turnaround_count: counter(to, "turnaround_count",
                "Requests that were answered, errors included.")?,
            turnaround_sum: counter(to, "turnaround_sum",
                "Sum of the turnaround times of all answered requests in nanoseconds.")?,
            packet_send_count: counter(to, "packet_send_count",
                "Complete text and binary messages sent.")?,
            packet_recv_count: counter(to, "packet_recv_count",
                "Complete text and binary messages received.")?,
            identical_packets_count: counter(to, "identical_packets_count",
                "Messages whose payload equals a recent one of the other direction of their connection.")?,

            turnaround: timings(to, "wstap_turnaround_seconds",
                "Time from the last byte of a request to the last byte of its first response.", exchange)?,
            requests: counters(to, "wstap_requests_total",
                "Requests that ended, by how they ended.",
                &["target", "origin", "protocol", "method", "outcome"])?,
            requests_pending: gauges(to, "wstap_requests_pending",
                "Requests that wait for a response.", &["target"])?,
            orphans: counters(to, "wstap_orphan_responses_total",
                "Responses that matched no request.", &["target", "protocol", "reason"])?,
            stream_items: counters(to, "wstap_stream_items_total",
                "Further answers to a request that had its first.", exchange)?,
            stream_duration: register(to, TimingVec::new("wstap_stream_duration_seconds",
                "Time from the first to the last answer of requests with several, once the last one passed or they were withdrawn.",
                exchange, &STREAM_BOUNDS_NS)?)?,
            heartbeat_rtt: timings(to, "wstap_heartbeat_rtt_seconds",
                "Time from an application's own heartbeat to its answer.", &["target", "origin", "protocol"])?,

            messages: [
                counters(to, "wstap_messages_sent_total",
                    "Complete data messages sent.", &["target", "type"])?,
                counters(to, "wstap_messages_received_total",
                    "Complete data messages received.", &["target", "type"])?,
            ],
            message_bytes: [
                counters(to, "wstap_message_bytes_sent_total",
                    "Application bytes of sent messages, after inflation; wire length where that is unknown.",
                    &["target", "type"])?,
                counters(to, "wstap_message_bytes_received_total",
                    "Application bytes of received messages, after inflation; wire length where that is unknown.",
                    &["target", "type"])?,
            ],
            frames: [
                counters(to, "wstap_frames_sent_total",
                    "WebSocket frames sent.", &["target", "opcode"])?,
                counters(to, "wstap_frames_received_total",
                    "WebSocket frames received.", &["target", "opcode"])?,
            ],
            wire_bytes: [
                counters(to, "wstap_wire_bytes_sent_total",
                    "Bytes of WebSocket and TLS connections sent, captured or not; of TLS its plaintext.", &["target"])?,
                counters(to, "wstap_wire_bytes_received_total",
                    "Bytes of WebSocket and TLS connections received, captured or not; of TLS its plaintext.", &["target"])?,
            ],
            ping_rtt: timings(to, "wstap_ping_rtt_seconds",
                "Time from the last byte of a ping to the last byte of its pong.", &["target", "origin"])?,

            connections: gauges(to, "wstap_connections",
                "Open WebSocket connections, by where they are tapped and how much of them can be read.",
                &["target", "transport", "role", "decode"])?,
            connections_opened: counters(to, "wstap_connections_opened_total",
                "WebSocket connections that began or were recognised in mid-stream.", &["target", "role"])?,
            connections_closed: counters(to, "wstap_connections_closed_total",
                "WebSocket connections that ended, by close code.", &["target", "code"])?,
            upgrades_refused: counters(to, "wstap_upgrades_refused_total",
                "Upgrades that were not answered with status 101.", &["target", "status"])?,

            protocol_errors: counters(to, "wstap_protocol_errors_total",
                "Rules of RFC 6455, RFC 7692 or the handshake that a peer broke, and decoder limits that it hit.",
                &["target", "reason"])?,
            gaps: counters(to, "wstap_gaps_total",
                "Holes that the decoder met in a stream.", &["target", "reason"])?,
            gap_bytes: counters(to, "wstap_gap_bytes_total",
                "Plaintext bytes in the holes that the decoder met.", &["target", "reason"])?,
            skipped_bytes: counters(to, "wstap_skipped_bytes_total",
                "Plaintext bytes that were left in the application's memory on purpose.", &["target"])?,
            window_misses: counters(to, "wstap_window_misses_total",
                "Messages of which only the beginning was copied, where more was needed: to read them, or to compare them.",
                &["target", "reason"])?,
            label_overflow: counters(to, "wstap_label_overflow_total",
                "Label values that were folded into __other__.", &["label"])?,
            evictions: counters(to, "wstap_evictions_total",
                "Entries that a full table of the decoder let go.", &["table"])?,
        })
    }
}

fn counter(to: &Registry, name: &str, help: &str) -> Result<IntCounter> {
    register(to, IntCounter::new(name, help)?)
}

fn counters(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
    register(to, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn gauges(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
    register(to, IntGaugeVec::new(Opts::new(name, help), labels)?)
}

fn timings(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<TimingVec> {
    register(to, TimingVec::new(name, help, labels, &ANSWER_BOUNDS_NS)?)
}

/// Registers a metric and hands it back.
fn register<M: Collector + Clone + 'static>(to: &Registry, metric: M) -> Result<M> {
    to.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// The metrics that state facts of the moment: made at each scrape, never kept.
#[derive(Debug)]
pub(in crate::export) struct Facts {
    pub(in crate::export) lost_records: Family,
    pub(in crate::export) lost_bytes: Family,
    pub(in crate::export) probe_attached: Family,
    pub(in crate::export) tapped_late: Family,
    pub(in crate::export) target_up: Family,
    pub(in crate::export) target_info: Family,
    pub(in crate::export) build_info: Family,
}

impl Facts {
    /// Fails only where a name is not a legal one.
    #[rustfmt::skip] // as above
    pub(in crate::export) fn new() -> Result<Self> {
        let counter = |name, help, labels| Family::new(name, help, labels, MetricType::COUNTER);
        let gauge = |name, help, labels| Family::new(name, help, labels, MetricType::GAUGE);
        Ok(Self {
            lost_records: counter("wstap_lost_records_total",
                "Records that were lost before they reached the decoder.", &["reason"])?,
            lost_bytes: counter("wstap_lost_bytes_total",
                "Plaintext bytes that were lost before they reached the decoder.", &["reason"])?,
            probe_attached: gauge("wstap_probe_attached",
                "Attached sites of a function that wstap wants to probe.",
                &["library", "function", "technique"])?,
            tapped_late: counter("wstap_processes_tapped_late_total",
                "Processes that ran before their probes were in place, though wstap was there when they began: what passed by then is in no other metric.",
                &["target"])?,
            target_up: gauge("wstap_target_up",
                "Whether a process of the target is alive and tapped.", &["target"])?,
            target_info: gauge("wstap_target_info",
                "Processes of the target; always 1.",
                &["target", "pid", "comm", "exe", "tls_library", "tls_version", "container"])?,
            build_info: gauge("wstap_build_info",
                "Version of wstap; always 1.", &["version", "revision", "arch"])?,
        })
    }

    /// Every one of them.
    pub(in crate::export) fn all(&self) -> [&Family; 7] {
        let Self {
            lost_records,
            lost_bytes,
            probe_attached,
            tapped_late,
            target_up,
            target_info,
            build_info,
        } = self;
        [lost_records, lost_bytes, probe_attached, tapped_late, target_up, target_info, build_info]
    }
}
