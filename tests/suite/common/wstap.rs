//! wstap itself, run as a user runs it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use base64::prelude::{BASE64_STANDARD, Engine};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::suite::common::peers::{Transcript, sorted};

/// How long a condition may take to come true; far more than it should.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Whether this test may tap. Where not it says why and is skipped; fails where `CI` is set.
pub(crate) fn privileged() -> bool {
    let root = fs::metadata("/proc/self").map(|metadata| {
        use std::os::unix::fs::MetadataExt;
        metadata.uid() == 0
    });
    if root.is_ok_and(|root| root) {
        return true;
    }
    let on_ci = env::var("CI").is_ok_and(|value| value == "true");
    assert!(!on_ci, "tapping needs root");
    eprintln!("skipped: tapping needs root");
    false
}

/// Looks again and again until `look` has something, up to the deadline.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {DEADLINE:?} in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The program under test.
pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wstap"))
}

/// `wstap --pid N`, serving.
pub(crate) struct Monitor {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Monitor {
    /// Returns when the probes are attached.
    pub(crate) fn attach(pid: u32, arguments: &[&str]) -> Self {
        Self::start(&[&["--pid", &pid.to_string()], arguments].concat())
    }

    /// Returns when it serves, attached or not yet.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = program();
        command.args(arguments);
        Self::spawn_on_any_port(command)
    }

    /// Returns when it serves, attached or not yet.
    pub(crate) fn spawn_on_any_port(mut command: Command) -> Self {
        command.args(["--listen", "127.0.0.1:0"]);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("wstap starts");
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().expect("piped"));
        output.read_line(&mut line).expect("output");
        let address = line
            .trim_end()
            .rsplit_once("http://")
            .and_then(|(_, url)| url.strip_suffix("/metrics")?.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { process, address }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&get(self.address, "/metrics"))
    }

    /// The metrics, once they fulfil a condition.
    pub(crate) fn metrics_when(&self, what: &str, is: impl Fn(&Metrics) -> bool) -> Metrics {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let metrics = self.metrics();
            if is(&metrics) {
                return metrics;
            }
            if Instant::now() > deadline {
                panic!("waited in vain for {what}; there is {:#?}", metrics.nonzero());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until every TLS function of process `pid` is probed, so that nothing that it says from
    /// now on can be missed.
    pub(crate) fn await_tapped(&self, pid: u32) {
        wait_for(&format!("pid {pid} to be tapped"), || self.tapped().contains(&pid).then_some(()));
    }

    /// The same for several processes at once.
    pub(crate) fn await_all_tapped(&self, count: usize) {
        wait_for(&format!("{count} processes to be tapped"), || {
            (self.tapped().len() == count).then_some(())
        });
    }

    /// The processes whose TLS is tapped now.
    fn tapped(&self) -> Vec<u32> {
        let status: Value =
            serde_json::from_str(&get(self.address, "/api/v1/status")).expect("JSON");
        let targets = status["targets"].as_array().expect("targets").iter();
        let processes = targets.flat_map(|target| target["processes"].as_array().expect("a list"));
        let tapped = processes.filter(|it| it["up"] == true && it["tls_library"] != "");
        let pid = |process: &Value| u32::try_from(process["pid"].as_u64()?).ok();
        tapped.filter_map(pid).collect()
    }

    /// Ends it as a service manager does.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        signal(self.pid(), Signal::TERM);
        self.process.wait().expect("wstap ends")
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        wait_for("wstap to end", || self.process.try_wait().expect("a status"))
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("a signal");
        self.process.wait().expect("wstap ends");
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Memory of a process that is in use, in KiB.
pub(crate) fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Sends a signal to a child of ours.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    kill_process(process, signal).unwrap_or_else(|error| panic!("{signal:?} to {pid}: {error}"));
}

/// The body that `path` answers with.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let request = ureq::get(format!("http://{address}{path}"));
    let answer = request.config().proxy(None).timeout_global(Some(DEADLINE)).build().call();
    let mut answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
    answer.body_mut().read_to_string().expect("text")
}

