use std::fs;

use super::selection::{ENDS, wait_for_answers};
use crate::suite::common::peers::Scene;
use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::wstap::{Monitor, get, privileged, program, wait_for};

const LATE: &str = "wstap_processes_tapped_late_total";

/// Children that do not wait may speak before the kernel has placed the probes. Of each of them
/// everything is counted, or wstap says that something may be missing.
#[test]
fn root_children_that_run_before_their_probes_are_counted_and_the_first_is_named() {
    let scene = Scene::new();
    let Some(pair_program) = wss_pair::program().filter(|_| privileged()) else { return };
    let mut pair = Pair::start(&pair_program, &["go", "workers=20", "requests=3", "linger"]);
    let log = scene.path("wstap.log");
    let mut command = program();
    command.args(["--pid", &pair.pid().to_string()]).stderr(fs::File::create(&log).expect("a log"));
    let tap = Monitor::spawn_on_any_port(command);
    let zero = format!("{LATE}{{target=\"wss_pair\"}} 0\n");
    assert!(get(tap.address, "/metrics").contains(&zero));
    pair.go();
    assert_eq!(pair.answers(), 60);
    tap.metrics_when("every child's messages, or that it was late", |m| {
        let late = m.sum(LATE, &[]);
        late >= 1.0 && m.sum("packet_recv_count", &[]) >= (20.0 - late) * 3.0 * ENDS
    });
    let said = fs::read_to_string(&log).expect("a log");
    assert_eq!(said.matches("before its probes were in place").count(), 1, "{said}");
    assert!(said.contains(LATE), "{said}");
}

/// Sockets are tapped when an inspection finds them. Until then nothing on them is counted, and the
/// process is counted as late.
#[test]
fn root_a_process_whose_sockets_are_found_open_is_counted_as_late() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(program) = wss_pair::named(&scene.path(""), "pair-in-clear") else { return };
    let tap = Monitor::start(&["--comm", "pair-in-clear"]);
    assert_eq!(tap.metrics().sum(LATE, &[]), 0.0);
    let mut pair = Pair::start(&program, &["plain", "go", "held", "requests=2", "linger"]);
    // It has no socket yet, so the first inspections find nothing to tap.
    wait_for("its connection", || {
        pair.go();
        has_connection(pair.pid()).then_some(())
    });
    tap.metrics_when("a process that was tapped late", |m| m.sum(LATE, &[]) == 1.0);
    drop(pair);
}

fn has_connection(pid: u32) -> bool {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    targets.any(|target| target.to_string_lossy().starts_with("socket:"))
}

/// Probes are placed in each process by itself, and it runs meanwhile: each is late once at most.
/// What is said after its probes are in place is all counted.
#[test]
fn root_each_process_of_a_name_is_counted_as_late_at_most_once() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(pair_program) = wss_pair::named(&scene.path(""), "pair-in-time") else { return };
    let tap = Monitor::start(&["--comm", "pair-in-time"]);
    for round in 1..=3 {
        let mut pair = Pair::start(&pair_program, &["go", "requests=10"]);
        tap.await_tapped(pair.pid());
        pair.go();
        assert_eq!(pair.finish(), 10);
        wait_for_answers(&tap, 10 * round);
        let late = tap.metrics().sum(LATE, &[]);
        assert!((1.0..=round as f64).contains(&late), "round {round}: {late}");
    }
}
