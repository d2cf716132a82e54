//! The privileged rim: find targets, attach, poll the ring buffer, hand out [`Event`]s.
//!
//! Everything that needs a capability, a BPF object or `unsafe` is in here, and nothing here knows
//! HTTP, WebSocket or metrics.
//!
//! [`Event`]: crate::decode::event::Event

pub mod cgroup;
pub mod clock;
pub mod command;
mod debug;
mod error;
pub mod image;
pub mod kernel;
pub mod lifecycle;
mod links;
pub mod plain;
mod plans;
pub mod privilege;
pub mod process;
pub mod roster;
pub mod sandbox;
pub mod selector;
mod shared;
mod skeleton;
pub mod socket;
pub mod steering;
pub mod tap;
pub mod targets;
mod tcp;
mod wire;

pub use error::Error;
