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
pub mod live;
pub mod metrics;
pub mod status;
pub mod summary;

pub use http::front::{Address, Front};
pub use http::web_config::WebConfig;
pub use http::{Exporter, METRICS_PATH, is_taken, router, serve};
pub use metrics::Metrics;
pub use status::{LossCounters, Status};
pub use summary::View;

/// Version of wstap, from its manifest.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Source revision: what the build was told in `WSTAP_REVISION`, else the commit of the git checkout
/// that it was built in, else `unknown`.
pub const REVISION: &str = env!("WSTAP_REVISION");
