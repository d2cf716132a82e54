use std::process::Command;
use std::time::Duration;

use crate::suite::common::peers::{GoBuild, Peer, Runtime, Scene, installed};
use crate::suite::common::wstap::{Frames, Metrics, Monitor, privileged, program, transcript};

/// Whole messages, and room for them however long the reader has to wait for a processor.
const PAYLOAD: [&str; 6] = ["--payload", "200000", "--window", "256k", "--ring-size", "64m"];

/// Every combination of runtimes: what wstap decodes is what the tapped side logged, byte for byte,
/// whichever side is tapped.
#[test]
fn root_plain_messages_equal_the_peers_own_logs() {
    if !privileged() {
        return;
    }
    let go = Runtime::Go(GoBuild::Current);
    let python: (Runtime, &[&str]) = (Runtime::Python, &[]);
    let python_sync: (Runtime, &[&str]) = (Runtime::Python, &["--sync"]);
    let node: (Runtime, &[&str]) = (Runtime::Node, &[]);
    for (server, client) in
        [(python, python_sync), (python_sync, node), (node, python), ((go, &[]), (go, &[]))]
    {
        let scene = Scene::new();
        let arguments = [server.1, &["--plain"]].concat();
        let Some((mut server_peer, port)) = scene.server(server.0, &arguments) else { return };
        let load = ["--requests", "300", "--connections", "3", "--size", "1000", "--plain"];
        let load = [&load, client.1].concat();
        let Some(mut client_peer) = scene.client(client.0, port, &load) else { return };
        let on_server = Frames::attach(server_peer.pid(), &PAYLOAD);
        // A client has no socket yet.
        let on_client =
            Frames::attach(client_peer.pid(), &[&PAYLOAD[..], &["--plain", "on"]].concat());
        client_peer.go();
        assert_eq!(client_peer.summary().requests, 300);
        assert_eq!(server_peer.finish().requests, 300);
        let (on_server, on_client) = (on_server.finish(), on_client.finish());
        assert_same(&on_server, &server_peer);
        assert_same(&on_client, &client_peer);
        let open = on_server.iter().filter(|line| line["event"] == "open");
        assert!(open.clone().count() == 3 && open.clone().all(|it| it["transport"] == "plain"));
        let exchanges = on_client.iter().filter(|line| line["event"] == "exchange").count();
        assert_eq!(exchanges, 300, "{client:?}");
    }
}

/// Sent, received and answered, on both sides, and nothing is lost.
#[test]
fn root_a_plain_server_is_counted_exactly() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, port)) = scene.server(Runtime::Node, &["--plain"]) else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    let load = ["--requests", "5000", "--connections", "20", "--plain"];
    let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
    client.go();
    assert_eq!(client.summary().requests, 5_000);
    let metrics = tap.metrics_when("5,000 answers", |m| m.sum("turnaround_count", &[]) == 5_000.0);
    assert_eq!(metrics.sum("packet_send_count", &[]), 5_000.0);
    assert_eq!(metrics.sum("packet_recv_count", &[]), 5_000.0);
    assert_eq!(metrics.sum("wstap_connections_opened_total", &["role=\"server\""]), 20.0);
    assert_eq!(metrics.sum("wstap_probe_attached", &["technique=\"tracepoint\""]), 2.0);
    let closed = |m: &Metrics| m.sum("wstap_connections_closed_total", &["code=\"1000\""]);
    tap.metrics_when("20 ends", |m| closed(m) == 20.0);
    metrics.assert_balance(5_000.0);
    metrics.assert_flawless();
}

/// Every system call that reads or writes a socket, with peeks, scattered buffers and several
/// messages at once: one stream each way, byte for byte. The process has no TLS at all.
#[test]
fn root_every_system_call_is_followed_over_ipv4_and_ipv6() {
    if !privileged() {
        return;
    }
    for family in ["4", "6"] {
        let scene = Scene::new();
        let Some((mut server, mut client)) = scene.calls(&["--family", family]) else { return };
        let on_server = Frames::attach(server.pid(), &PAYLOAD);
        let on_client = Frames::attach(client.pid(), &[&PAYLOAD[..], &["--plain", "on"]].concat());
        client.go();
        client.summary();
        server.summary();
        let (on_server, on_client) = (on_server.finish(), on_client.finish());
        assert_same(&on_server, &server);
        assert_same(&on_client, &client);
        for lines in [on_server, on_client] {
            assert_eq!(lines.iter().filter(|line| line["event"] == "gap").count(), 0);
            assert_eq!(lines.iter().filter(|line| line["event"] == "close").count(), 25);
        }
    }
}

