use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::suite::common::peers::wss_pair::Pair;
use crate::suite::common::peers::{Scene, installed};
use crate::suite::common::programs;
use crate::suite::common::wstap::{Monitor, privileged};

/// The library that the program is linked with, where Debian has it.
const LIBRARY: &str = "libssl.so.3";
const LIBRARIES: [&str; 2] = ["/usr/lib/x86_64-linux-gnu", "/usr/lib64"];

/// A program and its library in files of their own: what other tests, or other tools, do to the
/// installed ones at the same time is no concern of this one.
struct Private {
    scene: Scene,
    program: PathBuf,
    /// What stands before its own words on the command line.
    before: Vec<String>,
}

impl Private {
    fn copy(program: &str) -> Option<Self> {
        let scene = Scene::new();
        let copy = scene.path(program);
        programs::copy(installed(program)?, &copy);
        let mut libraries = LIBRARIES.iter().map(|folder| Path::new(folder).join(LIBRARY));
        if let Some(library) = libraries.find(|library| library.exists()) {
            fs::copy(library, scene.path(LIBRARY)).expect("a copy");
        }
        Some(Self { scene, program: copy, before: Vec::new() })
    }

    /// `fibers` in a process of Node.js, over the OpenSSL inside Node's executable.
    fn in_node() -> Option<Self> {
        let addon = installed("fibers.node")?;
        let load = format!("process.dlopen({{ exports: {{}} }}, {addon:?})");
        let before = vec!["-e".into(), load];
        Some(Self { scene: Scene::new(), program: installed("node")?, before })
    }

    fn start(&self, arguments: &[&str]) -> Pair {
        let mut command = Command::new(&self.program);
        command.env("LD_LIBRARY_PATH", self.scene.path("")).args(&self.before);
        command.args(arguments);
        Pair::spawn(command)
    }
}

/// Runs `fibers` under tap, with default settings: it lives, and everything that it did was seen.
/// Returns how often a client left its stack inside a call.
fn survives(program: &Private, fibers: u64, requests: u64, more: &[&str]) -> u64 {
    let [count, each] = [format!("fibers={fibers}"), format!("requests={requests}")];
    let arguments = [&["go", "linger", &count, &each], more].concat();
    let mut target = program.start(&arguments);
    let tap = Monitor::attach(target.pid(), &[]);
    target.go();
    let answers = target.answers();
    assert_eq!(answers, fibers * requests, "{arguments:?}");
    let switches = target.answers();
    assert!(switches >= answers, "{arguments:?}: a client waits for each answer");
    // Both ends are in the process: each message is sent and received there.
    let each_way = 2.0 * answers as f64;
    let metrics = tap.metrics_when("all answers", |m| m.sum("turnaround_count", &[]) >= each_way);
    for name in ["turnaround_count", "packet_send_count", "packet_recv_count"] {
        assert_eq!(metrics.sum(name, &[]), each_way, "{arguments:?}: {name}");
    }
    for name in ["wstap_lost_records_total", "wstap_protocol_errors_total"] {
        assert_eq!(metrics.sum(name, &[]), 0.0, "{arguments:?}: {name}");
    }
    let opened = metrics.sum("wstap_connections_opened_total", &[]);
    assert_eq!(opened, 2.0 * fibers as f64, "{arguments:?}");
    target.end();
    switches
}

/// A program that switches stacks inside a call of the library would be killed by return probes.
#[test]
fn root_a_program_that_switches_stacks_inside_a_call_lives_and_is_counted_exactly() {
    if !privileged() {
        return;
    }
    let programs = [Private::copy("fibers"), Private::copy("fibers_static"), Private::in_node()];
    let mut switches = 0;
    for program in programs.iter().flatten() {
        for (fibers, requests) in [(1, 8000), (2, 4000), (8, 2000), (200, 100)] {
            switches += survives(program, fibers, requests, &[]);
        }
        switches += survives(program, 8, 200, &["ex"]);
    }
    assert!(switches > 50_000 * programs.iter().flatten().count() as u64, "{switches}");
}

/// A million switches each, over a shared OpenSSL, one in the program and Node's.
#[test]
#[ignore = "takes minutes; make attack runs it"]
fn root_a_program_lives_through_a_million_switches_of_stacks() {
    if !privileged() {
        return;
    }
    for program in [Private::copy("fibers"), Private::copy("fibers_static"), Private::in_node()] {
        let Some(program) = program else { return };
        let switches = survives(&program, 8, 125_000, &[]);
        println!("{}: {switches} switches", program.program.display());
        assert!(switches >= 1_000_000, "{switches}");
    }
}

/// TLS inside TLS inside a fiber: calls within calls, some hundred of them open at a time.
#[test]
fn root_nested_calls_on_many_stacks_are_told_apart() {
    if !privileged() {
        return;
    }
    let Some(program) = Private::copy("fibers") else { return };
    for (fibers, more) in [(1, &["nested"][..]), (8, &["nested", "ex"]), (200, &["nested"])] {
        survives(&program, fibers, 50, more);
    }
}

/// A call that is left by `longjmp` never returns. However many there were, and however deep, the
/// calls that come after them are seen.
#[test]
fn root_calls_that_never_return_hide_no_others() {
    if !privileged() {
        return;
    }
    let Some(program) = Private::copy("fibers") else { return };
    for more in [&["jumps=5"][..], &["jumps=9", "ex"], &["jumps=40", "nested"]] {
        survives(&program, 3, 100, more);
    }
}
