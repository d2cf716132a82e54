use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::suite::common::peers::{Runtime, Scene};
use crate::suite::common::programs::find;
use crate::suite::common::wstap::{Monitor, privileged, resident_kb};
use crate::suite::root::views::followers::BYTES_MAX;

const REQUESTS: u64 = 2_000;
const BROWSERS: usize = 5;

/// Runs and nanoseconds so far of each program that a process has loaded.
fn program_runs(pid: u32) -> BTreeMap<u64, (u64, u64)> {
    let mut programs = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("its files").flatten() {
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let field = |key: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        if let (Some(id), Some(runs), Some(ns)) =
            (field("prog_id"), field("run_cnt"), field("run_time_ns"))
        {
            programs.insert(id, (runs, ns));
        }
    }
    programs
}

/// Command lines of processes that name a folder.
fn started_with(folder: &Path) -> Vec<String> {
    let pids = fs::read_dir("/proc").expect("processes").flatten();
    let lines = pids.filter_map(|pid| fs::read_to_string(pid.path().join("cmdline")).ok());
    let folder = folder.to_str().expect("a path");
    lines.filter(|line| line.contains("watcher-") && line.contains(folder)).collect()
}

/// The kernel measures programs while this lives.
struct Measuring(String);

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl Measuring {
    fn begin() -> Self {
        let before = fs::read_to_string(SWITCH).expect("a switch");
        fs::write(SWITCH, "1").expect("a switch");
        Self(before)
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, self.0.trim());
    }
}

/// Five browsers, each in processes of its own, of which one is stopped: nothing is lost, every page that
/// is awake shows every answer, and memory stays within its bound. What each run of a program costs the
/// target is printed without and with them; docs/results/page.md has what it showed last.
#[test]
fn heavy_five_browsers_of_which_one_is_stalled_cost_the_tap_nothing() {
    if std::env::var_os("WSTAP_BROWSERS").is_none() {
        eprintln!("skipped: make test-browsers");
        return;
    }
    if !privileged() || find("chromium").is_none() {
        return;
    }
    let scene = Scene::new();
    let Some((server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    tap.await_tapped(server.pid());
    let measuring = Measuring::begin();
    let requests = REQUESTS.to_string();
    let load = ["--requests", &requests, "--connections", "20"];
    let talk = || {
        let before = program_runs(tap.pid());
        let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
        client.go();
        let summary = client.summary();
        client.wait();
        assert_eq!(summary.requests, REQUESTS);
        let (mut runs, mut ns) = (0, 0);
        for (id, (all_runs, all_ns)) in program_runs(tap.pid()) {
            let (old_runs, old_ns) = before.get(&id).copied().unwrap_or_default();
            (runs, ns) = (runs + all_runs - old_runs, ns + all_ns - old_ns);
        }
        (runs, ns as f64 / runs as f64, summary.median_ns / 1e6)
    };
    let (runs, each, median) = talk();
    eprintln!("alone: {runs} runs of {each:.0} ns; the client's median is {median:.2} ms");
    let alone_kb = resident_kb(tap.pid());

    let url = format!("http://{}/", tap.address);
    let Some(mut browsers) = scene.watchers(&url, BROWSERS) else { return };
    assert_eq!(browsers.line(), "ready");
    browsers.say("stall");
    assert_eq!(browsers.line(), "stalled");
    for round in 2..=3 {
        let (runs, each, median) = talk();
        eprintln!("watched: {runs} runs of {each:.0} ns; the client's median is {median:.2} ms");
        let answered = round * REQUESTS;
        browsers.say(&format!("answered {answered}"));
        let shown: Vec<BTreeMap<String, u64>> =
            serde_json::from_str(&browsers.line()).expect("JSON");
        let expected = BTreeMap::from([("echo".to_owned(), answered)]);
        assert_eq!(shown, vec![expected; BROWSERS - 1]);
    }
    drop(measuring);
    let metrics = tap.metrics();
    metrics.assert_flawless();
    assert_eq!(metrics.sum("turnaround_count", &[]), 3.0 * REQUESTS as f64);
    let watched_kb = resident_kb(tap.pid());
    eprintln!("resident: {alone_kb} KiB alone, {watched_kb} KiB watched");
    assert!(watched_kb as f64 * 1024.0 < BYTES_MAX, "{watched_kb} KiB");
    browsers.wait();
    let left = started_with(&scene.path(""));
    assert!(left.is_empty(), "browsers go on: {left:#?}");
}
