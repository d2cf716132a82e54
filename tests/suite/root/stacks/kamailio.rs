use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};

use super::nginx::free_port;
use crate::suite::common::peers::wss_pair::Pair;
use crate::suite::common::peers::{Scene, installed};
use crate::suite::common::wstap::{Monitor, privileged, wait_for};

const PHONES: u64 = 6;
const MESSAGES: u64 = 20;

/// A SIP proxy whose processes share their TLS objects: one reads from a phone, and the same one writes to
/// whichever phone is called.
struct Kamailio {
    process: Child,
    port: u16,
}

impl Kamailio {
    fn start(scene: &Scene) -> Option<Self> {
        let program = installed("kamailio/usr/sbin/kamailio")?;
        let libraries = installed("kamailio/usr/lib/x86_64-linux-gnu/kamailio")?;
        let port = free_port();
        let tls = format!(
            "[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\n\
             private_key = {}\ncertificate = {}\n",
            scene.path("key.pem").display(),
            scene.path("cert.pem").display(),
        );
        fs::write(scene.path("tls.cfg"), tls).expect("a file");
        let config = CONFIG
            .replace("PORT", &port.to_string())
            .replace("MODULES", &libraries.join("modules").display().to_string())
            .replace("TLS_CONFIG", &scene.path("tls.cfg").display().to_string());
        let file = scene.path("kamailio.cfg");
        fs::write(&file, config).expect("a file");
        let said = || fs::File::options().create(true).append(true).open(scene.path("said"));
        let mut command = Command::new(program);
        // In the foreground, with its workers as children.
        command.arg("-DD").arg("-E").arg("-f").arg(file).arg("-Y").arg(scene.path(""));
        command.env("LD_LIBRARY_PATH", libraries);
        command.stdout(said().expect("a file")).stderr(said().expect("a file"));
        let process = command.spawn().expect("it starts");
        let this = Self { process, port };
        wait_for("kamailio to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        Some(this)
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        if kill_process(Pid::from_child(&self.process), Signal::TERM).is_ok() {
            let _ = self.process.wait();
        }
    }
}

const CONFIG: &str = r#"
debug=0
log_stderror=yes
children=2
tcp_children=4
enable_tls=yes
tcp_accept_no_cl=yes
listen=tls:127.0.0.1:PORT
mpath="MODULES/"
loadmodule "tls.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "pv.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "nathelper.so"
loadmodule "xhttp.so"
loadmodule "websocket.so"
modparam("tls", "config", "TLS_CONFIG")
modparam("registrar|nathelper", "received_avp", "$avp(RECEIVED)")
request_route {
    force_rport();
    if ($rm == "REGISTER") {
        fix_nated_register();
        save("location");
        exit;
    }
    if (lookup("location")) {
        t_relay();
        exit;
    }
    sl_send_reply("404", "Not Found");
}
event_route[xhttp:request] {
    set_reply_no_connect();
    ws_handle_handshake();
}
"#;

/// What one process reads and another one writes on the same TLS object is one connection: requests and
/// their answers, which pass different processes, find each other.
#[test]
fn root_kamailio_s_connections_are_each_counted_once_whichever_process_uses_them() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(python) = installed("venv/bin/python") else { return };
    let Some(kamailio) = Kamailio::start(&scene) else { return };
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/python/sip/phones.py"));
    command.args(["--port", &kamailio.port.to_string(), "--phones", &PHONES.to_string()]);
    command.args(["--messages", &MESSAGES.to_string()]);
    let mut phones = Pair::spawn(command);
    let tap = Monitor::attach(kamailio.process.id(), &["--plain", "off"]);
    phones.go();
    assert_eq!(phones.answers(), PHONES * MESSAGES);
    // Each message is a request of one phone, and then one to another.
    let answers = (PHONES + 2 * PHONES * MESSAGES) as f64;
    let metrics = tap.metrics_when("every answer, and no connection", |m| {
        m.sum("turnaround_count", &[]) == answers && m.sum("wstap_connections", &[]) == 0.0
    });
    metrics.assert_balance(answers);
    assert_eq!(
        metrics.sum("wstap_requests_total", &["protocol=\"sip\"", "outcome=\"matched\""]),
        answers
    );
    assert_eq!(metrics.sum("wstap_connections_opened_total", &[]), PHONES as f64);
    metrics.assert_flawless();
}
