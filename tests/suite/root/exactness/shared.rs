use crate::suite::common::peers::many::Many;
use crate::suite::common::wstap::{Monitor, privileged};

const PAIRS: usize = 8;
/// Both ends of each pair are tapped.
const CONNECTIONS: f64 = 2.0 * PAIRS as f64;

/// One that is tapped after it has done this; `processes` of it.
fn tapped(before: &[&str], processes: usize) -> Option<(Many, Monitor)> {
    let mut peer = Many::start_shared(PAIRS)?;
    for line in before {
        peer.does(line);
    }
    let tap = Monitor::start(&["--pid", &peer.pid().to_string(), "--plain", "off"]);
    tap.await_all_tapped(processes);
    Some((peer, tap))
}

/// Two processes say eight things on each connection, in turn, and one of them frees the objects: all of it
/// was seen, and each object was one connection.
fn counted_once(mut peer: Many, tap: &Monitor) {
    let mut passed = 0.0;
    for _ in 0..8 {
        passed = peer.does("say");
    }
    let answers = 8.0 * CONNECTIONS;
    let metrics = tap.metrics_when("all answers", |m| m.sum("turnaround_count", &[]) == answers);
    metrics.assert_balance(answers);
    metrics.assert_flawless();
    let wire = ["sent", "received"]
        .map(|way| metrics.sum(&format!("wstap_plaintext_bytes_{way}_total"), &[]));
    assert_eq!(wire.iter().sum::<f64>(), passed);
    assert_eq!(metrics.sum("wstap_connections", &[]), CONNECTIONS);
    peer.does("close");
    let metrics = tap.metrics_when("no connection", |m| m.sum("wstap_connections", &[]) == 0.0);
    assert_eq!(metrics.sum("wstap_connections_opened_total", &[]), CONNECTIONS);
    assert_eq!(metrics.sum("wstap_connections_closed_total", &[]), CONNECTIONS);
}

/// A TLS object in memory that two processes share is one connection, whichever of them uses it.
#[test]
fn root_a_tls_object_that_two_processes_use_is_one_connection() {
    if !privileged() {
        return;
    }
    let Some((mut peer, tap)) = tapped(&["fork"], 2) else { return };
    peer.does("open");
    counted_once(peer, &tap);
}

/// The same where the second process is made when the connections are open.
#[test]
fn root_a_tls_object_that_a_new_process_takes_over_stays_one_connection() {
    if !privileged() {
        return;
    }
    let Some((mut peer, tap)) = tapped(&[], 1) else { return };
    peer.does("open");
    peer.does("fork");
    tap.await_all_tapped(2);
    counted_once(peer, &tap);
}

/// The same where the connections were open before wstap came: the second process goes on where the first
/// one was found to be.
#[test]
fn root_tls_objects_of_two_processes_that_were_there_before_are_each_found_once() {
    if !privileged() {
        return;
    }
    let Some((mut peer, tap)) = tapped(&["fork", "open", "say", "say"], 2) else { return };
    for _ in 0..20 {
        peer.does("say");
    }
    let metrics = tap
        .metrics_when("all connections", |m| m.sum("turnaround_count", &[]) >= 10.0 * CONNECTIONS);
    assert_eq!(metrics.sum("wstap_connections", &[]), CONNECTIONS);
    peer.does("close");
    tap.metrics_when("no connection", |m| m.sum("wstap_connections", &[]) == 0.0);
}
