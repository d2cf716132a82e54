use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::suite::common::peers::{GoBuild, Peer, Runtime, Scene};
use crate::suite::common::wstap::{
    Frames, Metrics, Monitor, get, privileged, program, signal, wait_for,
};

/// What `wstap replay` prints of a file.
fn replayed(file: &Path) -> Vec<Value> {
    let output = replay(&[file.to_str().expect("a path"), "--json"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn replay(arguments: &[&str]) -> Output {
    program().arg("replay").args(arguments).output().expect("wstap runs")
}

/// What `wstap replay --listen` serves of a file.
fn replayed_metrics(file: &Path) -> Metrics {
    let mut command = program();
    command.arg("replay").arg(file);
    let replay = Monitor::spawn_on_any_port(command);
    wait_for("the replay to end", || {
        let status: Value =
            serde_json::from_str(&get(replay.address, "/api/v1/status")).expect("JSON");
        (status["ready"] == true).then_some(())
    });
    replay.metrics()
}

/// The series that a recording can have.
fn series(metrics: &Metrics) -> BTreeMap<String, f64> {
    let own = |name: &String| name.starts_with("process_") || name.contains("scrape");
    metrics.all().iter().filter(|(name, _)| !own(name)).map(|(k, v)| (k.clone(), *v)).collect()
}

fn compare_metrics(monitor: &Monitor, file: &Path) {
    let live = series(&monitor.metrics());
    signal(monitor.pid(), Signal::TERM);
    wait_for("the recording's end", || {
        let output = replay(&[file.to_str()?, "--json"]);
        String::from_utf8_lossy(&output.stderr).is_empty().then_some(())
    });
    let replayed = series(&replayed_metrics(file));
    let differ: Vec<_> = live
        .iter()
        .filter(|(name, value)| replayed.get(*name) != Some(value))
        .map(|(name, value)| (name, value, replayed.get(name)))
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
    assert_eq!(live.len(), replayed.len());
}

/// What is served when the target has ended, and nothing of it is open.
fn metrics_at_the_end(monitor: &Monitor) -> Metrics {
    monitor.metrics_when("the end of the server", |metrics| {
        metrics.sum("wstap_target_up", &[]) == 0.0
            && metrics.sum("wstap_connections", &[]) == 0.0
            && metrics.sum("wstap_requests_oldest_pending_timestamp_seconds", &[]) == 0.0
    });
    monitor.metrics()
}

/// What is recorded.
struct Case {
    server: Runtime,
    /// Arguments of the server and of the client.
    peers: &'static [&'static str],
    /// The connections are older than wstap.
    mid_stream: bool,
    /// wstap stands still meanwhile, so that the ring buffer overflows.
    overflows: bool,
}

const CASES: [Case; 6] = [
    Case { server: Runtime::Python, peers: &[], mid_stream: false, overflows: false },
    Case { server: Runtime::Python, peers: DEFLATE, mid_stream: false, overflows: false },
    Case { server: Runtime::Node, peers: &[], mid_stream: false, overflows: false },
    Case { server: Runtime::Go(GoBuild::Debian), peers: &[], mid_stream: false, overflows: false },
    Case { server: Runtime::Python, peers: &[], mid_stream: true, overflows: false },
    Case { server: Runtime::Python, peers: &[], mid_stream: false, overflows: true },
];

const DEFLATE: &[&str] = &["--compression", "deflate"];

impl Case {
    /// The two ends; the client has begun where the tap is to come late.
    fn begin(&self, scene: &Scene) -> Option<(Peer, Peer)> {
        let (server, port) = scene.server(self.server, self.peers)?;
        let mut load = vec!["--requests", "400", "--connections", "4", "--size", "900"];
        load.extend(self.peers);
        let mut client = scene.client(Runtime::Python, port, &load)?;
        if self.mid_stream {
            client.go();
        }
        Some((server, client))
    }

    fn ring(&self) -> [&'static str; 2] {
        ["--ring-size", if self.overflows { "64k" } else { "8m" }]
    }

    /// Has everything said while `tap`, a process, looks on or stands still.
    fn say(&self, tap: u32, server: &mut Peer, client: &mut Peer) {
        if self.overflows {
            signal(tap, Signal::STOP);
        }
        if !self.mid_stream {
            client.go();
        }
        client.summary();
        if self.overflows {
            signal(tap, Signal::CONT);
        }
        client.wait();
        server.finish();
    }

    /// What the tap is told that records into `file`.
    fn arguments<'a>(&self, file: &'a Path) -> Vec<&'a str> {
        let mut arguments = vec!["--record", file.to_str().expect("a path")];
        arguments.extend(self.ring());
        arguments
    }

    fn name(&self) -> String {
        let Self { server, peers, mid_stream, overflows } = self;
        format!("{server:?} {peers:?} in mid-stream {mid_stream} overflowing {overflows}")
    }
}

