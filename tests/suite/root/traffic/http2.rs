use serde_json::Value;

use crate::suite::common::peers::{GoBuild, Peer, Runtime, Scene, sorted};
use crate::suite::common::wstap::{Frames, Monitor, privileged, transcript};
use crate::suite::root::traffic::peers::median_ns;

/// hypercorn and `h2`, Node's own `http2` on both sides, one of each, and Go's own server.
const PAIRS: [(Runtime, Runtime); 4] = [
    (Runtime::Python, Runtime::Python),
    (Runtime::Node, Runtime::Node),
    (Runtime::Node, Runtime::Python),
    (Runtime::Go(GoBuild::Current), Runtime::Node),
];

/// Both ends of a conversation under tap, and what both said of it themselves.
fn talk(pair: (Runtime, Runtime), load: &[&str], streams: usize, requests: u64) {
    let scene = Scene::new();
    let Some((mut server, mut client)) = scene.http2(pair.0, pair.1, load) else { return };
    let on_server = Frames::attach(server.pid(), &["--payload", "8000000"]);
    let on_client = Frames::attach(client.pid(), &["--payload", "8000000"]);
    client.go();
    assert_eq!(client.summary().requests, requests, "{pair:?}");
    let lines = (on_server.finish(), on_client.finish());
    assert_eq!(server.finish().requests, requests, "{pair:?}");
    for (lines, peer, role) in [(lines.0, &server, "server"), (lines.1, &client, "client")] {
        check(&lines, peer, role, (streams, requests));
    }
}

/// Every stream is a connection of its own, and what passed on it is what the peer's log says.
fn check(lines: &[Value], peer: &Peer, role: &str, (streams, requests): (usize, u64)) {
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    let opened = of("open");
    assert_eq!(opened.len(), streams, "{role}");
    for open in opened {
        assert_eq!((&open["http"], &open["role"]), (&"2".into(), &role.into()));
        assert_eq!(open["path"], "/chat", "the query is not shown");
        let conn = open["conn"].as_str().expect("an id");
        assert!(conn.contains('.'), "{conn} names its stream");
    }
    let exchanges = of("exchange");
    assert_eq!(exchanges.len() as u64, requests, "{role}");
    assert!(exchanges.iter().all(|line| line["outcome"] == "matched"), "{role}");
    assert_eq!(transcript(lines), peer.transcript(), "{role}");
}

#[test]
fn root_http2_streams_are_decoded_as_both_peers_log_them() {
    if !privileged() {
        return;
    }
    for pair in PAIRS {
        talk(pair, &["--streams", "5", "--requests", "40", "--pages", "10"], 5, 200);
    }
}

#[test]
fn root_http2_streams_are_read_with_compression() {
    if !privileged() {
        return;
    }
    let load = ["--streams", "3", "--requests", "30", "--deflate", "--size", "500"];
    talk((Runtime::Python, Runtime::Python), &load, 3, 90);
}

#[test]
fn root_http2_fifty_streams_of_one_connection_are_told_apart() {
    if !privileged() {
        return;
    }
    talk((Runtime::Node, Runtime::Node), &["--streams", "50", "--requests", "4"], 50, 200);
}

/// What wstap takes for the time of an answer is what the client takes around its own calls of TLS.
#[test]
fn root_http2_answers_take_as_long_as_the_client_measures_itself() {
    if !privileged() {
        return;
    }
    for server in [Runtime::Python, Runtime::Node, Runtime::Go(GoBuild::Current)] {
        let scene = Scene::new();
        let load = ["--streams", "1", "--requests", "1000"];
        let Some((_server, mut client)) = scene.http2(server, Runtime::Python, &load) else {
            return;
        };
        let tap = Monitor::attach(client.pid(), &[]);
        client.go();
        let own = client.summary().median_ns;
        tap.metrics_when("all answers", |m| m.sum("turnaround_count", &[]) == 1_000.0);
        let ours = median_ns(&tap);
        assert!(
            (ours / own - 1.0).abs() < 0.2,
            "{server:?}: median {ours} ns, the client's {own} ns"
        );
    }
}

