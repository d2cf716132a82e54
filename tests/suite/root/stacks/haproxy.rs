use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use super::nginx::free_port;
use crate::suite::common::peers::{Runtime, Scene, installed};
use crate::suite::common::wstap::{Monitor, privileged, wait_for};

/// HAProxy takes WebSockets over HTTP/2, and hands them on over TLS in the version that is asked for.
struct HaProxy {
    process: Child,
    port: u16,
}

impl HaProxy {
    fn start(scene: &Scene, upstream: u16, version: &str) -> Option<Self> {
        let program = installed("haproxy/usr/sbin/haproxy")?;
        let port = free_port();
        let [certificate, key] = ["cert.pem", "key.pem"]
            .map(|file| fs::read_to_string(scene.path(file)).expect("a file"));
        let both = scene.path("both.pem");
        fs::write(&both, certificate + &key).expect("a file");
        let config = format!(
            "defaults\n mode http\n timeout connect 30s\n timeout client 1m\n timeout server 1m\n\
             frontend front\n bind 127.0.0.1:{port} ssl crt {both} alpn h2\n\
             default_backend back\n\
             backend back\n server one 127.0.0.1:{upstream} ssl verify none {version}\n",
            both = both.display(),
        );
        let file = scene.path("haproxy.cfg");
        fs::write(&file, config).expect("a file");
        let process = Command::new(program).arg("-db").arg("-f").arg(file).spawn();
        let this = Self { process: process.expect("HAProxy starts"), port };
        wait_for("HAProxy to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        Some(this)
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        if kill_process(Pid::from_child(&self.process), Signal::TERM).is_ok() {
            let _ = self.process.wait();
        }
    }
}

/// The client, the proxy with both of its legs, and the server: each says what the peers say.
fn relay(scene: &Scene, server: u32, proxy: &HaProxy, load: &[&str], requests: u64) {
    let mut client = scene.http2_client(Runtime::Node, proxy.port, load).expect("node is there");
    let pids = [server, proxy.process.id(), client.pid()];
    let taps = pids.map(|pid| Monitor::attach(pid, &[]));
    client.go();
    assert_eq!(client.summary().requests, requests);
    for (tap, (served, asked)) in taps.iter().zip([(1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]) {
        let all = requests as f64;
        let metrics = tap.metrics_when("every answer on each leg", |m| {
            m.sum("turnaround_count", &[]) == (served + asked) * all
        });
        let opened = |role| metrics.sum("wstap_connections_opened_total", &[role]);
        assert_eq!(opened("role=\"server\""), served * 5.0);
        assert_eq!(opened("role=\"client\""), asked * 5.0);
        for (origin, legs) in [("origin=\"remote\"", served), ("origin=\"local\"", asked)] {
            let matched = metrics.sum("wstap_requests_total", &[origin, "outcome=\"matched\""]);
            assert_eq!(matched, legs * all, "{origin}");
        }
        assert_eq!(metrics.sum("packet_recv_count", &[]), (served + asked) * all);
        assert_eq!(metrics.sum("packet_send_count", &[]), (served + asked) * all);
        metrics.assert_flawless();
    }
}

#[test]
fn root_haproxy_that_speaks_http2_on_both_legs_is_counted_exactly() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, upstream)) = scene.http2_server(Runtime::Node) else { return };
    let Some(proxy) = HaProxy::start(&scene, upstream, "alpn h2 ws h2") else { return };
    let load = ["--streams", "5", "--requests", "40", "--pages", "20", "--size", "3000"];
    relay(&scene, server.pid(), &proxy, &load, 200);
}

#[test]
fn root_haproxy_that_hands_websockets_on_over_http1_is_counted_exactly() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, upstream)) = scene.server(Runtime::Node, &[]) else { return };
    let Some(proxy) = HaProxy::start(&scene, upstream, "alpn http/1.1") else { return };
    let load = ["--streams", "5", "--requests", "40", "--size", "3000"];
    relay(&scene, server.pid(), &proxy, &load, 200);
}