/// One socket that is disconnected and connected again is as many connections, each with numbers of its
/// own, whichever of them is the higher.
#[test]
fn root_a_socket_that_is_connected_again_carries_a_connection_of_its_own() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let load = ["--again", "--messages", "8", "--largest", "5000"];
    let Some((mut server, mut client)) = scene.calls(&load) else { return };
    let on_client = Frames::attach(client.pid(), &[&PAYLOAD[..], &["--plain", "on"]].concat());
    client.go();
    client.summary();
    server.summary();
    let on_client = on_client.finish();
    assert_same(&on_client, &client);
    let count = |event: &str| on_client.iter().filter(|line| line["event"] == event).count();
    assert_eq!([count("open"), count("close"), count("gap")], [25, 25, 0]);
}

fn assert_same(lines: &[serde_json::Value], peer: &Peer) {
    let (ours, own) = (transcript(lines), peer.transcript());
    assert_eq!(ours.len(), own.len(), "connections");
    for (ours, own) in ours.iter().zip(&own) {
        for (ours, own) in ours.iter().zip(own) {
            assert_eq!(ours.len(), own.len(), "messages");
            assert!(ours == own, "the bytes of a message differ");
        }
    }
}

/// A connection that is older than wstap is recognised by its frames, and counted from then on.
#[test]
fn root_a_plain_connection_is_recognised_in_mid_stream() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, mut client)) =
        scene.calls(&["--halves", "--messages", "200", "--largest", "500"])
    else {
        return;
    };
    client.go();
    assert_eq!(client.line(), "half");
    let tap = Monitor::attach(server.pid(), &[]);
    client.go();
    assert_eq!(client.line(), "half");
    let mid_stream = tap.metrics_when("one connection's end", |m| {
        let closed = m.sum("wstap_connections_closed_total", &["code=\"1000\""]);
        (closed, m.sum("packet_recv_count", &[])) == (1.0, 200.0)
    });
    assert_eq!(mid_stream.sum("packet_send_count", &[]), 200.0, "100 of each connection");
    let open = ["transport=\"plain\"", "role=\"server\"", "decode=\"full\""];
    assert_eq!(mid_stream.sum("wstap_connections", &open), 1.0, "the second is open");
    assert_eq!(mid_stream.sum("wstap_connections", &["transport=\"tls\""]), 0.0);
    mid_stream.assert_flawless();
}

/// A connection that only carries HTTP leaves no trace, not even of its bytes; one that is upgraded
/// at last is counted from then on.
#[test]
fn root_http_without_an_upgrade_is_not_counted() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, [mut plain, mut upgraded])) = scene.http() else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    for step in ["warm", "plain"] {
        plain.go();
        assert_eq!(plain.line(), step);
    }
    let wire = |m: &Metrics| {
        m.sum("wstap_plaintext_bytes_sent_total", &[])
            + m.sum("wstap_plaintext_bytes_received_total", &[])
    };
    upgraded.go();
    assert_eq!(upgraded.line(), "warm");
    assert_eq!(wire(&tap.metrics()), 0.0);
    for step in ["plain", "upgraded"] {
        upgraded.go();
        assert_eq!(upgraded.line(), step);
    }
    let metrics = tap.metrics_when("ten answers", |m| m.sum("turnaround_count", &[]) == 10.0);
    assert_eq!(metrics.sum("wstap_connections_opened_total", &["role=\"server\""]), 1.0);
    assert!(wire(&metrics) >= 2_000_000.0, "with the 2 MB that it carried before");
    assert!(wire(&metrics) < 2_100_000.0, "and without the 2 MB of the other");
    metrics.assert_flawless();
}

/// TLS on a socket is for the tap on TLS: as often counted as it was sent, with plain taps or
/// without.
#[test]
fn root_tls_is_never_counted_again_on_its_socket() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    for runtime in [Runtime::Python, Runtime::Node, Runtime::Go(GoBuild::Current)] {
        let Some((server, port)) = scene.server(runtime, &[]) else { return };
        let arguments = |plain| ["--plain", plain, "--ring-size", "64m"];
        let tap = Monitor::attach(server.pid(), &arguments("on"));
        let reference = Monitor::attach(server.pid(), &arguments("off"));
        let load = ["--requests", "500", "--connections", "5", "--size", "5000"];
        let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
        client.go();
        assert_eq!(client.summary().requests, 500);
        let all = |m: &Metrics| {
            m.sum("turnaround_count", &[]) == 500.0
                && m.sum("wstap_connections_closed_total", &["code=\"1000\""]) == 5.0
        };
        tap.metrics_when("all", all);
        reference.metrics_when("all", all);
        for name in [
            "packet_send_count",
            "packet_recv_count",
            "wstap_connections_opened_total",
            "wstap_plaintext_bytes_sent_total",
            "wstap_plaintext_bytes_received_total",
        ] {
            tap.metrics_when(name, |m| m.sum(name, &[]) == reference.metrics().sum(name, &[]));
        }
        let with = tap.metrics();
        assert_eq!(with.sum("packet_send_count", &[]), 500.0);
        assert_eq!(with.sum("wstap_connections_opened_total", &[]), 5.0);
        with.assert_flawless();
    }
}

