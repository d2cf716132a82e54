use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::Command;

use super::selection::wait_for_answers;
use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::peers::{Scene, installed};
use crate::suite::common::programs;
use crate::suite::common::wstap::{self, Monitor, privileged, program, wait_for};

/// Files whose code in the memory of process `pid` is another than on disk.
fn altered_code(pid: u32) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let mut memory = fs::File::open(format!("/proc/{pid}/mem")).expect("memory");
    let (mut altered, mut compared) = (Vec::new(), 0);
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some(file) = fields.get(5).filter(|file| file.starts_with('/')) else { continue };
        if fields[1].as_bytes()[2] != b'x' {
            continue;
        }
        let hex = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
        let (start, end) = fields[0].split_once('-').expect("a range");
        let mut in_memory = vec![0; usize::try_from(hex(end) - hex(start)).expect("a size")];
        memory.seek(SeekFrom::Start(hex(start))).expect("a seek");
        memory.read_exact(&mut in_memory).expect("code");
        let on_disk = fs::read(file).expect("a file");
        let on_disk = &on_disk[usize::try_from(hex(fields[2])).expect("an offset")..];
        let same = in_memory.iter().zip(on_disk).all(|(one, other)| one == other);
        compared += 1;
        if !same {
            altered.push((*file).to_owned());
        }
    }
    assert!(compared >= 3, "the program, its loader and its libraries: {maps}");
    altered
}

fn valgrind() -> Option<Command> {
    let found = Command::new("valgrind").arg("--version").output();
    if found.is_ok() {
        let mut command = Command::new("valgrind");
        command.arg("-q");
        return Some(command);
    }
    let on_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!on_ci, "valgrind is not installed");
    eprintln!("skipped: valgrind is not installed");
    None
}

/// A process that reads its own code finds it as it is on disk: whether it was there before wstap,
/// came later, or runs the very program that is tapped; whether one process is tapped or many.
#[test]
fn root_the_code_of_processes_that_are_not_tapped_is_as_on_disk() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let folder = scene.path("");
    let Some(program) = wss_pair::named(&folder, "pair-same") else { return };
    let (Some(tapped), Some(other)) =
        (wss_pair::named(&folder, "pair-tapped"), wss_pair::named(&folder, "pair-other"))
    else {
        return;
    };
    let same = Pair::start(&program, &["go", "linger"]);
    let before = Pair::start(&other, &["go", "linger"]);
    let mut master = Pair::start(&program, &["go", "gate", "workers=12", "requests=1", "linger"]);
    let tap =
        Monitor::start(&["--pid", &master.pid().to_string(), "--comm", "pair-tapped", "--wait"]);
    master.go();
    tap.await_all_tapped(1 + 12);
    let named = Pair::start(&tapped, &["go", "linger"]);
    tap.await_tapped(named.pid());
    let after = Pair::start(&other, &["wait=100", "requests=1", "linger"]);
    for tapped in [&master, &named] {
        assert!(!altered_code(tapped.pid()).is_empty(), "its library is probed");
    }
    for bystander in [&same, &before, &after] {
        assert_eq!(altered_code(bystander.pid()), Vec::<String>::new());
    }
    master.go();
    assert_eq!(master.answers(), 12);
    wait_for_answers(&tap, 12);
}

/// Valgrind reads the code that it runs, the loader's first of all.
#[test]
fn root_valgrind_works_beside_a_tap() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(program) = wss_pair::named(&scene.path(""), "pair-beside") else { return };
    let Some(mut plain) = valgrind() else { return };
    let mut pair = Pair::start(&program, &["go", "requests=5", "linger"]);
    let tap = Monitor::attach(pair.pid(), &[]);
    let status = plain.arg("/bin/true").status().expect("valgrind runs");
    assert_eq!(status.code(), Some(0), "/bin/true");
    let mut with_tls = valgrind().expect("it is there");
    let output = with_tls.arg(&program).arg("requests=3").output().expect("valgrind runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, b"3\n");
    pair.go();
    assert_eq!(pair.answers(), 5);
    wait_for_answers(&tap, 5);
}

