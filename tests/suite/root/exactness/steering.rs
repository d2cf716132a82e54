use rustix::process::Signal;

use crate::suite::common::peers::{Runtime, Scene};
use crate::suite::common::wstap::{Metrics, Monitor, privileged, signal, wait_for};

/// Plaintext bytes that were copied out of the target.
fn copied(metrics: &Metrics) -> f64 {
    let sum = |name| metrics.sum(name, &[]);
    sum("wstap_plaintext_bytes_sent_total") + sum("wstap_plaintext_bytes_received_total")
        - sum("wstap_skipped_bytes_total")
        - sum("wstap_gap_bytes_total")
}

/// The metrics, once nothing more is copied.
fn settled(tap: &Monitor) -> Metrics {
    let mut before = f64::NAN;
    wait_for("the copying to end", || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        let metrics = tap.metrics();
        let now = copied(&metrics);
        (now > 0.0 && std::mem::replace(&mut before, now) == now).then_some(metrics)
    })
}

/// One message of 64 MiB in one call: its window is copied and the rest hopped over, and it is
/// counted to the byte on both sides.
#[test]
fn root_a_message_of_64_mib_costs_its_window_and_nothing_more() {
    const SIZE: f64 = (64 << 20) as f64;
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let load = ["--requests", "10", "--pause", "0.02", "--binary", "67108864"];
    let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
    let on_client = Monitor::attach(client.pid(), &[]);
    let on_server = Monitor::attach(server.pid(), &[]);
    client.go();
    client.summary();
    for (tap, which) in [(on_client, "sent"), (on_server, "received")] {
        let bytes = format!("wstap_message_bytes_{which}_total");
        let binary = ["type=\"binary\""];
        let metrics = tap.metrics_when("the message", |m| m.sum(&bytes, &binary) > 0.0);
        assert_eq!(metrics.sum(&bytes, &binary), SIZE);
        let frames = format!("wstap_frames_{which}_total");
        assert_eq!(metrics.sum(&frames, &["opcode=\"binary\""]), 1.0);
        let copied = copied(&metrics);
        assert!(copied < SIZE / 100.0, "{copied} bytes of {SIZE} were copied, {which}");
        metrics.assert_flawless();
    }
}

/// Plain HTTPS costs no copy once it is known for what it is, and an upgrade is noticed all the
/// same.
#[test]
fn root_plain_https_is_left_alone_until_it_is_upgraded() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, mut client)) = scene.https() else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    let wire = |m: &Metrics| m.sum("wstap_plaintext_bytes_sent_total", &[]);
    client.go();
    assert_eq!(client.line(), "warm");
    let warm = settled(&tap);
    client.go();
    assert_eq!(client.line(), "plain");
    client.go();
    assert_eq!(client.line(), "upgraded");
    let metrics = tap.metrics_when("ten answers", |m| m.sum("turnaround_count", &[]) == 10.0);
    assert!(wire(&metrics) >= 2.0 * 100.0 * 10_000.0, "every byte is counted");
    // The 101, and ten short messages each way.
    let since = copied(&metrics) - copied(&warm);
    assert!(since < 10.0 * 2.0 * 400.0 + 400.0, "{since} bytes were copied");
    assert_eq!(metrics.sum("wstap_connections_opened_total", &["role=\"server\""]), 1.0);
    metrics.assert_flawless();
}

/// HTTP/2 without extended CONNECT costs no copy once the server's SETTINGS have passed.
#[test]
fn root_http2_without_extended_connect_is_left_alone() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let load = ["--ordinary", "--pages", "100"];
    let pair = scene.http2(Runtime::Node, Runtime::Node, &load);
    let Some((server, mut client)) = pair else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    client.go();
    assert_eq!(client.line(), "fetched");
    let warm = settled(&tap);
    assert!(copied(&warm) < 10_000.0, "{} bytes before it was known", copied(&warm));
    client.go();
    assert_eq!(client.line(), "fetched");
    client.wait();
    let wire = |m: &Metrics| m.sum("wstap_plaintext_bytes_sent_total", &[]);
    let metrics = tap.metrics_when("every page", |m| wire(m) >= 200.0 * 2_000.0);
    assert_eq!(copied(&metrics) - copied(&warm), 0.0, "bytes were copied");
    assert_eq!(metrics.sum("wstap_connections_opened_total", &[]), 0.0);
    metrics.assert_flawless();
}

