use std::collections::{BTreeMap, HashMap};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::suite::common::peers::Runtime::{Node, NodeCurrent, Python};
use crate::suite::common::peers::Transcript;
use crate::suite::common::peers::busy::{Busy, End};
use crate::suite::common::peers::mixed::scaled;
use crate::suite::common::probed::is_probed;
use crate::suite::common::wstap::{Frames, Monitor, privileged, program, wait_for};

/// Messages of each direction that pass unread before the window is found, where the machine is quiet.
const FIRST: usize = 5;

/// So many messages in a row that are read say that a direction is read for good. Fewer may be messages that
/// need no window: where it is small, many refer to nothing that lies before them.
const IN_A_ROW: usize = 3;

/// Which part of the requests must be matched that begin once both directions are read.
const PART: f64 = 0.98;

/// Percent of those that begin after the first messages which must be matched, in a long run. In a short
/// one the beginning is most of what is looked at.
const PERCENT_OF_ALL: u32 = 95;

/// Answers that are waited for once every connection is read, and the same in a long run.
const ANSWERS: u32 = 300;
const ANSWERS_LONG: u32 = 6_000;

/// How long connections go on under tap of which none need be read.
const A_WHILE: Duration = Duration::from_secs(4);

/// Some requests, and those of them that were matched.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    due: usize,
    matched: usize,
}

/// What became of all connections.
#[derive(Debug, Default)]
struct Tally {
    connections: usize,
    /// Of which both directions are read.
    read: usize,
    /// Requests that began since then,
    since_read: Part,
    /// and after the first messages of each direction.
    after_first: Part,
}

impl Tally {
    fn assert_enough(&self, who: &str) {
        println!("{who}: {self:?}");
        assert_eq!(self.read, self.connections, "{who}: {self:?}");
        let Part { due, matched } = self.since_read;
        assert!(due >= 100 && matched as f64 >= PART * due as f64, "{who}: {self:?}");
        let Part { due, matched } = self.after_first;
        assert!(matched * 100 >= due * scaled(0, PERCENT_OF_ALL) as usize, "{who}: {self:?}");
    }
}

/// What is read of one connection at one end.
#[derive(Default)]
struct Seen {
    passed: [usize; 2],
    /// When the first messages of both directions had passed,
    after_first_ns: Option<u64>,
    /// and since when both are read.
    read_ns: Option<u64>,
    /// By direction, messages that were read one after the other up to now.
    in_a_row: [usize; 2],
    since_read: Part,
    after_first: Part,
    /// Whose it is by what was said on it, and the last message of each direction by its number.
    owner: Option<usize>,
    last: [Option<usize>; 2],
}

impl Seen {
    /// A message passes: one direction is the client's own, 0.
    fn message(
        &mut self,
        line: &Value,
        way: usize,
        said: &HashMap<(usize, &[u8]), (usize, usize)>,
    ) {
        self.since_read.due += usize::from(way == 0 && self.read_ns.is_some());
        self.after_first.due += usize::from(way == 0 && self.after_first_ns.is_some());
        self.passed[way] += 1;
        let now_ns = line["ts_ns"].as_u64();
        if self.passed.iter().all(|&it| it >= FIRST) {
            self.after_first_ns = self.after_first_ns.or(now_ns);
        }
        let text = line["payload"].as_str().unwrap_or_default();
        if text.is_empty() {
            self.in_a_row[way] = 0;
            return;
        }
        self.in_a_row[way] += 1;
        let Some(&(owner, number)) = said.get(&(way, text.as_bytes())) else {
            panic!("what was read was never said: {text}");
        };
        assert_eq!(*self.owner.get_or_insert(owner), owner, "of another connection: {text}");
        assert!(self.last[way].is_none_or(|last| last < number), "out of order: {text}");
        self.last[way] = Some(number);
        if self.in_a_row.iter().all(|&it| it >= IN_A_ROW) {
            self.read_ns = self.read_ns.or(now_ns);
        }
    }

    fn exchange(&mut self, line: &Value) {
        let number = |key: &str| line[key].as_u64().unwrap_or_default();
        let began_ns = number("ts_ns").saturating_sub(number("turnaround_ns"));
        let counts = |from_ns: Option<u64>| {
            let is_due = from_ns.is_some_and(|from_ns| began_ns > from_ns);
            usize::from(line["outcome"] == "matched" && is_due)
        };
        self.since_read.matched += counts(self.read_ns);
        self.after_first.matched += counts(self.after_first_ns);
    }
}

