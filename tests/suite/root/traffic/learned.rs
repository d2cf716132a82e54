use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use super::protocols::{Account, accounts};
use crate::suite::common::peers::{Peer, Scene};
use crate::suite::common::wstap::{Frames, Monitor, privileged, program, signal, wait_for};

/// Rules that were learned from all peers at once, without a word about any of them, and judged on other
/// connections of other processes. What was refused is no mistake; a wrong count is.
#[test]
fn root_what_is_learned_from_real_peers_is_right_on_other_connections() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(mut server) = scene.protocols_server() else { return };
    let port = server.line();
    let mut client = scene.protocols_client(&port, &["--requests", "200"]).expect("a client");
    let findings = learn(&client.pid().to_string(), &mut client);
    drop(client);
    let mut table = Table::default();
    for (name, finding) in &findings {
        if finding["verdict"] != "learned" {
            table.refused(name, finding);
            continue;
        }
        let judged = scene.protocols_client(&port, &["--only", name, "--requests", "120"]);
        let wrong = judge(&scene, name, finding, judged.expect("a client"), &mut table);
        assert_eq!(wrong, 0, "{name}: {finding:#}");
    }
    println!("{}", table.text);
    assert!(table.learned >= 10, "{}", table.text);
    table.compare_with_the_documentation();
}