/// A child of the target that is Valgrind: it works, and wstap says that it is not tapped.
#[test]
fn root_a_child_that_runs_in_valgrind_works_and_is_named() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(program) = wss_pair::named(&scene.path(""), "pair-child") else { return };
    if valgrind().is_none() {
        return;
    }
    // A child of the shell, and the shell itself, which goes on as Valgrind.
    for how in ["", "exec"] {
        // The first run shows wstap what the program maps.
        let run = "read go; $0 requests=1";
        let run = format!("{run}; {how} valgrind -q $0 requests=3");
        let mut command = Command::new("sh");
        command.args(["-c", &run]).arg(&program);
        let mut shell = Pair::spawn(command);
        let log = scene.path("wstap.log");
        let mut monitor = wstap::program();
        monitor.args(["--pid", &shell.pid().to_string(), "--wait"]);
        monitor.stderr(fs::File::create(&log).expect("a log"));
        let tap = Monitor::spawn_on_any_port(monitor);
        shell.go();
        assert_eq!(shell.answers(), 1);
        assert_eq!(shell.finish(), 3, "{how}");
        drop(tap);
        let said = fs::read_to_string(&log).expect("a log");
        assert!(said.contains("Valgrind"), "{said}");
    }
}

/// The target itself: refused, with the reason, and it works on.
#[test]
fn root_a_target_in_valgrind_is_refused_by_name_and_works_on() {
    let Some(pair_program) = wss_pair::program().filter(|_| privileged()) else { return };
    let Some(mut command) = valgrind() else { return };
    command.arg(&pair_program).args(["go", "requests=3", "linger"]);
    let mut pair = Pair::spawn(command);
    let maps = format!("/proc/{}/maps", pair.pid());
    let is_loaded = || fs::read_to_string(&maps).ok().filter(|maps| maps.contains("libssl"));
    wait_for("the program to be loaded", is_loaded);
    let refused = wstap::program()
        .args(["--pid", &pair.pid().to_string(), "--listen", "127.0.0.1:0", "--plain", "off"])
        .output()
        .expect("wstap runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("Valgrind"), "{said}");
    pair.go();
    assert_eq!(pair.answers(), 3);
}

/// A server and a client of its own in one Node.js: ends well after three answers.
const NODE: &str = "
    const fs = require('fs'), https = require('https');
    const [cert, key] = process.argv.slice(1).map((path) => fs.readFileSync(path));
    const server = https.createServer({ cert, key }, (_, answer) => answer.end('here'));
    let left = 3;
    const ask = () => https.get(
        { port: server.address().port, rejectUnauthorized: false, agent: false },
        (answer) => answer.resume().on('end', () => (--left ? ask() : process.exit(0))));
    server.listen(0, ask);";

/// Runs the other script as a child process.
const PARENT: &str = "
    const { spawnSync } = require('child_process');
    const [script, ...files] = process.argv.slice(1);
    const options = ['--use-largepages=silent', '-e', script, '--', ...files];
    const child = spawnSync(process.execPath, options);
    process.exit(child.status === 0 ? 0 : 1);";

/// Node.js that copies its code when it starts would copy breakpoints along, and run into them. It gets
/// none, and the log says so: where the copy is asked for by an argument or by the environment, and
/// where a process that has probes begins such a program.
#[test]
fn root_a_program_that_copies_its_code_to_large_pages_lives_and_is_named() {
    let Some(node) = installed("node").filter(|_| privileged()) else { return };
    let scene = Scene::new();
    // Its own name, so that no other test's process is tapped, in a file of its own.
    let node_copy = scene.path("node-in-copy");
    programs::copy(fs::canonicalize(node).expect("a program"), &node_copy);
    let log = scene.path("wstap.log");
    let mut command = program();
    command.args(["--comm", "node-in-copy"]).stderr(fs::File::create(&log).expect("a log"));
    let _tap = Monitor::spawn_on_any_port(command);
    let files = [scene.path("cert.pem"), scene.path("key.pem")];
    let run = |options: &[&str], environment: &str| {
        let mut command = Command::new(&node_copy);
        command.env("NODE_OPTIONS", environment).args(options).args(["-e", NODE, "--"]);
        command.args(&files).status().expect("Node.js runs")
    };
    let spawned = |node: &Path| {
        let mut command = Command::new(node);
        command.args(["-e", PARENT, "--", NODE]).args(&files).status().expect("Node.js runs")
    };
    // The first one teaches wstap where probes will be needed.
    assert!(run(&[], "").success());
    for _ in 0..5 {
        let by_argument = run(&["--use-largepages=silent"], "");
        assert!(by_argument.success(), "{by_argument}");
        let by_environment = run(&[], "--use-largepages=silent");
        assert!(by_environment.success(), "{by_environment}");
        // By a parent that has probes itself, in the same file.
        let by_parent = spawned(&node_copy);
        assert!(by_parent.success(), "{by_parent}");
    }
    // One may have ended before wstap has looked at it.
    wait_for("the reason", || {
        assert!(run(&["--use-largepages=silent"], "").success());
        let said = fs::read_to_string(&log).ok()?;
        said.contains("executes a copy of it in memory").then_some(())
    });
}
