use std::collections::BTreeMap;

use prometheus::TextEncoder;

use super::*;
use crate::event::{ConnId, Direction, Loss};
use crate::export::status::{NotSeen, Probe, Process, Target as TargetStatus};
use crate::observation::*;

pub(super) fn metrics(targets: &[&str]) -> Metrics {
    Metrics::new(targets, Arc::default(), ()).expect("no two metrics clash")
}

pub(super) fn record(metrics: &mut Metrics, what: What<'_>) {
    record_for(metrics, 0, what);
}

fn record_for(metrics: &mut Metrics, target: u16, what: What<'_>) {
    metrics.record(&Observation {
        at_ns: 1,
        tid: 1,
        target: TargetId(target),
        conn: ConnId { tgid: 1, generation: 1, handle: 1, stream: 0 },
        role: Role::Client,
        what,
    });
}

pub(in crate::export::metrics) fn started(method: &str) -> What<'_> {
    What::Started { origin: Origin::Local, protocol: "jsonrpc", method }
}

pub(in crate::export::metrics) fn ended(
    method: &str,
    outcome: Outcome,
    turnaround_ns: Option<u64>,
) -> What<'_> {
    let (origin, protocol, id) = (Origin::Local, "jsonrpc", "1".into());
    What::Exchange(Exchange { origin, protocol, method, id, outcome, turnaround_ns })
}

pub(in crate::export::metrics) fn message(
    direction: Direction,
    length: Option<u64>,
    identical: bool,
) -> What<'static> {
    let message = Message {
        direction,
        message_type: MessageType::Text,
        frames: 1,
        wire_length: 10,
        length,
        compressed: length.is_none(),
        payload: b"",
        truncated: true,
        tail: b"",
        identical,
    };
    What::Message { message, reading: MessageReading::UNKNOWN }
}