/// Panics at anything read that was not said, on the same connection and in the same order. Both ends may
/// have been tapped.
fn compare(lines: &[Value], said: &Transcript) -> Tally {
    let mut index = HashMap::new();
    for (owner, ways) in said.iter().enumerate() {
        for (way, messages) in ways.iter().enumerate() {
            for (number, (_, text)) in messages.iter().enumerate() {
                index.insert((way, &text[..]), (owner, number));
            }
        }
    }
    let mut connections: BTreeMap<&str, Seen> = BTreeMap::new();
    for line in lines {
        let Some(name) = line["conn"].as_str() else { continue };
        let seen = connections.entry(name).or_default();
        match line["event"].as_str() {
            Some("message") => {
                let is_own = (line["role"] == "client") == (line["direction"] == "sent");
                seen.message(line, usize::from(!is_own), &index);
            }
            Some("exchange") => seen.exchange(line),
            _ => {}
        }
    }
    let mut tally = Tally { connections: connections.len(), ..Tally::default() };
    for seen in connections.values() {
        tally.read += usize::from(seen.read_ns.is_some());
        tally.since_read.due += seen.since_read.due;
        tally.since_read.matched += seen.since_read.matched;
        tally.after_first.due += seen.after_first.due;
        tally.after_first.matched += seen.after_first.matched;
    }
    tally
}

/// What has come so far of the lines of a tap.
#[derive(Debug, Default)]
struct SoFar {
    lines: usize,
    /// By connection and direction, messages that were read one after the other up to now.
    in_a_row: BTreeMap<String, [usize; 2]>,
    /// Each connection is read both ways,
    is_all_read: bool,
    /// and so many requests were matched since then.
    matched: u32,
}

impl SoFar {
    /// Whether there are so many connections, each is read, and some requests were matched since then.
    fn is_enough(&mut self, lines: &[Value], connections: usize) -> bool {
        for line in &lines[self.lines..] {
            let Some(name) = line["conn"].as_str() else { continue };
            let ways = self.in_a_row.entry(name.to_owned()).or_default();
            if line["event"] == "message" {
                let is_read = line["payload"].as_str().is_some_and(|text| !text.is_empty());
                let way = &mut ways[usize::from(line["direction"] == "sent")];
                *way = if is_read { *way + 1 } else { 0 };
                let is_read = |ways: &[usize; 2]| ways.iter().all(|&it| it >= IN_A_ROW);
                self.is_all_read |=
                    self.in_a_row.len() == connections && self.in_a_row.values().all(is_read);
            }
            self.matched += u32::from(self.is_all_read && line["outcome"] == "matched");
        }
        self.lines = lines.len();
        self.matched >= scaled(ANSWERS, ANSWERS_LONG)
    }
}

impl Drop for SoFar {
    /// Whoever waited in vain wants to know for which direction.
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{self:?}");
        }
    }
}

/// Taps processes whose connections are busy, until each of them has been read for a while.
fn tap_until_read(busy: &mut Busy, pids: &[u32], connections: usize) -> Vec<Value> {
    let tap = attach(pids);
    let mut so_far = SoFar::default();
    tap.wait_until("each connection to be read", |lines| so_far.is_enough(lines, connections));
    busy.stop();
    tap.finish()
}

fn attach(pids: &[u32]) -> Frames {
    let more: Vec<String> = pids[1..].iter().map(u32::to_string).collect();
    let more = more.iter().flat_map(|pid| ["--pid", pid]);
    let flags: Vec<&str> = ["--payload", "65536"].into_iter().chain(more).collect();
    Frames::attach(pids[0], &flags)
}

