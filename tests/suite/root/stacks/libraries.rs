use serde_json::{Value, json};

use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::peers::{GoBuild, Runtime, Scene, Transcript, sorted};
use crate::suite::common::wstap::{Frames, Metrics, Monitor, privileged, transcript};
use crate::suite::root::stacks::stripped::ps;

/// Exchanges, all of them with an answer and asked by `origin`.
pub(crate) fn answered(lines: &[Value], origin: &str) -> usize {
    let exchanges = lines.iter().filter(|line| line["event"] == "exchange");
    exchanges.filter(|line| line["outcome"] == "matched" && line["origin"] == origin).count()
}

/// A log with the directions as the other side sees them.
pub(crate) fn from_the_other_side(mut transcript: Transcript) -> Transcript {
    transcript.iter_mut().for_each(|connection| connection.reverse());
    sorted(transcript)
}

/// Panics unless process `pid` is ready to be tapped in the one way there is for Go, and by a
/// version that begins so.
pub(crate) fn assert_ready_go(pid: u32, version: &str) {
    let rows = ps(pid);
    let [row] = &rows[..] else { panic!("one TLS library: {rows:?}") };
    let found = ["stack", "linkage", "symbols", "verdict"].map(|key| &row[key]);
    assert_eq!(found, ["go", "static", "pclntab", "ready"], "{row}");
    assert_eq!(row["technique"], json!(["prologue", "return"]), "{row}");
    assert!(row["version"].as_str().is_some_and(|it| it.starts_with(version)), "{row}");
}

/// However it was linked, and whether or not symbols were removed: what wstap decodes on either
/// side is what that side logged, byte for byte. The garbage collector runs all the time.
#[test]
fn root_go_programs_are_decoded_to_the_byte_on_both_sides() {
    if !privileged() {
        return;
    }
    for build in GoBuild::ALL {
        let scene = Scene::new();
        let runtime = Runtime::Go(build);
        let Some((mut server, port)) = scene.server(runtime, &[]) else { return };
        let load = ["--requests", "600", "--connections", "3", "--size", "3000"];
        let Some(mut client) = scene.client(runtime, port, &load) else { return };
        assert_ready_go(server.pid(), build.version());
        let on_server = Frames::attach(server.pid(), &["--payload", "100000"]);
        let on_client = Frames::attach(client.pid(), &["--payload", "100000"]);
        client.go();
        assert_eq!(client.summary().requests, 600, "{build:?}");
        assert_eq!(server.finish().requests, 600, "{build:?}");
        let (on_server, on_client) = (on_server.finish(), on_client.finish());
        assert_eq!(transcript(&on_server), server.transcript(), "{build:?} as server");
        assert_eq!(transcript(&on_client), client.transcript(), "{build:?} as client");
        assert_eq!(answered(&on_server, "remote"), 600, "{build:?}");
        assert_eq!(answered(&on_client, "local"), 600, "{build:?}");
    }
}

/// The garbage collector gives the memory of a connection to a later one. Each is a connection of its own.
#[test]
fn root_every_connection_of_a_go_server_is_one_of_its_own() {
    if !privileged() {
        return;
    }
    for build in [GoBuild::Debian, GoBuild::Current] {
        let scene = Scene::new();
        let Some((server, port)) = scene.server(Runtime::Go(build), &[]) else { return };
        let load = ["--requests", "4000", "--connections", "4", "--rounds", "100"];
        let Some(mut client) = scene.client(Runtime::Go(build), port, &load) else { return };
        let on_server = Monitor::attach(server.pid(), &[]);
        let on_client = Monitor::attach(client.pid(), &[]);
        client.go();
        assert_eq!(client.summary().requests, 4_000);
        for (tap, role) in [(&on_server, "role=\"server\""), (&on_client, "role=\"client\"")] {
            let metrics = tap.metrics_when("4,000 answers on 400 connections", |m| {
                m.sum("turnaround_count", &[]) == 4_000.0
                    && m.sum("wstap_connections_closed_total", &[]) == 400.0
            });
            assert_eq!(metrics.sum("packet_send_count", &[]), 4_000.0);
            assert_eq!(metrics.sum("packet_recv_count", &[]), 4_000.0);
            assert_eq!(metrics.sum("wstap_connections_opened_total", &[role]), 400.0);
            metrics.assert_balance(4_000.0);
            metrics.assert_flawless();
        }
    }
}

