//! Programs under measurement: this one in another role, and wstap.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A child that answers a line with a line, and ends with this value.
pub(crate) struct Dialogue {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Dialogue {
    /// Starts it and waits for its first line.
    pub(crate) fn start(command: &mut Command) -> (Self, String) {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut dialogue = Self { child, input, output };
        let first = dialogue.line();
        (dialogue, first)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        self.line()
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This benchmark in another role.
pub(crate) fn this(role: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(role);
    command
}

/// The same command on the first processor, so that what else runs has another one.
pub(crate) fn on_one_processor(command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", "0"]).arg(command.get_program()).args(command.get_args());
    pinned
}

/// A program below `target/` that `make deps-test deps-bench` puts there; `None` if it did not.
pub(crate) fn peer(path: &str) -> Option<Command> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(path);
    path.exists().then(|| Command::new(path))
}

/// `wstap --pid N`, attached.
pub(crate) struct Wstap {
    dialogue: Dialogue,
    pub(crate) address: String,
}

impl Wstap {
    pub(crate) fn attach(pid: u32, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wstap"));
        command.args(["--quiet", "--pid", &pid.to_string(), "--listen", "127.0.0.1:0"]);
        let (dialogue, line) = Dialogue::start(command.args(arguments));
        let (_, url) = line.split_once("http://").expect("wstap is attached");
        Self { dialogue, address: url.trim_end_matches("/metrics").to_owned() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.dialogue.pid()
    }
}
