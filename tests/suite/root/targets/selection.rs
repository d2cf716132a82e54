use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::peers::{Runtime, Scene, installed};
use crate::suite::common::wstap::{Metrics, Monitor, privileged, resident_kb, signal, wait_for};

/// Every exchange is seen from both ends.
pub(super) const ENDS: f64 = 2.0;

pub(super) fn wait_for_answers(tap: &Monitor, answers: u64) {
    let all = answers as f64 * ENDS;
    let what = format!("{all} turnarounds");
    let metrics = tap.metrics_when(&what, |m| m.sum("turnaround_count", &[]) >= all);
    assert_eq!(metrics.sum("turnaround_count", &[]), all);
    metrics.assert_flawless();
}

/// A prefork server: the children do all the work, and a pid filter does not follow fork.
#[test]
fn root_children_of_a_process_are_tapped_like_itself() {
    let Some(program) = wss_pair::program().filter(|_| privileged()) else { return };
    let mut pair = Pair::start(&program, &["go", "gate", "workers=4", "requests=50", "linger"]);
    let tap = Monitor::attach(pair.pid(), &[]);
    pair.go();
    tap.await_all_tapped(1 + 4);
    pair.go();
    assert_eq!(pair.answers(), 200);
    wait_for_answers(&tap, 200);
}

/// Each child has probes of its own, which no other process sees: some links for each, and they are
/// gone when the child is.
#[test]
fn root_a_hundred_children_are_tapped_each_by_itself() {
    let Some(program) = wss_pair::program().filter(|_| privileged()) else { return };
    let mut pair = Pair::start(&program, &["go", "gate", "workers=100", "requests=3", "linger"]);
    let tap = Monitor::attach(pair.pid(), &[]);
    let before = open_files(tap.pid());
    pair.go();
    tap.await_all_tapped(1 + 100);
    pair.go();
    assert_eq!(pair.answers(), 300);
    wait_for_answers(&tap, 300);
    // Each child had four, and it has ended.
    let few = before + 40;
    wait_for("the descriptors to be closed", || (open_files(tap.pid()) <= few).then_some(()));
}

#[test]
fn root_children_are_left_alone_where_that_is_asked_for() {
    let Some(program) = wss_pair::program().filter(|_| privileged()) else { return };
    let mut pair = Pair::start(&program, &["go", "workers=4", "requests=50", "linger"]);
    let tap = Monitor::attach(pair.pid(), &["--no-children"]);
    pair.go();
    assert_eq!(pair.answers(), 200);
    assert_eq!(tap.metrics().sum("turnaround_count", &[]), 0.0);
}

/// The master's pid is all that a user knows: workers that run already are found, and so are those
/// that a reload starts.
#[test]
fn root_nginx_s_workers_are_found_from_the_master_before_and_after_a_reload() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((_server, upstream)) = scene.server(Runtime::Node, &["--plain"]) else { return };
    let Some(nginx) = crate::suite::root::stacks::nginx::Nginx::start(&scene, upstream) else {
        return;
    };
    let first = nginx.worker();
    let tap = Monitor::attach(nginx.pid(), &[]);
    let ask = |requests: &str| {
        let load = ["--requests", requests, "--connections", "5"];
        let mut client = scene.client(Runtime::Python, nginx.port(), &load).expect("a runtime");
        client.go();
        client.summary().requests
    };
    assert_eq!(ask("100"), 100);
    crate::suite::common::wstap::signal(nginx.pid(), Signal::HUP);
    wait_for("another worker", || (nginx.worker() != first).then_some(()));
    assert_eq!(ask("150"), 150);
    // Each on the clients' leg and on the one to the server behind.
    let metrics = tap.metrics_when("500 answers", |m| m.sum("turnaround_count", &[]) == 500.0);
    metrics.assert_flawless();
}

/// `--comm` finds what runs and what will run, under one name.
#[test]
fn root_a_name_selects_processes_that_run_and_processes_to_come() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(program) = wss_pair::named(&scene.path(""), "pair-by-name") else { return };
    let mut early = Pair::start(&program, &["go", "requests=20", "linger"]);
    let tap = Monitor::start(&["--comm", "pair-by-name"]);
    tap.await_tapped(early.pid());
    early.go();
    assert_eq!(early.answers(), 20);
    wait_for_answers(&tap, 20);
    let mut late = Pair::start(&program, &["go", "requests=30"]);
    tap.await_tapped(late.pid());
    late.go();
    assert_eq!(late.finish(), 30);
    wait_for_answers(&tap, 50);
    let metrics = tap.metrics();
    assert_eq!(metrics.sum("wstap_target_up", &["target=\"pair-by-name\""]), 1.0);
}

