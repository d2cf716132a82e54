use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::suite::common::peers::{Peer, Runtime, Scene};
use crate::suite::common::wstap::{Frames, Monitor, privileged, program, signal, wait_for};
use crate::suite::root::exactness::feeds::{feed, round};

/// A terminal of its own, with a shell that says how wstap ended.
struct Screen {
    socket: String,
}

impl Screen {
    /// `None` where there is no tmux.
    fn open(scene: &Scene, [width, height]: [&str; 2], arguments: &str) -> Option<Self> {
        let socket = scene.path("tmux").display().to_string();
        let wstap = program().get_program().to_string_lossy().into_owned();
        let script = format!("{wstap} top {arguments}; echo \"ended $?\"; stty -a; exec sleep 600");
        let screen = Self { socket };
        let mut command = screen.tmux(&["-f", "/dev/null", "new-session", "-d"]);
        command.args(["-x", width, "-y", height, "sh", "-c", &script]);
        match command.env("TERM", "xterm-256color").status() {
            Ok(status) => assert!(status.success(), "{status:?}"),
            Err(error) => {
                let on_ci = std::env::var("CI").is_ok_and(|value| value == "true");
                assert!(!on_ci, "tmux: {error}");
                eprintln!("skipped: tmux: {error}");
                return None;
            }
        }
        Some(screen)
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-S", &self.socket]).args(arguments);
        command
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let output: Output = self.tmux(arguments).output().expect("tmux runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn text(&self) -> String {
        self.ask(&["capture-pane", "-p", "-S", "-100"])
    }

    fn press(&self, keys: &[&str]) {
        self.ask(&[&["send-keys"], keys].concat());
    }

    fn when(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, || {
                last = self.text();
                is(&last).then(|| last.clone())
            })
        }));
        seen.unwrap_or_else(|_| panic!("waited in vain for {what}:\n{last}"))
    }

    /// The wstap that the shell has started.
    fn wstap(&self) -> u32 {
        let shell = self.ask(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        wait_for("wstap", || {
            let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
            children.ok()?.split_whitespace().next()?.parse().ok()
        })
    }

    /// Panics unless it is as a shell expects it, with the last table on it.
    fn assert_left_clean(&self) {
        let text = self.when("the shell", |text| text.contains("ended ") && text.contains("echok"));
        assert!(text.contains("ended 0"), "{text}");
        assert!(text.contains("Methods (1)") && text.contains("echo"), "the last table: {text}");
        assert!(!text.contains("-echo ") && !text.contains("-icanon"), "{text}");
        let state = self.ask(&["display-message", "-p", "#{cursor_flag} #{alternate_on}"]);
        assert_eq!(state.trim(), "1 0", "cursor and alternate screen");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).status();
    }
}

/// A server, and a client with so many requests that waits for [`Peer::go`] and stays connected.
fn conversation(scene: &Scene, requests: &str) -> Option<(Peer, Peer)> {
    let (server, port) = scene.server(Runtime::Python, &[])?;
    let load = ["--requests", requests, "--connections", "2", "--stay"];
    let client = scene.client(Runtime::Python, port, &load)?;
    Some((server, client))
}

#[test]
fn root_top_in_a_terminal_shows_follows_and_leaves_it_clean() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let Some((server, mut client)) = conversation(&scene, "40") else { return };
    let arguments = format!("--pid {}", server.pid());
    let Some(screen) = Screen::open(&scene, ["80", "24"], &arguments) else { return };
    screen.when("the tables", |text| text.contains("Tapping python"));
    client.go();
    let text = screen.when("the answers", |text| {
        text.contains("Methods (1)") && text.contains("echo") && text.contains("Connections (2)")
    });
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains("SLOWEST"), "{text}");
    screen.ask(&["resize-window", "-x", "160", "-y", "40"]);
    screen.when("more columns", |text| text.contains("SLOWEST"));
    screen.press(&["Tab", "Enter"]);
    screen.when("messages", |text| text.contains("Last messages of"));
    screen.press(&["Escape"]);
    screen.press(&["/", "n", "o", "n", "e", "Enter"]);
    screen.when("the filter", |text| text.contains("Nothing matches"));
    screen.press(&["Escape"]);
    screen.when("all of it", |text| text.contains("Connections (2)"));
    screen.press(&["q"]);
    screen.assert_left_clean();
}

#[test]
fn root_top_leaves_the_terminal_clean_when_a_signal_ends_it() {
    if !privileged() {
        return;
    }
    for ending in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let scene = Scene::new();
        let Some((server, mut client)) = conversation(&scene, "4") else { return };
        let arguments = format!("--pid {}", server.pid());
        let Some(screen) = Screen::open(&scene, ["80", "24"], &arguments) else { return };
        screen.when("the tables", |text| text.contains("Tapping python"));
        client.go();
        screen.when("the answers", |text| text.contains("Methods (1)"));
        signal(screen.wstap(), ending);
        screen.assert_left_clean();
    }
}

/// Answers by method, from objects with these keys.
fn by_method<'a>(rows: impl Iterator<Item = &'a Value>) -> BTreeMap<String, u64> {
    rows.map(|row| {
        (
            row["method"].as_str().expect("a name").to_owned(),
            row["answered"].as_u64().expect("a count"),
        )
    })
    .collect()
}

