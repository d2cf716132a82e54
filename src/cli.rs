//! What was typed. What it means is `config`'s business.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

/// Turnaround times of the WebSocket messages inside a running process's TLS connections.
///
/// Attaches to a process, taps the plaintext of its TLS library with uprobes, decodes the
/// WebSocket traffic inside, matches requests with responses by message id, and serves the result
/// to Prometheus. The process is neither changed nor restarted.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 ok; 1 runtime error; 2 usage; 3 privilege or kernel; 4 no such \
                  target, or nothing in it that wstap can tap."
)]
pub struct Cli {
    /// Something else than monitoring.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Monitoring and export: the main job.
    #[command(flatten)]
    pub monitor: MonitorArgs,
    /// How much is logged to standard error.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// The other jobs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the processes with a TLS library, and whether wstap can tap them
    Ps(ListArgs),
    /// Show what would be probed in a process, and why there; attaches nothing
    Probes(ProbesArgs),
    /// Print a line for each message, as it passes
    Messages(Box<MessagesArgs>),
    /// List the message protocols that are recognised, and by what
    Protocols(ProtocolsArgs),
    /// Check what this machine lets wstap do, and say how to mend what it does not
    Doctor(ListArgs),
}

/// How much is logged.
#[derive(Debug, Default, Args)]
pub struct Verbosity {
    /// Log more: -v what is decided, -vv every detail
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// `wstap --pid N`.
#[derive(Debug, Default, Args)]
pub struct MonitorArgs {
    /// What to tap, and how.
    #[command(flatten)]
    pub tap: TapArgs,
    /// Serve metrics and the status page here [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// End when the last target has ended, instead of serving `wstap_target_up 0`
    #[arg(long)]
    pub exit_with_target: bool,
    /// Attach, print what was attached, and end
    #[arg(long)]
    pub check: bool,
}

/// What to tap, and how.
#[derive(Debug, Default, Args)]
pub struct TapArgs {
    /// Tap this process (may be given several times)
    #[arg(short, long = "pid", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,
    /// Tap every process of this name, now and later (may be given several times)
    #[arg(long = "comm", value_name = "NAME")]
    pub comms: Vec<String>,
    /// Tap every process whose executable's path matches, now and later (may be given several
    /// times)
    #[arg(long = "exe", value_name = "REGEX")]
    pub exes: Vec<String>,
    /// Tap every process in this control group or below, now and later: a folder, or the name of a
    /// systemd unit or container scope (may be given several times)
    #[arg(long = "cgroup", value_name = "PATH")]
    pub cgroups: Vec<String>,
    /// Run this command and tap it from its first byte
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// Do not tap the children of tapped processes
    #[arg(long, overrides_with = "children")]
    pub no_children: bool,
    /// Tap the children of tapped processes, too (the default)
    #[arg(long, overrides_with = "no_children")]
    pub children: bool,
    /// Keep the capabilities that attaching needs, so that libraries and processes that come later
    /// are tapped (the default, unless there is only --pid with --no-children)
    #[arg(long, conflicts_with = "drop_caps")]
    pub keep_caps: bool,
    /// Drop every capability once attached: of processes that come later, only children that use
    /// the same libraries are tapped
    #[arg(long)]
    pub drop_caps: bool,
    /// Do not enter a sandbox (seccomp, Landlock) once attached
    #[arg(long)]
    pub no_sandbox: bool,
    /// Read settings from a TOML file; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Do not detect the message protocol: it is this one
    #[arg(long, value_name = "NAME")]
    pub protocol: Option<String>,
    /// Read rules for message protocols of your own from a TOML file (may be given several times)
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// A protocol of your own: a request matches this, with the message id in a group `id` and,
    /// if there is one, the method in a group `method`
    #[arg(long, value_name = "REGEX")]
    pub id_pattern: Option<String>,
    /// What a response to `--id-pattern` matches, with a group `id` [default: the same pattern]
    #[arg(long, value_name = "REGEX", requires = "id_pattern")]
    pub response_pattern: Option<String>,
    /// A request without an answer expires after this many seconds [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub timeout: Option<u32>,
    /// Wait for the target to load a TLS library or to open a TCP socket, instead of exiting with 4;
    /// implied by --comm, --exe and --cgroup
    #[arg(long)]
    pub wait: bool,
    /// Ring buffer between kernel and wstap, in bytes, with k, m or g [default: 8m]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub ring_size: Option<u64>,
    /// Payload copied of each message, in bytes, with k or m [default: 64k, but only the first 256
    /// bytes of those over 1k while these prove to be enough]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub window: Option<u64>,
    /// Tap TCP sockets, too, for plain ws://: on, off, or auto where a process has no TLS, or
    /// sockets that carry something else [default: auto]
    #[arg(long, value_name = "WHEN")]
    pub plain: Option<PlainArg>,
    /// Where probes go [default: cheapest]
    #[arg(long, value_name = "SITE")]
    pub probe_site: Option<ProbeSite>,
}

/// When TCP sockets are tapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PlainArg {
    /// Where a process has no TLS, or sockets that carry something else
    Auto,
    /// Always
    On,
    /// Never
    Off,
}

/// Where probes go when there is a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProbeSite {
    /// Where they cost the target least
    Cheapest,
    /// At the exported symbols, as other tools do
    Symbol,
}

/// Commands that list something.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `wstap probes`.
#[derive(Debug, Args)]
pub struct ProbesArgs {
    /// The process to look into
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where probes go [default: cheapest]
    #[arg(long, value_name = "SITE")]
    pub probe_site: Option<ProbeSite>,
    /// Read the `[[library]]` tables of this TOML file: functions that you have found yourself
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `wstap protocols`.
#[derive(Debug, Args)]
pub struct ProtocolsArgs {
    /// Read rules for message protocols of your own from a TOML file, check them and list them
    /// too (may be given several times)
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `wstap messages`.
#[derive(Debug, Args)]
pub struct MessagesArgs {
    /// What to tap, and how.
    #[command(flatten)]
    pub tap: TapArgs,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// Print frames too, not only messages and what becomes of them
    #[arg(long)]
    pub frames: bool,
    /// Show this many bytes of each payload
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub payload: usize,
}

/// A number of bytes: `65536`, `64k`, `8m`, `1g`, with binary multiples.
fn parse_size(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        unit => return Err(format!("unknown unit `{unit}`: use k, m or g")),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("`{text}` is not a size such as 65536, 64k or 8m"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_size("65536"), Ok(65536));
        assert_eq!(parse_size("64K"), Ok(64 << 10));
        assert_eq!(parse_size("8MiB"), Ok(8 << 20));
        for bad in ["", "k", "8x", "-1", "99999999999999999999", "99999999999999g"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
