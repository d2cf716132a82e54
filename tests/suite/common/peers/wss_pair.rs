//! `wss_pair`: both ends of a conversation in one small process (tests/peers/c/wss_pair.c).

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::suite::common::peers::installed;
use crate::suite::common::programs;

/// The program, or `None` where the test is to be skipped.
pub(crate) fn program() -> Option<PathBuf> {
    installed("wss_pair")
}

/// The same with OpenSSL linked in.
pub(crate) fn static_program() -> Option<PathBuf> {
    installed("wss_pair_static")
}

/// The program under a name of its own, which becomes its `comm`.
pub(crate) fn named(folder: &Path, name: &str) -> Option<PathBuf> {
    let copy = folder.join(name);
    programs::copy(program()?, &copy);
    Some(copy)
}

/// One that runs.
pub(crate) struct Pair {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Pair {
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::spawn(command)
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Self { process, input, output }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Lets one that was told to wait go on: `go` waits for one such line, `gate` for another.
    pub(crate) fn go(&mut self) {
        let input = self.input.as_mut().expect("running");
        writeln!(input, "go").and_then(|()| input.flush()).expect("input");
    }

    /// Waits for the number of answers that it counted.
    pub(crate) fn answers(&mut self) -> u64 {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("output");
        line.trim_end().parse().expect("a number")
    }

    /// Waits until it has ended.
    pub(crate) fn finish(mut self) -> u64 {
        let answers = self.answers();
        self.end();
        answers
    }

    /// Lets one that lingers end, and waits until it has.
    pub(crate) fn end(mut self) {
        self.input = None;
        let status = self.process.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
