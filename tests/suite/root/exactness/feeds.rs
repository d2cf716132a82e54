use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::suite::common::peers::{Peer, Scene};
use crate::suite::common::wstap::{Frames, Metrics, Monitor, privileged, signal};

/// Where a message of `ticks.py` has its time and its number.
const RULES: &str = r#"
name = "ticks"
[[rule]]
kind = "notification"
certain = true
has = ["$.c", "$.t"]
unless = { "$.snapshot" = true }
time = "$.t"
sequence = "$.n"
channel = "$.c"
[[rule]]
kind = "notification"
when = { "$.snapshot" = true }
time = "$.t"
sequence = "$.n"
channel = "$.c"
reset = true
[[rule]]
kind = "ping"
when = { "$.op" = "ping" }
"#;

/// A server and a client with a connection that is not open yet, and the file of rules.
pub(in crate::suite::root) fn feed(
    scene: &Scene,
    arguments: &[&str],
) -> Option<(Peer, Peer, String)> {
    let (server, client) = scene.ticks(arguments)?;
    let rules = scene.path("ticks.toml");
    fs::write(&rules, RULES).expect("a file");
    Some((server, client, rules.to_str().expect("a path").to_owned()))
}

/// What both ends say of all rounds so far (`seen` and `lag` of this one).
pub(in crate::suite::root) fn round(client: &mut Peer) -> Value {
    client.go();
    serde_json::from_str(&client.line()).expect("a summary")
}

fn sum(metrics: &Metrics, name: &str) -> f64 {
    metrics.sum(name, &["protocol=\"ticks\""])
}

/// Ten channels, 5,000 messages a second, and known faults: every one of them is counted as what it is,
/// nothing else is, and the lag is what the client has measured itself.
#[test]
fn root_every_fault_of_a_feed_is_counted_and_nothing_else() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((_server, mut client, rules)) = feed(&scene, &["--faults"]) else { return };
    let tap = Monitor::attach(client.pid(), &["--rules", &rules, "--quiet-after", "1s"]);
    let done = round(&mut client);
    let of = |key: &str| done[key].as_f64().expect("a number");
    let metrics =
        tap.metrics_when("all numbers", |m| sum(m, "wstap_sequence_numbers_total") == of("sent"));
    for (name, key) in [
        ("wstap_sequence_missing_total", "missing"),
        ("wstap_sequence_repeated_total", "repeated"),
        ("wstap_sequence_backward_total", "backward"),
        ("wstap_sequence_resets_total", "resets"),
    ] {
        assert!(of(key) > 5.0, "the feed was to have faults: {done}");
        assert_eq!(sum(&metrics, name), of(key), "{name}: {done}");
    }
    for name in ["wstap_sequence_unchecked_total", "wstap_messages_from_future_total"] {
        assert_eq!(sum(&metrics, name), 0.0, "{name}");
    }
    metrics.assert_flawless();

    // Lag: on the average as the client has measured it, and late messages where they belong.
    assert_eq!(sum(&metrics, "wstap_message_lag_seconds_count"), of("seen"));
    let off = (sum(&metrics, "wstap_message_lag_seconds_sum") - of("lag")) / of("seen");
    assert!(off.abs() < 0.002, "off by {off} s a message");
    let at_most =
        |le: &str| metrics.sum("wstap_message_lag_seconds_bucket", &[&format!("le=\"{le}\"")]);
    assert!(of("seen") - at_most("0.256") >= of("late"), "{done}");

    // Rhythm: heartbeats are no data, and a silence is one interval.
    let interval = |le: &str| {
        let (le, name) = (format!("le=\"{le}\""), "wstap_message_interval_received_seconds_bucket");
        metrics.sum(name, &["protocol=\"ticks\"", &le])
    };
    let intervals = sum(&metrics, "wstap_message_interval_received_seconds_count");
    // The first message has none before it, and the last one only says what was done.
    assert_eq!(intervals, of("sent"));
    assert_eq!(intervals - interval("2.62144"), of("silences"), "{done}");
    let all = metrics.sum("packet_recv_count", &[]);
    assert_eq!(all, of("sent") + of("beats") + 1.0);
    assert_eq!(sum(&metrics, "wstap_message_size_received_bytes_count"), all);

    // Age, and silence.
    let quiet = |m: &Metrics| m.sum("wstap_connections_quiet", &[]);
    tap.metrics_when("the connection to be quiet", |m| quiet(m) == 1.0);
    let last = sum(&tap.metrics(), "wstap_last_message_received_timestamp_seconds");
    assert_eq!(last, sum(&metrics, "wstap_last_message_received_timestamp_seconds"));
    drop(client);
    tap.metrics_when("the connection to be gone", |m| quiet(m) == 0.0);
}

