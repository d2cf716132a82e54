use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use crate::suite::common::peers::mixed::scaled;
use crate::suite::common::peers::{Peer, Scene};
use crate::suite::common::wstap::{Frames, Monitor, get, privileged};

/// The protocols of `peers/protocols` that are not built in.
const FOREIGN: [&str; 2] = ["unknown", "orders"];

/// What a server takes at least for the answers that are timed.
const SERVED_NS: f64 = 5e6;

/// Requests by protocol, method and outcome.
pub(super) type Outcomes = BTreeMap<(String, String, String), u64>;

/// The account of one peer: a client of one protocol.
pub(super) struct Account {
    pub(super) name: String,
    /// The first part of its connections' path.
    pub(super) path: String,
    protocol: String,
    client: String,
    server: Option<String>,
    methods: BTreeMap<String, BTreeMap<String, u64>>,
    /// Median of its own measurements of the requests of one method.
    median_ns: f64,
    method: String,
}

impl Account {
    fn new(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Self {
            name: text("name").expect("a name"),
            path: text("path").expect("a path"),
            protocol: text("protocol").expect("a protocol"),
            client: text("client").expect("a client"),
            server: text("server"),
            methods: serde_json::from_value(value["methods"].clone()).expect("counts"),
            median_ns: value["median_ns"].as_f64().expect("a median"),
            method: text("method").expect("a method"),
        }
    }

    /// What it asked, in the terms of wstap.
    pub(super) fn outcomes(&self) -> Outcomes {
        let mut outcomes = Outcomes::new();
        for (method, counts) in &self.methods {
            for (outcome, &count) in counts.iter().filter(|(_, count)| **count > 0) {
                let key = (self.protocol.clone(), method.clone(), outcome.clone());
                outcomes.insert(key, count);
            }
        }
        outcomes
    }

    /// wstap does not know its protocol.
    pub(super) fn is_foreign(&self) -> bool {
        FOREIGN.contains(&&*self.protocol)
    }

    fn answered(&self, outcome: &str) -> u64 {
        self.methods.values().filter_map(|counts| counts.get(outcome)).sum()
    }

    /// Up to the times: what a run repeats exactly.
    fn row(&self, wrong: u64) -> String {
        let (matched, errors) = (self.answered("matched"), self.answered("error"));
        let server = self.server.as_deref().unwrap_or("written for the test");
        format!(
            "| `{}` | {} | {server} | {} | {matched} | {errors} | {wrong} |",
            self.protocol,
            self.client,
            matched + errors,
        )
    }
}

/// Lets the client ask over every protocol, and takes its accounts of the built-in ones.
fn builtin_accounts(client: &mut Peer) -> Vec<Account> {
    let mut accounts = accounts(client);
    accounts.retain(|account| !account.is_foreign());
    accounts.sort_by_key(|account| (account.protocol.clone(), account.name.clone()));
    accounts
}

/// Lets the client ask, and takes its accounts.
pub(super) fn accounts(client: &mut Peer) -> Vec<Account> {
    client.go();
    let accounts: Value = serde_json::from_str(&client.line()).expect("accounts");
    accounts.as_array().expect("accounts").iter().map(Account::new).collect()
}

/// Requests of one peer that one of two counted and the other did not.
fn miscounted(account: &Account, ours: &Outcomes) -> u64 {
    let theirs = account.outcomes();
    let mut keys: Vec<_> = theirs.keys().chain(ours.keys()).collect();
    keys.sort();
    keys.dedup();
    let count = |outcomes: &Outcomes, key| outcomes.get(key).copied().unwrap_or(0);
    keys.into_iter().map(|key| count(&theirs, key).abs_diff(count(ours, key))).sum()
}

/// Everything that these peers asked.
fn all_outcomes<'a>(accounts: impl IntoIterator<Item = &'a Account>) -> Outcomes {
    let mut all = Outcomes::new();
    for (key, count) in accounts.into_iter().flat_map(Account::outcomes) {
        *all.entry(key).or_default() += count;
    }
    all
}

/// The exchanges of one peer that `wstap messages` printed.
#[derive(Default)]
struct Exchanges {
    outcomes: Outcomes,
    times: BTreeMap<(String, String), Vec<f64>>,
}

impl Exchanges {
    /// By the first part of the connections' path, which no two peers share.
    fn by_peer(lines: &[Value]) -> BTreeMap<String, Self> {
        let (mut names, mut by_peer) = (BTreeMap::new(), BTreeMap::<_, Self>::new());
        for line in lines {
            let conn = line["conn"].as_str().expect("a connection");
            if line["event"] == "open" {
                names.insert(conn, first_of_path(line));
            } else if line["event"] == "exchange" {
                by_peer.entry(names[conn].clone()).or_default().add(line);
            }
        }
        by_peer
    }

