use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::suite::common::peers::{Runtime, Scene};
use crate::suite::common::wstap::{Monitor, privileged, program, wait_for};
use crate::suite::root::stacks::stripped::{Waiting, ps};

/// What `wstap ps` prints in so many columns.
fn table(columns: &str) -> Vec<String> {
    let output = program().arg("ps").env("COLUMNS", columns).output().expect("wstap runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn root_ps_tells_servers_of_the_same_name_apart_and_puts_the_connected_one_first() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let Some((idle, _)) = scene.server(Runtime::Python, &[]) else { return };
    let Some((busy, port)) = scene.server(Runtime::Python, &["--sync"]) else { return };
    let slow = ["--requests", "2", "--pause", "600"];
    let Some(mut client) = scene.client(Runtime::Python, port, &slow) else { return };
    client.go();
    let rows = wait_for("the connection", || {
        let rows = ps(busy.pid());
        (rows.first()?["connections_in"] == 1).then_some(rows)
    });
    assert_eq!(rows[0]["listening"], serde_json::json!([port]), "{rows:?}");
    let arguments = rows[0]["arguments"].as_array().expect("a list");
    assert!(arguments.contains(&Value::from("--sync")), "{arguments:?}");
    assert_eq!(ps(client.pid())[0]["connections_out"], 1);
    let lines = table("160");
    let line_of = |pid: u32| {
        let pid = pid.to_string();
        lines.iter().position(|line| line.split_whitespace().next() == Some(&pid))
    };
    let (busy, idle) = (line_of(busy.pid()).expect("a line"), line_of(idle.pid()).expect("a line"));
    assert!(busy < idle, "{lines:#?}");
    assert!(lines[busy].contains(&port.to_string()), "{lines:#?}");
    for columns in [80, 100, 160] {
        let lines = table(&columns.to_string());
        let is_short = |line: &String| line.chars().count() <= columns;
        assert!(lines.iter().all(is_short), "{columns}: {lines:#?}");
    }
}

/// Both ends of one have TLS, so it may be used; of the other one, an end has none.
#[test]
fn root_ps_counts_connections_that_cannot_carry_tls_apart() {
    if !privileged() {
        return;
    }
    let scene = Scene::new();
    let Some((server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let slow = ["--requests", "2", "--pause", "600"];
    let Some(mut client) = scene.client(Runtime::Python, port, &slow) else { return };
    client.go();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // A shell's own sockets: there is no TLS in it.
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; echo; read -r _", address.port());
    let mut shell = Command::new("bash");
    let shell = Waiting::start(shell.args(["-c", &script]).stdin(Stdio::piped()));
    let (_accepted, _) = listener.accept().expect("the shell");
    let counted = |pid: u32| {
        let row = ps(pid).into_iter().next()?;
        Some(["connections_maybe_tls", "connections_plain"].map(|it| row[it].clone()))
    };
    wait_for("the connections", || {
        let pids = [server.pid(), shell.pid(), std::process::id()];
        let [server, shell, own] = pids.map(counted);
        let is = |it: Option<[Value; 2]>, maybe: u64, plain: u64| {
            it == Some([maybe.into(), plain.into()])
        };
        let own_plain = own.and_then(|[_, plain]| plain.as_u64())?;
        (is(server, 1, 0) && is(shell, 0, 1) && own_plain >= 1).then_some(())
    });
    let lines = table("80");
    assert!(lines[0].contains(" TLS? PLAIN "), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("TLS? counts connections")), "{lines:#?}");
}

#[test]
fn root_ps_does_not_list_wstap() {
    if !privileged() {
        return;
    }
    let asleep = Waiting::start(Command::new("sleep").arg("600"));
    let tap = Monitor::start(&["--pid", &asleep.pid().to_string(), "--wait"]);
    assert_eq!(ps(tap.pid()), Vec::<Value>::new());
}
