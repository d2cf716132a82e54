use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::suite::common::peers::{Runtime, Scene, installed};
use crate::suite::common::wstap::{Monitor, privileged, wait_for};

/// nginx takes the TLS off in front of a node server.
pub(crate) struct Nginx {
    master: Child,
    port: u16,
}

impl Nginx {
    pub(crate) fn start(scene: &Scene, upstream: u16) -> Option<Self> {
        let program = installed("debian/usr/sbin/nginx")?;
        let port = free_port();
        let config = format!(
            "daemon off; worker_processes 1; pid {pid}; error_log stderr warn;
             events {{ }}
             http {{
               access_log off;
               client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
               fastcgi_temp_path {folder}/f; scgi_temp_path {folder}/s; uwsgi_temp_path {folder}/u;
               server {{
                 listen 127.0.0.1:{port} ssl;
                 ssl_certificate {cert}; ssl_certificate_key {key};
                 location / {{
                   proxy_pass http://127.0.0.1:{upstream};
                   proxy_http_version 1.1;
                   proxy_set_header Upgrade $http_upgrade;
                   proxy_set_header Connection $http_connection;
                 }}
               }}
             }}",
            pid = scene.path("nginx.pid").display(),
            folder = scene.path("").display(),
            cert = scene.path("cert.pem").display(),
            key = scene.path("key.pem").display(),
        );
        let file = scene.path("nginx.conf");
        fs::write(&file, config).expect("a file");
        let mut command = Command::new(program);
        command.arg("-p").arg(scene.path("")).arg("-c").arg(file);
        Some(Self { master: command.spawn().expect("nginx starts"), port })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.master.id()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The process that does the work, once there is one.
    pub(crate) fn worker(&self) -> u32 {
        let master = self.master.id();
        let children = format!("/proc/{master}/task/{master}/children");
        wait_for("a worker", || {
            fs::read_to_string(&children).ok()?.split_ascii_whitespace().next()?.parse().ok()
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if kill_process(Pid::from_child(&self.master), Signal::TERM).is_ok() {
            let _ = self.master.wait();
        }
    }
}

/// nginx cannot listen on port 0, so it gets a port that the kernel has just given and taken back.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// The proxy has two legs, one with TLS and one without: each message is counted once on each, and
/// requests that come in on the one go out on the other.
#[test]
fn root_both_legs_of_an_nginx_worker_are_counted_exactly_and_each_once() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some((_server, upstream)) = scene.server(Runtime::Node, &["--plain"]) else { return };
    let Some(nginx) = Nginx::start(&scene, upstream) else { return };
    let tap = Monitor::attach(nginx.worker(), &[]);
    let tls_alone = Monitor::attach(nginx.worker(), &["--plain", "off"]);
    for (runtime, so_far) in [(Runtime::Python, 0.0), (Runtime::Node, 500.0)] {
        let load = ["--requests", "500", "--connections", "5", "--size", "9000"];
        let mut client = scene.client(runtime, nginx.port, &load).expect("a runtime");
        client.go();
        assert_eq!(client.summary().requests, 500);
        let all = so_far + 500.0;
        for (tap, legs) in [(&tap, 2.0), (&tls_alone, 1.0)] {
            let metrics = tap.metrics_when("500 answers on each leg", |m| {
                m.sum("turnaround_count", &[]) == legs * all
            });
            assert_eq!(metrics.sum("packet_recv_count", &[]), legs * all);
            assert_eq!(metrics.sum("packet_send_count", &[]), legs * all);
            let matched =
                |origin| metrics.sum("wstap_requests_total", &[origin, "outcome=\"matched\""]);
            assert_eq!(matched("origin=\"remote\""), all, "of the clients");
            assert_eq!(matched("origin=\"local\""), (legs - 1.0) * all, "to the server behind");
            let opened = |role| metrics.sum("wstap_connections_opened_total", &[role]);
            assert_eq!(opened("role=\"server\""), all / 100.0);
            assert_eq!(opened("role=\"client\""), (legs - 1.0) * all / 100.0);
            metrics.assert_flawless();
        }
    }
}
