//! What a terminal or a file gets: lines, tables and recordings, made of
//! [`Observation`](crate::observation::Observation)s.
//!
//! Metrics, HTTP and the history that the live page shows are left to `export`.

pub mod har;
pub mod learned;
pub mod messages;
pub mod pcapng;
pub mod processes;
pub mod recording;
pub mod top;
mod view;

use view::cut_sentence;
pub use view::{Process, View};
