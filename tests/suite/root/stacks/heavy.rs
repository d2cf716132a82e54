//! Where these say `skipped`, `make test-stacks` runs them. docs/results/stacks.md has what they
//! showed last.

use std::env;
use std::process::Command;

use serde_json::Value;

use crate::suite::common::peers::{Runtime, Scene, installed};
use crate::suite::common::wstap::{Frames, Metrics, Monitor, privileged, transcript, wait_for};
use crate::suite::root::stacks::libraries::{
    answered, client_is_decoded_to_the_byte, from_the_other_side,
};
use crate::suite::root::stacks::stripped::{Waiting, ps};

/// Whether what these need was installed, and they are to run.
fn asked_for() -> bool {
    let asked = env::var_os("WSTAP_STACKS").is_some();
    if !asked {
        eprintln!("skipped: make test-stacks");
    }
    asked && privileged()
}

/// The tap is on the program that started the browser: its children are found.
#[test]
fn heavy_firefox_is_decoded_to_the_byte() {
    if asked_for() {
        client_is_decoded_to_the_byte(Runtime::Browser("firefox-esr"));
        eprintln!("firefox-esr: equal");
    }
}

#[test]
fn heavy_chromium_is_decoded_to_the_byte() {
    if asked_for() {
        client_is_decoded_to_the_byte(Runtime::Browser("chromium"));
        eprintln!("chromium: equal");
    }
}

#[test]
fn heavy_chromium_is_decoded_to_the_byte_over_http2() {
    browser_is_decoded_to_the_byte_over_http2("chromium");
}

#[test]
fn heavy_firefox_is_decoded_to_the_byte_over_http2() {
    browser_is_decoded_to_the_byte_over_http2("firefox-esr");
}

/// A browser that has a connection of HTTP/2 asks for its WebSockets there.
fn browser_is_decoded_to_the_byte_over_http2(name: &'static str) {
    if !asked_for() {
        return;
    }
    let scene = Scene::new();
    let Some((mut server, port)) = scene.http2_server(Runtime::Python) else { return };
    let load = ["--http2", "--requests", "150", "--connections", "3", "--size", "20000"];
    let Some(mut client) = scene.client(Runtime::Browser(name), port, &load) else { return };
    let taps =
        [server.pid(), client.pid()].map(|pid| Frames::attach(pid, &["--payload", "100000"]));
    client.go();
    assert_eq!(client.summary().requests, 150);
    let said = taps.map(Frames::finish);
    assert_eq!(server.finish().requests, 150);
    for (lines, peer) in said.iter().zip([&server, &client]) {
        let opened: Vec<_> = lines.iter().filter(|line| line["event"] == "open").collect();
        let is_over_http2 = |line: &&Value| line["http"] == "2" && line["path"] == "/rpc";
        assert!(opened.len() == 3 && opened.iter().all(is_over_http2), "{opened:?}");
        assert_eq!(transcript(lines), peer.transcript());
    }
    eprintln!("{name} over HTTP/2: equal");
}

#[test]
fn heavy_vendored_openssl_is_decoded_to_the_byte_with_and_without_symbols() {
    for build in ["vendored", "vendored-stripped"] {
        if asked_for() {
            client_is_decoded_to_the_byte(Runtime::Rust(build));
            eprintln!("{build}: equal");
        }
    }
}

/// Each of its fibers leaves its stack inside `SSL_read` while it waits, which no program with a return
/// probe there outlives.
#[test]
fn heavy_a_crystal_server_switches_stacks_inside_calls_and_lives() {
    if !asked_for() {
        return;
    }
    let scene = Scene::new();
    let (mut server, port) = scene.server(Runtime::Crystal, &[]).expect("make test-stacks");
    let load = ["--requests", "20000", "--connections", "100", "--size", "2000"];
    let mut client = scene.client(Runtime::Python, port, &load).expect("make deps-test");
    let monitor = Monitor::attach(server.pid(), &[]);
    let on_server = Frames::attach(server.pid(), &["--payload", "10000"]);
    client.go();
    assert_eq!(client.summary().requests, 20_000);
    let answers = |m: &Metrics| m.sum("turnaround_count", &[]) == 20_000.0;
    let metrics = monitor.metrics_when("20,000 answers", answers);
    metrics.assert_balance(20_000.0);
    metrics.assert_flawless();
    assert_eq!(metrics.sum("wstap_connections_opened_total", &["role=\"server\""]), 100.0);
    assert_eq!(server.finish().requests, 20_000);
    let on_server = on_server.finish();
    assert_eq!(transcript(&on_server), server.transcript());
    assert_eq!(answered(&on_server, "remote"), 20_000);
    assert_eq!(server.transcript(), from_the_other_side(client.transcript()));
    eprintln!("crystal: equal");
}

/// The versions before 0.23 pass plaintext through other functions than that.
#[test]
fn heavy_rustls_before_0_23_is_decoded_to_the_byte() {
    for build in ["rustls21", "rustls22"] {
        if asked_for() {
            client_is_decoded_to_the_byte(Runtime::Rust(build));
            eprintln!("{build}: equal");
        }
    }
}

/// What `wstap ps` says of what it cannot tap.
#[test]
fn heavy_what_cannot_be_tapped_is_named() {
    if !asked_for() {
        return;
    }
    for (name, command, sentence) in unsupported() {
        let process = Waiting::start(&mut { command });
        let row = wait_for(name, || ps(process.pid()).into_iter().next());
        let verdict = row["verdict"].as_str().expect("a verdict");
        assert!(
            verdict.starts_with("unsupported: ") && verdict.contains(sentence),
            "{name}: {row}"
        );
        eprintln!("{name}: {verdict}");
    }
}

fn unsupported() -> Vec<(&'static str, Command, &'static str)> {
    let deno =
        installed("heavy/node_modules/@deno/linux-x64-glibc/deno").expect("make test-stacks");
    let mut deno = Command::new(deno);
    deno.args(["eval", "setInterval(() => {}, 1000)"]);
    let mut java = Command::new("/usr/lib/jvm/java-17-openjdk-amd64/bin/rmiregistry");
    java.arg("0");
    let mut erlang = Command::new("/usr/bin/erl");
    erlang.arg("-noshell");
    vec![
        ("deno", deno, "rustls 0."),
        ("java", java, "Java's JSSE"),
        ("erlang", erlang, "Erlang's ssl"),
    ]
}
