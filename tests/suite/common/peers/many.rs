//! `many`: both ends of very many connections in one process (tests/peers/c/many.c).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::suite::common::peers::installed;

/// One that runs.
pub(crate) struct Many {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Many {
    /// With so many pairs of connections, none of them open yet. `None` where the test is to be
    /// skipped.
    pub(crate) fn start(pairs: usize) -> Option<Self> {
        Self::start_with(pairs, &[])
    }

    /// The same, with all memory of the TLS library shared with the process that `fork` makes, which says
    /// every second `say`.
    pub(crate) fn start_shared(pairs: usize) -> Option<Self> {
        Self::start_with(pairs, &["shared"])
    }

    fn start_with(pairs: usize, arguments: &[&str]) -> Option<Self> {
        let mut command = Command::new(installed("many")?);
        command.arg(format!("connections={pairs}")).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Some(Self { process, input, output })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Does what `line` says. Returns the plaintext bytes that have passed so far, counted by itself.
    pub(crate) fn does(&mut self, line: &str) -> f64 {
        writeln!(self.input, "{line}").and_then(|()| self.input.flush()).expect("input");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("output");
        answer.trim_end().parse().expect("a number of bytes")
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
