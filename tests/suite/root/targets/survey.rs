use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::suite::common::peers::{Runtime, Scene, wss_pair};
use crate::suite::common::wstap::{privileged, program, wait_for};
use crate::suite::root::stacks::stripped::{Waiting, ps};
use crate::suite::root::targets::privileges::{FOUR, Open, four_are_enough};

/// Exit code, what is in each line of standard output, and standard error.
fn lines(mut command: Command) -> (Option<i32>, Vec<Value>, String) {
    let output = command.stdin(Stdio::null()).output().expect("wstap runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (output.status.code(), lines, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn ask(mut command: Command, subcommand: &str) -> (Option<i32>, Vec<Value>, String) {
    command.args([subcommand, "--json"]);
    lines(command)
}

/// Sockets are listed where there is no TLS; a process without either is not listed.
#[test]
fn root_ps_lists_a_process_without_tls_by_its_sockets() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, client)) = scene.calls(&[]) else { return };
    let rows = ps(server.pid());
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((&row["stack"], &row["verdict"]), (&"plain".into(), &"ready".into()), "{row}");
    assert_eq!(row["technique"], serde_json::json!(["tracepoint"]), "{row}");
    assert!(row["file"].as_str().is_some_and(|file| file.contains("python")), "{row}");
    // It has not connected yet.
    assert_eq!(ps(client.pid()), Vec::<Value>::new());
    let asleep = Waiting::start(Command::new("sleep").arg("60"));
    assert_eq!(ps(asleep.pid()), Vec::<Value>::new());
}

/// What `doctor` says of sockets is what becomes of the attempt to tap some.
#[test]
fn root_doctor_says_of_sockets_what_tapping_them_shows() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, _client)) = scene.calls(&[]) else { return };
    let mut command = program();
    command.args(["--check", "--listen", "127.0.0.1:0", "--pid", &server.pid().to_string()]);
    let tapped = command.output().expect("wstap runs").status.success();
    let (_, checks, said) = ask(program(), "doctor");
    let check = find(&checks, "plain ws://");
    assert_eq!(check["state"] == "ok", tapped, "{check} {said}");
    let words = if tapped { "TCP sockets can be tapped" } else { "sockets" };
    assert!(check["found"].as_str().is_some_and(|found| found.contains(words)), "{check}");
    assert_eq!(check["remedy"] == "", tapped, "{check}");
}

/// Four capabilities are enough for sockets, too.
#[test]
fn root_doctor_finds_that_four_capabilities_are_enough_for_sockets() {
    if !four_are_enough() {
        return;
    }
    let open = Open::new();
    let (code, checks, said) = ask(open.with(&FOUR), "doctor");
    assert_eq!(code, Some(0), "{said}");
    for name in ["capabilities", "programs", "attaching", "plain ws://", "files"] {
        assert_eq!(find(&checks, name)["state"], "ok", "{checks:?}");
    }
    assert_eq!(find(&checks, "deleted files")["state"], "limited", "{checks:?}");
}

/// Without the right to look into processes the sentence names the capability. With it the sentence
/// does not ask for it.
#[test]
fn root_who_lacks_a_capability_is_told_so_and_who_has_it_is_not() {
    if !privileged() {
        return;
    }
    let asleep = Waiting::start(Command::new("sleep").arg("60"));
    let (code, _, said) = ask(program(), "ps");
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("sudo") && !said.contains("without CAP_SYS_PTRACE"), "{said}");
    let (_, checks, _) = ask(program(), "doctor");
    assert!(!find(&checks, "others").to_string().contains("add CAP"), "{checks:?}");

    let open = Open::new();
    let (code, rows, said) = ask(open.with(&["dac_read_search"]), "ps");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("without CAP_SYS_PTRACE; run it with sudo"), "{said}");
    assert!(rows.iter().all(|row| row["pid"] != asleep.pid()), "{rows:?}");
    let (code, checks, _) = ask(open.with(&["dac_read_search"]), "doctor");
    assert_eq!(code, Some(3), "{checks:?}");
    let others = find(&checks, "others");
    assert_eq!(
        (&others["state"], &others["remedy"]),
        (&"limited".into(), &"add CAP_SYS_PTRACE".into())
    );
    assert!(checks.iter().all(|check| check["name"] != "plain ws://"), "nothing was loaded");
}

