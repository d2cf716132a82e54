//! Tests of the whole from outside, in one binary: one link instead of many.
//!
//! A test that needs a tool which is not installed says `skipped` and why, except where `CI` is
//! set: there it fails. A test that needs privilege says so in its name.

#[path = "suite/installed.rs"]
mod installed;
#[path = "suite/traffic.rs"]
mod traffic;

/// The exposition in the eyes of Prometheus's own linter.
#[path = "suite/promtool.rs"]
mod promtool;

/// A real Prometheus server scrapes the exporter and answers queries.
#[path = "suite/prometheus.rs"]
mod prometheus;

/// The files in `dist/`: rules, dashboard, service.
#[path = "suite/dist.rs"]
mod dist;
