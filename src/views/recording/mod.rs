//! A recording: the events of a tap in a file, from which the same decoder makes the same numbers.
//!
//! ```text
//!   Event -> Redactor -> Encoder -> Block -> FileWriter -> file -> Reader -> Record
//!            (no secrets)  (one thread)   (another thread)        (any machine)
//! ```
//!
//! `format` says what the bytes mean, `writer` and `reader` are its two ends, and `redact` takes
//! secrets out before anything is written. Which file, which thread and which decoder is left to
//! `run`. `docs/recording.md` describes the format for people.

mod format;
mod reader;
mod redact;
mod writer;

pub use format::{Header, Record, RuleFile, Settings, TargetName};
pub use reader::{Ending, ReadError, Reader};
pub use redact::{Redaction, Redactor};
pub use writer::{Block, Encoder, FileWriter, Packed};

#[cfg(test)]
mod tests;
