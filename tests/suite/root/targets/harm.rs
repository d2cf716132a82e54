use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::process::Child;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::suite::common::peers::many::Many;
use crate::suite::common::peers::{Peer, Runtime, Scene};
use crate::suite::common::wstap::{Monitor, privileged, program, signal, wait_for};

/// The bytes in the target's memory at every site that wstap would probe.
fn probed_bytes(pid: u32) -> Vec<(String, Vec<u8>)> {
    let output = program().args(["probes", "--json", "--pid", &pid.to_string()]).output();
    let output = output.expect("wstap runs");
    let mut found = Vec::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let row: Value = serde_json::from_str(line).expect("JSON");
        let (file, offset) = (row["file"].as_str().expect("a file"), row["offset"].as_u64());
        let address = address_of(pid, file, offset.expect("an offset"));
        let mut memory = fs::File::open(format!("/proc/{pid}/mem")).expect("memory");
        memory.seek(SeekFrom::Start(address)).expect("a seek");
        let mut bytes = vec![0; 16];
        memory.read_exact(&mut bytes).expect("16 bytes");
        found.push((format!("{file}+{offset:?}"), bytes));
    }
    assert!(found.len() >= 4, "probes: {found:?}");
    found
}

/// Where a file offset is mapped.
fn address_of(pid: u32, file: &str, offset: u64) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    for line in maps.lines().filter(|line| line.ends_with(file)) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let hex = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
        let (start, end) = fields[0].split_once('-').expect("a range");
        let (start, end, at) = (hex(start), hex(end), hex(fields[2]));
        if (at..at + (end - start)).contains(&offset) {
            return start + (offset - at);
        }
    }
    panic!("{file}+{offset:#x} is not mapped in {pid}");
}

fn wait_until_clean(pid: u32, before: &[(String, Vec<u8>)]) {
    wait_for("the probes to go", || (probed_bytes(pid) == before).then_some(()));
}

fn begin(scene: &Scene, requests: &str) -> Option<(Peer, Peer)> {
    let (server, port) = scene.server(Runtime::Python, &[])?;
    let load = ["--requests", requests, "--connections", "4", "--pause", "0.001"];
    let client = scene.client(Runtime::Python, port, &load)?;
    Some((server, client))
}

/// Nobody's work may depend on wstap ending well.
#[test]
fn root_a_target_works_on_when_wstap_is_killed_and_no_probe_stays() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((mut server, mut client)) = begin(&scene, "6000") else { return };
    let before = probed_bytes(server.pid());
    let tap = Monitor::attach(server.pid(), &[]);
    assert_ne!(probed_bytes(server.pid()), before, "probes are in place");
    client.go();
    tap.metrics_when("some answers", |m| m.sum("turnaround_count", &[]) > 500.0);
    tap.kill();
    wait_until_clean(server.pid(), &before);
    assert_eq!(client.summary().requests, 6_000);
    assert!(server.is_running());
    assert_eq!(server.finish().requests, 6_000);
    assert_eq!(server.transcript(), client_view(&client), "both sides saw the same");
}

/// A client's log with the directions as the server sees them.
fn client_view(client: &Peer) -> crate::suite::common::peers::Transcript {
    let mut transcript = client.transcript();
    transcript.iter_mut().for_each(|connection| connection.reverse());
    crate::suite::common::peers::sorted(transcript)
}

/// A clean end leaves nothing either, and attaching again works.
#[test]
fn root_a_target_can_be_tapped_again_and_again() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    // More than will be said before the last tap is done.
    let Some((mut server, mut client)) = begin(&scene, "1000000") else { return };
    let before = probed_bytes(server.pid());
    client.go();
    for _ in 0..3 {
        let tap = Monitor::attach(server.pid(), &[]);
        tap.metrics_when("some messages", |m| m.sum("packet_recv_count", &[]) > 50.0);
        assert!(tap.terminate().success());
        wait_until_clean(server.pid(), &before);
    }
    assert!(server.is_running() && client.is_running());
}

/// The exporter outlives its target and says so.
#[test]
fn root_the_exporter_goes_on_serving_when_its_target_ends() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((mut server, mut client)) = begin(&scene, "40") else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    client.go();
    client.summary();
    tap.metrics_when("the target to be up", |m| m.sum("wstap_target_up", &[]) == 1.0);
    server.finish();
    drop(server);
    let metrics =
        tap.metrics_when("the target to be down", |m| m.sum("wstap_target_up", &[]) == 0.0);
    assert_eq!(metrics.sum("turnaround_count", &[]), 40.0);
    assert!(tap.terminate().success());
}

/// `--exit-with-target` is for scripts.
#[test]
fn root_wstap_ends_with_its_target_where_that_is_asked_for() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((mut server, _client)) = begin(&scene, "40") else { return };
    let tap = Monitor::attach(server.pid(), &["--exit-with-target"]);
    tap.metrics_when("the target to be up", |m| m.sum("wstap_target_up", &[]) == 1.0);
    server.finish();
    drop(server);
    assert!(tap.wait().success());
}

/// Ends with the test.
struct Tap(Child);

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who looks at the terminal sees what became of the target, and in the end what was seen.
#[test]
fn root_the_end_of_a_target_is_said_and_that_of_the_tap_has_a_summary() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((mut server, mut client)) = begin(&scene, "40") else { return };
    let printed = scene.path("wstap.out");
    let said = || fs::read_to_string(&printed).expect("what was printed");
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--pid", &server.pid().to_string()]);
    command.stdout(fs::File::create(&printed).expect("a file"));
    let mut tap = Tap(command.spawn().expect("wstap starts"));
    wait_for("the tap", || said().contains("tapping pid ").then_some(()));
    client.go();
    client.summary();
    server.finish();
    drop(server);
    wait_for("the end of the target to be said", || said().contains("has ended").then_some(()));
    signal(tap.0.id(), Signal::INT);
    let status = wait_for("wstap to end", || tap.0.try_wait().expect("a status"));
    assert!(status.success());
    let said = said();
    assert!(said.contains("40 received, 40 requests answered, 0 waiting"), "{said}");
}

/// Where nothing passes, wstap sleeps: each of its threads looks for what nobody wakes it for, and that is all.
#[test]
fn root_without_traffic_wstap_hardly_ever_wakes() {
    let Some(mut peer) = Many::start(10).filter(|_| privileged()) else { return };
    let tap = Monitor::attach(peer.pid(), &[]);
    peer.does("open");
    peer.does("say");
    tap.metrics_when("an answer on each", |m| m.sum("turnaround_count", &[]) == 20.0);
    let wakes = |seconds: u64| {
        let before = switches(tap.pid());
        thread::sleep(Duration::from_secs(seconds));
        switches(tap.pid()) - before
    };
    // It sleeps longer and longer.
    wait_for("wstap to come to rest", || (wakes(2) < 10).then_some(()));
    // What passes then is seen as ever.
    peer.does("say");
    tap.metrics_when("another one", |m| m.sum("turnaround_count", &[]) == 40.0);
}

/// How often the threads of a process have gone to sleep.
fn switches(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    let of_thread = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|it| it.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    threads.flatten().map(of_thread).sum()
}
