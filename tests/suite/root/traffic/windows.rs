use std::collections::BTreeMap;

use serde_json::Value;

use crate::suite::common::peers::{Peer, Runtime, Scene, Transcript};
use crate::suite::common::probed::is_probed;
use crate::suite::common::wstap::{Frames, Monitor, privileged, wait_for};

/// Messages of each direction that may pass unread before the window is found, on a connection that
/// is not in a hurry.
const FIRST: usize = 5;

/// A server whose connections were open and busy before wstap came.
struct Busy {
    /// Its files go with it.
    _scene: Scene,
    server: Peer,
    client: Peer,
    connections: usize,
}

impl Busy {
    /// Returns when each connection has said something. A request takes some 20 ms.
    fn new(of_server: &[&str], of_client: &[&str], connections: usize) -> Option<Self> {
        let scene = Scene::new();
        let deflate = ["--compression", "deflate"];
        let of_server = [&deflate[..], of_server].concat();
        let (server, port) = scene.server(Runtime::Python, &of_server)?;
        let (count, requests) = (connections.to_string(), (connections * 300).to_string());
        let fixed = ["--connections", &count, "--requests", &requests, "--pause", "0.02"];
        let of_client = [&deflate[..], &fixed, of_client].concat();
        let mut client = scene.client(Runtime::Python, port, &of_client)?;
        client.go();
        let logged = || std::fs::metadata(scene.path("server.log")).map_or(0, |log| log.len());
        wait_for("the first requests", || (logged() > 0).then_some(()));
        Some(Self { _scene: scene, server, client, connections })
    }

    /// What the server said and heard, once the client is done.
    fn finish(mut self) -> Transcript {
        self.client.summary();
        self.server.finish();
        self.server.transcript()
    }
}

/// What could be read in one direction.
#[derive(Default)]
struct Way {
    texts: Vec<Vec<u8>>,
    /// Messages, read or not.
    count: usize,
}

/// What could be read on each connection, by direction.
fn read(lines: &[Value]) -> Vec<[Way; 2]> {
    let mut connections: BTreeMap<&str, [Way; 2]> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["event"] == "message") {
        let connection = line["conn"].as_str().expect("a connection");
        let way = usize::from(line["direction"] == "received");
        let Way { texts, count } = &mut connections.entry(connection).or_default()[way];
        *count += 1;
        let text = line["payload"].as_str().unwrap_or_default();
        if !text.is_empty() {
            texts.push(text.as_bytes().to_vec());
        }
    }
    connections.into_values().collect()
}

/// Every text that was read must be what one connection has said, in order and to its end. Returns
/// which part of the messages after the first ones was read.
fn compare(read: &[[Way; 2]], said: &Transcript) -> f64 {
    let ends_with = |said: &[(String, Vec<u8>)], texts: &[Vec<u8>]| {
        let before = said.len().checked_sub(texts.len());
        before.is_some_and(|before| said[before..].iter().map(|(_, text)| text).eq(texts))
    };
    let (mut seen, mut due) = (0, 0);
    for ways in read {
        let is_one = said
            .iter()
            .any(|said| said.iter().zip(ways).all(|(said, way)| ends_with(said, &way.texts)));
        let first = ways.each_ref().map(|way| way.texts.iter().take(4));
        let first =
            first.map(|it| it.map(|text| String::from_utf8_lossy(text)).collect::<Vec<_>>());
        assert!(is_one, "what was read was never said: {first:#?}");
        for Way { texts, count } in ways {
            seen += texts.len();
            due += count.saturating_sub(FIRST);
        }
    }
    seen as f64 / due as f64
}

/// All connections say much the same at the same time, so that their compressed bytes are often the
/// same, though their windows are not.
#[test]
fn root_connections_that_were_open_before_are_read_within_their_next_messages() {
    if !privileged() {
        return;
    }
    for of_server in [&[][..], &["--sync"]] {
        let Some(busy) = Busy::new(of_server, &[], 20) else { return };
        let connections = busy.connections;
        let tap = Frames::attach(busy.server.pid(), &["--payload", "4096"]);
        let said = busy.finish();
        let lines = tap.finish();
        let read = read(&lines);
        assert_eq!(read.len(), connections);
        let part = compare(&read, &said);
        assert!(part >= 0.95, "{of_server:?}: {part} of the messages");
        let asked: usize = read.iter().map(|[_, asked]| asked.count.saturating_sub(FIRST)).sum();
        let matched = lines.iter().filter(|it| it["outcome"] == "matched").count();
        let part = matched as f64 / asked as f64;
        assert!(part >= 0.95, "{of_server:?}: {part} of the requests");
        println!("{of_server:?}: {matched} of {asked} requests matched");
    }
}

/// The probes on zlib leave once no connection waits any more.
#[test]
fn root_zlib_is_left_alone_once_every_window_is_found() {
    if !privileged() {
        return;
    }
    let Some(busy) = Busy::new(&[], &[], 4) else { return };
    let tap = Monitor::attach(busy.server.pid(), &[]);
    let windows = "wstap_windows_total";
    tap.metrics_when("all windows", |metrics| {
        metrics.sum("wstap_connections", &["decode=\"full\""]) == busy.connections as f64
            && metrics.sum(windows, &["result=\"proven\""]) == 2.0 * busy.connections as f64
    });
    let pid = busy.server.pid();
    wait_for("the probes to leave", || (!is_probed(pid, "libz.so")).then_some(()));
    busy.finish();
    let metrics = tap.metrics();
    assert_eq!(metrics.sum(windows, &["result=\"asked\""]), 8.0);
    assert_eq!(metrics.sum(windows, &["result=\"refused\""]), 0.0);
}

#[test]
fn root_zlib_is_left_alone_where_windows_are_not_wanted() {
    if !privileged() {
        return;
    }
    let Some(busy) = Busy::new(&[], &[], 4) else { return };
    let tap = Monitor::attach(busy.server.pid(), &["--no-windows"]);
    let metrics = tap.metrics_when("messages", |m| m.sum("packet_recv_count", &[]) > 200.0);
    assert_eq!(metrics.sum("wstap_connections", &["decode=\"no_content\""]), 4.0);
    assert_eq!(metrics.sum("wstap_windows_total", &[]), 0.0);
    assert_eq!(metrics.sum("wstap_requests_total", &[]), 0.0);
    assert!(!is_probed(busy.server.pid(), "libz.so"));
}