#[test]
fn root_top_agrees_with_the_metrics_the_page_and_the_messages() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let Some((server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let load = ["--requests", "60", "--connections", "3", "--fail-every", "5"];
    let Some(mut client) = scene.client(Runtime::Python, port, &load) else { return };
    let tap = Monitor::attach(server.pid(), &[]);
    tap.await_tapped(server.pid());
    let messages = Frames::attach(server.pid(), &[]);
    let mut command = program();
    command.args(["top", "--json", "--duration", "60s", "--pid", &server.pid().to_string()]);
    let mut top = command.stdout(Stdio::piped()).spawn().expect("wstap runs");
    let objects = BufReader::new(top.stdout.take().expect("piped")).lines();
    let mut objects =
        objects.map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("JSON"));
    let (log, once) = (scene.path("once.log"), scene.path("once.json"));
    let mut command = program();
    command.args(["top", "-v", "--once", "--json", "--duration", "60s"]);
    command.args(["--pid", &server.pid().to_string()]);
    command.stdout(fs::File::create(&once).expect("a file"));
    command.stderr(fs::File::create(&log).expect("a file"));
    let mut top_once = command.spawn().expect("wstap runs");
    wait_for("the tap", || fs::read_to_string(&log).ok()?.contains("attached").then_some(()));
    let is_attached = |it: &Value| it["sentence"].as_str().is_some_and(|it| it.contains("Tapping"));
    assert!(objects.any(|object| is_attached(&object)), "it attaches");
    client.go();
    assert_eq!(client.summary().requests, 60);
    let rows = |object: &Value| by_method(object["methods"].as_array().expect("a list").iter());
    let mut shown = objects.map(|object| rows(&object["window"]));
    let shown = shown.find(|rows| rows.values().sum::<u64>() == 60).expect("all of them in time");
    signal(top.id(), Signal::TERM);
    assert!(top.wait().expect("wstap ends").success());

    let metrics = tap.metrics_when("60", |m| m.sum("turnaround_count", &[]) == 60.0);
    for (method, answered) in &shown {
        let label = format!("method=\"{method}\"");
        let counted = metrics.sum("wstap_turnaround_seconds_count", &[&label]);
        assert_eq!(counted, *answered as f64, "{method}");
    }
    let page = wait_for("the last second", || {
        let window = crate::suite::common::wstap::get(tap.address, "/api/v1/window");
        let window: Value = serde_json::from_str(&window).expect("JSON");
        let rows = rows(&window);
        (rows.values().sum::<u64>() == 60).then_some(rows)
    });
    // It prints when it is told to end, as the last second that has ended shows it.
    signal(top_once.id(), Signal::TERM);
    assert!(top_once.wait().expect("wstap ends").success());
    let once: Value = serde_json::from_slice(&fs::read(&once).expect("a file")).expect("JSON");
    assert_eq!(rows(&once["window"]), shown);
    let lines = messages.finish();
    let mut said: BTreeMap<String, u64> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["event"] == "exchange") {
        *said.entry(line["method"].as_str().expect("a name").to_owned()).or_default() += 1;
    }
    assert_eq!((&shown, &shown), (&page, &said));
}

#[test]
fn root_top_without_a_terminal_says_what_to_do_and_once_prints_a_table() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let Some((server, _client)) = conversation(&scene, "4") else { return };
    let run = |arguments: &[&str]| {
        let mut command = program();
        command.args(["top", "--pid", &server.pid().to_string()]).args(arguments);
        command.output().expect("wstap runs")
    };
    let refused = run(&[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("--once") && said.contains("--json"), "{said}");
    let once = run(&["--once", "--duration", "1s"]);
    let text = String::from_utf8(once.stdout).expect("text");
    assert!(once.status.success() && text.starts_with("Tapping python"), "{text}");
    assert!(
        !text.contains('\u{1b}') && text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

/// Its rate, how late it is and what is missing, second by second.
#[test]
fn root_top_shows_a_feed() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let load = ["--messages", "1000"];
    let Some((_server, mut client, rules)) = feed(&scene, &load) else { return };
    let pid = client.pid().to_string();
    let mut command = program();
    command.args(["top", "--pid", &pid, "--rules", &rules, "--json", "--duration", "8s"]);
    let mut top = command.stdout(Stdio::piped()).spawn().expect("wstap starts");
    while top.try_wait().expect("a status").is_none() {
        round(&mut client);
    }
    let output = top.wait_with_output().expect("an end");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mut rows = lines.filter_map(|line| {
        line["feeds"].as_array()?.iter().find(|row| row["protocol"] == "ticks").cloned()
    });
    let row = rows.next_back().expect("the feed");
    let figure = |key: &str| row[key].as_f64().expect("a number");
    assert_eq!(row["direction"], "received");
    assert!(figure("rate") > 100.0 && figure("hour_rate") > 100.0, "{row}");
    assert!(figure("lag_p50") > 0.0 && figure("lag_p99") >= figure("lag_p50"), "{row}");
    assert!(figure("numbers") > 1_000.0, "{row}");
    for key in ["missing", "repeated", "backward", "resets", "unchecked"] {
        assert_eq!(figure(key), 0.0, "{key}: {row}");
    }
}
