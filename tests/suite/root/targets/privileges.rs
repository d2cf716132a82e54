use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::programs;
use crate::suite::common::wstap::{Monitor, privileged, signal};

pub(crate) const FOUR: [&str; 4] = ["bpf", "perfmon", "sys_ptrace", "dac_read_search"];

/// A folder that everybody may enter, with wstap in it: the build's may be closed to others.
pub(crate) struct Open {
    folder: tempfile::TempDir,
}

impl Open {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        programs::copy(env!("CARGO_BIN_EXE_wstap"), folder.path().join("wstap"));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        Self { folder }
    }

    /// wstap as a user without rights, but with these capabilities.
    pub(crate) fn with(&self, capabilities: &[&str]) -> Command {
        let list: Vec<String> = capabilities.iter().map(|name| format!("+{name}")).collect();
        let list = list.join(",");
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args(["--inh-caps", &format!("-all,{list}"), "--ambient-caps", &list]);
        command.arg(self.folder.path().join("wstap"));
        command
    }

    /// The static pair where only root may go.
    fn closed_pair(&self) -> Option<PathBuf> {
        let closed = self.folder.path().join("closed");
        fs::create_dir(&closed).expect("a folder");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("a mode");
        let copy = closed.join("pair");
        programs::copy(wss_pair::static_program()?, &copy);
        Some(copy)
    }
}

/// Kernels before 6.6 ask for more.
pub(crate) fn four_are_enough() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let numbers: Vec<u32> =
        release.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    privileged() && (numbers[0], numbers[1]) >= (6, 6)
}

/// The capabilities in effect, of every thread.
fn effective(pid: u32) -> Vec<u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    // A thread may end meanwhile.
    let status = |path: &Path| fs::read_to_string(path.join("status")).ok();
    let tasks = tasks.filter_map(|task| status(&task.ok()?.path()));
    tasks.map(|status| field(&status, "CapEff:")).collect()
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the field");
    u64::from_str_radix(line.trim(), 16).expect("hexadecimal")
}

fn no_caps(tap: &Monitor) {
    crate::suite::common::wstap::wait_for("the drop", || {
        effective(tap.pid()).iter().all(|&set| set == 0).then_some(())
    });
}

/// The main job, another user's process, no root: and processes that come later.
#[test]
fn root_four_capabilities_are_enough_for_the_main_job() {
    let Some(program) = wss_pair::program().filter(|_| four_are_enough()) else { return };
    let open = Open::new();
    let closed = open.closed_pair().expect("it is there");
    let mut shared = Pair::start(&program, &["go", "requests=100", "linger"]);
    let mut linked = Pair::start(&closed, &["go", "gate", "workers=3", "requests=100", "linger"]);
    let mut command = open.with(&FOUR);
    command.args(["--pid", &shared.pid().to_string(), "--pid", &linked.pid().to_string()]);
    let tap = Monitor::spawn_on_any_port(command);
    no_caps(&tap);
    shared.go();
    linked.go();
    tap.await_all_tapped(2 + 3);
    linked.go();
    assert_eq!((shared.answers(), linked.answers()), (100, 300));
    let metrics = tap.metrics_when("800", |m| m.sum("turnaround_count", &[]) >= 800.0);
    assert_eq!(metrics.sum("turnaround_count", &[]), 800.0);
    metrics.assert_flawless();
    no_caps(&tap);
}

/// The sentence names the one that is missing, and the exit code is 3.
#[test]
fn root_without_one_of_the_four_the_sentence_names_it() {
    let open = Open::new();
    let Some(closed) = open.closed_pair().filter(|_| four_are_enough()) else { return };
    let target = Pair::start(&closed, &["go", "linger"]);
    for missing in FOUR {
        let others: Vec<_> = FOUR.into_iter().filter(|name| *name != missing).collect();
        let mut command = open.with(&others);
        command.args(["--pid", &target.pid().to_string(), "--listen", "127.0.0.1:0"]);
        let output = command.output().expect("wstap runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "without {missing}: {said}");
        let name = format!("CAP_{}", missing.to_uppercase());
        assert!(said.contains(&format!("missing: {name}")), "without {missing}: {said}");
    }
}

/// Root, too, keeps nothing: not in the thread that serves, and not in the one that has attached.
/// What is lost is still counted, because it is read from mapped memory.
#[test]
fn root_after_the_drop_metrics_flow_and_an_overflow_is_counted() {
    let Some(program) = wss_pair::program().filter(|_| privileged()) else { return };
    let mut target = Pair::start(&program, &["go", "requests=4000", "linger"]);
    let arguments = ["--no-children", "--ring-size", "64k"];
    let tap = Monitor::attach(target.pid(), &arguments);
    no_caps(&tap);
    let permitted = fs::read_to_string(format!("/proc/{}/status", tap.pid())).expect("a status");
    assert_eq!(field(&permitted, "CapPrm:"), 0);
    signal(tap.pid(), Signal::STOP);
    target.go();
    assert_eq!(target.answers(), 4000);
    signal(tap.pid(), Signal::CONT);
    // The loss is told while the ring buffer is full, before what is in it has been decoded.
    tap.metrics_when("the loss, and what was not lost", |m| {
        m.sum("wstap_lost_records_total", &["reason=\"ring_full\""]) > 0.0
            && m.sum("wstap_messages_sent_total", &[]) > 0.0
    });
    assert!(tap.terminate().success());
}

/// Attaching raises them, for as long as it takes.
#[test]
fn root_newcomers_are_attached_to_with_no_capability_in_effect_in_between() {
    let Some(program) = wss_pair::program().filter(|_| privileged()) else { return };
    let tap = Monitor::start(&["--comm", "wss_pair"]);
    no_caps(&tap);
    for round in 1..=3 {
        let mut pair = Pair::start(&program, &["go", "requests=10"]);
        tap.await_tapped(pair.pid());
        pair.go();
        assert_eq!(pair.finish(), 10);
        let all = f64::from(round) * 20.0;
        tap.metrics_when("another 20", |m| m.sum("turnaround_count", &[]) >= all);
        no_caps(&tap);
    }
}

/// Without any capability left nothing can be probed. So the last one can only be dropped where
/// nothing may come later, and the refusal says which.
#[test]
fn root_the_last_capability_is_dropped_only_where_nothing_may_come_later() {
    let Some(program) = wss_pair::program().filter(|_| privileged()) else { return };
    let mut target = Pair::start(&program, &["go", "requests=20", "linger"]);
    let pid = target.pid().to_string();
    for others in [&["--pid", &pid] as &[&str], &["--comm", "wss_pair", "--no-children"]] {
        let mut command = crate::suite::common::wstap::program();
        command.args(others).args(["--drop-caps", "--listen", "127.0.0.1:0"]);
        let refused = command.output().expect("wstap runs");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{others:?}: {said}");
        assert!(said.contains("--no-children"), "{others:?}: {said}");
    }
    let tap = Monitor::attach(target.pid(), &["--no-children", "--drop-caps"]);
    no_caps(&tap);
    target.go();
    assert_eq!(target.answers(), 20);
    tap.metrics_when("40", |m| m.sum("turnaround_count", &[]) == 40.0).assert_flawless();
}
