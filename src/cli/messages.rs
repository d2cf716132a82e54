//! What was typed to see messages, and which of them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::TapArgs;
use super::values::{ConnName, Threshold, parse_count};

/// `wstap messages`.
#[derive(Debug, Args)]
pub struct MessagesArgs {
    /// What to tap, and how.
    #[command(flatten)]
    pub tap: TapArgs,
    /// Where it goes, and how it looks.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Print one JSON object per line: --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Print frames too, not only messages and what becomes of them
    #[arg(long)]
    pub frames: bool,
    /// Show this many bytes of each payload
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = parse_count)]
    pub payload: usize,
    /// Record to this file, too; see `wstap record`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Keep HTTP/2 in that recording, too, with the cookies and the authorisation in its heads
    #[arg(long, requires = "record")]
    pub record_http2: bool,
    /// Which lines to print.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Where it goes, and how it looks.
#[derive(Debug, Default, Args)]
pub struct OutputArgs {
    /// Write this format [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<FormatArg>,
    /// Write to this file, which only its owner may read, instead of to standard output (`-`)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Take the place of a file that is there
    #[arg(long, requires = "output")]
    pub force: bool,
}

impl OutputArgs {
    /// It is a file of whole conversations, not lines.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.format.is_some_and(FormatArg::is_file)
    }
}

/// How what passes is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// A line for each message, for people
    Text,
    /// A line for each message, for programs
    Json,
    /// Packets for Wireshark and tshark, with every message whole
    Pcapng,
    /// Connections for the network panel of a browser, with every message whole
    Har,
}

impl FormatArg {
    /// It is for files of whole conversations, not for lines.
    #[must_use]
    pub fn is_file(self) -> bool {
        matches!(self, Self::Pcapng | Self::Har)
    }
}

/// Which lines to print. A line must have everything that was asked for.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Only messages and exchanges of this method (may be given several times)
    #[arg(long = "method", value_name = "NAME")]
    pub methods: Vec<String>,
    /// Only exchanges that took this long or longer, such as 100ms, or expired
    #[arg(long, value_name = "TIME")]
    pub slow: Option<Threshold>,
    /// Only what went wrong: failed exchanges, connections that ended badly, losses
    #[arg(long)]
    pub errors: bool,
    /// Only this connection, named as in its lines, such as 4242-17 (may be given several times)
    #[arg(long = "conn", value_name = "ID")]
    pub conns: Vec<ConnName>,
    /// Only messages, and frames, of this opcode (may be given several times)
    #[arg(long = "opcode", value_name = "OPCODE")]
    pub opcodes: Vec<OpcodeArg>,
    /// Only what went this way; an exchange goes the way of its request
    #[arg(long, value_name = "DIRECTION")]
    pub direction: Option<DirectionArg>,
    /// End after N lines
    #[arg(short = 'c', long = "count", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// The opcodes of RFC 6455, section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OpcodeArg {
    /// A text message
    Text,
    /// A binary message
    Binary,
    /// A later fragment of a message
    Continuation,
    /// The end of a connection
    Close,
    /// A ping frame
    Ping,
    /// A pong frame
    Pong,
    /// A frame with an opcode that has no meaning
    Reserved,
}

/// Which way, as the tapped process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DirectionArg {
    /// Written by the tapped process
    Sent,
    /// Read by the tapped process
    Received,
}