/// Go checks its stacks: a probe that put anything on one would end the program.
#[test]
fn root_a_go_server_does_not_mind_being_tapped_again_and_again_under_load() {
    const LOST: [&str; 2] = ["wstap_lost_records_total", "wstap_lost_bytes_total"];
    if !privileged() {
        return;
    }
    for build in [GoBuild::Debian, GoBuild::Current] {
        let scene = Scene::new();
        let Some((mut server, port)) = scene.server(Runtime::Go(build), &[]) else { return };
        let load = ["--requests", "6000", "--connections", "8", "--pause", "0.02"];
        let Some(mut client) = scene.client(Runtime::Go(build), port, &load) else { return };
        client.go();
        for _ in 0..3 {
            let tap = Monitor::attach(server.pid(), &[]);
            let metrics =
                tap.metrics_when("some messages", |m| m.sum("packet_recv_count", &[]) > 100.0);
            // What had begun before its probes were there returns once: mostly a goroutine that waited
            // in Read. After that no more comes, and nothing else is lost at any time.
            let lost = |m: &Metrics| LOST.map(|name| m.sum(name, &[]));
            let in_flight = LOST.map(|name| metrics.sum(name, &["reason=\"in_flight\""]));
            assert_eq!(lost(&metrics), in_flight, "{build:?}");
            let later = tap.metrics_when("some more", |m| m.sum("packet_recv_count", &[]) > 400.0);
            assert_eq!(lost(&later), in_flight, "{build:?}");
            assert!(tap.terminate().success());
            assert!(server.is_running(), "{build:?}");
        }
        assert_eq!(client.summary().requests, 6_000, "{build:?}");
        assert_eq!(server.finish().requests, 6_000, "{build:?}");
        assert_eq!(server.transcript(), from_the_other_side(client.transcript()), "{build:?}");
    }
}

/// TLS libraries of C other than OpenSSL, and BoringSSL without a symbol. GnuTLS calls one of its
/// functions from another, and NSPR's serve pipes as well, one of which has layers: neither adds a
/// message, a connection or a byte. The code of s2n is padded with prefixes, on which the kernel takes no
/// probe.
#[test]
fn root_other_tls_libraries_are_decoded_to_the_byte() {
    let natives = ["gnutls", "mbedtls", "nss", "s2n", "wolfssl"].map(Runtime::Native);
    let wire: Vec<_> =
        natives.into_iter().filter_map(client_is_decoded_to_the_byte).map(wire).collect();
    assert!(wire.windows(2).all(|pair| pair[0] == pair[1]), "they said the same: {wire:?}");
    for runtime in [Runtime::Bun("1.3.5"), Runtime::Bun("1.3.14"), Runtime::Bun("1.4.5")] {
        client_is_decoded_to_the_byte(runtime);
    }
}

/// BoringSSL gives the address of a connection to the next one, and nothing tells of its end: each
/// is told from the others by its handshake.
#[test]
fn root_every_connection_of_bun_is_one_of_its_own() {
    if !privileged() {
        return;
    }
    for version in ["1.3.5", "1.3.14", "1.4.5"] {
        let scene = Scene::new();
        let Some((mut server, port)) = scene.server(Runtime::Python, &[]) else { return };
        let load = ["--requests", "900", "--rounds", "300"];
        let Some(mut client) = scene.client(Runtime::Bun(version), port, &load) else { return };
        let tap = Monitor::attach(client.pid(), &[]);
        client.go();
        assert_eq!(client.summary().requests, 900, "{version}");
        assert_eq!(server.finish().requests, 900, "{version}");
        assert_eq!(client.transcript().len(), 300, "{version}");
        let metrics = tap.metrics_when("900 answers on 300 connections", |m| {
            m.sum("turnaround_count", &[]) == 900.0
                && m.sum("wstap_connections_closed_total", &[]) == 300.0
        });
        assert_eq!(metrics.sum("packet_send_count", &[]), 900.0, "{version}");
        assert_eq!(metrics.sum("packet_recv_count", &[]), 900.0, "{version}");
        let opened = metrics.sum("wstap_connections_opened_total", &["role=\"client\""]);
        assert_eq!(opened, 300.0, "{version}");
        assert_eq!(metrics.sum("wstap_connections_opened_total", &[]), 300.0, "{version}");
        metrics.assert_balance(900.0);
        metrics.assert_flawless();
    }
}