#[test]
fn root_a_recording_replays_to_the_metrics_that_were_served_live() {
    if !privileged() {
        return;
    }
    for case in CASES {
        let scene = Scene::new();
        let Some((mut server, mut client)) = case.begin(&scene) else { continue };
        let file = scene.path("recording");
        let arguments = case.arguments(&file);
        let monitor = Monitor::attach(server.pid(), &arguments);
        monitor.await_tapped(server.pid());
        case.say(monitor.pid(), &mut server, &mut client);
        let metrics = metrics_at_the_end(&monitor);
        let lost = metrics.sum("wstap_lost_records_total", &["reason=\"ring_full\""]);
        assert_eq!(lost > 0.0, case.overflows, "{}: {lost} records were lost", case.name());
        let messages = metrics.sum("wstap_messages_received_total", &[]);
        assert!(messages > 0.0 || case.mid_stream, "{}", case.name());
        let mode = fs::metadata(&file).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        eprintln!("{}: {messages} messages, {lost} records lost", case.name());
        compare_metrics(&monitor, &file);
    }
}

#[test]
fn root_a_recording_replays_to_the_lines_that_were_printed_live() {
    if !privileged() {
        return;
    }
    for case in CASES {
        let scene = Scene::new();
        let Some((mut server, mut client)) = case.begin(&scene) else { continue };
        let file = scene.path("recording");
        let arguments = case.arguments(&file);
        let tap = Frames::attach(server.pid(), &arguments);
        case.say(tap.pid(), &mut server, &mut client);
        let live = tap.finish();
        let replayed = replayed(&file);
        assert_eq!(live.len(), replayed.len(), "{}", case.name());
        for (live, replayed) in live.iter().zip(&replayed) {
            assert_eq!(live, replayed, "{}", case.name());
        }
        let is_whole = !case.mid_stream && !case.overflows;
        assert!(!is_whole || live.len() >= 800, "{}: {} lines", case.name(), live.len());
    }
}

/// Both ends of WebSockets over HTTP/2: with Python compressed, with Node not.
fn over_http2(scene: &Scene, runtime: Runtime) -> Option<(Peer, Peer)> {
    let mut load = vec!["--streams", "5", "--requests", "40", "--pages", "10"];
    if runtime == Runtime::Python {
        load.extend(["--deflate", "--size", "500"]);
    }
    scene.http2(runtime, runtime, &load)
}

#[test]
fn root_websockets_over_http2_are_replayed_to_the_metrics_that_were_served_live() {
    if !privileged() {
        return;
    }
    for runtime in [Runtime::Python, Runtime::Node] {
        let scene = Scene::new();
        let Some((mut server, mut client)) = over_http2(&scene, runtime) else { return };
        let file = scene.path("recording");
        let arguments = ["--record-http2", "--record", file.to_str().expect("a path")];
        let monitor = Monitor::attach(server.pid(), &arguments);
        monitor.await_tapped(server.pid());
        client.go();
        assert_eq!(client.summary().requests, 200);
        client.wait();
        server.finish();
        let metrics = metrics_at_the_end(&monitor);
        assert_eq!(metrics.sum("turnaround_count", &[]), 200.0, "{runtime:?}");
        compare_metrics(&monitor, &file);
    }
}

