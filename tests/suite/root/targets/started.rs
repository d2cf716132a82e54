use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::suite::common::peers::Scene;
use crate::suite::common::peers::mixed::scaled;
use crate::suite::common::wstap::{privileged, program, wait_for};

/// A command that loads libraries for a while, so that it is stopped often, and then sleeps.
const COMMAND: [&str; 3] = [
    "python3",
    "-c",
    "import ctypes, ssl, sys, time\nopen(sys.argv[1], 'w').close()\ntime.sleep(600)",
];

/// State and pid of the processes that have `marker` among their arguments and are no wstap.
fn commands(marker: &Path) -> Vec<(u32, char)> {
    let all = fs::read_dir("/proc").expect("processes").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let state = |pid: u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).into_owned();
        if !arguments.contains(marker.to_str().expect("a path")) || arguments.contains("--listen") {
            return None;
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let state = stat.rsplit_once(") ")?.1.chars().next()?;
        Some((pid, state))
    };
    pids.filter_map(|pid| Some((pid, state(pid)?.1))).collect()
}

/// Whether wstap is killed before, while or after the command is stopped: it runs on, or it was never
/// started.
#[test]
fn root_a_command_is_never_left_stopped_when_wstap_is_killed() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let start = |marker: &Path| {
        let mut command = program();
        command.args(["-q", "--listen", "127.0.0.1:0", "--"]).args(COMMAND).arg(marker);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("wstap runs")
    };
    // How long it takes on this machine, now, until the command has loaded all.
    let marker = scene.path("undisturbed");
    let began = Instant::now();
    let mut wstap = start(&marker);
    wait_for("the command to load all", || marker.exists().then_some(()));
    let whole = began.elapsed();
    wstap.kill().expect("a signal");
    wstap.wait().expect("wstap ends");
    end_commands(&marker);
    let mut reached = 0;
    let rounds = scaled(24, 200);
    for round in 0..rounds {
        let marker = scene.path(&format!("marker-{round}"));
        let mut wstap = start(&marker);
        thread::sleep(whole * round / rounds);
        wstap.kill().expect("a signal");
        wstap.wait().expect("wstap ends");
        wait_for("the command to run, or not to be there", || {
            let left = commands(&marker);
            let runs_on = left.iter().all(|&(_, state)| state != 'T');
            (runs_on && (left.is_empty() || marker.exists())).then_some(())
        });
        reached += end_commands(&marker);
    }
    assert!(reached > 0, "wstap was always killed too early");
}

/// Ends the commands with this marker, and returns how many there were.
fn end_commands(marker: &Path) -> usize {
    let left = commands(marker);
    for &(pid, _) in &left {
        let pid = Pid::from_raw(pid.cast_signed()).expect("a pid");
        kill_process(pid, Signal::KILL).expect("a signal");
    }
    left.len()
}

/// wstap itself is no target, and the command is not called by wstap's name.
#[test]
fn root_a_command_is_not_taken_for_wstap_itself() {
    if !privileged() {
        return;
    }
    let mut command = program();
    command.args(["-v", "--exit-with-target", "--listen", "127.0.0.1:0", "--", "sleep", "1"]);
    let output = command.output().expect("wstap runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!said.contains("BoringSSL") && !said.contains("boringssl"), "{said}");
    assert!(!said.contains("wstap-command") && said.contains("(sleep"), "{said}");
    let listed = Command::new(env!("CARGO_BIN_EXE_wstap")).args(["ps", "--json"]).output();
    let listed = String::from_utf8(listed.expect("wstap runs").stdout).expect("text");
    // Other tests run it meanwhile; it listens, so it is listed by its sockets.
    for line in listed.lines().filter(|line| line.contains(env!("CARGO_BIN_EXE_wstap"))) {
        assert!(line.contains(r#""stack":"plain""#), "{line}");
    }
}