/// The present samples: name with labels as in the text format, to value.
pub(in crate::export::metrics) fn samples(metrics: &mut Metrics) -> BTreeMap<String, f64> {
    metrics.flush();
    let text = TextEncoder::new().encode_to_string(&metrics.registry().gather()).expect("text");
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("name and value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    samples.collect()
}

#[track_caller]
pub(in crate::export::metrics) fn assert_samples(metrics: &mut Metrics, expected: &[(&str, f64)]) {
    let samples = samples(metrics);
    for (name, value) in expected {
        assert_eq!(samples.get(*name), Some(value), "{name}");
    }
}

#[test]
fn series_known_in_advance_exist_at_zero() {
    let mut metrics = metrics(&["feed"]);
    assert_samples(
        &mut metrics,
        &[
            ("turnaround_count", 0.0),
            ("turnaround_sum", 0.0),
            ("packet_send_count", 0.0),
            ("packet_recv_count", 0.0),
            ("identical_packets_count", 0.0),
            (r#"wstap_requests_pending{target="feed"}"#, 0.0),
            (r#"wstap_messages_sent_total{target="feed",type="binary"}"#, 0.0),
            (r#"wstap_message_bytes_received_total{target="feed",type="text"}"#, 0.0),
            (r#"wstap_frames_received_total{opcode="pong",target="feed"}"#, 0.0),
            (r#"wstap_plaintext_bytes_sent_total{target="feed"}"#, 0.0),
            (r#"wstap_skipped_bytes_total{target="feed"}"#, 0.0),
            (r#"wstap_ping_rtt_seconds_count{origin="remote",target="feed"}"#, 0.0),
            (
                r#"wstap_connections{decode="no_content",http="1.1",role="server",target="feed",transport="tls"}"#,
                0.0,
            ),
            (r#"wstap_connections_opened_total{role="unknown",target="feed"}"#, 0.0),
            (r#"wstap_connections_closed_total{code="4xxx",target="feed"}"#, 0.0),
            (r#"wstap_protocol_errors_total{reason="utf8_text",target="feed"}"#, 0.0),
            (r#"wstap_gap_bytes_total{reason="ring_full",target="feed"}"#, 0.0),
            (r#"wstap_evictions_total{table="pending"}"#, 0.0),
            (r#"wstap_label_overflow_total{label="method"}"#, 0.0),
        ],
    );
    let invented = |name: &String| name.contains("method=\"") && !name.contains("label=");
    assert_eq!(samples(&mut metrics).keys().find(|name| invented(name)), None);
}

#[test]
fn an_error_is_an_answer_and_an_expiry_is_not() {
    let mut metrics = metrics(&["feed"]);
    for (outcome, turnaround) in [
        (Outcome::Matched, Some(2_000_000)),
        (Outcome::Error, Some(1_000_000)),
        (Outcome::Expired, None),
    ] {
        record(&mut metrics, started("call"));
        record(&mut metrics, ended("call", outcome, turnaround));
    }
    let request = |outcome| {
        format!(
            "wstap_requests_total{{method=\"call\",origin=\"local\",outcome=\"{outcome}\",\
             protocol=\"jsonrpc\",target=\"feed\"}}"
        )
    };
    let labels = r#"{method="call",origin="local",protocol="jsonrpc",target="feed"}"#;
    assert_samples(
        &mut metrics,
        &[
            ("turnaround_count", 2.0),
            ("turnaround_sum", 3_000_000.0),
            (&request("matched"), 1.0),
            (&request("error"), 1.0),
            (&request("expired"), 1.0),
            (&request("aborted"), 0.0),
            (&format!("wstap_turnaround_seconds_count{labels}"), 2.0),
            (&format!("wstap_turnaround_seconds_sum{labels}"), 0.003),
        ],
    );
}

/// `requests started = sum of outcomes + pending`, at any moment and in any order.
#[test]
fn what_started_has_ended_or_is_pending() {
    let mut metrics = metrics(&["feed"]);
    let mut still_pending = 0.0;
    for (i, outcome) in Outcome::ALL.iter().cycle().take(100).enumerate() {
        record(&mut metrics, started("call"));
        if i % 3 == 0 {
            still_pending += 1.0;
        } else {
            record(&mut metrics, ended("call", *outcome, None));
        }
    }
    let samples = samples(&mut metrics);
    let outcomes: f64 = samples
        .iter()
        .filter(|(name, _)| name.starts_with("wstap_requests_total"))
        .map(|(_, value)| value)
        .sum();
    assert_eq!(samples[r#"wstap_requests_pending{target="feed"}"#], still_pending);
    assert_eq!(outcomes + still_pending, 100.0);
}

#[test]
fn messages_are_counted_once_in_every_metric_that_counts_them() {
    let mut metrics = metrics(&["feed"]);
    record(&mut metrics, message(Direction::Sent, Some(100), false));
    record(&mut metrics, message(Direction::Received, None, true));
    assert_samples(
        &mut metrics,
        &[
            ("packet_send_count", 1.0),
            ("packet_recv_count", 1.0),
            ("identical_packets_count", 1.0),
            (r#"wstap_messages_sent_total{target="feed",type="text"}"#, 1.0),
            (r#"wstap_message_bytes_sent_total{target="feed",type="text"}"#, 100.0),
            // The inflated length could not be known: the wire length stands in.
            (r#"wstap_message_bytes_received_total{target="feed",type="text"}"#, 10.0),
        ],
    );
}

#[test]
fn bytes_frames_and_losses_are_counted() {
    let mut metrics = metrics(&["feed"]);
    let direction = Direction::Received;
    record(&mut metrics, What::Wire { direction, bytes: 7 });
    record(&mut metrics, What::Skipped { direction, bytes: 5 });
    record(&mut metrics, What::Gap { direction, bytes: 3, reason: GapReason::CopyFailed });
    let opcode = Opcode::Close;
    let (fin, rsv1, masked, length) = (true, false, false, 2);
    record(&mut metrics, What::Frame(Frame { direction, opcode, fin, rsv1, masked, length }));
    assert_samples(
        &mut metrics,
        &[
            (r#"wstap_plaintext_bytes_received_total{target="feed"}"#, 7.0),
            (r#"wstap_plaintext_bytes_sent_total{target="feed"}"#, 0.0),
            (r#"wstap_skipped_bytes_total{target="feed"}"#, 5.0),
            (r#"wstap_gaps_total{reason="copy_failed",target="feed"}"#, 1.0),
            (r#"wstap_gap_bytes_total{reason="copy_failed",target="feed"}"#, 3.0),
            (r#"wstap_frames_received_total{opcode="close",target="feed"}"#, 1.0),
        ],
    );
}

#[test]
fn connections_move_between_states_and_leave() {
    let mut metrics = metrics(&["feed"]);
    let unsynced = (Role::Unknown, Fidelity::Unsynced);
    let full = (Role::Client, Fidelity::Full);
    record(&mut metrics, What::State { from: None, to: Some(unsynced) });
    record(&mut metrics, What::State { from: Some(unsynced), to: Some(full) });
    record(&mut metrics, What::Open(Open::default()));
    let gauge = r#"wstap_connections{decode="full",http="1.1",role="client",target="feed",transport="tls"}"#;
    assert_samples(
        &mut metrics,
        &[
            (gauge, 1.0),
            (
                r#"wstap_connections{decode="unsynced",http="1.1",role="unknown",target="feed",transport="tls"}"#,
                0.0,
            ),
            (r#"wstap_connections_opened_total{role="client",target="feed"}"#, 1.0),
        ],
    );
    record(&mut metrics, What::State { from: Some(full), to: None });
    record(&mut metrics, What::Close { code: 4001 });
    assert_samples(
        &mut metrics,
        &[(gauge, 0.0), (r#"wstap_connections_closed_total{code="4xxx",target="feed"}"#, 1.0)],
    );
}

#[test]
fn rare_kinds_reach_their_metrics() {
    let mut metrics = metrics(&["feed"]);
    record(&mut metrics, What::Refused { status: 403 });
    record(&mut metrics, What::Orphan { protocol: "wamp2", reason: OrphanReason::Late });
    record(&mut metrics, What::PingRtt { origin: Origin::Local, rtt_ns: 50_000 });
    let direction = Direction::Sent;
    let reason = ProtocolError::MaskMissing;
    record(&mut metrics, What::ProtocolError { direction, reason });
    record(&mut metrics, What::Evicted(Table::Inflaters));
    record(&mut metrics, What::LabelOverflow("method"));
    assert_samples(
        &mut metrics,
        &[
            (r#"wstap_upgrades_refused_total{status="403",target="feed"}"#, 1.0),
            (r#"wstap_orphan_responses_total{protocol="wamp2",reason="late",target="feed"}"#, 1.0),
            (r#"wstap_ping_rtt_seconds_bucket{origin="local",target="feed",le="0.0001"}"#, 1.0),
            (r#"wstap_protocol_errors_total{reason="mask_missing",target="feed"}"#, 1.0),
            (r#"wstap_evictions_total{table="inflaters"}"#, 1.0),
            (r#"wstap_label_overflow_total{label="method"}"#, 1.0),
        ],
    );
}

#[test]
fn streams_are_counted_beside_requests_and_never_as_turnarounds() {
    let mut metrics = metrics(&["feed"]);
    let (origin, protocol, method) = (Origin::Local, "graphql-ws", "subscription");
    for _ in 0..3 {
        record(&mut metrics, What::StreamItem { origin, protocol, method });
    }
    let (answers, duration_ns) = (4, 1_500_000_000);
    record(&mut metrics, What::StreamEnd { origin, protocol, method, answers, duration_ns });
    record(&mut metrics, What::HeartbeatRtt { origin, protocol, rtt_ns: 3_000_000 });
    let labels = r#"method="subscription",origin="local",protocol="graphql-ws",target="feed""#;
    assert_samples(
        &mut metrics,
        &[
            (&format!("wstap_stream_items_total{{{labels}}}"), 3.0),
            (&format!("wstap_stream_duration_seconds_count{{{labels}}}"), 1.0),
            (&format!("wstap_stream_duration_seconds_sum{{{labels}}}"), 1.5),
            (&format!("wstap_stream_duration_seconds_bucket{{{labels},le=\"1.024\"}}"), 0.0),
            (&format!("wstap_stream_duration_seconds_bucket{{{labels},le=\"4.096\"}}"), 1.0),
            (
                r#"wstap_heartbeat_rtt_seconds_sum{origin="local",protocol="graphql-ws",target="feed"}"#,
                0.003,
            ),
            ("turnaround_count", 0.0),
        ],
    );
    assert!(!samples(&mut metrics).keys().any(|name| name.starts_with("wstap_requests_total")));
}

#[test]
fn targets_are_kept_apart_and_those_of_one_name_together() {
    let mut metrics = metrics(&["a", "b", "a"]);
    for (target, bytes) in [(0, 1), (1, 10), (2, 100)] {
        record_for(&mut metrics, target, What::Wire { direction: Direction::Sent, bytes });
        record_for(&mut metrics, target, started("call"));
    }
    assert_samples(
        &mut metrics,
        &[
            (r#"wstap_plaintext_bytes_sent_total{target="a"}"#, 101.0),
            (r#"wstap_plaintext_bytes_sent_total{target="b"}"#, 10.0),
            (r#"wstap_requests_pending{target="a"}"#, 2.0),
        ],
    );
}

#[test]
fn a_target_that_nobody_announced_is_not_lost() {
    let mut metrics = metrics(&[]);
    for target in [9, u16::MAX, 9] {
        record_for(&mut metrics, target, What::Wire { direction: Direction::Sent, bytes: 1 });
    }
    assert_eq!(metrics.numbers.len(), 1);
    assert_samples(
        &mut metrics,
        &[(r#"wstap_plaintext_bytes_sent_total{target="__unknown__"}"#, 3.0)],
    );
}

#[test]
fn many_methods_each_have_their_own_series() {
    let mut metrics = metrics(&["feed"]);
    let methods: Vec<_> = (0..50).map(|i| format!("m{i}")).collect();
    for method in methods.iter().chain(&methods) {
        record(&mut metrics, started(method));
        record(&mut metrics, ended(method, Outcome::Matched, Some(1)));
    }
    let rows = {
        metrics.flush();
        metrics.view().turnarounds()
    };
    assert_eq!(rows.len(), 50);
    assert!(rows.iter().all(|row| row.count == 2 && row.outcomes["matched"] == 2));
}

#[test]
fn a_batch_without_end_becomes_visible_by_itself() {
    let mut metrics = metrics(&["feed"]);
    for _ in 0..FLUSH_EVERY {
        record(&mut metrics, What::Wire { direction: Direction::Sent, bytes: 1 });
    }
    let sent = metrics.all.plaintext_bytes_sent.total();
    assert_eq!(sent, u64::from(FLUSH_EVERY));
}

#[test]
fn nothing_is_lost_when_the_recorder_goes() {
    let mut metrics = metrics(&["feed"]);
    let view = metrics.view();
    record(&mut metrics, message(Direction::Sent, None, false));
    assert_eq!(view.totals().messages_sent, 0);
    drop(metrics);
    assert_eq!(view.totals().messages_sent, 1);
}

#[test]
fn facts_and_loss_counters_are_read_at_the_scrape() {
    let status = Arc::new(Status::default());
    let losses = || vec![Loss { reason: "ring_full", records: 2, bytes: 512 }];
    let mut metrics = Metrics::new(&["feed"], Arc::clone(&status), losses).expect("no clash");
    let process = |pid, up| Process {
        pid,
        comm: "node".into(),
        exe: "/usr/bin/node".into(),
        tls_library: "openssl".into(),
        tls_version: "3.0.17".into(),
        container_id: "0123456789abcdef".into(),
        pod_uid: "2f41f5a7".into(),
        unit: "feed.service".into(),
        up,
        ..Process::default()
    };
    let target = |name: &str, processes| TargetStatus {
        name: name.to_owned(),
        processes,
        tapped_late: 2,
        oldest_pending: None,
        not_seen: NotSeen { refused: 1, ..NotSeen::default() },
        ..TargetStatus::default()
    };
    // Two files of one library are one series.
    let probe = |attached| Probe {
        stack: "openssl".into(),
        library: format!("libssl-{attached}.so.3"),
        function: "SSL_write".into(),
        technique: "uprobe_multi".into(),
        attached,
    };
    status.update(|now| {
        // Two selectors of one name, and one library file in two containers.
        now.targets = vec![
            target("feed", vec![process(1, false)]),
            target("feed", vec![process(2, true), process(1, false)]),
            target("late", vec![]),
        ];
        now.probes = vec![probe(1), probe(2)];
    });
    let process_labels = |pid| {
        format!(
            "wstap_target_info{{comm=\"node\",container_id=\"0123456789abcdef\",exe=\"/usr/bin/node\",pid=\"{pid}\",\
             pod_uid=\"2f41f5a7\",target=\"feed\",tls_library=\"openssl\",tls_version=\"3.0.17\",unit=\"feed.service\"}}"
        )
    };
    assert_samples(
        &mut metrics,
        &[
            (r#"wstap_lost_records_total{reason="ring_full"}"#, 2.0),
            (r#"wstap_lost_bytes_total{reason="ring_full"}"#, 512.0),
            (r#"wstap_processes_tapped_late_total{target="feed"}"#, 4.0),
            (r#"wstap_processes_tapped_late_total{target="late"}"#, 2.0),
            (r#"wstap_files_not_seen{reason="refused",target="feed"}"#, 2.0),
            (r#"wstap_files_not_seen{reason="unreadable",target="late"}"#, 0.0),
            (r#"wstap_target_up{target="feed"}"#, 1.0),
            (r#"wstap_target_up{target="late"}"#, 0.0),
            (&process_labels(1), 1.0),
            (&process_labels(2), 1.0),
            (
                r#"wstap_probe_attached{function="SSL_write",library="openssl",technique="uprobe_multi"}"#,
                3.0,
            ),
        ],
    );
    let build =
        samples(&mut metrics).keys().filter(|name| name.starts_with("wstap_build_info")).count();
    assert_eq!(build, 1);
}

/// A series that appears twice makes Prometheus refuse the whole scrape.
#[test]
fn no_series_appears_twice() {
    let mut metrics = metrics(&["a", "a", "b"]);
    record(&mut metrics, started(""));
    metrics.flush();
    let text = TextEncoder::new().encode_to_string(&metrics.registry().gather()).expect("text");
    let mut names: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, _)| name)
        .collect();
    let before = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), before);
}