/// wstap stands still while the feed goes on, and loses most of it: no number is missing of the feed.
#[test]
fn root_what_wstap_loses_is_no_hole_of_the_feed() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let load = ["--messages", "3000", "--rate", "20000"];
    let Some((_server, mut client, rules)) = feed(&scene, &load) else { return };
    let tap = Monitor::attach(client.pid(), &["--rules", &rules, "--ring-size", "64k"]);
    // Which protocol it is, is known before anything is lost.
    round(&mut client);
    for _ in 0..3 {
        signal(tap.pid(), Signal::STOP);
        round(&mut client);
        signal(tap.pid(), Signal::CONT);
        let done = round(&mut client);
        let passed = done["bytes"].as_f64().expect("a number");
        tap.metrics_when("every byte", |m| {
            m.sum("wstap_plaintext_bytes_received_total", &[]) == passed
        });
    }
    let metrics = tap.metrics();
    assert!(metrics.sum("wstap_lost_bytes_total", &[]) > 0.0, "the ring buffer was to overflow");
    for name in [
        "wstap_sequence_missing_total",
        "wstap_sequence_repeated_total",
        "wstap_sequence_backward_total",
        "wstap_sequence_resets_total",
    ] {
        assert_eq!(sum(&metrics, name), 0.0, "{name}");
    }
    let unchecked = metrics.sum("wstap_sequence_unchecked_total", &["reason=\"after_gap\""]);
    assert!(unchecked >= 10.0, "each of ten channels begins anew, not {unchecked}");
    assert_eq!(sum(&metrics, "wstap_sequence_unchecked_total"), unchecked);
}

/// A line for each message says how old it is, and what is missing before it.
#[test]
fn root_lines_of_a_feed_say_what_is_missing() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let load = ["--faults", "--messages", "4000", "--rate", "20000"];
    let Some((_server, mut client, rules)) = feed(&scene, &load) else { return };
    let tap = Frames::attach(client.pid(), &["--rules", &rules]);
    let done = round(&mut client);
    tap.wait_until("the last message", |lines| {
        lines.iter().filter(|line| line["protocol"] == "ticks").count() as u64
            == done["sent"].as_u64().unwrap_or(0) + done["beats"].as_u64().unwrap_or(0) + 1
    });
    let lines = tap.finish();
    let count =
        |key: &str, value: &str| lines.iter().filter(|line| line[key] == value).count() as u64;
    let missing: u64 = lines.iter().filter_map(|line| line["missing"].as_u64()).sum();
    assert_eq!(done["missing"], missing);
    for (key, step) in [("repeated", "repeated"), ("backward", "backward"), ("resets", "reset")] {
        assert_eq!(done[key], count("sequence", step), "{key}");
    }
    let beats = lines.iter().filter(|line| line["heartbeat"] == true).count();
    assert_eq!(done["beats"], beats);
    let with_lag = lines.iter().filter(|line| line["lag_ns"].as_i64().is_some_and(|ns| ns > 0));
    assert_eq!(done["sent"], with_lag.count());
}
