use std::fs;
use std::process::Command;

use crate::suite::common::groups::Group;
use crate::suite::common::peers::Scene;
use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::wstap::{Monitor, privileged, program};
use crate::suite::root::targets::privileges::{FOUR, Open, four_are_enough};

/// A process in mount and pid namespaces of its own, on an overlay: what container engines make.
/// Its paths mean nothing outside, and its pid inside is another one. Tests run side by side, so
/// each has a name of its own.
fn contained(scene: &Scene, name: &str, arguments: &str) -> Option<Pair> {
    let pair = wss_pair::program()?;
    for folder in ["upper", "work", "root"] {
        fs::create_dir(scene.path(folder)).expect("a folder");
    }
    let script = format!(
        "mount -t overlay overlay -o lowerdir=/,upperdir={upper},workdir={work} {root} && \
         mkdir -p {root}/inside && cp {pair} {root}/inside/{name} && \
         cp /usr/lib/x86_64-linux-gnu/lib{{ssl,crypto}}.so.3 {root}/inside/ && \
         LD_LIBRARY_PATH=/inside exec chroot {root} /inside/{name} {arguments}",
        upper = scene.path("upper").display(),
        work = scene.path("work").display(),
        root = scene.path("root").display(),
        pair = pair.display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "bash", "-c", &script]);
    Some(Pair::spawn(command))
}

/// By its name: nothing about it need be known outside.
#[test]
fn root_a_process_in_namespaces_of_its_own_on_an_overlay_is_tapped() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let tap = Monitor::start(&["--comm", "wss_inside_1"]);
    let Some(mut pair) = contained(&scene, "wss_inside_1", "go requests=20 linger") else {
        return;
    };
    tap.metrics_when("the target to be up", |m| m.sum("wstap_target_up", &[]) == 1.0);
    pair.go();
    assert_eq!(pair.answers(), 20);
    let metrics = tap.metrics_when("40", |m| m.sum("turnaround_count", &[]) == 40.0);
    metrics.assert_flawless();
    assert_eq!(metrics.sum("wstap_target_info", &["exe=\"/inside/wss_inside_1\""]), 1.0);
}

/// Through the process's own root, where `/proc/PID/map_files` may not be used.
#[test]
fn root_four_capabilities_are_enough_for_a_process_in_namespaces_of_its_own() {
    let scene = Scene::new();
    if !four_are_enough() {
        return;
    }
    let open = Open::new();
    let mut command = open.with(&FOUR);
    command.args(["--comm", "wss_inside_2"]);
    let tap = Monitor::spawn_on_any_port(command);
    let Some(mut pair) = contained(&scene, "wss_inside_2", "go requests=20 linger") else {
        return;
    };
    tap.metrics_when("the target to be up", |m| m.sum("wstap_target_up", &[]) == 1.0);
    pair.go();
    assert_eq!(pair.answers(), 20);
    tap.metrics_when("40", |m| m.sum("turnaround_count", &[]) == 40.0).assert_flawless();
}

/// `wstap ps` lists it with the paths that it sees itself.
#[test]
fn root_ps_shows_what_is_in_a_container() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(mut pair) = contained(&scene, "wss_inside_3", "go linger") else { return };
    let listed = || {
        let output = program().args(["ps", "--json"]).output().expect("wstap runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let row = text.lines().find(|line| line.contains("\"wss_inside_3\""))?;
        Some(row.to_owned())
    };
    let row = crate::suite::common::wstap::wait_for("the process", listed);
    assert!(row.contains("\"/inside/libssl.so.3\"") && row.contains("ready"), "{row}");
    pair.go();
    pair.answers();
}

/// A control group selects what is in it, as it comes and goes.
#[test]
fn root_a_control_group_selects_the_processes_in_it() {
    let Some(program) = wss_pair::program().filter(|_| privileged()) else { return };
    let Some(group) = Group::new("selected") else { return };
    let tap = Monitor::start(&["--cgroup", &group.name()]);
    let mut inside = Pair::spawn(group.command(&program, "go requests=15"));
    let mut outside = Pair::start(&program, &["go", "requests=15"]);
    tap.await_tapped(inside.pid());
    inside.go();
    outside.go();
    assert_eq!((inside.finish(), outside.finish()), (15, 15));
    let metrics = tap.metrics_when("30", |m| m.sum("turnaround_count", &[]) >= 30.0);
    assert_eq!(metrics.sum("turnaround_count", &[]), 30.0);
}