/// What was left out of a connection is told at the latest when its process ends or becomes another
/// program: here without closing it, and at once after the last answer.
#[test]
fn root_plain_https_is_counted_to_the_last_byte_of_a_process_that_does_not_close() {
    const REQUEST: f64 = "GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n".len() as f64;
    const ANSWER: f64 = "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n".len() as f64 + 10_000.0;
    for is_killed in [true, false] {
        let scene = Scene::new();
        if !privileged() {
            return;
        }
        let Some((_server, mut client)) = scene.https() else { return };
        let tap = Monitor::attach(client.pid(), &[]);
        for step in ["warm", "plain"] {
            client.go();
            assert_eq!(client.line(), step);
            settled(&tap);
        }
        if is_killed {
            signal(client.pid(), Signal::KILL);
            client.wait();
        } else {
            client.say("exec");
        }
        let metrics = tap.metrics_when("every byte", |m| {
            m.sum("wstap_plaintext_bytes_sent_total", &[]) == 200.0 * REQUEST
                && m.sum("wstap_plaintext_bytes_received_total", &[]) == 200.0 * ANSWER
        });
        assert!(copied(&metrics) < 100.0 * ANSWER, "it was not ignored");
        metrics.assert_flawless();
    }
}

/// Of long messages that say in front what they are, no more is copied once that has proven to be
/// enough, and nothing is told otherwise for it.
#[test]
fn root_long_messages_with_ids_in_front_are_copied_in_part() {
    const REQUESTS: f64 = 400.0;
    const SIZE: f64 = 20_000.0;
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let load = ["--requests", "400", "--size", "20000"];
    let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
    let taps = [client.pid(), server.pid()]
        .map(|pid| [Monitor::attach(pid, &[]), Monitor::attach(pid, &["--window", "64k"])]);
    client.go();
    assert_eq!(client.summary().requests, REQUESTS as u64);
    for [learns, copies] in taps {
        let [learnt, whole] = [&learns, &copies].map(|tap| {
            let metrics =
                tap.metrics_when("all answers", |m| m.sum("turnaround_count", &[]) == REQUESTS);
            assert!(metrics.sum("wstap_message_bytes_sent_total", &[]) > REQUESTS * SIZE);
            assert!(metrics.sum("wstap_message_bytes_received_total", &[]) > REQUESTS * SIZE);
            metrics.assert_flawless();
            metrics
        });
        assert_eq!(whole.sum("wstap_skipped_bytes_total", &[]), 0.0);
        assert!(copied(&whole) > 2.0 * REQUESTS * SIZE);
        // 64 messages each way, and what passes until the kernel side has heard.
        assert!(copied(&learnt) < copied(&whole) / 2.0, "{} were copied", copied(&learnt));
    }
}

/// Where the id no longer stands in front, what could not be read is counted, and soon all can be.
#[test]
fn root_an_id_that_moves_behind_the_window_is_counted_as_missed() {
    const REQUESTS: f64 = 1000.0;
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let arguments = ["--late-after", "300"];
    let Some((server, port)) = scene.server(Runtime::Python, &arguments) else { return };
    let load = ["--requests", "1000", "--size", "5000"];
    let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
    let tap = Monitor::attach(server.pid(), &[]);
    client.go();
    assert_eq!(client.summary().requests, REQUESTS as u64);
    let missed = |m: &Metrics| m.sum("wstap_window_misses_total", &["reason=\"content\""]);
    let answered = |m: &Metrics| m.sum("turnaround_count", &[]);
    let metrics = tap.metrics_when("all answers", |m| answered(m) + missed(m) == REQUESTS);
    assert!(missed(&metrics) > 0.0, "ids were to be missed");
    assert!(answered(&metrics) > 300.0, "and then to be read again");
    assert_eq!(metrics.sum("wstap_window_misses_total", &[]), missed(&metrics));
    assert_eq!(metrics.sum("packet_send_count", &[]), REQUESTS);
}
