use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use crate::suite::common::peers::{Runtime, Scene};
use crate::suite::common::programs;
use crate::suite::common::wstap::{privileged, program};

fn run(arguments: &[&str]) -> (i32, String) {
    outcome(program().args(arguments).output().expect("wstap runs"))
}

fn outcome(output: Output) -> (i32, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("no signal"), said)
}

/// A pid that no process has: the kernel gives none above its limit.
fn no_pid() -> String {
    fs::read_to_string("/proc/sys/kernel/pid_max").expect("a limit").trim().to_owned()
}

fn this_pid() -> String {
    std::process::id().to_string()
}

#[test]
fn a_pid_that_does_not_exist_is_exit_4() {
    let (code, said) = run(&["--pid", &no_pid(), "--listen", "127.0.0.1:0"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("no process with pid"), "{said}");
}

#[test]
fn nothing_to_tap_is_a_usage_error() {
    assert_eq!(run(&["--listen", "127.0.0.1:0"]).0, 2);
    assert_eq!(run(&["--no-such-flag"]).0, 2);
    assert_eq!(run(&["--pid", "0"]).0, 2);
    assert_eq!(run(&["--pid", "me"]).0, 2);
}

#[test]
fn a_bad_id_pattern_is_refused_with_its_reason_before_anything_else() {
    let pid = this_pid();
    for (pattern, reason) in [("(?P<id>", "unclosed"), ("x+", "id"), ("(?P<id>a)(?=b)", "look")] {
        let (code, said) = run(&["--pid", &pid, "--id-pattern", pattern]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("id-pattern") && said.contains(reason), "{said}");
    }
}

#[test]
fn an_unknown_protocol_is_refused_with_the_known_ones() {
    let (code, said) = run(&["--pid", &this_pid(), "--protocol", "smtp"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("smtp") && said.contains("jsonrpc"), "{said}");
}

#[test]
fn a_garbage_configuration_is_refused_with_file_and_place() {
    let folder = tempfile::tempdir().expect("a folder");
    for (text, reason) in [
        ("\u{0}garbage", "line 1"),
        ("pid = \"many\"", "pid"),
        ("no-such-key = 1", "no-such-key"),
        ("listen = \"nowhere\"", "listen"),
        ("pid = [1]\nring-size = 12345678", "power of two"),
        ("pid = [1]\nwindow = 1", "window"),
    ] {
        let file = folder.path().join("wstap.toml");
        fs::write(&file, text).expect("a file");
        let (code, said) = run(&["--config", file.to_str().expect("a path")]);
        assert_eq!(code, 2, "{text:?}: {said}");
        assert!(said.contains(reason), "{text:?}: {said}");
        // In a line: what has several is shown with escaped ends of lines.
        assert!(!said.contains("\\n"), "{text:?}: {said}");
    }
    let (code, said) = run(&["--config", "/no/such/file"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("/no/such/file"), "{said}");
}

/// It would have to be run to be tapped, and would be left behind.
#[test]
fn a_check_starts_no_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let started = folder.path().join("started");
    let command = ["--", "touch", started.to_str().expect("a path")];
    let (code, said) = run(&[&["--check", "--listen", "127.0.0.1:0"], &command[..]].concat());
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--pid"), "{said}");
    assert!(!started.exists());
}

/// The port is taken before any probe is placed.
#[test]
fn a_port_in_use_is_exit_1_and_says_which_flag_helps() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, said) = run(&["--pid", &this_pid(), "--listen", &address]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}

#[test]
fn root_a_process_without_tls_is_exit_4() {
    if !privileged() {
        return;
    }
    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep runs");
    let (code, said) = run(&["--pid", &sleeper.id().to_string(), "--listen", "127.0.0.1:0"]);
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("no TLS library"), "{said}");
}

/// Someone without any privilege learns which are missing, and what to do.
#[test]
fn root_without_capabilities_it_is_exit_3() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, _)) = scene.server(Runtime::Python, &[]) else { return };
    // The build's folder may be closed to others.
    let copy = tempfile::tempdir().expect("a folder");
    let program = copy.path().join("wstap");
    programs::copy(env!("CARGO_BIN_EXE_wstap"), &program);
    let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(copy.path(), open).expect("permissions");
    let mut command = Command::new(program);
    command.args(["--pid", &server.pid().to_string(), "--listen", "127.0.0.1:0"]);
    command.uid(65534).gid(65534);
    let (code, said) = outcome(command.output().expect("wstap runs"));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("CAP_BPF") && said.contains("sudo"), "{said}");
}

/// A typing error in a selector must not look like success.
#[test]
fn root_a_check_that_finds_nothing_is_exit_4_and_says_so() {
    if !privileged() {
        return;
    }
    for selector in [
        ["--comm", "doesnotexist"],
        ["--cgroup", "nosuch.service"],
        ["--cgroup", "0123456789ab"],
        ["--exe", "^/no/such/program$"],
    ] {
        let (code, said) = run(&[&selector[..], &["--check", "--listen", "127.0.0.1:0"]].concat());
        assert_eq!(code, 4, "{selector:?}: {said}");
        assert!(said.contains("no running process matches"), "{selector:?}: {said}");
    }
}
