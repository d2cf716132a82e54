use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::suite::common::peers::mixed::{finish, say};
use crate::suite::common::peers::{Peer, Runtime, Scene};
use crate::suite::common::wstap::{privileged, program, signal, wait_for};

/// A server that is being recorded, and a client that is about to load it.
struct Recorded {
    server: Peer,
    client: Peer,
    tap: Child,
}

impl Recorded {
    /// Returns when the recording has begun.
    fn begin(scene: &Scene, file: &Path, arguments: &[&str]) -> Option<Self> {
        let load = ["--messages", "900", "--connections", "2"];
        let (server, client, _) = scene.mixed(Runtime::Python, Runtime::Python, &load)?;
        let mut command = program();
        command.args(["record", "-v", "--pid", &server.pid().to_string(), "-o"]).arg(file);
        command.args(["--payload", "all", "--ring-size", "32m"]);
        let log = scene.path("recording.log");
        command.args(arguments).stderr(fs::File::create(&log).expect("a file"));
        let tap = command.spawn().expect("wstap starts");
        wait_for("the tap", || fs::read_to_string(&log).ok()?.contains("attached").then_some(()));
        Some(Self { server, client, tap })
    }

    /// Lets the client say its part, and waits until wstap has ended; returns what it logged.
    fn end(mut self, scene: &Scene, ends_itself: bool) -> String {
        assert!(say(&mut self.client) > 900.0, "the target is not harmed");
        if !ends_itself {
            signal(self.tap.id(), Signal::TERM);
        }
        wait_for("wstap to end", || self.tap.try_wait().expect("a status"));
        self.client.wait();
        finish(&mut self.server);
        fs::read_to_string(scene.path("recording.log")).expect("a log")
    }
}

fn replay(files: &[PathBuf]) -> Output {
    let mut command = program();
    command.arg("replay").args(files).arg("--json");
    let output = command.output().expect("wstap runs");
    assert!(output.status.success(), "{output:?}");
    output
}

fn lines(output: &Output) -> usize {
    output.stdout.iter().filter(|byte| **byte == b'\n').count()
}

fn complaints(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn root_a_rotated_recording_keeps_its_latest_files_and_they_replay_as_one() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let file = scene.path("recording");
    let arguments = ["--rotate", "2", "--max-size", "256k"];
    let Some(recorded) = Recorded::begin(&scene, &file, &arguments) else { return };
    recorded.end(&scene, false);
    let parts: Vec<PathBuf> = [1, 2].map(|part| scene.path(&format!("recording.{part}"))).into();
    for part in &parts {
        let metadata = fs::metadata(part).expect("a file");
        assert!(metadata.len() <= 256 << 10, "{}", metadata.len());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
    assert!(!scene.path("recording.3").exists());
    let output = replay(&parts);
    assert!(lines(&output) > 100, "{}", lines(&output));
    let said = complaints(&output);
    assert!(said.contains("the one before it is not there"), "{said}");
    assert!(!said.contains("is cut") && !said.contains("damaged"), "{said}");
}

#[test]
fn root_a_recording_ends_at_its_largest_size_and_at_its_time_and_is_whole() {
    if !privileged() {
        return;
    }
    for (arguments, why) in
        [(["--max-size", "256k"], "has reached --max-size"), (["--duration", "500ms"], "recorded")]
    {
        let scene = Scene::new();
        let file = scene.path("recording");
        let Some(recorded) = Recorded::begin(&scene, &file, &arguments) else { return };
        let log = recorded.end(&scene, true);
        assert!(log.contains(why), "{log}");
        let size = fs::metadata(&file).expect("a file").len();
        assert!(size <= 256 << 10 || arguments[0] != "--max-size", "{size}");
        let output = replay(&[file]);
        assert_eq!(complaints(&output), "", "it is whole");
    }
}

/// A disk of its own, which is small.
struct Disk(TempDir);

impl Disk {
    fn mount() -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(folder.path());
        assert!(mount.status().expect("mount runs").success());
        Self(folder)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn root_a_full_disk_ends_the_recording_with_a_sentence_and_its_whole_blocks() {
    if !privileged() {
        return;
    }
    let (scene, disk) = (Scene::new(), Disk::mount());
    let file = disk.0.path().join("recording");
    let Some(recorded) = Recorded::begin(&scene, &file, &[]) else { return };
    let log = recorded.end(&scene, true);
    assert!(log.contains("No space left on device") && log.contains("are whole"), "{log}");
    let output = replay(&[file]);
    assert!(lines(&output) > 100, "{}", lines(&output));
    let said = complaints(&output);
    assert!(said.contains("it has no end") && !said.contains("it is cut"), "{said}");
}

#[test]
fn root_a_pipe_that_closes_ends_the_recording_and_not_the_target() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let Some((mut server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let load = ["--requests", "2000", "--connections", "2", "--size", "1500"];
    let Some(mut client) = scene.client(Runtime::Python, port, &load) else { return };
    let mut command = program();
    command.args(["record", "-v", "--pid", &server.pid().to_string(), "-o", "-"]);
    let log = scene.path("recording.log");
    command.stdout(Stdio::piped()).stderr(fs::File::create(&log).expect("a file"));
    let mut tap = command.spawn().expect("wstap starts");
    let mut first = [0; 100];
    tap.stdout.take().expect("piped").read_exact(&mut first).expect("the header");
    wait_for("the tap", || fs::read_to_string(&log).ok()?.contains("attached").then_some(()));
    client.go();
    assert_eq!(client.summary().requests, 2000);
    wait_for("wstap to end", || tap.try_wait().expect("a status"));
    let log = fs::read_to_string(&log).expect("a log");
    assert!(log.contains("Broken pipe"), "{log}");
    client.wait();
    server.finish();
}
