use std::time::Duration;

use wstap::capture::bpf::FLAVOURS;
use wstap::event::Direction;

use super::loss::{Account, Accounts, Reader, SMALL, Where, follow, has_skipped, steer};
use crate::suite::common::peers::{GoBuild, Runtime, Scene};
use crate::suite::common::wstap::{Metrics, Monitor, privileged, wait_for};

fn wire(metrics: &Metrics) -> [f64; 2] {
    ["sent", "received"].map(|way| metrics.sum(&format!("wstap_plaintext_bytes_{way}_total"), &[]))
}

/// Ordinary requests pass on the connection that carries WebSockets. What they carry is not copied. Go
/// reads the header of a frame in one call and what it carries in another.
#[test]
fn root_http2_pages_beside_websockets_are_not_copied() {
    const PAGES: f64 = 300.0 * 2_000.0;
    if !privileged() {
        return;
    }
    for server in [Runtime::Node, Runtime::Go(GoBuild::Current)] {
        let scene = Scene::new();
        let load = ["--streams", "3", "--requests", "50", "--pages", "300"];
        let pair = scene.http2(server, Runtime::Node, &load);
        let Some((server, mut client)) = pair else { continue };
        let taps = [server.pid(), client.pid()].map(|pid| Monitor::attach(pid, &[]));
        client.go();
        assert_eq!(client.summary().requests, 150);
        for tap in taps {
            let metrics = tap.metrics_when("every answer and page", |m| {
                let [sent, received] = wire(m);
                m.sum("turnaround_count", &[]) == 150.0 && sent.max(received) > PAGES
            });
            let skipped = metrics.sum("wstap_skipped_bytes_total", &[]);
            assert!(skipped > 0.9 * PAGES, "{skipped} bytes of {PAGES} were left out");
            // Node resets a stream that it has closed: what comes in answer belongs to nobody.
            assert!(skipped <= PAGES + 100.0, "{skipped} bytes of {PAGES} were left out");
            metrics.assert_balance(150.0);
            metrics.assert_flawless();
        }
    }
}

/// A ring buffer that is far too small, a reader that sleeps, and twenty streams on one connection: what
/// passed there, as a second tap with room for all of it says, is what was decoded, skipped on purpose
/// or lost, to the byte. No frame is searched for behind a loss, of HTTP/2 or of a WebSocket: the
/// kernel side says where each begins.
#[test]
fn root_every_byte_of_http2_is_accounted_for_when_the_ring_buffer_overflows() {
    const STREAMS: usize = 20;
    const REQUESTS: u64 = 60;
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let load = ["--streams", "20", "--requests", "60", "--size", "9000"];
    let pair = scene.http2(Runtime::Node, Runtime::Node, &load);
    let Some((server, mut client)) = pair else { return };
    let reference = Monitor::attach(server.pid(), &["--ring-size", "64m"]);
    let talk = || {
        client.go();
        assert_eq!(client.summary().requests, STREAMS as u64 * REQUESTS);
        let mut before = [0.0; 2];
        wait_for("the connection to fall silent", || {
            std::thread::sleep(Duration::from_millis(300));
            let metrics = reference.metrics();
            (std::mem::replace(&mut before, wire(&metrics)) == before).then_some(metrics)
        })
    };
    // By chance, a stream may lose all that it carries while the reader sleeps; a frame of each is awaited.
    let may_sleep = |accounts: &Accounts| {
        let begun = |ways: &[Account; 2]| ways.iter().all(|way| way.frames > 0);
        let streams = accounts.iter().filter(|(conn, ways)| conn.stream != 0 && begun(ways));
        has_skipped(accounts) && streams.count() == STREAMS
    };
    let reader = Reader { pause: Duration::from_millis(30), may_sleep };
    let (accounts, metrics, losses) =
        follow((&FLAVOURS, Where::Tls), &SMALL, steer, &reader, server.pid(), talk);
    metrics.assert_flawless();
    let (carriers, streams): (Vec<_>, Vec<_>) =
        accounts.into_iter().partition(|(conn, _)| conn.stream == 0);
    let [(_, carrier)] = carriers.try_into().expect("one connection");
    for Account { passed, skipped, lost, captured, .. } in carrier {
        assert_eq!(passed, captured + skipped + lost, "{carrier:?}");
        assert!(skipped > 0 && lost > 0, "{carrier:?}");
    }
    // What was lost last, only the kernel side knows.
    let lost_in_kernel: u64 = losses.iter().map(|loss| loss.bytes).sum();
    let [passed, lost] = [|it: &Account| it.passed, |it: &Account| it.lost]
        .map(|of| carrier.iter().map(of).sum::<u64>());
    assert_eq!(wire(&metrics).iter().sum::<f64>(), (passed + lost_in_kernel - lost) as f64);
    assert_eq!(streams.len(), STREAMS);
    for (conn, ways) in &streams {
        for direction in Direction::BOTH {
            let Account { frames, resyncs, .. } = ways[direction.index()];
            assert!((1..=REQUESTS + 1).contains(&frames), "{conn} {direction:?} {frames}");
            assert_eq!(resyncs, 0, "{conn} {direction:?}");
        }
    }
    assert!(carrier.iter().all(|it| it.resyncs == 0), "{carrier:?}");
}
