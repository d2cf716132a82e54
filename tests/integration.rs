//! Tests of the whole from outside, in one binary: one link instead of many.
//!
//! A test that needs a tool which is not installed says `skipped` and why, except where `CI` is
//! set: there it fails. A test that needs privilege says so in its name.

#![allow(clippy::disallowed_methods, reason = "tests wait for other programs, with deadlines")]

#[path = "suite/installed.rs"]
mod installed;
#[path = "suite/mixed.rs"]
mod mixed;
#[path = "suite/pair.rs"]
mod pair;
#[path = "suite/peer.rs"]
mod peer;
#[path = "suite/traffic.rs"]
mod traffic;
#[path = "suite/wstap.rs"]
mod wstap;

/// Which module may know which.
#[path = "suite/borders.rs"]
mod borders;

/// What wstap refuses: exit codes and sentences.
#[path = "suite/refusals.rs"]
mod refusals;

/// Real peers under tap: counts, times and bytes are the peers' own.
#[path = "suite/root_peers.rs"]
mod root_peers;

/// Stacks other than OpenSSL: Go's own.
#[path = "suite/root_stacks.rs"]
mod root_stacks;

/// Go's own of before Go 1.19.
#[path = "suite/root_old_go.rs"]
mod root_old_go;

/// Libraries without symbols: debug files, offsets by hand, and what is refused.
#[path = "suite/root_stripped.rs"]
mod root_stripped;

/// Browsers, large runtimes and slow builds: `make test-stacks`.
#[path = "suite/heavy_stacks.rs"]
mod heavy_stacks;

/// Real implementations of the built-in protocols, and a protocol of one's own.
#[path = "suite/root_protocols.rs"]
mod root_protocols;

/// WebSockets without TLS: ws://.
#[path = "suite/root_plain.rs"]
mod root_plain;

/// What `ps` and `doctor` say of this machine.
#[path = "suite/root_survey.rs"]
mod root_survey;

/// TLS connections whose sockets are tapped, too.
#[path = "suite/root_busy.rs"]
mod root_busy;

/// nginx terminating wss.
#[path = "suite/root_nginx.rs"]
mod root_nginx;

/// Large and compressed messages.
#[path = "suite/root_large.rs"]
mod root_large;

/// Compression as every peer negotiates it, and connections older than wstap.
#[path = "suite/root_decoding.rs"]
mod root_decoding;

/// What another decoder makes of the same bytes, taken from the network.
#[path = "suite/root_oracle.rs"]
mod root_oracle;

/// Every byte is decoded, skipped on purpose or lost, and counted as such.
#[path = "suite/root_loss.rs"]
mod root_loss;

/// What is not needed is not copied.
#[path = "suite/root_steering.rs"]
mod root_steering;

/// Selectors, and what becomes of processes: fork, exec, exit, late libraries.
#[path = "suite/root_targets.rs"]
mod root_targets;

/// Libraries that are deleted, replaced or several; other loaders; pids that are given again.
#[path = "suite/root_lifetimes.rs"]
mod root_lifetimes;

/// Other namespaces, overlays, control groups.
#[path = "suite/root_containers.rs"]
mod root_containers;

/// What wstap needs, what it says when that is missing, and what it gives up.
#[path = "suite/root_privileges.rs"]
mod root_privileges;

/// What becomes of targets and probes when either side ends.
#[path = "suite/root_harm.rs"]
mod root_harm;

/// The exposition in the eyes of Prometheus's own linter.
#[path = "suite/promtool.rs"]
mod promtool;

/// The references in `docs/` say what the program says.
#[path = "suite/reference.rs"]
mod reference;

/// A real Prometheus server scrapes the exporter and answers queries.
#[path = "suite/prometheus.rs"]
mod prometheus;

/// The files in `deploy/`: rules, dashboard, service.
#[path = "suite/deploy.rs"]
mod deploy;