/// What `wstap learn` says of the client of each protocol, once it was interrupted.
fn learn(pid: &str, client: &mut Peer) -> BTreeMap<String, Value> {
    let mut command = program();
    command.args(["learn", "--all", "--json", "--pid", pid]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut learning = command.spawn().expect("wstap starts");
    let mut log = BufReader::new(learning.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("learning from what passes") {
        line.clear();
        assert!(log.read_line(&mut line).expect("a log") > 0, "wstap ended too soon");
    }
    let names = accounts(client).into_iter().map(|account| (account.path, account.name));
    let names: BTreeMap<String, String> = names.collect();
    signal(learning.id(), Signal::INT);
    let mut said = String::new();
    learning.stdout.take().expect("piped").read_to_string(&mut said).expect("text");
    assert!(wait_for("wstap to end", || learning.try_wait().expect("a status")).success());
    let findings = said.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let named = |finding: Value| {
        let path = finding["path"].as_str().expect("a path");
        let path = path.split('/').nth(1).expect("its first part");
        (names[path].clone(), finding)
    };
    findings.map(named).collect()
}

/// How many requests were counted otherwise than by the peer itself.
fn judge(scene: &Scene, name: &str, finding: &Value, mut client: Peer, table: &mut Table) -> u64 {
    let rules = scene.path("learned.toml");
    let text = |key: &str| finding[key].as_str().expect("a text");
    fs::write(&rules, text("toml")).expect("a file");
    let rules = rules.to_str().expect("a path");
    let tap = Frames::attach(client.pid(), &["--rules", rules, "--protocol", text("name")]);
    let account = accounts(&mut client).remove(0);
    let mut ours: BTreeMap<(String, String), u64> = BTreeMap::new();
    for line in tap.finish().iter().filter(|line| line["event"] == "exchange") {
        let text = |key: &str| line[key].as_str().expect("a text").to_owned();
        *ours.entry((text("method"), outcome(&account, text("outcome")))).or_default() += 1;
    }
    let theirs = theirs(&account, ours.keys().any(|(method, _)| !method.is_empty()));
    let has_method = |method: &String| theirs.keys().any(|(known, _)| known == method);
    let is_named = |method: &String| !method.is_empty() && has_method(method);
    let names_differ = !ours.keys().any(|(method, _)| is_named(method));
    let wrong = if names_differ {
        unexplained(sums(&ours), &account)
    } else {
        let all = theirs.iter().filter(|((method, _), _)| ours.keys().any(|(it, _)| it == method));
        let missed: u64 =
            all.map(|(key, count)| count.abs_diff(ours.get(key).copied().unwrap_or(0))).sum();
        let invented = |((method, outcome), _): &(&(String, String), &u64)| {
            !has_method(method) && !["matched", "error"].contains(&&**outcome)
        };
        missed + ours.iter().filter(invented).map(|(_, count)| count).sum::<u64>()
    };
    table.learned(name, finding, &ours, wrong, &account);
    wrong
}

/// How far a sum without methods is from what the peer asked. Those few requests that begin and end a
/// session may be counted or not.
fn unexplained(ours: u64, account: &Account) -> u64 {
    let all: Vec<u64> = account.outcomes().into_values().collect();
    let most: u64 = all.iter().filter(|count| **count >= 10).sum();
    if (most..=all.iter().sum()).contains(&ours) { 0 } else { ours.abs_diff(most) }
}

/// The clients of protocols that are not built in take no note of errors.
fn outcome(account: &Account, outcome: String) -> String {
    if account.is_foreign() && outcome == "error" { "matched".to_owned() } else { outcome }
}

/// What the peer asked, by method and outcome; without methods where the rule knows none.
fn theirs(account: &Account, with_methods: bool) -> BTreeMap<(String, String), u64> {
    let mut theirs: BTreeMap<(String, String), u64> = BTreeMap::new();
    for ((_, method, ended), count) in account.outcomes() {
        let method = if with_methods { method } else { String::new() };
        *theirs.entry((method, outcome(account, ended))).or_default() += count;
    }
    theirs
}

fn sums(counts: &BTreeMap<(String, String), u64>) -> u64 {
    counts.values().sum()
}

/// Their ids count, and whether answers overtake each other is a matter of timers.
const TIMED: [&str; 6] =
    ["discord", "openai-realtime", "unknown", "wamp2", "wamp2-cbor", "wamp2-msgpack"];

/// The table of `docs/results/learning.md`.
#[derive(Default)]
struct Table {
    text: String,
    rows: Vec<String>,
    learned: usize,
}

impl Table {
    fn refused(&mut self, name: &str, finding: &Value) {
        let reason = finding["reason"].as_str().expect("a reason");
        let row = format!("| {name} | refused |");
        writeln!(self.text, "{row} | {reason} | | | |").expect("a String");
        self.rows.push(row);
    }

    fn learned(
        &mut self,
        name: &str,
        finding: &Value,
        ours: &BTreeMap<(String, String), u64>,
        wrong: u64,
        account: &Account,
    ) {
        let sum = |wanted: &str| -> u64 {
            ours.iter().filter(|((_, outcome), _)| outcome == wanted).map(|(_, count)| count).sum()
        };
        let ids = finding["ids"].as_array().expect("a list");
        let path = |it: &Value| format!("`{}`", it["asked"].as_str().expect("a path"));
        let ids: Vec<String> = ids.iter().map(path).collect();
        let asked: u64 = account.outcomes().values().sum();
        let row = format!(
            "| {name} | learned | {} | {asked} | {} | {} | {wrong} |",
            ids.join(", "),
            sum("matched"),
            sum("error")
        );
        writeln!(self.text, "{row}").expect("a String");
        self.rows.push(row);
        self.learned += 1;
    }

    /// What was learned must be what the document says; with `WSTAP_BLESS=1` it is written.
    fn compare_with_the_documentation(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/results/learning.md");
        let document = fs::read_to_string(&path).expect("the document");
        if std::env::var_os("WSTAP_BLESS").is_some() {
            let (before, rest) = document.split_once("<!-- peers -->\n").expect("its beginning");
            let (_, after) = rest.split_once("<!-- end -->").expect("its end");
            let head = "| peer | verdict | id, or why not | requests | matched | errors | wrong |\n\
                        |---|---|---|---:|---:|---:|---:|\n";
            let text = format!("{before}<!-- peers -->\n{head}{}<!-- end -->{after}", self.text);
            return fs::write(&path, text).expect("a file");
        }
        let is_timed =
            |row: &String| TIMED.iter().any(|name| row.starts_with(&format!("| {name} |")));
        for row in self.rows.iter().filter(|row| !is_timed(row)) {
            assert!(document.contains(row), "docs/results/learning.md lacks {row}");
        }
    }
}

/// Nobody has written a rule for this protocol. What is learned of its first connections counts on those
/// that are open and on those that follow.
#[test]
fn root_a_protocol_that_nobody_knows_is_learned_beside_the_monitoring() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(mut server) = scene.protocols_server() else { return };
    let load = ["--only", "orders", "--requests", "40000", "--connections", "20", "--width", "2"];
    let mut client = scene.protocols_client(&server.line(), &load).expect("a client");
    let monitor = Monitor::attach(client.pid(), &["--protocol", "auto"]);
    client.go();
    let labels = ["protocol=\"learned\"", "method=\"place\"", "outcome=\"matched\""];
    let metrics = monitor.metrics_when("what was learned to count", |metrics| {
        metrics.sum("wstap_requests_total", &labels) > 500.0
    });
    let learned = metrics.sum("wstap_requests_total", &["protocol=\"learned\""]);
    assert_eq!(metrics.sum("wstap_requests_total", &[]), learned);
    assert_eq!(metrics.sum("wstap_requests_total", &["outcome=\"expired\""]), 0.0);
    assert!(metrics.sum("wstap_requests_total", &["outcome=\"error\""]) > 0.0);
}

/// Nothing would be learned there, so it is not taken.
#[test]
fn what_is_learned_beside_the_monitoring_is_not_asked_for_elsewhere() {
    for command in [&["messages"][..], &["top", "--once"], &["record", "-o", "-"]] {
        let output = program().args(command).args(["--pid", "1", "--protocol", "auto"]).output();
        let output = output.expect("wstap runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("wstap learn"), "{said}");
    }
}
