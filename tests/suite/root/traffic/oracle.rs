use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use base64::prelude::{BASE64_STANDARD, Engine};
use rustix::process::Signal;
use serde_json::Value;

use crate::suite::common::peers::mixed::{WHOLE, assert_same, finish, say};
use crate::suite::common::peers::{Runtime, Scene};
use crate::suite::common::wstap::{Frames, privileged, signal, wait_for};
use crate::suite::common::{peers, programs};

const CONNECTIONS: usize = 3;
const MESSAGES: &str = "600";

/// Frames sent, frames received, messages sent, messages received; a line for each.
type Conversation = [Vec<String>; 4];

/// tshark takes the same bytes from the network, decrypts them with the client's keys, and a
/// decoder that shares no code with wstap reads them: every frame's header and every message.
#[test]
fn root_frames_and_messages_equal_what_another_decoder_makes_of_the_captured_packets() {
    if !privileged() {
        return;
    }
    let Some(tshark) = programs::find("tshark") else { return };
    for deflate in [
        &["--deflate", "off"][..],
        &["--deflate", "default"],
        &["--deflate", "no-takeover"],
        &["--deflate", "bits", "--bits", "9"],
    ] {
        let scene = Scene::new();
        let connections = CONNECTIONS.to_string();
        let mut arguments = vec!["--connections", &connections, "--messages", MESSAGES];
        arguments.extend(deflate);
        let pair = scene.mixed(Runtime::Python, Runtime::Python, &arguments);
        let Some((mut server, mut client, port)) = pair else { return };
        let capture = Capture::start(&tshark, port, scene.path("packets.pcapng"));
        let mut options = WHOLE.to_vec();
        options.push("--frames");
        let tap = Frames::attach(server.pid(), &options);
        say(&mut client);
        client.wait();
        finish(&mut server);
        let seen = seen(&tap.finish());
        let captured = capture.finish(&scene.path("keys.log"));
        assert_eq!(captured.len(), CONNECTIONS);
        assert_same(&seen, &captured, &format!("{deflate:?}"));
        let messages: usize = captured.iter().map(|it| it[2].len() + it[3].len()).sum();
        assert_eq!(messages, 1200, "{deflate:?}");
        let frames: usize = captured.iter().map(|it| it[0].len() + it[1].len()).sum();
        assert!(frames > messages, "{deflate:?}: fragments, pings and closes");
    }
}

/// What wstap told.
fn seen(lines: &[Value]) -> Vec<Conversation> {
    let mut connections: BTreeMap<&str, Conversation> = BTreeMap::new();
    for line in lines {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        let bit = |key: &str| u8::from(line[key] == true);
        let item = match text("event") {
            "frame" => format!(
                "{} {} {} {} {}",
                text("opcode"),
                bit("fin"),
                bit("rsv1"),
                bit("masked"),
                line["length"]
            ),
            "message" => {
                let data = match line["payload_base64"].as_str() {
                    Some(data) => data.to_owned(),
                    None => BASE64_STANDARD.encode(text("payload")),
                };
                format!("{} {data}", text("type"))
            }
            _ => continue,
        };
        let conversation = connections.entry(text("conn")).or_default();
        conversation[list(text("event"), text("direction"))].push(item);
    }
    sorted(connections.into_values().collect())
}

fn list(event: &str, direction: &str) -> usize {
    2 * usize::from(event == "message") + usize::from(direction == "received")
}

/// In an order that does not depend on names.
fn sorted(mut conversations: Vec<Conversation>) -> Vec<Conversation> {
    conversations.sort_by(|one, other| one[3].cmp(&other[3]));
    conversations
}

/// tshark, capturing the loopback device.
struct Capture {
    tshark: PathBuf,
    process: Child,
    file: PathBuf,
}

impl Capture {
    /// Returns when packets are being captured.
    fn start(tshark: &Path, port: u16, file: PathBuf) -> Self {
        let mut command = Command::new(tshark);
        let filter = format!("tcp port {port}");
        command.args(["-i", "lo", "-B", "64", "-f", &filter, "-w"]).arg(&file);
        let mut process = command.stderr(Stdio::piped()).spawn().expect("tshark starts");
        let mut log = BufReader::new(process.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("Capture started") {
            line.clear();
            assert_ne!(log.read_line(&mut line).expect("a log"), 0, "tshark ended");
        }
        // It prints its packet count there, and would block if the pipe were not read.
        thread::spawn(move || log.lines().map_while(Result::ok).for_each(drop));
        Self { tshark: tshark.to_owned(), process, file }
    }

    /// Waits for the packets that end the connections, and decodes what passed.
    fn finish(mut self, keys: &Path) -> Vec<Conversation> {
        let packets = |filter| self.streams(keys, filter);
        wait_for("the packets that end both directions", || {
            (packets("tcp.flags.fin == 1").len() >= 2 * CONNECTIONS).then_some(())
        });
        let opened = packets("http.response.code == 101");
        signal(self.process.id(), Signal::INT);
        self.process.wait().expect("tshark ends");
        sorted(opened.iter().map(|stream| self.conversation(keys, stream)).collect())
    }

    /// The connection of each packet that `filter` lets through.
    fn streams(&self, keys: &Path, filter: &str) -> Vec<String> {
        let arguments = ["-Y", filter, "-T", "fields", "-e", "tcp.stream"];
        self.read(keys, &arguments).lines().map(str::to_owned).collect()
    }

    /// One connection, through `tests/peers/python/oracle/reference.py`.
    fn conversation(&self, keys: &Path, stream: &str) -> Conversation {
        let plaintext = self.read(keys, &["-q", "-z", &format!("follow,tls,raw,{stream}")]);
        let python = peers::installed("venv/bin/python").expect("it has just run");
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/python/oracle/reference.py");
        let mut command = Command::new(python);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut reference = command.spawn().expect("python starts");
        let mut input = reference.stdin.take().expect("piped");
        let writing = thread::spawn(move || input.write_all(plaintext.as_bytes()));
        let output = reference.wait_with_output().expect("python ends");
        writing.join().expect("a thread").expect("python reads");
        assert!(output.status.success(), "the reference decoder failed");
        let mut conversation = Conversation::default();
        for line in String::from_utf8(output.stdout).expect("text").lines() {
            let mut fields = line.splitn(3, ' ');
            let mut field = || fields.next().expect("three fields");
            let (event, direction, item) = (field(), field(), field());
            conversation[list(event, direction)].push(item.to_owned());
        }
        conversation
    }

    fn read(&self, keys: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.tshark);
        command.arg("-r").arg(&self.file).arg("-o");
        command.arg(format!("tls.keylog_file:{}", keys.display())).args(arguments);
        let output = command.stderr(Stdio::null()).output().expect("tshark starts");
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