/// The gauge says what carries a WebSocket, messages of 5 MB pass through flow control, and what
/// wstap counts is what the peers count.
#[test]
fn root_http2_large_messages_are_counted_exactly() {
    const SIZE: u64 = 5_000_000;
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let load = ["--streams", "2", "--requests", "2", "--size", "5000000"];
    let Some((server, mut client)) = scene.http2(Runtime::Node, Runtime::Node, &load) else {
        return;
    };
    let on_server = Monitor::attach(server.pid(), &[]);
    let on_client = Monitor::attach(client.pid(), &[]);
    client.go();
    assert_eq!(client.summary().requests, 4);
    for (tap, role) in [(&on_server, "server"), (&on_client, "client")] {
        let metrics = tap.metrics_when("four answers", |m| m.sum("turnaround_count", &[]) == 4.0);
        let role = format!("role=\"{role}\"");
        assert_eq!(metrics.sum("wstap_connections_opened_total", &[&role]), 2.0);
        for way in ["sent", "received"] {
            let bytes = metrics.sum(&format!("wstap_message_bytes_{way}_total"), &[]);
            assert!((0.0..400.0).contains(&(bytes - 4.0 * SIZE as f64)), "{way} {bytes}");
        }
        assert_eq!(metrics.sum("wstap_gap_bytes_total", &[]), 0.0);
        assert_eq!(metrics.sum("wstap_protocol_errors_total", &[]), 0.0);
        metrics.assert_balance(4.0);
        let skipped = metrics.sum("wstap_skipped_bytes_total", &[]);
        assert!(skipped > 7.0 * SIZE as f64, "of 8 messages {skipped} bytes were left out");
    }
}

/// wstap comes when the streams have long been open: the connection is known by its frames, and each
/// stream by what it carries. Nothing that passes from then on is missed.
#[test]
fn root_http2_streams_that_are_older_than_wstap_are_found() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let load = ["--streams", "3", "--requests", "40", "--halves"];
    let pair = scene.http2(Runtime::Node, Runtime::Node, &load);
    let Some((server, mut client)) = pair else { return };
    client.go();
    assert_eq!(client.line(), "half");
    let on_client = Frames::attach(client.pid(), &["--payload", "100000"]);
    let on_server = Frames::attach(server.pid(), &["--payload", "100000"]);
    client.go();
    assert_eq!(client.summary().requests, 120);
    for (lines, peer) in [(on_client.finish(), &client), (on_server.finish(), &server)] {
        let second_half = |messages: &Vec<_>| messages[messages.len() / 2..].to_vec();
        let said = peer.transcript().iter().map(|ways| ways.each_ref().map(second_half)).collect();
        assert_eq!(transcript(&lines), sorted(said));
        let opened = lines.iter().filter(|line| line["event"] == "open");
        assert!(opened.clone().all(|line| line["mid_stream"] == true && line["http"] == "2"));
        assert_eq!(opened.count(), 3);
    }
}

/// WebSockets over HTTP/3 are not seen. Nothing else is seen in their place, and nothing is said to be
/// lost.
#[test]
fn root_a_process_that_speaks_quic_is_not_mistaken() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let Some((mut server, mut client)) = scene.http3(&["--requests", "50"]) else { return };
    let taps = [server.pid(), client.pid()].map(|pid| Monitor::attach(pid, &["--plain", "on"]));
    client.go();
    assert_eq!(client.summary().requests, 50);
    assert_eq!(server.finish().requests, 50);
    for tap in taps {
        let metrics = tap.metrics();
        let counts = [
            "wstap_plaintext_bytes_sent_total",
            "wstap_plaintext_bytes_received_total",
            "wstap_connections_opened_total",
            "packet_recv_count",
            "packet_send_count",
        ];
        for name in counts {
            assert_eq!(metrics.sum(name, &[]), 0.0, "{name}");
        }
        metrics.assert_flawless();
    }
}
