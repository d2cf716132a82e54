//! What was typed to learn a protocol.

use std::path::PathBuf;

use clap::Args;

use super::TapArgs;
use super::values::Span;

/// `wstap learn`.
#[derive(Debug, Args)]
pub struct LearnArgs {
    /// Recordings to learn from, instead of a process; needs no privilege
    #[arg(value_name = "FILE", conflicts_with = "TapArgs")]
    pub files: Vec<PathBuf>,
    /// What to tap, and how.
    #[command(flatten)]
    pub tap: TapArgs,
    /// End after so many messages of connections to the same path; Ctrl-C ends it, too, and prints
    /// what is known by then
    #[arg(long, value_name = "N", default_value_t = 4_000,
        value_parser = clap::value_parser!(u32).range(40..=100_000))]
    pub messages: u32,
    /// End this long after the probes are in place: seconds, or such as 500ms, 5s or 2m
    #[arg(long, value_name = "TIME", conflicts_with = "files")]
    pub duration: Option<Span>,
    /// Learn also what wstap recognises by itself
    #[arg(long)]
    pub all: bool,
    /// Print one JSON object for each kind of connection
    #[arg(long)]
    pub json: bool,
}
