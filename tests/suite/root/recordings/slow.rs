//! Disks and readers that are too slow: what is written falls behind, and nothing else does.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::suite::common::peers::{Peer, Runtime, Scene};
use crate::suite::common::programs;
use crate::suite::common::wstap::{Metrics, Monitor, privileged, program, wait_for};

/// A disk of its own, on which every write waits while it is frozen.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn mount() -> Self {
        let folder = TempDir::new().expect("a folder");
        let image = folder.path().join("image");
        let disk = Self { folder };
        File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("a file");
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
        fs::create_dir(disk.path()).expect("a folder");
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.path()));
        disk
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn freeze(&self) -> Frozen {
        run(Command::new("fsfreeze").arg("--freeze").arg(self.path()));
        Frozen(self.path())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// The disk stands still while this lives. A process that writes to it cannot even be killed.
struct Frozen(PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.0).status();
    }
}

fn run(command: &mut Command) {
    let output: Output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Whether `file` says so by now.
fn says(file: &Path, words: &str) -> Option<()> {
    fs::read_to_string(file).ok()?.contains(words).then_some(())
}

const REQUESTS: u32 = 400;

/// A server, and a client that asks for far more than may wait for a disk, and stays connected.
fn conversation(scene: &Scene) -> Option<(Peer, Peer)> {
    let (server, port) = scene.server(Runtime::Python, &[])?;
    let requests = REQUESTS.to_string();
    let load = ["--requests", &requests, "--connections", "4", "--size", "60000", "--stay"];
    Some((server, scene.client(Runtime::Python, port, &load)?))
}

/// `wstap replay FILE --listen`, and what it says of the file.
fn replayed(scene: &Scene, file: &Path) -> (Monitor, String) {
    let log = scene.path("replay.log");
    let mut command = program();
    command.arg("replay").arg(file).stderr(File::create(&log).expect("a file"));
    let replay = Monitor::spawn_on_any_port(command);
    wait_for("the end of the replay", || says(&log, "are missing"));
    (replay, fs::read_to_string(log).expect("a log"))
}

/// The disk stands still from before the first message until after the last one.
#[test]
fn root_a_recording_on_a_slow_disk_falls_behind_and_monitoring_and_target_do_not() {
    if !privileged() {
        return;
    }
    let (scene, disk) = (Scene::new(), Disk::mount());
    let Some((mut server, mut client)) = conversation(&scene) else { return };
    let (file, log) = (disk.path().join("recording"), scene.path("wstap.log"));
    let mut command = program();
    command.args(["--pid", &server.pid().to_string(), "--window", "64k", "--ring-size", "32m"]);
    command.arg("--record").arg(&file).stderr(File::create(&log).expect("a file"));
    let tap = Monitor::spawn_on_any_port(command);
    tap.await_tapped(server.pid());
    wait_for("the header", || (fs::metadata(&file).ok()?.len() > 0).then_some(()));
    let frozen = disk.freeze();
    client.go();
    let answered = f64::from(REQUESTS);
    let is_all = |it: &Metrics| it.sum("turnaround_count", &[]) == answered;
    let live = tap.metrics_when("every answer while the disk stands still", is_all);
    live.assert_flawless();
    wait_for("the disk to be too slow", || says(&log, "the disk does not keep up"));
    drop(frozen);
    client.end();
    assert_eq!(client.summary().requests, u64::from(REQUESTS));
    client.wait();
    server.finish();
    tap.metrics_when("the end", |it| it.sum("wstap_connections", &[]) == 0.0);
    let live = tap.metrics();
    live.assert_flawless();
    assert!(tap.terminate().success());

    let (replay, said) = replayed(&scene, &file);
    let seen = replay.metrics();
    let messages = seen.sum("wstap_messages_received_total", &[]);
    assert!(messages < answered, "{messages} messages are in the file; {said}");
    // Every byte has its address: what is not in the file shows as a gap of its size.
    let ways = ["sent", "received"].map(|way| format!("wstap_plaintext_bytes_{way}_total"));
    let bytes = |it: &Metrics| ways.iter().map(|name| it.sum(name, &[])).sum::<f64>();
    let gaps = seen.sum("wstap_gap_bytes_total", &[]);
    eprintln!("{} bytes passed, {gaps} of them in gaps", bytes(&live));
    assert_eq!(bytes(&seen), bytes(&live));
    assert!(gaps > 0.0 && gaps < bytes(&live), "{gaps}");
    let missing = said.split_once(" events with ").and_then(|(_, rest)| rest.split(' ').next());
    assert_eq!(missing, Some(gaps.to_string().as_str()), "{said}");
    eprintln!("{}", said.trim());
}

/// A pipe that nobody reads for a while, with packets in it.
#[test]
fn root_packets_whose_reader_is_slow_are_left_out_and_counted_in_the_file() {
    const MESSAGES: u64 = 20;
    if !privileged() {
        return;
    }
    let Some(tshark) = programs::find("tshark") else { return };
    let scene = Scene::new();
    let Some((mut server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let load = ["--requests", "10", "--size", "5000000"];
    let Some(mut client) = scene.client(Runtime::Python, port, &load) else { return };
    let (log, piped) = (scene.path("wstap.log"), scene.path("packets.pcapng"));
    let mut command = program();
    command.args(["messages", "-v", "--pid", &server.pid().to_string(), "--format", "pcapng"]);
    command.args(["-o", "-", "--ring-size", "64m"]).stdout(Stdio::piped());
    let mut tap = command.stderr(File::create(&log).expect("a file")).spawn().expect("it starts");
    let mut pipe = tap.stdout.take().expect("piped");
    wait_for("the tap", || says(&log, "attached"));
    client.go();
    assert_eq!(client.summary().requests, MESSAGES / 2, "the target is not held up");
    client.wait();
    server.finish();
    wait_for("the reader to be too slow", || says(&log, "messages are left out"));
    // Everything has passed, and the tap has ended with its target: now somebody reads.
    io::copy(&mut pipe, &mut File::create(&piped).expect("a file")).expect("all of it");
    assert!(tap.wait().expect("it ends").success());
    let said = fs::read_to_string(&log).expect("a log");
    assert!(!said.contains("were lost"), "{said}");
    let left_out = said.lines().find_map(|line| {
        let before = line.split_once(" messages are not in the file")?.0;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    });
    let left_out = left_out.unwrap_or_else(|| panic!("{said}"));
    let field = |filter: &str, field: &str| -> Vec<u64> {
        let mut command = Command::new(&tshark);
        command.arg("-r").arg(&piped).args(["-Y", filter, "-T", "fields", "-e", field]);
        let output = command.stderr(Stdio::null()).output().expect("tshark starts");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    let kept = field("websocket.opcode in {1, 2}", "frame.number").len() as u64;
    let dropped: u64 = field("frame.drop_count", "frame.drop_count").iter().sum();
    eprintln!("{kept} messages are in the file, {left_out} are not, {dropped} are counted there");
    assert_eq!((kept + left_out, dropped), (MESSAGES, left_out));
    assert!(kept > 0 && left_out > 0);
}
