use crate::suite::common::peers::mixed::{forget, say, sent_frames};
use crate::suite::common::peers::{Runtime, Scene};
use crate::suite::common::wstap::{Metrics, Monitor, privileged, wait_for};

/// wstap comes, with its defaults, in the midst of a transfer on 50 connections. Their sockets are
/// tapped as well, and what passes there means nothing: none is taken for a WebSocket, and it costs
/// the TLS connections nothing.
#[test]
fn root_busy_tls_connections_lose_nothing_to_their_sockets() {
    if !privileged() {
        return;
    }
    const MESSAGES: f64 = 10_000.0;
    for runtime in [Runtime::Python, Runtime::Node] {
        let scene = Scene::new();
        let arguments = ["--connections", "50", "--messages", "10000"];
        let Some((mut server, mut client, _)) = scene.mixed(runtime, runtime, &arguments) else {
            return;
        };
        say(&mut client);
        client.go();
        let tap = Monitor::attach(server.pid(), &[]);
        sent_frames(&mut client);
        forget(&mut server);
        let before = settled(&tap);
        let [received, sent] = counts(&before);
        assert!(received > 0.0 && received < MESSAGES, "{runtime:?}: {received} of the transfer");
        assert!((received - sent).abs() <= 400.0, "{runtime:?}: a batch of each connection");

        say(&mut client);
        let metrics = tap
            .metrics_when("all messages", |m| counts(m) == [received + MESSAGES, sent + MESSAGES]);
        metrics.assert_only_calls_in_flight_lost(&format!("{runtime:?}"));
        for name in ["wstap_gap_bytes_total", "wstap_protocol_errors_total"] {
            assert_eq!(metrics.sum(name, &[]), 0.0, "{runtime:?}: {name}");
        }
        let connections = |labels: &[&str]| metrics.sum("wstap_connections", labels);
        assert_eq!(connections(&["transport=\"tls\"", "decode=\"full\""]), 50.0, "{runtime:?}");
        assert_eq!(connections(&[]), 50.0, "{runtime:?}: and none of them is plain");
        assert_eq!(metrics.sum("wstap_connections_opened_total", &[]), 50.0, "{runtime:?}");
    }
}

/// The same with messages that fill the ring buffer quickly: it is read while probes are being placed, and
/// searched for frames as fast as it fills. None is given up because its messages are long.
#[test]
fn root_large_messages_in_flight_are_not_lost_while_probes_are_being_placed() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    for size in ["20000", "60000", "200000"] {
        let Some((server, port)) = scene.server(Runtime::Python, &[]) else { return };
        let load = ["--requests", "1000000", "--connections", "50", "--size", size];
        let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
        client.go();
        let logged = || std::fs::metadata(scene.path("server.log")).map_or(0, |log| log.len());
        let start = logged();
        wait_for("the transfer to begin", || (logged() > start + 5_000_000).then_some(()));
        let tap = Monitor::attach(server.pid(), &[]);
        let metrics = tap.metrics_when("1,000 messages", |m| counts(m)[0] >= 1_000.0);
        metrics.assert_only_calls_in_flight_lost(size);
        let is_each_found = |m: &Metrics| {
            m.sum("wstap_connections", &["transport=\"tls\"", "decode=\"full\""]) == 50.0
        };
        let metrics = tap.metrics_when("50 connections", is_each_found);
        assert_eq!(metrics.sum("wstap_connections", &[]), 50.0, "{size}");
        metrics.assert_only_calls_in_flight_lost(size);
    }
}

/// Messages received and sent.
fn counts(metrics: &Metrics) -> [f64; 2] {
    ["packet_recv_count", "packet_send_count"].map(|name| metrics.sum(name, &[]))
}

/// The metrics, once no more messages come.
fn settled(tap: &Monitor) -> Metrics {
    let mut before = [f64::NAN; 2];
    wait_for("the transfer to end", || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let metrics = tap.metrics();
        let now = counts(&metrics);
        (std::mem::replace(&mut before, now) == now).then_some(metrics)
    })
}