/// The programs run for every process on the machine, and report the tapped ones only.
#[test]
fn root_a_process_that_is_not_tapped_is_not_told_of() {
    let (scene, other) = (Scene::new(), Scene::new());
    if !privileged() {
        return;
    }
    let Some((server, port)) = scene.server(Runtime::Node, &["--plain"]) else { return };
    let Some((_other, other_port)) = other.server(Runtime::Node, &["--plain"]) else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    for (scene, port) in [(&other, other_port), (&scene, port)] {
        let load = ["--requests", "100", "--plain"];
        let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
        client.go();
        assert_eq!(client.summary().requests, 100);
    }
    let metrics = tap.metrics_when("100 answers", |m| m.sum("turnaround_count", &[]) >= 100.0);
    assert_eq!(metrics.sum("packet_recv_count", &[]), 100.0);
    assert_eq!(metrics.sum("wstap_connections_opened_total", &[]), 1.0);
    metrics.assert_flawless();
}

/// Without TLS and without sockets there is nothing to tap; sockets alone are enough, unless they
/// are to be left alone.
#[test]
fn root_sockets_are_a_reason_to_tap_unless_they_are_to_be_left_alone() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, _client)) = scene.calls(&[]) else { return };
    let pid = server.pid().to_string();
    let run = |plain: &str| {
        let mut command = program();
        command.args(["--check", "--listen", "127.0.0.1:0", "--pid", &pid, "--plain", plain]);
        let output = command.output().expect("wstap runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (code, said) = run("auto");
    assert!(code == Some(0) && said.contains("sock_send_length in kernel attached"), "{said}");
    let (code, said) = run("off");
    assert!(code == Some(4) && said.contains("--plain off"), "{said}");
}

/// A process without TLS opens its first socket long after wstap began to wait for it.
#[test]
fn root_a_socket_that_comes_late_is_waited_for() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((_server, mut client)) = scene.calls(&["--halves", "--messages", "200"]) else {
        return;
    };
    let tap = Monitor::attach(client.pid(), &["--wait"]);
    assert_eq!(tap.metrics().sum("wstap_target_up", &[]), 0.0);
    client.go();
    assert_eq!(client.line(), "half");
    tap.metrics_when("the socket", |m| m.sum("wstap_target_up", &[]) == 1.0);
    client.go();
    let counted = |m: &Metrics| m.sum("packet_send_count", &[]) >= 100.0;
    tap.metrics_when("the messages", counted).assert_flawless();
}

/// A command without TLS is followed from its first byte.
#[test]
fn root_a_plain_command_is_tapped_from_its_first_byte() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, port)) = scene.server(Runtime::Python, &["--plain"]) else { return };
    let Some(python) = installed("venv/bin/python") else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/python/ws_client.py");
    let mut command = program();
    let log = scene.path("client.log");
    let log = log.to_str().expect("a path");
    command.args(["messages", "--json", "--"]).arg(python).args([script, "--port"]);
    command.args([&port.to_string(), "--plain", "--requests", "50", "--log", log]);
    command.stdin(std::process::Stdio::piped());
    let output = with_input(command, b"go\n");
    let text = String::from_utf8(output).expect("text");
    // The client writes to the same pipe: its last line may stand before one of these.
    let text = text.replace("}{", "}\n{");
    let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    let lines: Vec<serde_json::Value> =
        lines.filter(|it: &serde_json::Value| it.is_object()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["event"] == kind).count();
    assert_eq!((of("open"), of("message"), of("exchange")), (1, 100, 50), "{text}");
    drop(server);
}

/// What a command writes that is given `input` and then the end of its input.
fn with_input(mut command: Command, input: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut process = command.stdout(std::process::Stdio::piped()).spawn().expect("wstap starts");
    let mut pipe = process.stdin.take().expect("piped");
    pipe.write_all(input).expect("input");
    std::thread::sleep(Duration::from_millis(100));
    drop(pipe);
    process.wait_with_output().expect("an end").stdout
}
