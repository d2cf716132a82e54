//! What a terminal or a file gets: one line for each [`Observation`](crate::observation::Observation).
//!
//! Metrics and HTTP are left to `export`.

pub mod messages;
pub mod processes;
pub mod recording;
