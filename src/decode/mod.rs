//! The pure core: [`event::Event`]s in, [`observation::Observation`]s out.
//!
//! Nothing here reads a clock, opens a file, starts a thread or knows where events come from.
//! Every buffer has a bound and an observation for when it bites.
//!
//! ```text
//!   Tracker -> Connection -> Upgrade (HTTP until the 101)
//!                         -> Session -> Flow (frames) -> Assembly (messages) -> matching
//! ```

pub mod event;
pub mod observation;
pub mod tracker;

mod connection;
mod limits;
mod steering;
mod step;
mod stream;
mod unproven;
pub mod window;

mod handshake;
mod http;
mod lane;
mod subprotocol;
mod upgrade;
mod watch;

mod backlog;
mod candidate;
mod chains;
mod close;
mod flow;
mod frame;
mod link;
mod mask;
mod ping;
mod resync;
mod session;
mod tls_records;

mod assembly;
mod compression;
mod identical;
mod inflate;
mod message;
mod utf8;

pub mod matching;

#[cfg(test)]
mod tests;