/// A target that restarts is picked up again, and is down in between.
#[test]
fn root_a_target_that_restarts_is_picked_up_again_by_its_name() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(program) = wss_pair::named(&scene.path(""), "pair-restarts") else { return };
    let exe = format!("{}$", program.display());
    let tap = Monitor::start(&["--exe", &exe]);
    for round in 1..=3 {
        let up = |m: &crate::suite::common::wstap::Metrics| m.sum("wstap_target_up", &[]) == 1.0;
        let mut pair = Pair::start(&program, &["go", "requests=10", "linger"]);
        tap.await_tapped(pair.pid());
        assert!(up(&tap.metrics()));
        pair.go();
        assert_eq!(pair.finish(), 10);
        tap.metrics_when("the target to be down", |m| !up(m));
        wait_for_answers(&tap, 10 * round);
    }
}

/// OpenSSL is linked into the executable, so no loader reports a library.
#[test]
fn root_a_static_executable_is_tapped_when_it_starts() {
    let Some(program) = wss_pair::static_program().filter(|_| privileged()) else { return };
    let tap = Monitor::start(&["--comm", "wss_pair_static"]);
    let mut pair = Pair::start(&program, &["go", "requests=10"]);
    tap.await_tapped(pair.pid());
    pair.go();
    assert_eq!(pair.finish(), 10);
    wait_for_answers(&tap, 10);
}

/// Python maps libssl with its first `import ssl`, and the kernel reports that.
#[test]
fn root_a_library_that_is_loaded_late_is_tapped_before_its_first_use() {
    if !privileged() {
        return;
    }
    let Some(python) = installed("venv/bin/python") else { return };
    let script = "import sys, time; sys.stdin.readline(); import ssl; time.sleep(0.05); \
                  context = ssl.create_default_context(); a, b = ssl.MemoryBIO(), ssl.MemoryBIO(); \
                  context.check_hostname = False; context.wrap_bio(a, b); print(1, flush=True); \
                  sys.stdin.readline()";
    let mut command = Command::new(python);
    command.args(["-c", script]);
    let mut late = Pair::spawn(command);
    let tap = Monitor::attach(late.pid(), &["--wait"]);
    assert_eq!(tap.metrics().sum("wstap_target_up", &[]), 0.0);
    let began = Instant::now();
    late.go();
    late.answers();
    tap.metrics_when("libssl to be tapped", |m| {
        m.sum("wstap_probe_attached", &["library=\"openssl\""]) >= 4.0
    });
    assert!(began.elapsed() < Duration::from_secs(4), "by an event, not by the slow look");
}

/// exec keeps the pid and replaces everything else.
#[test]
fn root_a_process_that_becomes_another_program_stays_tapped() {
    let Some(program) = wss_pair::program().filter(|_| privileged()) else { return };
    let mut command = Command::new("sh");
    let run = format!("read go; exec {} go requests=25 linger", program.display());
    command.args(["-c", &run]);
    let mut pair = Pair::spawn(command);
    let tap = Monitor::attach(pair.pid(), &["--wait"]);
    pair.go();
    tap.await_tapped(pair.pid());
    pair.go();
    assert_eq!(pair.answers(), 25);
    wait_for_answers(&tap, 25);
}

/// Connections that a process leaves open when it is killed end with it.
#[test]
fn root_connections_of_a_killed_process_are_closed_and_its_requests_aborted() {
    let Some(program) = wss_pair::program().filter(|_| privileged()) else { return };
    let mut pair = Pair::start(&program, &["go", "pause=60000", "linger"]);
    let tap = Monitor::attach(pair.pid(), &[]);
    pair.go();
    tap.metrics_when("a request", |m| m.sum("wstap_requests_pending", &[]) == ENDS);
    drop(pair);
    let metrics = tap.metrics_when("no connection", |m| m.sum("wstap_connections", &[]) == 0.0);
    assert_eq!(metrics.sum("wstap_requests_total", &["outcome=\"aborted\""]), ENDS);
    assert_eq!(metrics.sum("wstap_requests_pending", &[]), 0.0);
}

/// Nothing of the conversation may pass before the probes are there, though the process does not
/// wait: not in a shared library, not in a static executable, not behind a shell's exec.
#[test]
fn root_a_command_is_tapped_from_its_first_byte() {
    let (Some(shared), Some(linked)) = (wss_pair::program(), wss_pair::static_program()) else {
        return;
    };
    if !privileged() {
        return;
    }
    let shell = format!("exec {} requests=25", shared.display());
    let command = |program: &Path| vec![program.display().to_string(), "requests=25".into()];
    for command in
        [command(&shared), command(&linked), vec!["sh".to_owned(), "-c".to_owned(), shell.clone()]]
    {
        // It ends with the command.
        let mut frames = crate::suite::common::wstap::program();
        frames.args(["messages", "--json", "--"]).args(&command);
        let output = frames.output().expect("wstap runs");
        let said = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{said}");
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(!log.contains("before its probes were in place"), "{command:?}: {log}");
        let exchanges = said.lines().filter(|line| line.contains("\"event\":\"exchange\""));
        assert_eq!(exchanges.count(), 50, "{command:?}: {said}");
        let opened = said.lines().filter(|line| line.contains("\"event\":\"open\""));
        assert_eq!(opened.count(), 2, "{command:?}: {said}");
    }
}

