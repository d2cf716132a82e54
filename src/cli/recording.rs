//! What was typed to record and to replay.

use std::path::PathBuf;

use clap::Args;

use super::TapArgs;
use super::messages::{FilterArgs, OutputArgs};
use super::values::{Listen, Size, Span, parse_count};

/// `wstap record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// What to tap, and how.
    #[command(flatten)]
    pub tap: TapArgs,
    /// Write to this file, which only its owner may read; `-` writes to standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Take the place of a file that is there
    #[arg(long)]
    pub force: bool,
    /// End with this many bytes, or go on in the next file of --rotate [default: 1g]
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<Size>,
    /// Write FILE.1 to FILE.N in turn, and keep the latest N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=100))]
    pub rotate: Option<u8>,
    /// End after this time: seconds, or such as 500ms, 5s or 2m
    #[arg(long, value_name = "TIME")]
    pub duration: Option<Span>,
    /// Keep this much payload of each message: bytes, or `all` [default: what matching needs]
    #[arg(long, value_name = "BYTES", conflicts_with = "window")]
    pub payload: Option<String>,
    /// Hide the values of HTTP header fields whose names match, too (may be given several times)
    #[arg(long, value_name = "REGEX")]
    pub redact: Vec<String>,
    /// Keep HTTP/2, too. Its heads are compressed, so nothing in them can be hidden: cookies and
    /// authorisation are in the file then
    #[arg(long)]
    pub http2: bool,
}

/// `wstap replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Recordings; several are replayed in one timeline
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where it goes, and how it looks.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Print one JSON object per line: --format json
    #[arg(long, conflicts_with_all = ["listen", "format"])]
    pub json: bool,
    /// Print frames too, not only messages and what becomes of them
    #[arg(long, conflicts_with = "listen")]
    pub frames: bool,
    /// Show this many bytes of each payload
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = parse_count,
        conflicts_with = "listen")]
    pub payload: usize,
    /// Print nothing, but serve the metrics and the status page here
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["FilterArgs", "OutputArgs"])]
    pub listen: Option<Listen>,
    /// Print no lines, but show the table of `wstap top`: live on a terminal, else once at the end
    #[arg(long, conflicts_with_all = ["FilterArgs", "OutputArgs", "frames", "payload", "listen"])]
    pub top: bool,
    /// Replay N times as fast as it was recorded [default: as fast as it goes]
    #[arg(long, value_name = "N")]
    pub speed: Option<f64>,
    /// Which lines to print.
    #[command(flatten)]
    pub filter: FilterArgs,
}
