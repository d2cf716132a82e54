use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::suite::common::exporter::Fixture;
use crate::suite::common::programs;
use crate::suite::contract::prometheus::Prometheus;

fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

/// Runs a tool over a shipped file, which must please it.
#[track_caller]
fn assert_accepts(command: &mut Command) -> String {
    let output = command.output().expect("the tool starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn rules_are_well_formed_and_alert_when_they_should() {
    let Some(promtool) = programs::find("promtool") else { return };
    let check = ["check", "rules", "--lint-fatal"];
    assert_accepts(Command::new(&promtool).args(check).arg(deployed("prometheus/wstap.rules.yml")));
    let test = ["test", "rules"];
    assert_accepts(
        Command::new(&promtool).args(test).arg(deployed("prometheus/wstap.rules.test.yml")),
    );
}

/// A panel that asks for a metric or a label that does not exist stays empty without a word.
#[test]
fn every_query_of_the_dashboard_finds_series() {
    let text = std::fs::read_to_string(deployed("grafana/wstap.json")).expect("a file");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("a list");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<_> = targets.map(|target| target["expr"].as_str().expect("text")).collect();
    assert!(queries.len() > 30, "{} queries", queries.len());

    let mut fixture = Fixture::new();
    fixture.everything([1_000_000, 2_000_000]);
    let exporter = fixture.serve();
    let Some(server) = Prometheus::start(exporter.address, &[]) else { return };
    for query in queries {
        let query = query.replace("$__rate_interval", "5m");
        let query = ["$job", "$instance", "$target"]
            .iter()
            .fold(query, |query, variable| query.replace(variable, ".*"));
        // The traffic stands still, so a filter for what moves would find nothing.
        let query = query.strip_suffix(" > 0").unwrap_or(&query);
        server.expect_series(query);
    }
}

#[test]
fn the_service_is_confined() {
    let Some(systemd_analyze) = programs::find("systemd-analyze") else { return };
    // The threshold is in tenths: 3.0 of 10.
    let arguments = ["security", "--offline=true", "--threshold=30", "--no-pager"];
    let mut command = Command::new(systemd_analyze);
    let said = assert_accepts(command.args(arguments).arg(deployed("systemd/wstap.service")));
    assert!(said.contains("Overall exposure level"), "{said}");
}
