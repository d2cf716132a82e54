use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::suite::common::peers::{Runtime, Scene};
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

#[test]
fn root_a_recording_replays_to_the_metrics_that_were_served_live() {
    if !privileged() {
        return;
    }
    for (runtime, overflows) in
        [(Runtime::Python, false), (Runtime::Node, false), (Runtime::Python, true)]
    {
        let scene = Scene::new();
        let Some((mut server, port)) = scene.server(runtime, &[]) else { return };
        let load = ["--requests", "400", "--connections", "4", "--size", "900"];
        let Some(mut client) = scene.client(Runtime::Python, port, &load) else { return };
        let file = scene.path("recording");
        let path = file.to_str().expect("a path");
        let monitor = Monitor::attach(server.pid(), &["--record", path, "--ring-size", "64k"]);
        monitor.await_tapped(server.pid());
        // While wstap stands still the ring buffer overflows.
        let stop = |what| signal(monitor.pid(), what);
        overflows.then(|| stop(Signal::STOP));
        client.go();
        client.summary();
        overflows.then(|| stop(Signal::CONT));
        client.wait();
        server.finish();
        monitor.metrics_when("the end of the server", |metrics| {
            metrics.sum("wstap_target_up", &[]) == 0.0
                && metrics.sum("wstap_connections", &[]) == 0.0
                && metrics.sum("wstap_messages_received_total", &[]) > 0.0
        });
        let lost = monitor.metrics().sum("wstap_lost_records_total", &[]);
        assert_eq!(lost > 0.0, overflows, "{runtime:?}: {lost} records were lost");
        let mode = fs::metadata(&file).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        compare_metrics(&monitor, &file);
    }
}

#[test]
fn root_a_recording_replays_to_the_lines_that_were_printed_live() {
    if !privileged() {
        return;
    }
    for (server, mid_stream) in
        [(Runtime::Python, false), (Runtime::Node, false), (Runtime::Python, true)]
    {
        let scene = Scene::new();
        let Some((mut server, port)) = scene.server(server, &[]) else { return };
        let load = ["--requests", "200", "--connections", "2", "--size", "700"];
        let Some(mut client) = scene.client(Runtime::Python, port, &load) else { return };
        if mid_stream {
            client.go();
        }
        let file = scene.path("recording");
        let tap = Frames::attach(server.pid(), &["--record", file.to_str().expect("a path")]);
        if !mid_stream {
            client.go();
        }
        client.summary();
        client.wait();
        server.finish();
        let live = tap.finish();
        let replayed = replayed(&file);
        assert_eq!(live.len(), replayed.len());
        for (live, replayed) in live.iter().zip(&replayed) {
            assert_eq!(live, replayed);
        }
        assert!(mid_stream || live.len() >= 400, "{} lines", live.len());
    }
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
