use std::fs;

use super::selection::{ENDS, wait_for_answers};
use crate::suite::common::peers::Scene;
use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::wstap::{Monitor, get, privileged, program};

const LATE: &str = "wstap_processes_tapped_late_total";

/// Children that do not wait may speak before the kernel has placed the probes. Of each of them
/// everything is counted, or it is told that something may be missing.
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
