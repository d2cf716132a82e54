//! The edge: [`Observation`](crate::decode::observation::Observation)s in; metrics, HTTP and
//! lines for people out.
//!
//! ```text
//!                   +-> Metrics (decode thread) --flush--> Registry --gather--> /metrics
//!   Observation ----|                                          \--------------> / and /api/v1
//!                   +-> FrameView ------------------------------------------> stdout
//!   Status (run) --------------------------------------------> target, probe and loss metrics
//! ```
//!
//! `export` knows no BPF and reads no bytes of a target. Nothing it serves over HTTP ever holds
//! payload, message ids or addresses.

mod catalogue;
pub mod duration;
pub mod exposition;
mod facts;
mod families;
pub mod frames;
pub mod histogram;
pub mod metrics;
mod native;
pub mod server;
pub mod status;
pub mod table;
mod timings;
pub mod view;

pub use frames::FrameView;
pub use metrics::Metrics;
pub use server::{Exporter, router, serve};
pub use status::{LossCounters, Status};
pub use view::View;

/// Version of wstap, from its manifest.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Source revision, where the build said it in `WSTAP_REVISION`.
pub const REVISION: &str = match option_env!("WSTAP_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
