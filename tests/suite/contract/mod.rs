//! What needs no privilege.

/// Which module may use which.
mod borders;

/// Imports that go round in a circle.
mod circles;

/// The files in `deploy/`: rules, dashboard, service.
pub(crate) mod deploy;

/// Recordings of real programs replay to the same lines and numbers as ever.
mod golden;

/// How many files a folder may have, how long a file may be, and which names stand nowhere.
mod house;

/// A real Prometheus server scrapes the exporter and answers queries.
pub(crate) mod prometheus;

/// Prometheus's own linter reads the exposition.
mod promtool;

/// The references in `docs/` say what the program says.
mod reference;

/// What wstap refuses: exit codes and sentences.
mod refusals;

/// The file that asks HTTP clients for TLS and passwords is judged as by Prometheus's own tool.
mod web_config;

/// Output that cannot be written ends nothing but the writing.
mod writing;
