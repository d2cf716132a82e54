use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::prelude::{BASE64_STANDARD, Engine};
use rustix::process::Signal;
use serde_json::Value;

use crate::suite::common::peers::mixed::{finish, say};
use crate::suite::common::peers::{Runtime, Scene};
use crate::suite::common::programs;
use crate::suite::common::wstap::{Frames, privileged, program, signal, wait_for};

/// A message: when by the nanoseconds of its second, whether the client sent it, its type and its
/// contents.
type Message = (String, bool, String, Vec<u8>);

/// Arguments with which everything is kept and printed whole.
const ALL: [&str; 6] = ["--payload", "16777216", "--window", "16m", "--ring-size", "32m"];

/// The messages of `wstap messages --json --payload`, one list for each connection.
fn printed(lines: &[Value]) -> Vec<Vec<Message>> {
    let mut names: Vec<&str> = Vec::new();
    let mut messages: Vec<Vec<Message>> = Vec::new();
    for line in lines {
        let text = |key: &str| line[key].as_str();
        let conn = text("conn").expect("a connection");
        if line["event"] == "open" {
            names.push(conn);
            messages.push(Vec::new());
        }
        if line["event"] != "message" {
            continue;
        }
        assert_eq!(line["payload_complete"], true, "{line}");
        let data = match text("payload_base64") {
            Some(data) => BASE64_STANDARD.decode(data).expect("base64"),
            None => text("payload").expect("a payload").as_bytes().to_vec(),
        };
        let by_client = (text("direction") == Some("sent")) == (text("role") == Some("client"));
        let kind = text("type").expect("a type").to_owned();
        let number = names.iter().position(|name| *name == conn).expect("it was opened");
        messages[number].push((nanoseconds(text("wall").expect("a time")), by_client, kind, data));
    }
    messages
}

/// What follows the second in a time.
fn nanoseconds(time: &str) -> String {
    time.rsplit_once('.').expect("a fraction").1.trim_end_matches('Z').to_owned()
}

/// The messages that tshark finds in the file, or in what comes through the pipe.
fn dissected(tshark: &Path, file: &Path) -> Vec<Vec<Message>> {
    let fields = ["tcp.stream", "frame.time_epoch", "ip.src", "websocket.opcode"];
    let contents = ["websocket.payload.text", "data.data"];
    let mut command = Command::new(tshark);
    command.arg("-r").arg(file).args(["-Y", "websocket.opcode in {1, 2}", "-T", "fields"]);
    fields.iter().chain(&contents).for_each(|field| {
        command.args(["-e", field]);
    });
    let output = command.stderr(Stdio::null()).output().expect("tshark starts");
    let mut messages: Vec<Vec<Message>> = Vec::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let mut fields = line.split('\t');
        let mut field = || fields.next().expect("six fields");
        let stream: usize = field().parse().expect("a number");
        let (time, source, opcode) = (field(), field(), field());
        let (text, data) = (field(), field());
        messages.resize(messages.len().max(stream + 1), Vec::new());
        let (kind, data) = match opcode {
            "1" => ("text", text.as_bytes().to_vec()),
            _ => ("binary", bytes(data)),
        };
        let by_client = source.starts_with("10.");
        messages[stream].push((nanoseconds(time), by_client, kind.to_owned(), data));
    }
    messages
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
    digits.map(|pair| byte(pair).expect("hexadecimal")).collect()
}

/// A conversation of many kinds of messages, with a recording of it: what was printed meanwhile. `None` where
/// the test is to be skipped.
fn recorded(
    scene: &Scene,
    runtime: Runtime,
    load: &[&str],
    recording: &Path,
) -> Option<Vec<Vec<Message>>> {
    let (mut server, mut client, _) = scene.mixed(runtime, runtime, load)?;
    let mut options = ALL.to_vec();
    options.extend(["--record", recording.to_str().expect("a path")]);
    let tap = Frames::attach(server.pid(), &options);
    say(&mut client);
    client.wait();
    finish(&mut server);
    Some(printed(&tap.finish()))
}

