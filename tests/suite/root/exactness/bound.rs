use std::fs;

use crate::suite::common::peers::Scene;
use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::wstap::{Monitor, privileged, program};

const BYTES: &str = "wstap_lost_bytes_total";
const TOO_MANY: &[&str] = &["reason=\"too_many_connections\""];

/// As many connections as are followed stay exact to the last message, however many others come: of
/// these only the bytes are counted, and the log says so.
#[test]
fn root_beyond_the_bound_connections_are_counted_as_not_followed_and_earlier_ones_stay_exact() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let folder = scene.path("");
    let (Some(first), Some(second)) =
        (wss_pair::named(&folder, "pair-first"), wss_pair::named(&folder, "pair-second"))
    else {
        return;
    };
    let log = scene.path("wstap.log");
    let mut command = program();
    command.args(["--comm", "pair-first", "--comm", "pair-second"]);
    // Each conversation has two ends.
    command.args(["--connections", "32", "--plain", "off"]);
    command.stderr(fs::File::create(&log).expect("a log"));
    let tap = Monitor::spawn_on_any_port(command);
    let arguments = ["go", "gate", "workers=16", "requests=10", "pause=1000", "linger"];
    let mut kept = Pair::start(&first, &arguments);
    let mut others = Pair::start(&second, &["go", "gate", "workers=8", "requests=5", "linger"]);
    kept.go();
    others.go();
    tap.await_all_tapped(2 + 16 + 8);
    kept.go();
    tap.metrics_when("32 connections", |m| m.sum("wstap_connections", &[]) == 32.0);
    others.go();
    assert_eq!(others.answers(), 40);
    let metrics = tap.metrics_when("calls beyond", |m| m.sum(BYTES, TOO_MANY) > 0.0);
    assert_eq!(metrics.sum("turnaround_count", &["target=\"pair-second\""]), 0.0);
    assert_eq!(kept.answers(), 160);
    let metrics = tap.metrics_when("all", |m| m.sum("turnaround_count", &[]) >= 320.0);
    assert_eq!(metrics.sum("turnaround_count", &[]), 320.0);
    assert_eq!(metrics.sum("wstap_evictions_total", &["table=\"connections\""]), 0.0);
    assert_eq!(metrics.sum("wstap_gap_bytes_total", &[]), 0.0);
    // Their places are free now.
    let mut later = Pair::start(&second, &["go", "gate", "workers=1", "requests=7", "linger"]);
    later.go();
    tap.await_all_tapped(2 + 2);
    later.go();
    assert_eq!(later.answers(), 7);
    let more = 320.0 + 14.0;
    tap.metrics_when("7 more at both ends", |m| m.sum("turnaround_count", &[]) == more);
    let said = fs::read_to_string(&log).expect("a log");
    assert_eq!(said.matches("--connections raises the bound").count(), 1, "{said}");
}

/// A process that ends with its connections open leaves no entry behind: else the bound would be reached
/// after a while by nobody.
#[test]
fn root_processes_that_end_without_closing_leave_their_places_to_others() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(peer) = wss_pair::named(&scene.path(""), "pair-leaves") else { return };
    let tap = Monitor::start(&["--comm", "pair-leaves", "--connections", "16", "--plain", "off"]);
    for _ in 0..12 {
        let mut pair = Pair::start(&peer, &["go", "requests=5", "pause=60000"]);
        tap.await_tapped(pair.pid());
        pair.go();
        tap.metrics_when("two ends", |m| m.sum("wstap_connections", &[]) == 2.0);
        drop(pair);
        tap.metrics_when("no connection", |m| m.sum("wstap_connections", &[]) == 0.0);
    }
    assert_eq!(tap.metrics().sum(BYTES, TOO_MANY), 0.0);
}