    fn add(&mut self, line: &Value) {
        let text = |key: &str| line[key].as_str().expect("a text").to_owned();
        let key = (text("protocol"), text("method"), text("outcome"));
        *self.outcomes.entry(key).or_default() += 1;
        if line["outcome"] == "matched" {
            let times = self.times.entry((text("protocol"), text("method"))).or_default();
            times.extend(line["turnaround_ns"].as_f64());
        }
    }

    /// Times of the requests that the peer timed, in ascending order.
    fn times_ns(&self, account: &Account) -> Vec<f64> {
        let mut times = self.times[&(account.protocol.clone(), account.method.clone())].clone();
        times.sort_by(f64::total_cmp);
        times
    }
}

/// The first part of the path of a connection that opened.
fn first_of_path(open: &Value) -> String {
    let path = open["path"].as_str().expect("a path");
    path.split('/').nth(1).expect("a name").to_owned()
}

/// One after the other, seen from the client: each peer's counts and times beside wstap's.
#[test]
fn root_every_protocol_is_matched_as_its_own_client_matches_it() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((_server, mut client)) = scene.protocols(&[]) else { return };
    let monitor = Monitor::attach(client.pid(), &[]);
    let tap = Frames::attach(client.pid(), &[]);
    let accounts = builtin_accounts(&mut client);
    let exchanges = Exchanges::by_peer(&tap.finish());
    let mut table = Table::new();
    for account in &accounts {
        let exchanges = exchanges.get(&account.path);
        let exchanges = exchanges.unwrap_or_else(|| panic!("{}: nothing", account.name));
        println!("{}: {:?}", account.name, exchanges.outcomes);
        // An answer that comes before the server can have given it is another request's.
        let times = exchanges.times_ns(account);
        let early = times.iter().filter(|&&time| time < SERVED_NS).count() as u64;
        let wrong = miscounted(account, &exchanges.outcomes) + early;
        table.row(account, wrong, times[times.len() / 2]);
        // The client's clock starts before the request is written and stops after the answer is
        // read.
        assert!(times[times.len() / 2] <= account.median_ns, "{}: {times:?}", account.name);
    }
    println!("{}", table.text);
    assert_eq!(table.wrong, 0);
    let started = all_outcomes(&accounts).values().sum::<u64>() as f64;
    let metrics =
        monitor.metrics_when("every answer", |m| m.sum("wstap_requests_total", &[]) >= started);
    metrics.assert_balance(started);
    metrics.assert_flawless();
    table.compare_with_the_documentation();
}

/// All at once, seen from the server: no connection takes another's protocol, and what no rule
/// reads is counted as traffic. In the long form these are ten thousand connections.
#[test]
fn root_many_connections_of_mixed_protocols_are_told_apart() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let (each, requests) = (scaled(3, 500), scaled(150, 500 * 12));
    let load = ["--connections", &each.to_string(), "--requests", &requests.to_string()];
    let load = [&["--at-once", "--width", "3"][..], &load].concat();
    let Some((server, mut client)) = scene.protocols(&load) else { return };
    // Behind the server are Jupyter's own connections, which are not encrypted.
    let options = ["--plain", "off", "--no-children"];
    let tap = Monitor::attach(server.pid(), &options);
    let frames = Frames::attach(server.pid(), &options);
    let accounts = accounts(&mut client);
    let theirs = all_outcomes(accounts.iter().filter(|account| !account.is_foreign()));
    let started = theirs.values().sum::<u64>() as f64;
    let metrics =
        tap.metrics_when("every answer", |m| m.sum("wstap_requests_total", &[]) >= started);
    for ((protocol, method, outcome), &count) in &theirs {
        let labels = [("protocol", protocol), ("method", method), ("outcome", outcome)];
        let labels = labels.map(|(name, value)| format!("{name}=\"{value}\""));
        let labels = labels.each_ref().map(String::as_str);
        assert_eq!(metrics.sum("wstap_requests_total", &labels), count as f64, "{labels:?}");
    }
    metrics.assert_balance(started);
    metrics.assert_flawless();
    let connections = u64::from(each) * accounts.len() as u64;
    let opened = metrics.sum("wstap_connections_opened_total", &["role=\"server\""]);
    assert_eq!(opened, connections as f64);
    assert_eq!(metrics.sum("wstap_requests_total", &["protocol=\"unknown\""]), 0.0);
    assert!(!get(tap.address, "/api/v1/turnaround").contains("\"unknown\""));
    let labels = Labels::new(&frames.finish());
    assert_eq!(labels.connections, connections);
    for account in &accounts {
        labels.assert_right(account);
    }
    println!("{connections} connections, {started} requests, none mislabelled");
}

