use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::suite::common::peers::{Peer, Runtime, Scene};
use crate::suite::common::wstap::{Frames, privileged, program, wait_for};

/// `wstap messages`, with its output.
struct Lines {
    process: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Lines {
    /// Returns when it is attached: it has written its header.
    fn attach(pid: u32, arguments: &[&str]) -> Self {
        let mut command = program();
        command.args(["messages", "--pid", &pid.to_string()]).args(arguments);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("wstap starts");
        let mut output = BufReader::new(process.stdout.take().expect("piped"));
        let mut header = String::new();
        output.read_line(&mut header).expect("output");
        assert!(header.starts_with("TIME (UTC)"), "{header}");
        Self { process, output: Some(output) }
    }

    /// The lines until it ends by itself, and whether it ended well.
    fn rest(mut self) -> (Vec<String>, bool) {
        let mut text = String::new();
        self.output.take().expect("open").read_to_string(&mut text).expect("text");
        let ended = self.process.wait().expect("wstap ends");
        (text.lines().map(str::to_owned).collect(), ended.success())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A server, and a client that has connected and waits for [`Peer::go`].
fn conversation(scene: &Scene, arguments: &[&str]) -> Option<(Peer, Peer)> {
    let (server, port) = scene.server(Runtime::Python, &[])?;
    let client = scene.client(Runtime::Python, port, arguments)?;
    Some((server, client))
}

#[test]
fn root_messages_shows_what_was_asked_for_and_ends_after_its_lines() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let load = ["--requests", "40", "--fail-every", "4"];
    let Some((server, mut client)) = conversation(&scene, &load) else { return };
    let failures = Lines::attach(server.pid(), &["--errors", "-c", "5"]);
    let asked =
        Lines::attach(server.pid(), &["--method", "fail", "--direction", "received", "-c", "6"]);
    client.go();
    let (lines, is_good) = failures.rest();
    assert!(is_good && lines.len() == 5, "{lines:?}");
    assert!(
        lines.iter().all(|line| line.contains("= remote") && line.ends_with(" error")),
        "{lines:?}"
    );
    let (lines, is_good) = asked.rest();
    assert!(is_good && lines.len() == 6, "{lines:?}");
    let requests = lines.iter().filter(|line| line.contains("< text")).count();
    let exchanges = lines.iter().filter(|line| line.contains("= remote")).count();
    assert_eq!((requests, exchanges), (3, 3), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(" fail id=")), "{lines:?}");
    assert!(!lines.concat().contains('\u{1b}'), "no colours in a pipe: {lines:?}");
}

/// Nobody writes here, so no write can fail: the end of the reader is noticed all the same.
#[test]
fn root_messages_ends_well_when_its_reader_has_gone_and_nothing_passes() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let Some((server, _client)) = conversation(&scene, &[]) else { return };
    let mut lines = Lines::attach(server.pid(), &[]);
    lines.output = None;
    let ended = wait_for("wstap to end", || lines.process.try_wait().expect("a status"));
    assert!(ended.success(), "{ended:?}");
}

/// Threads of the server on all processors, and calls that are seen when they have ended.
#[test]
fn root_messages_of_many_connections_come_in_order_of_time() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let Some((mut server, port)) = scene.server(Runtime::Python, &["--sync"]) else { return };
    let load = ["--requests", "4000", "--connections", "16", "--sync"];
    let Some(mut client) = scene.client(Runtime::Python, port, &load) else { return };
    let tap = Frames::attach(server.pid(), &[]);
    client.go();
    assert_eq!(client.summary().requests, 4_000);
    client.wait();
    server.finish();
    let lines = tap.finish();
    let time = |line: &Value| line["ts_ns"].as_u64().expect("a time");
    let messages = lines.iter().filter(|line| line["event"] == "message").count();
    assert_eq!(messages, 8_000);
    for pair in lines.windows(2) {
        assert!(time(&pair[0]) <= time(&pair[1]), "{pair:#?}");
    }
}

#[test]
fn root_a_replay_is_filtered_as_the_messages_are() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let load = ["--requests", "40", "--fail-every", "4"];
    let Some((server, mut client)) = conversation(&scene, &load) else { return };
    let file = scene.path("recording");
    let path = file.to_str().expect("a path");
    let arguments = ["--errors", "-c", "10", "--record", path];
    let live = Lines::attach(server.pid(), &arguments);
    client.go();
    let (live, is_good) = live.rest();
    assert!(is_good);
    let mut replay = program();
    replay.args(["replay", path, "--errors", "-c", "10"]);
    let replayed = replay.output().expect("wstap runs");
    assert!(replayed.status.success(), "{replayed:?}");
    let text = String::from_utf8(replayed.stdout).expect("text");
    let replayed: Vec<&str> = text.lines().collect();
    assert!(replayed[0].starts_with("TIME (UTC)"), "{text}");
    assert_eq!(replayed[1..], live, "{text}");
}
