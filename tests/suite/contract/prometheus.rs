use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;
use tempfile::TempDir;

use crate::suite::common::exporter::Fixture;
use crate::suite::common::programs::{self, Running};

/// How long a condition may take to come true; far more than it should.
const DEADLINE: Duration = Duration::from_secs(60);

/// 1,000 requests answered in 1 to 1,000 ms.
fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.everything((1..=1_000).map(|ms| ms * 1_000_000));
    fixture
}

#[test]
fn prometheus_scrapes_openmetrics_and_answers_queries() {
    let exporter = fixture().serve();
    let Some(server) = Prometheus::start(exporter.address, &[]) else { return };
    server.expect(r#"up{job="wstap"}"#, 1.0..=1.0);
    server.expect("turnaround_count", 1001.0..=1001.0);
    server.expect("turnaround_sum / turnaround_count / 1e6", 495.0..=505.0);
    server.expect("packet_send_count", 1.0..=1.0);
    server.expect(r#"wstap_turnaround_seconds_count{method="eth_call"}"#, 1000.0..=1000.0);
    // Classic buckets double, so the median of 0.5 s lies somewhere between two bounds.
    let quantile =
        |q| format!("histogram_quantile({q}, sum by (le) (wstap_turnaround_seconds_bucket))");
    server.expect(&quantile(0.5), 0.4096..=0.8192);
    server.expect(&quantile(0.99), 0.8192..=1.6384);
    server.expect(r#"wstap_requests_total{outcome="matched", method=""}"#, 1.0..=1.0);
    server.expect(r#"wstap_lost_bytes_total{reason="ring_full"}"#, 420.0..=420.0);
    server.expect(r#"wstap_target_info{pid="4242"}"#, 1.0..=1.0);
    server.expect("process_resident_memory_bytes", 1.0..=f64::MAX);
}

#[test]
fn prometheus_scrapes_native_histograms_that_place_quantiles_within_a_bucket() {
    let features = ["--enable-feature=native-histograms"];
    let exporter = fixture().serve();
    let Some(server) = Prometheus::start(exporter.address, &features) else { return };
    server.expect("turnaround_count", 1001.0..=1001.0);
    let native = r#"wstap_turnaround_seconds{method="eth_call"}"#;
    server.expect(&format!("histogram_count({native})"), 1000.0..=1000.0);
    server.expect(&format!("histogram_sum({native})"), 500.4..=500.6);
    server.expect(&format!("histogram_quantile(0.5, {native})"), 0.46..=0.55);
    server.expect(&format!("histogram_quantile(0.99, {native})"), 0.90..=1.08);
}

/// A Prometheus server of our own with an empty database.
pub(crate) struct Prometheus {
    address: SocketAddr,
    _process: Running,
    _folder: TempDir,
}

impl Prometheus {
    /// `None` where it is not installed.
    pub(crate) fn start(target: SocketAddr, arguments: &[&str]) -> Option<Self> {
        let prometheus = programs::find("prometheus")?;
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "scrape_configs: [{{job_name: wstap, scrape_interval: 500ms, scrape_timeout: 500ms, \
             static_configs: [{{targets: ['{}']}}]}}]\n",
            target
        );
        fs::write(&config, text).expect("a file");
        let address = free_address();
        let process = Running::start(
            Command::new(prometheus)
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .arg("--log.level=error")
                .args(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        Some(Self { address, _process: process, _folder: folder })
    }

    /// Waits until `query` has one value inside `range`.
    #[track_caller]
    pub(crate) fn expect(&self, query: &str, range: RangeInclusive<f64>) {
        let met = |values: &[f64]| matches!(values, [value] if range.contains(value));
        self.wait(query, met, &format!("one value in {range:?}"));
    }

    /// Waits until `query` has a value at all.
    #[track_caller]
    pub(crate) fn expect_series(&self, query: &str) {
        self.wait(query, |values| !values.is_empty(), "a value");
    }

    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "a deadline for another program")]
    fn wait(&self, query: &str, met: impl Fn(&[f64]) -> bool, wanted: &str) {
        let start = Instant::now();
        loop {
            let seen = self.query(query);
            if seen.as_deref().is_some_and(&met) {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{query} gives {seen:?}, not {wanted}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The values of an instant query, of a native histogram its count; `None` while the server does
    /// not answer.
    fn query(&self, query: &str) -> Option<Vec<f64>> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let url = format!("http://{}/api/v1/query?query={query}", self.address);
        let request = ureq::get(url).config().proxy(None).timeout_global(Some(DEADLINE)).build();
        let reply = request.call().ok()?.body_mut().read_to_string().ok()?;
        let reply: Value = serde_json::from_str(&reply).ok()?;
        let result = reply["data"]["result"].as_array()?;
        let value = |series: &Value| {
            let text = series["value"][1].as_str();
            text.or_else(|| series["histogram"][1]["count"].as_str())?.parse().ok()
        };
        result.iter().map(value).collect()
    }
}

/// An address that was free a moment ago: the server takes no port 0.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound")
}