/// Replays a recording into `file`.
fn replayed_as(format: &str, recording: &Path, file: &Path) {
    let mut command = program();
    command.arg("replay").arg(recording).args(["--format", format, "-o"]).arg(file);
    let output = command.output().expect("wstap runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// Panics at the first difference, and shows no more than that.
fn assert_equal(seen: &[Vec<Message>], printed: &[Vec<Message>], who: &str) {
    let lengths = |all: &[Vec<Message>]| all.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(seen), lengths(printed), "{who}");
    for (seen, printed) in seen.iter().flatten().zip(printed.iter().flatten()) {
        let cut = |it: &Message| format!("{it:?}").chars().take(200).collect::<String>();
        assert!(seen == printed, "{who}: {} is {}", cut(seen), cut(printed));
    }
}

/// Compressed or not, in one frame or several, with pings between, on several connections at a time,
/// up to 5 MB.
#[test]
fn root_tshark_reads_the_messages_that_are_printed() {
    if !privileged() {
        return;
    }
    let Some(tshark) = programs::find("tshark") else { return };
    for (runtime, deflate) in [
        (Runtime::Python, "off"),
        (Runtime::Python, "default"),
        (Runtime::Python, "no-takeover"),
        (Runtime::Node, "default"),
    ] {
        let scene = Scene::new();
        let load = ["--connections", "3", "--messages", "300", "--deflate", deflate];
        let recording = scene.path("recording");
        let Some(printed) = recorded(&scene, runtime, &load, &recording) else { return };
        let count: usize = printed.iter().map(Vec::len).sum();
        assert_eq!(count, 600);
        let file = scene.path("packets.pcapng");
        replayed_as("pcapng", &recording, &file);
        assert_equal(&dissected(&tshark, &file), &printed, &format!("{runtime:?} {deflate}"));
        let har = scene.path("messages.har");
        replayed_as("har", &recording, &har);
        assert_har(&har, &printed);
    }
}

#[test]
fn root_tshark_reads_messages_of_5_mb_whole_from_the_pipe_of_a_live_tap() {
    if !privileged() {
        return;
    }
    let Some(tshark) = programs::find("tshark") else { return };
    let scene = Scene::new();
    let Some((mut server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let load = ["--requests", "4", "--size", "5000000"];
    let mut client = scene.client(Runtime::Python, port, &load).expect("python is there");
    let (piped, recording) = (scene.path("piped.pcapng"), scene.path("recording"));
    let mut live = program();
    live.args(["messages", "--pid", &server.pid().to_string(), "--format", "pcapng", "-o", "-"]);
    live.args(["--ring-size", "64m", "--record"]).arg(&recording);
    live.stdout(fs::File::create(&piped).expect("a file"));
    let mut live = live.spawn().expect("wstap starts");
    // The header of the file is written once the process is tapped.
    wait_for("the live file", || (fs::metadata(&piped).ok()?.len() > 0).then_some(()));
    client.go();
    client.summary();
    client.wait();
    server.finish();
    signal(live.id(), Signal::TERM);
    live.wait().expect("wstap ends");
    let mut command = program();
    command.arg("replay").arg(&recording).args(["--json", "--payload", "16777216"]);
    let output = command.output().expect("wstap runs");
    let lines = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let printed = printed(&lines);
    assert!(printed[0].iter().any(|message| message.3.len() > 5_000_000));
    assert_equal(&dissected(&tshark, &piped), &printed, "live");
}

/// The file is HAR 1.2 with the messages where browsers look for them.
fn assert_har(file: &Path, printed: &[Vec<Message>]) {
    let har: Value = serde_json::from_slice(&fs::read(file).expect("a file")).expect("JSON");
    assert_eq!(har["log"]["version"], "1.2");
    let entries = har["log"]["entries"].as_array().expect("a list");
    assert_eq!(entries.len(), printed.len());
    for (entry, printed) in entries.iter().zip(printed) {
        assert_eq!(entry["_resourceType"], "websocket");
        assert_eq!(entry["response"]["status"], 101);
        assert!(entry["request"]["url"].as_str().expect("text").starts_with("wss://"));
        assert_messages(&entry["_webSocketMessages"], printed);
    }
}

/// A list of messages as HAR has them.
fn assert_messages(messages: &Value, printed: &[Message]) {
    let messages = messages.as_array().expect("a list");
    assert_eq!(messages.len(), printed.len());
    for (message, (nanoseconds, by_client, kind, data)) in messages.iter().zip(printed) {
        assert_eq!(message["type"] == "send", *by_client);
        assert_eq!(message["opcode"], if kind == "text" { 1 } else { 2 });
        let text = message["data"].as_str().expect("text");
        let seen = match kind.as_str() {
            "text" => text.as_bytes().to_vec(),
            _ => BASE64_STANDARD.decode(text).expect("base64"),
        };
        assert!(seen == *data, "{text}");
        let fraction = message["time"].as_f64().expect("a time").fract();
        let exact: f64 = format!("0.{nanoseconds}").parse().expect("a fraction");
        assert!((fraction - exact).abs() < 1e-6, "{fraction} is {exact}");
    }
}

/// Chromium's own import, with messages of every kind on several connections.
#[test]
fn root_the_network_panel_of_chromium_imports_the_har() {
    if !privileged() || programs::find("chromium").is_none() {
        return;
    }
    let scene = Scene::new();
    let load = ["--connections", "3", "--messages", "100", "--deflate", "default"];
    let recording = scene.path("recording");
    let Some(printed) = recorded(&scene, Runtime::Python, &load, &recording) else { return };
    let har = scene.path("messages.har");
    replayed_as("har", &recording, &har);
    let Some(mut browser) = scene.har_import(&har) else { return };
    let requests: Value = serde_json::from_str(&browser.line()).expect("JSON");
    browser.wait();
    let requests = requests.as_array().expect("a list");
    assert_eq!((requests.len(), printed.len()), (3, 3));
    for (request, printed) in requests.iter().zip(&printed) {
        assert_eq!((&request["type"], &request["status"]), (&"websocket".into(), &101.into()));
        assert!(request["url"].as_str().expect("text").starts_with("wss://"));
        assert_messages(&request["messages"], printed);
    }
}