/// Without `/sys` no program loads. The kernel's own error says nothing of it, so it must not be shown.
#[test]
fn root_without_sys_the_cause_is_said_once_and_in_words() {
    if !privileged() {
        return;
    }
    let without_sys = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "bash", "-c", "mount -t tmpfs none /sys && exec \"$@\"", "bash"]);
        command.arg(program().get_program());
        command
    };
    let (code, checks, said) = ask(without_sys(), "doctor");
    assert_eq!(code, Some(3), "{said}");
    let types = find(&checks, "kernel types");
    assert!(
        types["found"].as_str().is_some_and(|it| it.contains("/sys is not mounted")),
        "{types}"
    );
    assert!(types["remedy"].as_str().is_some_and(|it| it.contains("mount -t sysfs")), "{types}");
    let programs = find(&checks, "programs");
    assert_eq!(programs["found"], "do not load without the kernel types");
    assert_eq!(programs["remedy"], "");

    let mut command = without_sys();
    command.args(["--comm", "nosuchprogram", "--listen", "127.0.0.1:0", "--check"]);
    let output = command.output().expect("wstap runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("/sys is not mounted here; mount -t sysfs"), "{said}");
    assert!(!said.contains("No such process"), "{said}");
}

fn find<'a>(checks: &'a [Value], name: &str) -> &'a Value {
    let check = checks.iter().find(|check| check["name"] == name);
    check.unwrap_or_else(|| panic!("no {name} in {checks:?}"))
}

/// A file that would take too much work to read is named, in `ps` and in a refusal, and the other
/// files of its process are looked into all the same.
#[test]
fn root_a_file_made_to_be_slow_to_read_is_refused_by_name() {
    const MAP: &str = "import mmap, sys, time; file = open(sys.argv[1], 'rb'); \
        kept = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC); time.sleep(60)";
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let file = scene.path("slow");
    fs::write(&file, slow_image()).expect("a file");
    let mapper = Waiting::start(Command::new("python3").args(["-c", MAP]).arg(&file));
    let maps = format!("/proc/{}/maps", mapper.pid());
    let name = file.display().to_string();
    wait_for("the file to be mapped", || {
        fs::read_to_string(&maps).ok()?.contains(&name).then_some(())
    });
    let (code, _, said) = ask(program(), "ps");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&name) && said.contains("5000 program headers"), "{said}");
    let mut probes = program();
    probes.args(["probes", "--json", "--pid", &mapper.pid().to_string()]);
    let (code, _, said) = lines(probes);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("refused: it has 5000 program headers"), "{said}");
}

/// What cannot be probed in a process itself may be in its children, which `--pid` taps as well.
#[test]
fn root_probes_of_a_parent_without_tls_name_the_child_that_has_it() {
    let Some(pair) = wss_pair::program().filter(|_| privileged()) else { return };
    let script = format!("{} go linger; true", pair.display());
    let parent = Waiting::start(Command::new("sh").args(["-c", &script]));
    let children = format!("/proc/{0}/task/{0}/children", parent.pid());
    let child = wait_for("a child with TLS", || {
        let child: u32 = fs::read_to_string(&children).ok()?.trim().parse().ok()?;
        let maps = fs::read_to_string(format!("/proc/{child}/maps")).ok()?;
        maps.contains("libssl").then_some(child)
    });
    let probes = |pid: u32| {
        let mut command = program();
        command.args(["probes", "--json", "--pid", &pid.to_string()]);
        lines(command)
    };
    let (code, rows, said) = probes(parent.pid());
    assert_eq!((code, rows.len()), (Some(4), 0), "{said}");
    let named = format!("its child pid {child} (wss_pair) has one");
    assert!(said.contains(&named) && said.contains(&format!("--pid {child}")), "{said}");
    let (code, rows, said) = probes(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(rows.len() >= 4, "{rows:?}");
}

/// A file that could not be read may hold the library that carries the traffic: the line that says
/// what is tapped has the number of such files, and a metric as well.
#[test]
fn root_files_that_are_not_seen_stand_in_the_line_that_says_what_is_tapped() {
    const MAP: &str = "import mmap, ssl, sys, time; file = open(sys.argv[1], 'rb'); \
        kept = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_EXEC); time.sleep(60)";
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let file = scene.path("slow");
    fs::write(&file, slow_image()).expect("a file");
    let mapper = Waiting::start(Command::new("python3").args(["-c", MAP]).arg(&file));
    wait_for("the file to be mapped", || {
        let maps = fs::read_to_string(format!("/proc/{}/maps", mapper.pid())).ok()?;
        maps.contains(&file.display().to_string()).then_some(())
    });
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--pid", &mapper.pid().to_string()]);
    let mut wstap = command.stdout(Stdio::piped()).spawn().expect("wstap runs");
    let mut line = String::new();
    let read = BufReader::new(wstap.stdout.take().expect("piped")).read_line(&mut line);
    wstap.kill().expect("a signal");
    wstap.wait().expect("wstap ends");
    read.expect("output");
    assert!(line.starts_with("tapping pid ") && line.contains(", 1 file not seen)"), "{line}");
}

/// A header of an ELF image, and 5,000 program headers of nothing.
fn slow_image() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(64 + 56 * 5000, 0);
    bytes[16..20].copy_from_slice(&[3, 0, 62, 0]);
    bytes[32] = 64;
    bytes[52..58].copy_from_slice(&[64, 0, 56, 0, 0x88, 0x13]);
    bytes
}

