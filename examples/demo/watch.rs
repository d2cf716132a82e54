//! Looks at wstap from outside, as a person and as Prometheus would.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::Result;

const SECONDS: u32 = 5;

/// The original names, and what is never allowed to be silent about.
const SHOWN: [&str; 5] = [
    "turnaround_count",
    "packet_recv_count",
    "packet_send_count",
    "wstap_requests_pending",
    "wstap_lost_records_total",
];

/// Shows live counts, then a table; fails if nothing was measured or anything was lost.
pub(crate) fn show(address: &str) -> Result<()> {
    println!();
    println!(
        "{:>4}  {:>10}  {:>10}  {:>10}  {:>8}  {:>6}",
        "s", "answered", "received", "sent", "pending", "lost"
    );
    let mut values = [0.0; SHOWN.len()];
    for second in 1..=SECONDS {
        sleep(Duration::from_secs(1));
        let metrics = get(address, "/metrics")?;
        values = SHOWN.map(|name| sum(&metrics, name));
        let [answered, received, sent, pending, lost] = values;
        println!(
            "{second:>4}  {answered:>10}  {received:>10}  {sent:>10}  {pending:>8}  {lost:>6}"
        );
    }
    print_turnaround(address)?;
    let [answered, .., lost] = values;
    if answered == 0.0 {
        return Err("no turnaround was measured".into());
    }
    if lost != 0.0 {
        return Err(format!("{lost} records were lost").into());
    }
    Ok(())
}

fn print_turnaround(address: &str) -> Result<()> {
    let body: Value = serde_json::from_str(&get(address, "/api/v1/turnaround")?)?;
    println!("\nturnaround, seen from the server (remote: it was asked; local: it asked)\n");
    println!(
        "{:7} {:16} {:>7} {:>7} {:>9} {:>9}",
        "origin", "method", "count", "errors", "p50 ms", "p99 ms"
    );
    for row in rows(&body) {
        let text = |key: &str| row[key].as_str().unwrap_or("").to_owned();
        let millis = |key: &str| row[key].as_f64().unwrap_or(f64::NAN) * 1e3;
        println!(
            "{:7} {:16} {:>7} {:>7} {:>9.2} {:>9.2}",
            text("origin"),
            text("method"),
            row["count"].as_u64().unwrap_or(0),
            row["outcomes"]["error"].as_u64().unwrap_or(0),
            millis("p50_seconds"),
            millis("p99_seconds"),
        );
    }
    Ok(())
}

fn rows(body: &Value) -> &[Value] {
    body.as_array().or_else(|| body["turnaround"].as_array()).map_or(&[], Vec::as_slice)
}

/// Sum over the series of one metric.
fn sum(metrics: &str, name: &str) -> f64 {
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(['{', ' ']))
        .filter_map(|rest| {
            rest.rsplit_once([' ', '}']).map_or(Some(rest), |(_, value)| Some(value))
        })
        .filter_map(|value| value.trim().parse::<f64>().ok())
        .sum()
}

fn get(address: &str, path: &str) -> Result<String> {
    let request = ureq::get(format!("http://{address}{path}"));
    let answer =
        request.config().proxy(None).timeout_global(Some(Duration::from_secs(5))).build().call();
    let mut answer = answer.map_err(|error| format!("{path}: {error}"))?;
    Ok(answer.body_mut().read_to_string()?)
}