/// One scrape.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| line.rsplit_once(' '));
        Self(
            samples
                .map(|(series, value)| (series.to_owned(), value.parse().expect("a number")))
                .collect(),
        )
    }

    /// Sum over the series of `name` whose labels contain each of `labels`, such as
    /// `origin="remote"`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_name = |series: &str| {
            series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        let with_labels = |series: &str| labels.iter().all(|label| series.contains(label));
        let series = self.0.iter().filter(|(series, _)| of_name(series) && with_labels(series));
        series.map(|(_, value)| value).sum()
    }

    /// Panics unless every request that started has ended or is pending.
    pub(crate) fn assert_balance(&self, started: f64) {
        let ended = self.sum("wstap_requests_total", &[]);
        let pending = self.sum("wstap_requests_pending", &[]);
        assert_eq!(ended + pending, started, "ended {ended}, pending {pending}");
    }

    /// Panics if anything was lost, misread or broken.
    pub(crate) fn assert_flawless(&self) {
        for name in [
            "wstap_lost_records_total",
            "wstap_lost_bytes_total",
            "wstap_gap_bytes_total",
            "wstap_protocol_errors_total",
            "wstap_evictions_total",
            "wstap_orphan_responses_total",
            "wstap_window_misses_total",
        ] {
            assert_eq!(self.sum(name, &[]), 0.0, "{name}: {:#?}", self.nonzero());
        }
    }

    /// Panics if anything was lost but the calls that had begun before their probes were there.
    /// Whoever attaches in the midst of a transfer meets some of them, and tells how many.
    pub(crate) fn assert_only_calls_in_flight_lost(&self, who: &str) {
        for name in ["wstap_lost_records_total", "wstap_lost_bytes_total"] {
            let in_flight = self.sum(name, &["reason=\"in_flight\""]);
            assert_eq!(self.sum(name, &[]), in_flight, "{who}: {name}: {:#?}", self.nonzero());
        }
    }

    /// Every series with its value.
    pub(crate) fn all(&self) -> &BTreeMap<String, f64> {
        &self.0
    }

    fn nonzero(&self) -> BTreeMap<&String, &f64> {
        self.0.iter().filter(|(_, value)| **value != 0.0).collect()
    }
}

/// `wstap messages --json`, collected.
pub(crate) struct Frames {
    process: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    reader: JoinHandle<()>,
}

impl Frames {
    /// Returns when the probes are attached.
    pub(crate) fn attach(pid: u32, arguments: &[&str]) -> Self {
        let mut command = program();
        command.args(["messages", "--json", "-v", "--pid", &pid.to_string()]).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("wstap starts");
        let log = BufReader::new(process.stderr.take().expect("piped"));
        let (attached, wait) = std::sync::mpsc::channel();
        // The log must be read to its end, or wstap would stop at a full pipe.
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if line.contains("attached") {
                    let _ = attached.send(());
                }
            }
        });
        wait.recv_timeout(DEADLINE).expect("wstap attaches");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let lines = Arc::<Mutex<Vec<Value>>>::default();
        let read = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("JSON");
                read.lock().expect("no panic").push(line);
            }
        });
        Self { process, lines, reader }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until `is_enough` says so of the lines so far.
    pub(crate) fn wait_until(&self, what: &str, mut is_enough: impl FnMut(&[Value]) -> bool) {
        wait_for(what, || is_enough(&self.lines.lock().expect("no panic")).then_some(()));
    }

    /// Detaches and hands out every line.
    pub(crate) fn finish(mut self) -> Vec<Value> {
        signal(self.process.id(), Signal::TERM);
        assert!(self.process.wait().expect("wstap ends").success());
        self.reader.join().expect("lines");
        std::mem::take(&mut *self.lines.lock().expect("no panic"))
    }
}

/// What was said, as wstap saw it.
pub(crate) fn transcript(lines: &[Value]) -> Transcript {
    let mut connections: BTreeMap<&str, [Vec<_>; 2]> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["event"] == "message") {
        let text = |key: &str| line[key].as_str();
        let bytes = match text("payload_base64") {
            Some(data) => BASE64_STANDARD.decode(data).expect("base64"),
            None => text("payload").expect("a payload").as_bytes().to_vec(),
        };
        let message = (text("type").expect("a type").to_owned(), bytes);
        let connection = connections.entry(text("conn").expect("a connection")).or_default();
        connection[usize::from(text("direction") == Some("received"))].push(message);
    }
    sorted(connections.into_values().collect())
}
