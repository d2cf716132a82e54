//! What Prometheus and browsers fetch: [`Observation`](crate::observation::Observation)s in, metrics
//! and HTTP out.
//!
//! ```text
//!   Observation -> Metrics (decode thread) --flush--> Registry --gather--> /metrics
//!                                                        \--------------> / and /api/v1
//!   Status (run) ------------------------> target, probe and loss metrics
//! ```
//!
//! `export` knows no BPF and reads no bytes of a target. Nothing it serves over HTTP ever holds
//! payload, message ids or addresses. What a terminal shows is left to `views`.

pub mod http;
pub mod metrics;
pub mod status;
pub mod summary;

pub use http::{Exporter, router, serve};
pub use metrics::Metrics;
pub use status::{LossCounters, Status};
pub use summary::View;

/// Version of wstap, from its manifest.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Source revision, where the build said it in `WSTAP_REVISION`.
pub const REVISION: &str = match option_env!("WSTAP_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