/// Rust: over the system's OpenSSL, and over rustls. What rustls holds for a connection moves in
/// memory after the handshake, so this is one connection only if that is not taken for its name.
#[test]
fn root_rust_clients_are_decoded_to_the_byte() {
    for build in ["native", "rustls23"] {
        client_is_decoded_to_the_byte(Runtime::Rust(build));
    }
}

/// A connection inside another one calls the outer one's functions from its own, on the same
/// thread: what they carry is TLS again, and no message.
#[test]
fn root_tls_inside_tls_is_counted_once() {
    let Some(program) = wss_pair::program().filter(|_| privileged()) else { return };
    let mut pair = Pair::start(&program, &["nested", "requests=200", "go", "linger"]);
    let tap = Monitor::attach(pair.pid(), &[]);
    pair.go();
    assert_eq!(pair.answers(), 200);
    // Both ends are in one process.
    let metrics = tap.metrics_when("400", |m| m.sum("turnaround_count", &[]) == 400.0);
    assert_eq!(metrics.sum("packet_send_count", &[]), 400.0);
    assert_eq!(metrics.sum("packet_recv_count", &[]), 400.0);
    assert_eq!(metrics.sum("wstap_connections_opened_total", &[]), 2.0);
    metrics.assert_balance(400.0);
    metrics.assert_flawless();
}

/// All plaintext bytes of a client's three connections, sent and received.
fn wire(monitor: Monitor) -> [f64; 2] {
    let closes = |m: &Metrics| m.sum("wstap_frames_received_total", &["opcode=\"close\""]);
    let open = |m: &Metrics| m.sum("wstap_connections", &[]);
    let metrics = monitor.metrics_when("three ends", |m| [closes(m), open(m)] == [3.0, 0.0]);
    let wire = ["wstap_plaintext_bytes_sent_total", "wstap_plaintext_bytes_received_total"];
    wire.map(|name| metrics.sum(name, &[]))
}

/// What wstap decodes is what the client logged, on as many connections as it had. Leaves the tap as it is.
pub(crate) fn client_is_decoded_to_the_byte(runtime: Runtime) -> Option<Monitor> {
    if !privileged() {
        return None;
    }
    let scene = Scene::new();
    let (mut server, port) = scene.server(Runtime::Python, &[])?;
    let load = ["--requests", "150", "--connections", "3", "--size", "20000"];
    let mut client = scene.client(runtime, port, &load)?;
    let monitor = Monitor::attach(client.pid(), &[]);
    let on_client = Frames::attach(client.pid(), &["--payload", "100000"]);
    client.go();
    assert_eq!(client.summary().requests, 150, "{runtime:?}");
    assert_eq!(server.finish().requests, 150, "{runtime:?}");
    let metrics = monitor.metrics_when("150 answers", |m| m.sum("turnaround_count", &[]) == 150.0);
    assert_eq!(metrics.sum("packet_send_count", &[]), 150.0, "{runtime:?}");
    assert_eq!(metrics.sum("packet_recv_count", &[]), 150.0, "{runtime:?}");
    let opened = metrics.sum("wstap_connections_opened_total", &["role=\"client\""]);
    assert_eq!(opened, 3.0, "{runtime:?}");
    assert_eq!(metrics.sum("wstap_connections_opened_total", &[]), 3.0, "{runtime:?}");
    metrics.assert_balance(150.0);
    metrics.assert_flawless();
    let on_client = on_client.finish();
    assert_eq!(transcript(&on_client), client.transcript(), "{runtime:?}");
    assert_eq!(answered(&on_client, "local"), 150, "{runtime:?}");
    Some(monitor)
}