/// What `wstap messages` called the messages of each connection, by the first part of its path.
struct Labels {
    connections: u64,
    messages: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Labels {
    fn new(lines: &[Value]) -> Self {
        let (mut names, mut messages) = (BTreeMap::new(), BTreeMap::<_, BTreeMap<_, _>>::new());
        for line in lines {
            let conn = line["conn"].as_str().expect("a connection");
            if line["event"] == "open" {
                assert_eq!(names.insert(conn, first_of_path(line)), None, "{conn} opened twice");
            } else if line["event"] == "message" {
                let of_peer = messages.entry(names[conn].clone()).or_default();
                let protocol = line["protocol"].as_str().expect("a protocol").to_owned();
                *of_peer.entry(protocol).or_default() += 1;
            }
        }
        Self { connections: names.len() as u64, messages }
    }

    /// Before enough has passed to be certain, a message may be `unknown`; it is never another's.
    fn assert_right(&self, account: &Account) {
        let Account { name, path, protocol, .. } = account;
        let mut labels = self.messages[path].clone();
        let unknown = labels.remove("unknown").unwrap_or(0);
        if account.is_foreign() {
            let asked: u64 = account.outcomes().values().sum();
            assert_eq!(unknown, 2 * asked, "{name}: requests and answers");
        } else {
            assert!(labels.remove(protocol) > Some(unknown), "{name}: {:?}", self.messages[path]);
        }
        assert!(labels.is_empty(), "{name} is also called {labels:?}");
    }
}

/// A protocol of one's own in five lines, as the README has it, against a real process.
#[test]
fn root_a_protocol_of_five_lines_matches_a_real_process() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((_server, mut client)) = scene.protocols(&["--only", "orders"]) else { return };
    let rules = scene.path("orders.toml");
    let text = include_str!("../../../../README.md");
    let (_, text) = text.split_once("```toml\nname = \"orders\"\n").expect("the example");
    let (text, _) = text.split_once("```").expect("the end of the example");
    assert_eq!(text.lines().count(), 4, "{text}");
    std::fs::write(&rules, format!("name = \"orders\"\n{text}")).expect("a file");
    let tap = Monitor::attach(client.pid(), &["--rules", rules.to_str().expect("a path")]);
    let accounts = accounts(&mut client);
    let started = all_outcomes(&accounts).values().sum::<u64>() as f64;
    let labels = ["protocol=\"orders\"", "method=\"place\"", "outcome=\"matched\""];
    let metrics = tap.metrics_when("every answer", |m| {
        m.sum("wstap_requests_total", &["protocol=\"orders\""]) >= started
    });
    assert_eq!(metrics.sum("wstap_requests_total", &labels), 180.0);
    metrics.assert_balance(started);
    metrics.assert_flawless();
}

/// The table of `docs/protocols.md`.
struct Table {
    text: String,
    rows: Vec<String>,
    wrong: u64,
}

impl Table {
    fn new() -> Self {
        let text = "| protocol | client | server | requests | matched | errors | wrong | \
                    median, wstap | median, peer |\n\
                    |---|---|---|---:|---:|---:|---:|---:|---:|\n";
        Self { text: text.to_owned(), rows: Vec::new(), wrong: 0 }
    }

    fn row(&mut self, account: &Account, wrong: u64, ours_ns: f64) {
        let row = account.row(wrong);
        let (ours, own) = (ours_ns / 1e6, account.median_ns / 1e6);
        writeln!(self.text, "{row} {ours:.2} ms | {own:.2} ms |").expect("a String");
        self.rows.push(row);
        self.wrong += wrong;
    }

    /// All but the times must be what the document says; with `WSTAP_BLESS=1` it is written.
    fn compare_with_the_documentation(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocols.md");
        let document = std::fs::read_to_string(&path).expect("the document");
        if std::env::var_os("WSTAP_BLESS").is_some() {
            let (before, rest) = document.split_once("<!-- peers -->\n").expect("its beginning");
            let (_, after) = rest.split_once("<!-- end -->").expect("its end");
            let text = format!("{before}<!-- peers -->\n{}<!-- end -->{after}", self.text);
            return std::fs::write(&path, text).expect("a file");
        }
        for row in &self.rows {
            assert!(document.contains(row), "docs/protocols.md is out of date; it lacks {row}");
        }
    }
}
