//! wstap taps the plaintext of a running process's TLS connections, decodes the WebSocket traffic
//! inside, and matches requests with their responses.
//!
//! Data flows one way, and the modules stand in its order:
//!
//! ```text
//!   capture                      decode                                            export
//!   Target -> ProbePlan -> Link  -> Event -> Upgrade -> Frame -> Message -> Exchange -> metric
//!   (privileged, all unsafe)     (pure: bytes and times in, Observations out)      (HTTP, files)
//! ```
//!
//! `capture` knows no WebSocket, `decode` knows no kernel, `export` knows no BPF; [`run`] is the
//! one place that knows all three.
#![deny(unsafe_code)]

pub mod cli;
pub mod config;

pub mod event;
pub mod observation;
pub mod terminal;

#[allow(unsafe_code, reason = "the rim: BPF objects, mapped memory, clocks")]
#[allow(clippy::disallowed_methods, reason = "the rim reads clocks")]
pub mod capture;
pub mod decode;
#[allow(clippy::disallowed_methods, reason = "the edge reads clocks")]
pub mod export;
pub mod learning;
pub mod matching;
pub mod views;

pub mod run;
