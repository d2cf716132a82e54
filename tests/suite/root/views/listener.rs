use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::suite::common::programs::Running;
use crate::suite::common::wstap::{privileged, program};

/// A name that no process has: wstap serves and waits.
const NOBODY: [&str; 2] = ["--comm", "no-such-process"];

/// Starts wstap and returns the line that says where it serves.
fn serving(command: &mut Command) -> (Running, String) {
    let mut wstap = Running::start(command.stdout(Stdio::piped()));
    let mut line = String::new();
    let output = wstap.stdout().expect("piped");
    BufReader::new(output).read_line(&mut line).expect("output");
    (wstap, line)
}

/// The status line that answers a request for the metrics.
fn status(mut stream: impl Read + Write, headers: &str) -> String {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("open");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("an answer");
    line.trim_end().to_owned()
}

/// `wstap health` as it is run in an image.
fn is_healthy(address: &str) -> bool {
    let output = program().args(["health", address]).output().expect("wstap starts");
    output.status.success()
}

#[test]
fn root_sockets_from_systemd_are_served() {
    if !privileged() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    fcntl_setfd(&listener, FdFlags::empty()).expect("a descriptor");
    // As systemd starts a service: the socket is descriptor 3, and meant for this process alone.
    let script =
        format!("exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"", listener.as_raw_fd());
    let wstap = program();
    let mut command = Command::new("bash");
    command.args(["-c", &script]).arg(wstap.get_program()).args(NOBODY).arg("--systemd-socket");
    let (_wstap, line) = serving(&mut command);
    assert!(line.contains(&format!("http://{address}/metrics")), "{line}");
    drop(listener);
    assert!(is_healthy(&address.to_string()));

    let output = program().args(NOBODY).arg("--web.systemd-socket").output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("LISTEN_FDS"), "{said}");
}

/// Passwords are hashed by a thread inside the sandbox.
#[test]
fn root_several_addresses_ask_for_the_password_and_a_unix_socket_is_one() {
    if !privileged() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("wstap.sock");
    let config = folder.path().join("web.yml");
    let hash = bcrypt::hash("right", 4).expect("a hash");
    std::fs::write(&config, format!("basic_auth_users:\n  a: {hash}\n")).expect("a file");
    let unix = format!("unix:{}", socket.display());
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let mut command = program();
    command.args(NOBODY).args(["--web.listen-address", "127.0.0.1:0", "--listen", &unix]);
    command.args(["--web.config.file", &text(&config), "--web.telemetry-path", "/probe"]);
    let (_wstap, line) = serving(&mut command);
    let address = line.split_once("http://").and_then(|(_, rest)| rest.split_once("/probe"));
    let address = address.unwrap_or_else(|| panic!("no address in {line}")).0;
    let tcp = || std::net::TcpStream::connect(address).expect("listening");
    let local = || std::os::unix::net::UnixStream::connect(&socket).expect("listening");
    // "a:right" and "a:wrong" in Base64.
    let (right, wrong) =
        ("Authorization: Basic YTpyaWdodA==\r\n", "Authorization: Basic YTp3cm9uZw==\r\n");
    for (headers, code) in [("", "401"), (wrong, "401"), (right, "200"), (right, "200")] {
        for answer in [status(tcp(), headers), status(local(), headers)] {
            assert_eq!(answer.split(' ').nth(1), Some(code), "{answer}");
        }
    }
    assert!(is_healthy(address) && is_healthy(&unix));
    assert!(!is_healthy("unix:/no/such/socket"));
}