/// Both ends are tapped, so that these are two processes and both roles.
#[test]
fn root_requests_of_connections_that_were_open_before_are_matched_whatever_the_library() {
    if !privileged() {
        return;
    }
    let paced = ["--connections", "10", "--pause", "0.05"];
    let with = |more: &[&'static str]| [&paced[..], more].concat();
    let cases: [(End<'_>, End<'_>); 6] = [
        ((Python, &["--stack", "websockets"]), (Python, &with(&["--stack", "threads"]))),
        (
            (Python, &["--stack", "threads", "--bits", "9"]),
            (Python, &with(&["--stack", "websockets", "--bits", "9"])),
        ),
        (
            (Python, &["--stack", "aiohttp", "--bits", "12"]),
            (Python, &with(&["--stack", "aiohttp", "--bits", "12"])),
        ),
        ((Python, &["--stack", "uvicorn", "--uvloop"]), (Node, &with(&[]))),
        ((Node, &["--bits", "9"]), (Node, &with(&["--stack", "undici"]))),
        ((NodeCurrent, &[]), (NodeCurrent, &with(&["--stack", "undici"]))),
    ];
    for (server, client) in cases {
        let Some(mut busy) = Busy::start(server, client) else { return };
        let pids = busy.pids();
        let lines = tap_until_read(&mut busy, &pids, 20);
        let tally = compare(&lines, &busy.transcript());
        assert_eq!(tally.connections, 20, "{server:?} {client:?}");
        tally.assert_enough(&format!("{server:?} {client:?}"));
    }
}

/// More directions than there were decompressors in the first version.
#[test]
fn root_two_hundred_connections_that_were_open_before_are_read() {
    if !privileged() {
        return;
    }
    let server: End<'_> = (Python, &["--stack", "websockets"]);
    let client: End<'_> = (Python, &["--connections", "200", "--pause", "0.3"]);
    let Some(mut busy) = Busy::start(server, client) else { return };
    let pid = busy.server.pid();
    let lines = tap_until_read(&mut busy, &[pid], 200);
    let tally = compare(&lines, &busy.transcript());
    assert_eq!(tally.connections, 200);
    tally.assert_enough("200 connections");
}

/// Requests follow each other at once, or in bursts that are read and written together.
#[test]
fn root_connections_at_full_load_are_read_and_none_of_it_is_wrong() {
    if !privileged() {
        return;
    }
    let cases: [(End<'_>, &[&str], usize); 3] = [
        ((Python, &["--stack", "websockets"]), &["--connections", "8"], 8),
        ((Python, &["--stack", "websockets"]), &["--connections", "4", "--depth", "8"], 4),
        ((Node, &[]), &["--connections", "8"], 8),
    ];
    for (server, client, connections) in cases {
        let Some(mut busy) = Busy::start(server, (Python, client)) else { return };
        let pid = busy.server.pid();
        let lines = tap_until_read(&mut busy, &[pid], connections);
        let tally = compare(&lines, &busy.transcript());
        tally.assert_enough(&format!("{server:?} {client:?}"));
    }
}

#[test]
fn root_workers_of_a_server_that_forks_are_read_each_by_itself() {
    if !privileged() {
        return;
    }
    let server: End<'_> = (Python, &["--stack", "aiohttp", "--workers", "3"]);
    let client: End<'_> = (Python, &["--connections", "24", "--pause", "0.1"]);
    let Some(mut busy) = Busy::start(server, client) else { return };
    let pid = busy.server.pid();
    let lines = tap_until_read(&mut busy, &[pid], 24);
    let workers: std::collections::BTreeSet<_> =
        lines.iter().filter_map(|line| line["pid"].as_u64()).collect();
    let tally = compare(&lines, &busy.transcript());
    assert!(workers.len() > 1, "{workers:?}");
    tally.assert_enough("workers");
}

/// The same zlib compresses files and bodies meanwhile, which say much the same as the connections.
#[test]
fn root_nothing_else_that_zlib_compresses_is_taken_for_a_connection() {
    if !privileged() {
        return;
    }
    let server: End<'_> = (Python, &["--stack", "threads", "--busy"]);
    let client: End<'_> = (Python, &["--connections", "4", "--pause", "0.05"]);
    let Some(mut busy) = Busy::start(server, client) else { return };
    let pid = busy.server.pid();
    let tap = attach(&[pid]);
    thread::sleep(A_WHILE);
    busy.stop();
    let lines = tap.finish();
    let tally = compare(&lines, &busy.transcript());
    println!("{tally:?}");
    assert_eq!(tally.connections, 4);
}

/// Its connections are compressed by another library, whose state nobody knows. The zlib of the process
/// compresses other things.
#[test]
fn root_other_libraries_are_refused_and_zlib_is_soon_left_alone() {
    if !privileged() {
        return;
    }
    for (module, library) in [("isal", "ISA-L"), ("zlib_ng", "zlib-ng")] {
        let server = ["--stack", "websockets", "--busy", "--zlib", module];
        let client: End<'_> = (Python, &["--connections", "4", "--pause", "0.05"]);
        let Some(mut busy) = Busy::start((Python, &server), client) else { return };
        let pid = busy.server.pid();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("stderr");
        let mut command = program();
        command.args(["--pid", &pid.to_string()]);
        command.stderr(std::fs::File::create(&path).expect("a file"));
        let tap = Monitor::spawn_on_any_port(command);
        let said = || std::fs::read_to_string(&path).expect("what it says");
        let refusal = format!("it is {library}, and wstap reads the state of zlib only");
        wait_for("the refusal", || said().contains(&refusal).then_some(()));
        tap.metrics_when("the calls of zlib", |_| is_probed(pid, "libz.so"));
        wait_for("the probes to leave", || (!is_probed(pid, "libz.so")).then_some(()));
        let metrics = tap.metrics();
        assert_eq!(metrics.sum("wstap_windows_total", &["result=\"asked\""]), 8.0);
        assert_eq!(metrics.sum("wstap_windows_total", &["result=\"proven\""]), 0.0);
        assert_eq!(metrics.sum("wstap_requests_total", &[]), 0.0);
        assert_eq!(metrics.sum("wstap_connections", &["decode=\"no_content\""]), 4.0);
        busy.stop();
    }
}