#[test]
fn root_websockets_over_http2_are_replayed_to_the_lines_that_were_printed_live() {
    if !privileged() {
        return;
    }
    for runtime in [Runtime::Python, Runtime::Node] {
        let scene = Scene::new();
        let Some((mut server, mut client)) = over_http2(&scene, runtime) else { return };
        let file = scene.path("recording");
        let arguments = ["--record-http2", "--record", file.to_str().expect("a path")];
        let tap = Frames::attach(server.pid(), &arguments);
        client.go();
        assert_eq!(client.summary().requests, 200);
        client.wait();
        server.finish();
        let (live, replayed) = (tap.finish(), replayed(&file));
        assert!(replayed.iter().any(|line| line["event"] == "open" && line["http"] == "2"));
        let messages = live.iter().filter(|line| line["event"] == "message").count();
        assert_eq!((messages, live.len()), (400, replayed.len()), "{runtime:?}");
        for (live, replayed) in live.iter().zip(&replayed) {
            assert_eq!(live, replayed, "{runtime:?}");
        }
    }
}

#[test]
fn root_a_recording_replays_to_the_table_of_its_last_minutes() {
    if !privileged() {
        return;
    }
    let (scene, case) = (Scene::new(), &CASES[0]);
    let Some((mut server, mut client)) = case.begin(&scene) else { return };
    let file = scene.path("recording");
    let tap = Frames::attach(server.pid(), &["--record", file.to_str().expect("a path")]);
    case.say(tap.pid(), &mut server, &mut client);
    let lines = tap.finish();
    let matched = lines.iter().filter(|line| line["outcome"] == "matched").count();
    let path = file.to_str().expect("a path");
    let json = replay(&[path, "--top", "--json"]);
    let picture: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let methods = picture["window"]["methods"].as_array().expect("a list");
    let answered: u64 = methods.iter().filter_map(|row| row["answered"].as_u64()).sum();
    assert_eq!((answered, matched), (400, 400), "{picture:#}");
    let table = String::from_utf8(replay(&[path, "--top"]).stdout).expect("text");
    assert!(table.contains("METHOD") && table.contains("400"), "{table}");
}

/// The sentences for a file that exists, for a full disk and for a closed pipe.
#[test]
fn root_a_recording_that_cannot_be_written_says_so_and_harms_nobody() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let Some((mut server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let pid = server.pid().to_string();
    let file = scene.path("recording");
    fs::write(&file, "mine").expect("a file");
    let there = program().args(["record", "--pid", &pid, "-o"]).arg(&file).output();
    let said = String::from_utf8(there.expect("wstap runs").stderr).expect("text");
    assert!(said.contains("is there already") && said.contains("--force"), "{said}");
    assert_eq!(fs::read(&file).expect("a file"), b"mine");

    let full = program().args(["record", "--pid", &pid, "--force", "-o", "/dev/full"]).output();
    let said = String::from_utf8(full.expect("wstap runs").stderr).expect("text");
    assert!(said.contains("the recording has ended"), "{said}");

    let mut command: Command = program();
    command.args(["record", "--pid", &pid, "-o", "-"]).stdout(Stdio::piped());
    let mut unread = command.stderr(Stdio::piped()).spawn().expect("wstap runs");
    drop(unread.stdout.take());
    wait_for("wstap to end", || unread.try_wait().expect("a status"));

    let load = ["--requests", "20", "--connections", "1", "--size", "100"];
    let Some(mut client) = scene.client(Runtime::Python, port, &load) else { return };
    client.go();
    assert_eq!(client.summary().requests, 20);
    server.finish();
}
