//! The privileged part: it finds targets, attaches probes, reads the ring buffer, and hands out
//! [`Event`]s.
//!
//! Everything that needs a capability, a BPF object or `unsafe` is in here. Nothing here knows HTTP,
//! WebSocket or metrics.
//!
//! ```text
//!   supervisor (who is tapped, when to inspect again)
//!     -> procfs (what a process is and has mapped)
//!     -> bpf    (programs, probes, ring buffer)
//!   confine (privileges, sandbox)
//! ```
//!
//! [`Event`]: crate::event::Event

pub mod bpf;
pub mod clock;
pub mod confine;
mod error;
pub mod kernel;
pub mod procfs;
pub mod supervisor;

pub use error::Error;
