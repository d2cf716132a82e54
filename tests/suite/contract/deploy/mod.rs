/// Manifests, and the recipe of the image.
mod kubernetes;

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

/// A query of the document without the white space that only shapes it.
fn squeezed(query: &str) -> String {
    query.split_whitespace().collect()
}

/// People copy the joins from the document, so those must be the ones that are tested.
#[test]
fn the_joins_of_the_document_give_pods_and_containers() {
    let document = std::fs::read_to_string(deployed("../docs/operation/kubernetes.md"));
    let document = document.expect("a file");
    let test =
        std::fs::read_to_string(deployed("prometheus/wstap.joins.test.yml")).expect("a file");
    let test: Value = serde_norway::from_str(&test).expect("YAML");
    let expressions = test["tests"][0]["promql_expr_test"].as_array().expect("a list");
    let tested: Vec<_> =
        expressions.iter().map(|it| squeezed(it["expr"].as_str().expect("text"))).collect();
    let written: Vec<_> = document
        .split("<!-- query ")
        .skip(1)
        .map(|rest| squeezed(rest.split("```").nth(1).expect("a block of code")))
        .collect();
    assert_eq!(written, tested);

    let Some(promtool) = programs::find("promtool") else { return };
    let test = ["test", "rules"];
    assert_accepts(
        Command::new(&promtool).args(test).arg(deployed("prometheus/wstap.joins.test.yml")),
    );
}

/// The feature of Prometheus with which a scrape stores native histograms and no classic ones.
pub(crate) const NATIVE: &str = "--enable-feature=native-histograms";

/// A panel that asks for a metric or a label that does not exist stays empty without a word.
#[test]
fn every_query_of_the_dashboard_finds_series_with_classic_histograms() {
    every_query_finds_series(&queries(), &[]);
}

#[test]
fn every_query_of_the_dashboard_finds_series_with_native_histograms() {
    every_query_finds_series(&queries(), &[NATIVE]);
}

#[test]
fn every_recording_rule_finds_series_with_both_kinds_of_histograms() {
    every_query_finds_series(&recorded(), &[]);
    every_query_finds_series(&recorded(), &[NATIVE]);
}

/// The queries of the recording rules.
pub(crate) fn recorded() -> Vec<String> {
    let text = std::fs::read_to_string(deployed("prometheus/wstap.rules.yml")).expect("a file");
    let file: Value = serde_norway::from_str(&text).expect("YAML");
    let groups = file["groups"].as_array().expect("a list");
    let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
    let recorded = rules.filter(|rule| rule["record"].is_string());
    let queries: Vec<_> =
        recorded.map(|rule| rule["expr"].as_str().expect("text").to_owned()).collect();
    assert!(queries.len() >= 4, "{queries:?}");
    queries
}

/// The queries of the dashboard, for everything that there is.
pub(crate) fn queries() -> Vec<String> {
    let text = std::fs::read_to_string(deployed("grafana/wstap.json")).expect("a file");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("a list");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| target["expr"].as_str().expect("text"));
    let variables = dashboard["templating"]["list"].as_array().expect("a list");
    let names =
        variables.iter().map(|variable| format!("${}", variable["name"].as_str().expect("text")));
    let names: Vec<_> = names.collect();
    let queries = queries.map(|query| {
        let query = query.replace("$__rate_interval", "5m");
        let query = names.iter().fold(query, |query, variable| query.replace(variable, ".*"));
        // The traffic stands still, so a filter for what moves would find nothing.
        query.strip_suffix(" > 0").unwrap_or(&query).to_owned()
    });
    let queries: Vec<_> = queries.collect();
    assert!(queries.len() > 30, "{} queries", queries.len());
    queries
}

#[track_caller]
fn every_query_finds_series(queries: &[String], arguments: &[&str]) {
    let mut fixture = Fixture::new();
    fixture.everything([1_000_000, 2_000_000]);
    let exporter = fixture.serve();
    let Some(server) = Prometheus::start(exporter.address, arguments) else { return };
    for query in queries {
        server.expect_series(query);
    }
}

/// A package keeps the times of its files. Those of the stage are set; those of a checkout are when it was made.
#[test]
fn packages_take_every_file_from_the_stage() {
    let text = std::fs::read_to_string(deployed("../Cargo.toml")).expect("a file");
    let manifest: toml::Table = text.parse().expect("TOML");
    let packages = &manifest["package"]["metadata"];
    let assets = ["deb", "generate-rpm"].map(|kind| packages[kind]["assets"].as_array());
    let assets: Vec<_> = assets.into_iter().flatten().flatten().collect();
    assert!(assets.len() > 20, "{} assets", assets.len());
    for asset in assets {
        let source = asset.get(0).or_else(|| asset.get("source")).and_then(toml::Value::as_str);
        assert!(source.is_some_and(|source| source.starts_with("target/stage/")), "{asset:?}");
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
