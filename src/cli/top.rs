//! What was typed to look at methods and connections in a terminal.

use clap::Args;

use super::TapArgs;
use super::values::Span;

/// `wstap top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// What to tap, and how.
    #[command(flatten)]
    pub tap: TapArgs,
    /// Print one table after --duration, and end
    #[arg(long)]
    pub once: bool,
    /// Print one JSON object each second, or a single one with --once
    #[arg(long)]
    pub json: bool,
    /// End after this time: seconds, or such as 500ms, 5s or 2m [default with --once: 5s]
    #[arg(long, value_name = "TIME")]
    pub duration: Option<Span>,
}
