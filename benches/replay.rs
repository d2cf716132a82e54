//! How fast a recording of 10,000,000 events replays, and how much memory that takes:
//! `cargo bench --bench replay`. `docs/results/recording.md` has what it showed last.
//!
//! The recording is made up: 64 connections on which JSON-RPC requests and their answers pass in turn, each in
//! a call of its own. Seconds are processor time (user), because other work may be going on.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use wstap::event::{Absent, ConnId, Direction, Event, EventKind, Segment, SegmentStart, TargetId};
use wstap::views::recording::{Encoder, FileWriter, Header, Record, Settings, TargetName};

const CONNECTIONS: usize = 64;
/// With the two calls of each handshake these are 10,000,000 events.
const REQUESTS: usize = CONNECTIONS * 78_124;
const EVENTS: usize = 2 * REQUESTS + 2 * CONNECTIONS;

const ASKED: &str = "GET /rpc HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("made-up.rec");
    let (stored, payload) = record(&file);
    println!("{EVENTS} events, {payload} bytes of payload in a message");
    println!(
        "the recording has {:.1} bytes for each message",
        stored as f64 / (2 * REQUESTS) as f64
    );
    show("--json --errors", lines(&file));
    show("--listen", metrics(&file));
}

fn show(how: &str, (seconds, peak_kb): (f64, u64)) {
    let rate = EVENTS as f64 / seconds;
    println!(
        "{how:16} {seconds:5.1} s  {rate:9.0} events/s  {:.1} MB at most",
        peak_kb as f64 / 1e3
    );
}

/// One that is being written.
struct Recording {
    encoder: Encoder,
    file: FileWriter<File>,
    offsets: Vec<[u64; 2]>,
    at_ns: u64,
}

impl Recording {
    fn push(&mut self, record: &Record<'_>) {
        self.encoder.push(record);
        if self.encoder.is_full() {
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        let Some(block) = self.encoder.take() else { return };
        let packed = block.pack().expect("memory");
        self.file.block(&packed).expect("room on the disk");
    }

    fn call(&mut self, connection: usize, direction: Direction, bytes: &[u8]) {
        let way = usize::from(direction == Direction::Received);
        let offset = self.offsets[connection][way];
        self.offsets[connection][way] += bytes.len() as u64;
        // 100,000 messages a second, and the time each quarter of a second.
        self.at_ns += 10_000;
        let segment = Segment {
            direction,
            offset,
            len: bytes.len() as u64,
            bytes,
            absent: Absent::Skipped,
            start: SegmentStart::Call,
        };
        let handle = 0x1000 + connection as u64;
        let conn = ConnId { tgid: 4242, generation: connection as u32 + 1, handle, stream: 0 };
        let (target, kind) = (TargetId(0), EventKind::Data(segment));
        self.push(&Record::Event(Event { conn, target, tid: 4242, at_ns: self.at_ns, kind }));
        if self.at_ns.is_multiple_of(250_000_000) {
            self.push(&Record::Tick { at_ns: self.at_ns });
        }
    }
}

/// Writes the recording. Returns its size, and that of a message.
fn record(path: &Path) -> (u64, usize) {
    let settings = Settings {
        window_bytes: 64 << 10,
        narrows: true,
        connections: 1_000,
        timeout_ns: 60_000_000_000,
        quiet_after_ns: 0,
    };
    let targets = vec![TargetName { name: "made-up".into(), protocol: None }];
    let header = Header { session: "1".into(), part: 1, targets, settings, ..Header::default() };
    let out = File::create(path).expect("a file");
    let file = FileWriter::new(out, &header).expect("room on the disk");
    let (offsets, at_ns) = (vec![[0; 2]; CONNECTIONS], 1_000_000_000);
    let mut recording = Recording { encoder: Encoder::default(), file, offsets, at_ns };
    for connection in 0..CONNECTIONS {
        recording.call(connection, Direction::Sent, ASKED.as_bytes());
        recording.call(connection, Direction::Received, GRANTED.as_bytes());
    }
    let mut letters = Letters(1);
    let mut payload = 0;
    for number in 0..REQUESTS {
        let (connection, id) = (number % CONNECTIONS, 1_000_000 + number / CONNECTIONS);
        let asked = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"quote.get","params":"{}"}}"#,
            letters.next()
        );
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"{}"}}"#, letters.next());
        payload = asked.len().max(answer.len());
        // A mask of zeros changes nothing.
        let length = asked.len() as u8;
        let frame = [&[0x81, 0xfe, 0, length, 0, 0, 0, 0], asked.as_bytes()].concat();
        let short = [&[0x81, 0x80 | length, 0, 0, 0, 0], asked.as_bytes()].concat();
        let frame = if asked.len() < 126 { short } else { frame };
        recording.call(connection, Direction::Sent, &frame);
        let frame = [&[0x81, answer.len() as u8], answer.as_bytes()].concat();
        recording.call(connection, Direction::Received, &frame);
    }
    let at_ns = recording.at_ns + 1;
    recording.push(&Record::Finish { at_ns });
    recording.push(&Record::End { why: "all is made up" });
    recording.hand_on();
    (recording.file.written(), payload)
}

/// Texts of 64 letters that no compression makes small.
struct Letters(u64);

impl Letters {
    fn next(&mut self) -> String {
        let letter = |_| {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'a' + ((self.0 >> 33) % 26) as u8)
        };
        (0..64).map(letter).collect()
    }
}

fn replay(file: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
    command.arg("replay").arg(file).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("wstap starts")
}

/// The replay into lines, of which few are printed.
fn lines(file: &Path) -> (f64, u64) {
    let mut child = replay(file, &["--json", "--errors"]);
    let (mut used, mut peak_kb) = (0.0, 0);
    while child.try_wait().expect("a status").is_none() {
        used = user_seconds(child.id()).unwrap_or(used);
        peak_kb = peak_kb_of(child.id()).unwrap_or(peak_kb);
        thread::sleep(Duration::from_millis(10));
    }
    (used, peak_kb)
}

/// The replay into metrics, up to the last event.
fn metrics(file: &Path) -> (f64, u64) {
    let mut child = replay(file, &["--listen", "127.0.0.1:0"]);
    let mut address = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    output.read_line(&mut address).expect("a line");
    let log = BufReader::new(child.stderr.take().expect("piped")).lines();
    let is_over =
        |line: std::io::Result<String>| line.is_ok_and(|it| it.contains("all is replayed"));
    assert!(log.into_iter().any(is_over), "the replay ends");
    let (used, peak_kb) = (user_seconds(child.id()), peak_kb_of(child.id()));
    let url = address.trim_end().rsplit(' ').next().expect("an address");
    let mut answer = ureq::get(url).call().expect("metrics");
    let text = answer.body_mut().read_to_string().expect("text");
    let matched = text.lines().find_map(|line| line.strip_prefix("turnaround_count "));
    assert_eq!(matched, Some(REQUESTS.to_string().as_str()), "all are matched");
    child.kill().expect("a signal");
    child.wait().expect("it ends");
    (used.expect("a running process"), peak_kb.expect("a running process"))
}

/// Processor time that a process has used, without the kernel's.
fn user_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks: f64 = stat.rsplit_once(") ")?.1.split(' ').nth(11)?.parse().ok()?;
    Some(ticks / 100.0)
}

/// The most memory that a process has had in use.
fn peak_kb_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
