use std::fs::{self, File};
use std::process::{Command, ExitStatus, Stdio};

use crate::suite::common::wstap::{privileged, program, wait_for};

/// Where output may go and get lost.
#[derive(Clone, Copy, Debug)]
enum Sink {
    /// A pipe whose reader has gone.
    Gone,
    /// A disk without room.
    Full,
    /// No descriptor at all.
    Closed,
}

impl Sink {
    const ALL: [Self; 3] = [Self::Gone, Self::Full, Self::Closed];

    fn stdio(self) -> Stdio {
        match self {
            Self::Gone => {
                let (reader, writer) = std::io::pipe().expect("a pipe");
                drop(reader);
                writer.into()
            }
            Self::Full => {
                let full = File::options().write(true).open("/dev/full");
                full.expect("/dev/full").into()
            }
            Self::Closed => Stdio::null(),
        }
    }

    /// wstap with its standard error there; a shell closes what is to be closed.
    fn with_stderr(self, arguments: &[&str]) -> Command {
        let mut command = program();
        if matches!(self, Self::Closed) {
            command = Command::new("sh");
            command.args(["-c", "exec \"$@\" 2>&-", "sh", env!("CARGO_BIN_EXE_wstap")]);
        } else {
            command.stderr(self.stdio());
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

fn status(mut command: Command) -> ExitStatus {
    let mut child = command.spawn().expect("wstap runs");
    wait_for("wstap to end", || child.try_wait().expect("a status"))
}

#[test]
fn a_log_that_cannot_be_written_changes_no_exit_code() {
    for sink in Sink::ALL {
        let code = |arguments: &[&str]| status(sink.with_stderr(arguments)).code();
        assert_eq!(code(&["-vv", "--pid", "1", "--protocol", "smtp"]), Some(2), "{sink:?}");
        assert_eq!(code(&["protocols"]), Some(0), "{sink:?}");
        assert_eq!(code(&["ps", "-vv"]), Some(0), "{sink:?}");
        assert_eq!(code(&["--no-such-flag"]), Some(2), "{sink:?}");
    }
}

#[test]
fn a_list_whose_reader_has_gone_is_no_failure_and_one_that_does_not_fit_is() {
    for arguments in [&["protocols"][..], &["ps"], &["ps", "--json"], &["protocols", "--json"]] {
        let code = |sink: Sink| {
            let mut command = program();
            command.args(arguments).stdout(sink.stdio()).stderr(Stdio::null());
            status(command).code()
        };
        assert_eq!(code(Sink::Gone), Some(0), "{arguments:?}");
        assert_eq!(code(Sink::Full), Some(1), "{arguments:?}");
    }
}

/// With the log at its most talkative, and with standard output gone as well.
#[test]
fn root_a_monitor_whose_log_cannot_be_written_attaches_all_the_same() {
    if !privileged() {
        return;
    }
    for sink in Sink::ALL {
        let arguments = ["-vv", "--check", "--comm", "no-such-process", "--listen", "127.0.0.1:0"];
        let mut command = sink.with_stderr(&arguments);
        command.stdout(Sink::Gone.stdio());
        assert_eq!(status(command).code(), Some(4), "{sink:?}");
    }
}

/// A log collector reads every line, also the last sentence of a call that fails.
#[test]
fn every_line_on_standard_error_has_the_format_that_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let cut = folder.path().join("cut.rec");
    let whole = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/python.rec");
    let whole = fs::read(whole).expect("a recording");
    fs::write(&cut, &whole[..whole.len() / 2]).expect("a file");
    let replay = ["replay", cut.to_str().expect("a path")];
    // A warning of a call that succeeds, an error of one that does not.
    let fails = ["replay", "/no/such/file"];
    for (arguments, level, said) in
        [(replay, "WARN", "it is cut"), (fails, "ERROR", "/no/such/file")]
    {
        let lines = |format: &str| {
            let output = program().args(arguments).arg(format).output().expect("wstap runs");
            String::from_utf8(output.stderr).expect("text")
        };
        let json = lines("--log.format=json");
        let read: serde_json::Value = serde_json::from_str(json.trim_end()).expect(&json);
        assert_eq!(read["level"], level, "{json}");
        assert!(read["msg"].as_str().is_some_and(|it| it.contains(said)), "{json}");
        let logfmt = lines("--log-format=logfmt");
        assert!(logfmt.starts_with("time=2") && logfmt.lines().count() == 1, "{logfmt}");
        let (_, message) = logfmt.split_once(&format!(" level={level} msg=")).expect(&logfmt);
        assert!(message.contains(said), "{logfmt}");
    }
}

/// Who reports a fault can say what it was built from.
#[test]
fn a_build_from_a_checkout_names_its_commit() {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--short=12", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let Some(head) = git.output().ok().filter(|it| it.status.success()) else { return };
    let head = String::from_utf8(head.stdout).expect("text");
    let commit = std::env::var("WSTAP_REVISION").unwrap_or(head);
    let output = program().arg("--version").output().expect("wstap runs");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.contains(commit.trim()), "{said} is not of {commit}");
}

/// What the kernel has is found out by loading the programs. What that logs is not what was asked for.
#[test]
fn root_more_of_the_version_says_what_the_kernel_has_and_logs_nothing() {
    if !privileged() {
        return;
    }
    let output = program().args(["--version", "-v"]).output().expect("wstap runs");
    let said = String::from_utf8_lossy(&output.stdout);
    for part in ["libbpf  ", "stacks  OpenSSL", "kernel  ", "has     BTF"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
