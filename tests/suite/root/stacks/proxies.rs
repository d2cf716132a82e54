use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use super::nginx::free_port;
use crate::suite::common::peers::{Runtime, Scene, installed};
use crate::suite::common::wstap::{Monitor, privileged, wait_for};

/// A program that takes WebSockets over HTTP/2 and hands them on over TLS.
struct Proxy {
    process: Child,
    port: u16,
}

impl Proxy {
    /// HAProxy, with what its configuration says of the server.
    fn haproxy(scene: &Scene, upstream: u16, version: &str) -> Option<Self> {
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
        Some(Self::start(Command::new(program).arg("-db").arg("-f").arg(file), port))
    }

    /// nghttpx, with the parameters of its server.
    fn nghttpx(scene: &Scene, upstream: u16, parameters: &str) -> Option<Self> {
        let program = installed("nghttpx/usr/sbin/nghttpx")?;
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["--conf=/dev/null", "--single-process", "--insecure", "--log-level=WARN"]);
        command.arg(format!("--frontend=127.0.0.1,{port}"));
        command.arg(format!("--backend=127.0.0.1,{upstream};;{parameters}"));
        command.args([scene.path("key.pem"), scene.path("cert.pem")]);
        Some(Self::start(&mut command, port))
    }

    fn start(command: &mut Command, port: u16) -> Self {
        let this = Self { process: command.spawn().expect("it starts"), port };
        wait_for("the proxy to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        this
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if kill_process(Pid::from_child(&self.process), Signal::TERM).is_ok() {
            let _ = self.process.wait();
        }
    }
}

/// The client, the proxy with both of its legs, and the server: each says what the peers say.
fn relay(scene: &Scene, server: u32, proxy: &Proxy, load: &[&str], requests: u64) {
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

/// Starts a proxy in front of the server at a port.
type Start = fn(&Scene, u16, &str) -> Option<Proxy>;

/// Both legs speak HTTP/2, as `version` asks the proxy to.
fn relay_over_http2(start: Start, version: &str) {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, upstream)) = scene.http2_server(Runtime::Node) else { return };
    let Some(proxy) = start(&scene, upstream, version) else { return };
    let load = ["--streams", "5", "--requests", "40", "--pages", "20", "--size", "3000"];
    relay(&scene, server.pid(), &proxy, &load, 200);
}

/// The leg behind the proxy is HTTP/1.1, as `version` asks it to.
fn relay_over_http1(start: Start, version: &str) {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((server, upstream)) = scene.server(Runtime::Node, &[]) else { return };
    let Some(proxy) = start(&scene, upstream, version) else { return };
    let load = ["--streams", "5", "--requests", "40", "--size", "3000"];
    relay(&scene, server.pid(), &proxy, &load, 200);
}

#[test]
fn root_haproxy_that_speaks_http2_on_both_legs_is_counted_exactly() {
    relay_over_http2(Proxy::haproxy, "alpn h2 ws h2");
}

#[test]
fn root_haproxy_that_hands_websockets_on_over_http1_is_counted_exactly() {
    relay_over_http1(Proxy::haproxy, "alpn http/1.1");
}

#[test]
fn root_nghttpx_that_speaks_http2_on_both_legs_is_counted_exactly() {
    relay_over_http2(Proxy::nghttpx, "proto=h2;tls");
}

#[test]
fn root_nghttpx_that_hands_websockets_on_over_http1_is_counted_exactly() {
    relay_over_http1(Proxy::nghttpx, "tls");
}