/// Several targets, each with its name and its protocol, from the configuration file.
#[test]
fn root_targets_of_the_configuration_file_have_their_own_names_and_protocols() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let folder = scene.path("");
    let (Some(one), Some(two)) = (wss_pair::named(&folder, "one"), wss_pair::named(&folder, "two"))
    else {
        return;
    };
    let file = scene.path("wstap.toml");
    let text = "[[target]]\nname = \"first\"\ncomm = [\"one\"]\n
                [[target]]\nname = \"second\"\nexe = [\"/two$\"]\nprotocol = \"ocpp\"\n";
    fs::write(&file, text).expect("a file");
    let tap = Monitor::start(&["--config", file.to_str().expect("a path")]);
    let run = |program: &Path| {
        let mut pair = Pair::start(program, &["go", "requests=10"]);
        tap.await_tapped(pair.pid());
        pair.go();
        pair.finish()
    };
    assert_eq!((run(&one), run(&two)), (10, 10));
    let metrics = tap.metrics_when("both", |m| {
        m.sum("wstap_messages_sent_total", &["target=\"second\""]) == 20.0
    });
    assert_eq!(metrics.sum("wstap_requests_total", &["target=\"first\""]), 20.0);
    // What is no OCPP has no ids there.
    assert_eq!(metrics.sum("wstap_requests_total", &["target=\"second\""]), 0.0);
}

/// wstap stands still while some processes come and go, as on a machine that is too busy for it.
#[test]
fn root_processes_that_end_before_wstap_comes_to_them_are_counted() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(program) = wss_pair::named(&scene.path(""), "pair-gone") else { return };
    let tap = Monitor::start(&["--comm", "pair-gone"]);
    // The first one shows which library it is.
    let mut first = Pair::start(&program, &["go", "requests=0"]);
    tap.await_tapped(first.pid());
    first.go();
    assert_eq!(first.finish(), 0);
    let late = |m: &Metrics| m.sum("wstap_processes_tapped_late_total", &[]);
    let before = late(&tap.metrics());
    signal(tap.pid(), Signal::STOP);
    for _ in 0..5 {
        assert_eq!(Pair::start(&program, &["requests=1"]).finish(), 1);
    }
    signal(tap.pid(), Signal::CONT);
    let metrics = tap.metrics_when("five that nobody saw", |m| late(m) == before + 5.0);
    assert_eq!(metrics.sum("turnaround_count", &[]), 0.0);
}

/// 2,000 processes in a minute, 150 ms of conversation each. They do not wait for their probes, so the
/// beginning of a conversation may be missed: of each process everything is counted, or it is counted as
/// late. Nothing leaks.
#[test]
fn root_two_thousand_short_lived_processes_leave_no_trace_but_their_counts() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(program) = wss_pair::named(&scene.path(""), "pair-brief") else { return };
    let tap = Monitor::start(&["--comm", "pair-brief"]);
    let brief = || Pair::start(&program, &["wait=100", "pause=50", "requests=1"]);
    // The first one shows which library it is.
    let mut first = Pair::start(&program, &["go", "requests=0"]);
    tap.await_tapped(first.pid());
    first.go();
    assert_eq!(first.finish(), 0);
    run_paced(100, Duration::from_millis(30), brief);
    let (files, memory) = (open_files(tap.pid()), resident_kb(tap.pid()));
    run_paced(1_900, Duration::from_millis(30), brief);
    let what = "every exchange, or that its process was late";
    let metrics = tap.metrics_when(what, |m| {
        let late = m.sum("wstap_processes_tapped_late_total", &[]);
        m.sum("turnaround_count", &[]) >= (2_000.0 - late) * ENDS
    });
    // A process that is tapped late may be in a call when its probes come.
    metrics.assert_only_calls_in_flight_lost("2,000 processes");
    // A scrape, or a look into /proc, has one open for a moment.
    wait_for(&format!("{files} file descriptors"), || {
        (open_files(tap.pid()) <= files).then_some(())
    });
    let memory_after = resident_kb(tap.pid());
    assert!(memory_after < memory + 2_048, "{memory} KiB resident, then {memory_after}");
    assert_eq!(tap.metrics().sum("wstap_connections", &[]), 0.0);
}

/// Starts `count` processes, one each `pause`, and waits for all.
fn run_paced(count: u64, pause: Duration, start: impl Fn() -> Pair) {
    let began = Instant::now();
    let mut running = std::collections::VecDeque::new();
    for number in 0..count {
        let due = pause * u32::try_from(number).expect("a small number");
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        running.push_back(start());
        if running.len() > 30 {
            running.pop_front().map(Pair::finish);
        }
    }
    for pair in running {
        pair.finish();
    }
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("a folder").count()
}
