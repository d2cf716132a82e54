use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use serde_json::Value;

use crate::suite::common::peers::{Runtime, Scene};
use crate::suite::common::wstap::{DEADLINE, Monitor, privileged};

const REQUESTS: u32 = 2_000;

/// What wstap may use in all, beside its ring buffer: see docs/views/page.md.
pub(super) const BYTES_MAX: f64 = 96.0 * 1024.0 * 1024.0;

/// A client that follows the page, as browsers do.
fn follow(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let request = format!("GET /api/v1/live HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("open");
    stream
}

/// Reads events until one has so many answers in all.
fn await_answers(stream: TcpStream, count: u32) {
    for line in BufReader::new(stream).lines() {
        let line = line.expect("an event in time");
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let event: Value = serde_json::from_str(data).expect("JSON");
        if event["totals"]["answered"] == count {
            return;
        }
    }
    panic!("the events ended early");
}

/// Five follow, and one of them never reads.
#[test]
fn root_followers_of_the_page_cost_the_tap_nothing_even_if_one_is_stuck() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let Some((server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let requests = REQUESTS.to_string();
    let load = ["--requests", &requests, "--connections", "20"];
    let Some(mut client) = scene.client(Runtime::Python, port, &load) else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    tap.await_tapped(server.pid());
    let stuck = follow(tap.address);
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let stream = follow(tap.address);
            thread::spawn(move || await_answers(stream, REQUESTS))
        })
        .collect();
    client.go();
    assert_eq!(client.summary().requests, u64::from(REQUESTS));
    for reader in readers {
        reader.join().expect("it sees the last answer");
    }
    let metrics = tap.metrics();
    metrics.assert_flawless();
    assert_eq!(metrics.sum("turnaround_count", &[]), f64::from(REQUESTS));
    let bytes = metrics.sum("process_resident_memory_bytes", &[]);
    assert!(bytes > 0.0 && bytes < BYTES_MAX, "{bytes} bytes");
    drop(stuck);
}
