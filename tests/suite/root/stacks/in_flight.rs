use std::fs;
use std::path::{Path, PathBuf};

use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::peers::{Scene, installed};
use crate::suite::common::wstap::{Monitor, privileged, wait_for};

/// `SYS_read` of x86-64.
const READ: &str = "0 ";

/// The client waits in the library for the first answer when wstap comes, and the server for
/// permission to give it.
fn with_a_read_in_flight(program: &Path) -> Pair {
    let mut pair = Pair::start(program, &["go", "held", "requests=3", "linger"]);
    pair.go();
    let tasks = format!("/proc/{}/task", pair.pid());
    let is_reading = |task: PathBuf| {
        fs::read_to_string(task.join("syscall")).is_ok_and(|text| text.starts_with(READ))
    };
    wait_for("two threads that read", || {
        let tasks = fs::read_dir(&tasks).ok()?.flatten();
        (tasks.filter(|task| is_reading(task.path())).count() == 2).then_some(())
    });
    pair
}

/// Three builds of OpenSSL. A read that had begun before its probes were there is counted with the
/// others, or told as a call in flight.
#[test]
fn root_a_read_that_was_in_flight_is_counted_or_told_as_such() {
    if !privileged() || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let scene = Scene::new();
    let programs = [
        wss_pair::named(&scene.path(""), "pair-shared"),
        wss_pair::static_program(),
        installed("wss_pair_musl"),
    ];
    // Where one probe sees all of a read, nothing is missing; where it takes two, the first was missed.
    let sites: [&[&str]; 2] = [&[], &["--probe-site", "symbol"]];
    for program in programs.into_iter().flatten() {
        for site in sites {
            let mut pair = with_a_read_in_flight(&program);
            let tap = Monitor::attach(pair.pid(), site);
            pair.go();
            assert_eq!(pair.answers(), 3);
            // Since then the server was asked twice, and has answered three times.
            let passed = 3.0 + 2.0;
            tap.metrics_when("all that passed since", |m| {
                let told = m.sum("wstap_lost_records_total", &["reason=\"in_flight\""]);
                m.sum("packet_send_count", &[]) == passed
                    && m.sum("packet_recv_count", &[]) + told == passed
            });
            pair.end();
        }
    }
}
