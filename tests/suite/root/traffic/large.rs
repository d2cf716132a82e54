use crate::suite::common::peers::{Runtime, Scene};
use crate::suite::common::wstap::{Frames, Monitor, privileged, transcript};

/// One `send` of 20 MiB: framed, counted, nothing lost, and wstap does not grow by it.
#[test]
fn root_a_message_of_20_mib_is_counted_exactly_in_bounded_memory() {
    const SIZE: f64 = (20 << 20) as f64;
    if !privileged() {
        return;
    }
    for runtime in [&[][..], &["--sync"]] {
        let scene = Scene::new();
        let Some((_server, port)) = scene.server(Runtime::Python, runtime) else { return };
        let mut load = vec!["--requests", "10", "--binary", "20971520"];
        load.extend(runtime);
        let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
        let on_client = Monitor::attach(client.pid(), &[]);
        let on_server = Monitor::attach(_server.pid(), &[]);
        let before = on_client.metrics().sum("process_resident_memory_bytes", &[]);
        client.go();
        client.summary();
        let sent =
            on_client.metrics_when("the message", |m| m.sum("packet_send_count", &[]) == 11.0);
        let received =
            on_server.metrics_when("the message", |m| m.sum("packet_recv_count", &[]) == 11.0);
        let binary = ["type=\"binary\""];
        assert_eq!(sent.sum("wstap_message_bytes_sent_total", &binary), SIZE);
        assert_eq!(received.sum("wstap_message_bytes_received_total", &binary), SIZE);
        sent.assert_flawless();
        received.assert_flawless();
        let grown = sent.sum("process_resident_memory_bytes", &[]) - before;
        assert!(grown < (16 << 20) as f64, "wstap has grown by {grown} bytes");
    }
}

/// With a window that is large enough, 1 MiB arrives whole, whatever it passes in.
#[test]
fn root_a_message_of_1_mib_arrives_whole() {
    if !privileged() {
        return;
    }
    for runtime in [Runtime::Python, Runtime::Node] {
        let scene = Scene::new();
        let Some((mut server, port)) = scene.server(runtime, &[]) else { return };
        let load = ["--requests", "3", "--size", "1048576"];
        let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
        let arguments = ["--payload", "4194304", "--window", "4m", "--ring-size", "32m"];
        let on_server = Frames::attach(server.pid(), &arguments);
        client.go();
        client.summary();
        server.finish();
        assert_eq!(transcript(&on_server.finish()), server.transcript(), "{runtime:?}");
    }
}

/// With compression as negotiated by default counts stay right.
#[test]
fn root_compressed_messages_are_counted_exactly() {
    if !privileged() {
        return;
    }
    let python: (Runtime, &[&str]) = (Runtime::Python, &["--compression", "deflate"]);
    let node: (Runtime, &[&str]) = (Runtime::Node, &["--compression"]);
    for (runtime, deflate) in [python, node] {
        let scene = Scene::new();
        let Some((server, port)) = scene.server(runtime, deflate) else { return };
        let mut load = vec!["--requests", "400", "--connections", "4", "--size", "3000"];
        load.extend(deflate);
        let mut client = scene.client(runtime, port, &load).expect("the runtime is there");
        let tap = Monitor::attach(server.pid(), &[]);
        client.go();
        assert_eq!(client.summary().requests, 400);
        let metrics =
            tap.metrics_when("400 messages", |m| m.sum("packet_send_count", &[]) == 400.0);
        assert_eq!(metrics.sum("packet_recv_count", &[]), 400.0, "{runtime:?}");
        assert_eq!(metrics.sum("wstap_lost_bytes_total", &[]), 0.0);
        assert_eq!(metrics.sum("wstap_protocol_errors_total", &[]), 0.0);
    }
}
