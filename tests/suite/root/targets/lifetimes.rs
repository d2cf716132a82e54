use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::peers::{Scene, installed};
use crate::suite::common::wstap::{Metrics, Monitor, privileged, wait_for};

const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu";

/// A conversation over libraries of its own, which waits to be told to begin.
fn over_copies(scene: &Scene, folder: &Path) -> Option<Pair> {
    let program = wss_pair::named(&scene.path(""), "pair")?;
    fs::create_dir(folder).expect("a folder");
    for library in ["libssl.so.3", "libcrypto.so.3"] {
        fs::copy(Path::new(LIBRARIES).join(library), folder.join(library)).expect("a copy");
    }
    let mut command = Command::new(program);
    command.args(["go", "requests=20", "linger"]).env("LD_LIBRARY_PATH", folder);
    let pair = Pair::spawn(command);
    let copy = folder.join("libssl.so.3").display().to_string();
    wait_for("the copy to be mapped", || {
        let maps = fs::read_to_string(format!("/proc/{}/maps", pair.pid())).ok()?;
        maps.contains(&copy).then_some(())
    });
    Some(pair)
}

fn assert_tapped(mut pair: Pair) {
    let tap = Monitor::attach(pair.pid(), &[]);
    pair.go();
    assert_eq!(pair.answers(), 20);
    let metrics = tap.metrics_when("both ends", |m| m.sum("turnaround_count", &[]) >= 40.0);
    assert_eq!(metrics.sum("turnaround_count", &[]), 40.0);
    metrics.assert_flawless();
}

/// The library of a process that was upgraded under it is gone from the disk, not from memory.
#[test]
fn root_a_deleted_library_is_tapped_all_the_same() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let folder = scene.path("libraries");
    let Some(pair) = over_copies(&scene, &folder) else { return };
    fs::remove_file(folder.join("libssl.so.3")).expect("removed");
    assert_tapped(pair);
}

/// A package upgrade leaves another file at its path, on which a probe would never fire.
#[test]
fn root_a_library_that_was_replaced_is_tapped_where_it_is_mapped() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let folder = scene.path("libraries");
    let Some(pair) = over_copies(&scene, &folder) else { return };
    let newer = folder.join("newer");
    fs::copy(Path::new(LIBRARIES).join("libssl.so.3"), &newer).expect("a copy");
    fs::rename(&newer, folder.join("libssl.so.3")).expect("replaced");
    assert_tapped(pair);
}

/// Each library has its own idea of a connection; a process may use several side by side.
#[test]
fn root_two_libraries_in_one_process_are_tapped_side_by_side() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(mut both) = scene.two_stacks("300") else { return };
    let tap = Monitor::attach(both.pid(), &[]);
    both.go();
    assert_eq!(both.summary().requests, 300);
    let metrics = tap.metrics_when("both ends", |m| m.sum("turnaround_count", &[]) >= 600.0);
    for origin in ["origin=\"local\"", "origin=\"remote\""] {
        assert_eq!(metrics.sum("wstap_requests_total", &[origin]), 300.0, "{origin}");
    }
    for library in ["library=\"openssl\"", "library=\"gnutls\""] {
        assert!(metrics.sum("wstap_probe_attached", &[library]) >= 3.0, "{library}");
    }
    metrics.assert_flawless();
}

/// What runs on Alpine: another loader, another C library, OpenSSL 1.1.1 as a shared library.
#[test]
fn root_a_program_for_musl_is_tapped_before_and_after_its_start() {
    if !privileged() {
        return;
    }
    let Some(program) = installed("wss_pair_musl") else { return };
    let mut early = Pair::start(&program, &["go", "requests=20", "linger"]);
    let tap = Monitor::start(&["--comm", "wss_pair_musl"]);
    tap.await_tapped(early.pid());
    early.go();
    assert_eq!(early.answers(), 20);
    let mut late = Pair::start(&program, &["go", "requests=30"]);
    tap.await_tapped(late.pid());
    late.go();
    assert_eq!(late.finish(), 30);
    let metrics = tap.metrics_when("both ends", |m| m.sum("turnaround_count", &[]) >= 100.0);
    assert_eq!(metrics.sum("turnaround_count", &[]), 100.0);
    assert_eq!(metrics.sum("wstap_connections_opened_total", &[]), 4.0);
    metrics.assert_flawless();
}

/// Who gave a pid meant the process that had it. One that is found by name may have the pid of an
/// earlier one, and the addresses of its connections besides.
#[test]
fn root_a_process_with_the_pid_of_an_earlier_one_is_another() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(program) = wss_pair::named(&scene.path(""), "pair-again") else { return };
    let by_name = Monitor::start(&["--comm", "pair-again"]);
    let mut first = Pair::start(&program, &["go", "requests=10"]);
    let pid = first.pid();
    let by_pid = Monitor::attach(pid, &[]);
    first.go();
    assert_eq!(first.finish(), 10);
    let down = |m: &Metrics| m.sum("wstap_target_up", &[]) == 0.0;
    by_pid.metrics_when("the target to be down", down);
    let mut second = with_pid(pid, &program);
    // All processes are looked at in between: every 5 s.
    thread::sleep(Duration::from_secs(6));
    second.go();
    assert_eq!(second.finish(), 10);
    let metrics = by_name.metrics_when("both", |m| m.sum("turnaround_count", &[]) >= 40.0);
    assert_eq!(metrics.sum("turnaround_count", &[]), 40.0);
    assert_eq!(metrics.sum("wstap_connections_opened_total", &[]), 4.0);
    metrics.assert_flawless();
    let metrics = by_pid.metrics();
    assert_eq!(metrics.sum("turnaround_count", &[]), 20.0);
    assert!(down(&metrics));
}

/// A process of this pid, which waits to be told to begin. The kernel gives the next free pid after
/// the last one; other tests start processes meanwhile, so it takes some attempts.
fn with_pid(pid: u32, program: &Path) -> Pair {
    wait_for("the pid to be given again", || {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("a last pid");
        let pair = Pair::start(program, &["go", "requests=10"]);
        (pair.pid() == pid).then_some(pair)
    })
}