/// A program that takes longer to look through than one look waits, because the processor is busy, is waited
/// for. One that takes much longer still is said to, and not to have no TLS library.
#[test]
fn root_on_a_busy_processor_a_program_is_looked_through_before_anything_is_said_of_it() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let Some((server, _)) = scene.server(Runtime::Node, &[]) else { return };
    let pid = server.pid();
    let niceness = niceness_for(processor_seconds(pid) / SLOWLY_SECONDS);
    let busy = Command::new("taskset").args(["-c", "0", "sh", "-c", "while :; do :; done"]).spawn();
    let mut busy = busy.expect("taskset runs");
    let output = Command::new("taskset")
        .args(["-c", "0", "nice", "-n", &niceness.to_string()])
        .arg(env!("CARGO_BIN_EXE_wstap"))
        .args(["--check", "--plain", "off", "--listen", "127.0.0.1:0", "--pid", &pid.to_string()])
        .output();
    busy.kill().and_then(|()| busy.wait()).expect("it ends");
    let output = output.expect("wstap runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let is_too_slow = said.contains("has taken more than") && output.status.code() == Some(4);
    assert!(output.status.success() || is_too_slow, "niceness {niceness}: {said}");
}

/// A script may start a program and wstap at once. The program is given a moment to load its libraries.
#[test]
fn root_a_program_that_was_started_just_before_wstap_is_tapped() {
    if !privileged() {
        return;
    }
    let script = "import time; time.sleep(0.5); import ssl; time.sleep(60)";
    let starting = Waiting::start(Command::new("python3").args(["-c", script]));
    let mut command = program();
    command.args(["--check", "--plain", "off", "--listen", "127.0.0.1:0"]);
    let output = command.args(["--pid", &starting.pid().to_string()]).output();
    let output = output.expect("wstap runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// How long looking through the program is to take: longer than one look waits, and shorter than wstap is
/// patient (`planner`), mostly also where another test has a share of the processor.
const SLOWLY_SECONDS: f64 = 3.0;

/// What it takes to look through a program, processor time.
fn processor_seconds(pid: u32) -> f64 {
    let script = format!("{} probes --pid {pid} > /dev/null && times", env!("CARGO_BIN_EXE_wstap"));
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    let text = String::from_utf8(output.stdout).expect("text");
    // `0m0.350000s 0m0.120000s`: user and system time of the children.
    let of_children = text.lines().nth(1).expect("two lines");
    let seconds = |it: &str| -> f64 {
        let (minutes, seconds) = it.trim_end_matches('s').split_once('m').expect("0m0.1s");
        60.0 * minutes.parse::<f64>().expect("minutes") + seconds.parse::<f64>().expect("seconds")
    };
    of_children.split(' ').map(seconds).sum()
}

/// The niceness that leaves a process this share of a processor that one other keeps busy: each step
/// divides its weight by 1.25 (`sched_prio_to_weight` in kernel/sched/core.c).
fn niceness_for(share: f64) -> u32 {
    let share = share.clamp(0.02, 0.5);
    ((1.0 - share) / share).log(1.25).round() as u32
}
