use crate::suite::common::peers::{Runtime, Scene};
use crate::suite::common::wstap::{Frames, Monitor, privileged, transcript};
use crate::suite::contract::prometheus::Prometheus;

/// 10,000 requests over 20 connections, seen from the server: every count, and the server's own
/// measurement of its service time.
#[test]
fn root_a_python_server_is_counted_exactly_and_timed_as_it_times_itself() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((mut server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    let load = ["--requests", "10000", "--connections", "20", "--pause", "0.002"];
    let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
    client.go();
    assert_eq!(client.summary().requests, 10_000);
    let metrics =
        tap.metrics_when("10,000 answers", |m| m.sum("packet_send_count", &[]) == 10_000.0);
    assert_eq!(metrics.sum("packet_recv_count", &[]), 10_000.0);
    assert_eq!(metrics.sum("turnaround_count", &[]), 10_000.0);
    let remote = ["origin=\"remote\"", "protocol=\"jsonrpc\"", "method=\"echo\""];
    assert_eq!(metrics.sum("wstap_turnaround_seconds_count", &remote), 10_000.0);
    assert_eq!(metrics.sum("wstap_connections_opened_total", &["role=\"server\""]), 20.0);
    metrics.assert_balance(10_000.0);
    metrics.assert_flawless();

    let own = server.finish().median_ns;
    let ours = median_ns(&tap);
    assert!((ours / own - 1.0).abs() < 0.2, "median {ours} ns, the server says {own} ns");
    assert!(tap.terminate().success());
}

/// The same from the other side.
#[test]
fn root_a_python_client_is_counted_exactly_and_timed_as_it_times_itself() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((_server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let load = ["--requests", "10000", "--connections", "20", "--pause", "0.002"];
    let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
    let tap = Monitor::attach(client.pid(), &[]);
    client.go();
    let summary = client.summary();
    assert_eq!(summary.requests, 10_000);
    let metrics =
        tap.metrics_when("10,000 answers", |m| m.sum("turnaround_count", &[]) == 10_000.0);
    assert_eq!(metrics.sum("packet_send_count", &[]), 10_000.0);
    assert_eq!(metrics.sum("packet_recv_count", &[]), 10_000.0);
    let local = ["origin=\"local\"", "protocol=\"jsonrpc\"", "method=\"echo\""];
    assert_eq!(metrics.sum("wstap_turnaround_seconds_count", &local), 10_000.0);
    assert_eq!(metrics.sum("wstap_connections_opened_total", &["role=\"client\""]), 20.0);
    metrics.assert_balance(10_000.0);
    metrics.assert_flawless();
    let (ours, own) = (median_ns(&tap), summary.median_ns);
    assert!((ours / own - 1.0).abs() < 0.2, "median {ours} ns, the client says {own} ns");
}

/// The whole way: from a real server's memory to the answer of a query.
#[test]
fn root_prometheus_scrapes_a_tap_and_answers_queries() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    let Some(prometheus) = Prometheus::start(tap.address, &[]) else { return };
    let load = ["--requests", "200", "--connections", "2", "--pause", "0.01"];
    let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
    client.go();
    assert_eq!(client.summary().requests, 200);
    prometheus.expect("turnaround_count", 200.0..=200.0);
    prometheus.expect("turnaround_sum / turnaround_count / 1e6", 10.0..=100.0);
    let median = "histogram_quantile(0.5, sum by (le) (wstap_turnaround_seconds_bucket))";
    prometheus.expect(median, 0.0064..=0.1024);
}

/// The page's median, which comes from fine buckets.
pub(crate) fn median_ns(tap: &Monitor) -> f64 {
    let body = crate::suite::common::wstap::get(tap.address, "/api/v1/turnaround");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let rows = body.as_array().or_else(|| body["turnaround"].as_array()).expect("rows");
    rows[0]["p50_seconds"].as_f64().expect("a median") * 1e9
}

/// Every combination of runtimes: what wstap decodes is what the tapped side logged, byte for
/// byte, whichever side is tapped.
#[test]
fn root_decoded_messages_equal_the_peers_own_logs() {
    if !privileged() {
        return;
    }
    let python: (Runtime, &[&str]) = (Runtime::Python, &[]);
    let python_sync: (Runtime, &[&str]) = (Runtime::Python, &["--sync"]);
    let node: (Runtime, &[&str]) = (Runtime::Node, &[]);
    for (server, client) in
        [(python, python_sync), (python_sync, python), (node, python), (python, node), (node, node)]
    {
        let scene = Scene::new();
        let Some((mut server_peer, port)) = scene.server(server.0, server.1) else { return };
        let mut load = vec!["--requests", "300", "--connections", "3", "--size", "1000"];
        load.extend(client.1);
        let Some(mut client_peer) = scene.client(client.0, port, &load) else { return };
        let on_server = Frames::attach(server_peer.pid(), &["--payload", "100000"]);
        let on_client = Frames::attach(client_peer.pid(), &["--payload", "100000"]);
        client_peer.go();
        assert_eq!(client_peer.summary().requests, 300);
        assert_eq!(server_peer.finish().requests, 300);
        let (on_server, on_client) = (on_server.finish(), on_client.finish());
        assert_eq!(transcript(&on_server), server_peer.transcript(), "{server:?} as server");
        assert_eq!(transcript(&on_client), client_peer.transcript(), "{client:?} as client");
        let exchanges = on_client.iter().filter(|line| line["event"] == "exchange").count();
        assert_eq!(exchanges, 300, "{client:?}");
    }
}
