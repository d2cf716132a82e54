//! What was typed. `config` says what it means.

pub mod learn;
pub mod messages;
pub mod recording;
pub mod top;
pub mod values;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use self::learn::LearnArgs;
use self::messages::MessagesArgs;
use self::recording::{RecordArgs, ReplayArgs};
use self::top::TopArgs;
use self::values::{Labels, Listen, MetricsPath, Pid, Size, Span};
use crate::terminal::LogFormat;

/// Turnaround times of the WebSocket messages inside a running process's TLS connections.
///
/// Attaches to a process, taps the plaintext of its TLS library with uprobes, decodes the
/// WebSocket traffic inside, matches requests with responses by message id, and serves the result
/// to Prometheus. The process is neither changed nor restarted.
#[derive(Debug, Parser)]
#[command(
    disable_version_flag = true,
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
    pub log: LogArgs,
    /// Print the version; with -v also what this build and this kernel have
    #[arg(short = 'V', long)]
    pub version: bool,
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
    /// Show methods and connections in the terminal, live
    Top(Box<TopArgs>),
    /// Write what the tap sees to a file, to look at it later and elsewhere
    Record(Box<RecordArgs>),
    /// Look at recordings as if it happened now; needs no privilege
    Replay(ReplayArgs),
    /// Find out where a protocol that wstap does not know has its ids, times and numbers, and print the
    /// rule
    Learn(Box<LearnArgs>),
    /// List the message protocols that are recognised, and by what
    Protocols(ProtocolsArgs),
    /// Check what this machine lets wstap do, and say how to mend what it does not
    Doctor(ListArgs),
    /// Ask a running wstap whether it is healthy, for health checks of containers
    Health(HealthArgs),
    /// Print the completions of a shell: `wstap completions bash`
    Completions(CompletionsArgs),
}

/// What the log on standard error looks like.
#[derive(Debug, Default, Args)]
pub struct LogArgs {
    /// Log more: -v what is decided, -vv every detail
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// How much is logged, as other exporters are told [default: info]
    #[arg(long, visible_alias = "log.level", value_name = "LEVEL", global = true, conflicts_with_all = ["verbose", "quiet"])]
    pub log_level: Option<LogLevel>,
    /// Write the log for programs, as other exporters do [default: lines for people]
    #[arg(long, visible_alias = "log.format", value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
}

/// How much is logged, in the words of Prometheus exporters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What is decided, as -v
    Debug,
    /// What a person should know
    Info,
    /// What is not seen, or goes wrong
    Warn,
    /// Only what ends a job, as -q
    Error,
}

/// `wstap --pid N`.
#[derive(Debug, Default, Args)]
pub struct MonitorArgs {
    /// What to tap, and how.
    #[command(flatten)]
    pub tap: TapArgs,
    /// Serve metrics and the live page here: an address, :PORT for all addresses, a port of this
    /// machine only, or unix:PATH (may be given several times) [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", visible_alias = "web.listen-address")]
    pub listen: Vec<Listen>,
    /// Serve on the sockets that a systemd .socket unit hands over, instead of --listen
    #[arg(long, visible_alias = "web.systemd-socket", conflicts_with = "listen")]
    pub systemd_socket: bool,
    /// Ask HTTP clients for TLS, certificates or passwords, as this YAML file says, which is that of
    /// the Prometheus exporters
    #[arg(long, value_name = "FILE", visible_alias = "web.config.file")]
    pub web_config: Option<PathBuf>,
    /// Serve the metrics under this path, too [default: /metrics]
    #[arg(long, value_name = "PATH", visible_alias = "web.telemetry-path")]
    pub metrics_path: Option<MetricsPath>,
    /// Labels of series that tell processes and connections of one target apart: container_id, pod_uid,
    /// unit, host, path, with commas between them, or none [default: container_id,unit for what --comm,
    /// --exe and --cgroup find]
    #[arg(long = "label", value_name = "NAMES")]
    pub labels: Vec<Labels>,
    /// End when the last target has ended, instead of serving `wstap_target_up 0`
    #[arg(long)]
    pub exit_with_target: bool,
    /// Record to this file, too; see `wstap record`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Keep HTTP/2 in that recording, too, with the cookies and the authorisation in its heads
    #[arg(long)]
    pub record_http2: bool,
    /// Attach, print what was attached, and end
    #[arg(long)]
    pub check: bool,
}

/// What to tap, and how.
#[derive(Debug, Default, Args)]
pub struct TapArgs {
    /// Tap this process (may be given several times)
    #[arg(short, long = "pid", value_name = "N")]
    pub pids: Vec<Pid>,
    /// Tap every process of this name, now and later (may be given several times)
    #[arg(long = "comm", value_name = "NAME")]
    pub comms: Vec<String>,
    /// Tap every process whose executable's path matches, now and later (may be given several
    /// times)
    #[arg(long = "exe", value_name = "REGEX")]
    pub exes: Vec<String>,
    /// Tap every process in this control group or below, now and later: a folder, the name of a
    /// systemd unit or container scope, 12 digits or more of a container's id, or the uid of a
    /// Kubernetes pod (may be given several times)
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
    /// Drop every capability once attached. Nothing that comes later can be tapped then, so it goes
    /// with --pid and --no-children only
    #[arg(long)]
    pub drop_caps: bool,
    /// Do not enter a sandbox (seccomp, Landlock) once attached
    #[arg(long)]
    pub no_sandbox: bool,
    /// Do not read compressed connections that were open before, for which the tapped process's own
    /// zlib is looked at for a short while: only count them
    #[arg(long)]
    pub no_windows: bool,
    /// Read settings from a TOML file; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Do not detect the message protocol: it is this one. With `auto` what no rule reads is learned, and
    /// counted as `learned`
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
    /// A request without an answer expires after this time: seconds, or such as 500ms, 5s or 2m
    /// [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<Span>,
    /// Count connections as quiet that have passed no message for longer than this, heartbeats left
    /// out: seconds, or such as 500ms, 30s or 5m [default: never]
    #[arg(long, value_name = "TIME")]
    pub quiet_after: Option<Span>,
    /// Wait for the target to load a TLS library or to open a TCP socket, instead of exiting with 4;
    /// implied by --comm, --exe and --cgroup
    #[arg(long)]
    pub wait: bool,
    /// Ring buffer between kernel and wstap, in bytes, with k, m or g [default: 8m]
    #[arg(long, value_name = "SIZE")]
    pub ring_size: Option<Size>,
    /// Connections that are followed at the same time; of others only the bytes are counted [default:
    /// 32768]
    #[arg(long, value_name = "N")]
    pub connections: Option<u32>,
    /// Payload copied of each message, in bytes, with k or m [default: 64k, but only the first 256
    /// bytes of those over 1k while these prove to be enough]
    #[arg(long, value_name = "SIZE")]
    pub window: Option<Size>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
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
    #[arg(short, long, value_name = "N")]
    pub pid: Pid,
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

/// `wstap health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Where it listens, as in its `--listen`
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub address: Listen,
}

/// `wstap completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that the completions are for
    pub shell: clap_complete::Shell,
}

/// `wstap protocols`.
#[derive(Debug, Args)]
pub struct ProtocolsArgs {
    /// Read rules for message protocols of your own from a TOML file, check them and list them
    /// too (may be given several times)
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// Read messages from standard input, one a line, and show what the rules of this file make of
    /// each. A line may begin with > for the client or < for the server as its sender, and with hex
    /// for a binary message in hexadecimal digits
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rules", "json"])]
    pub r#try: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Reads the command line; prints help or what is wrong, and ends the process, where there is
/// nothing to do.
#[must_use]
pub fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        if let Some(hint) = hint(&error) {
            // Nobody may be reading.
            let _ = writeln!(std::io::stderr(), "error: {hint}");
            std::process::exit(2);
        }
        error.exit()
    })
}

/// The flag that was probably meant by a word without one: `wstap 4168`, `wstap python`.
fn hint(error: &clap::Error) -> Option<String> {
    let kind = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return None,
    };
    let Some(ContextValue::String(word)) = error.get(kind) else { return None };
    if word.starts_with('-') {
        return None;
    }
    Some(if word.parse::<Pid>().is_ok() {
        format!("`{word}` needs a flag: to tap the process with this id, use --pid {word}")
    } else {
        format!(
            "`{word}` needs a flag: to tap the processes of this name, use --comm {word}; to run \
             it as a command, use -- {word}; `wstap ps` lists what can be tapped, and `wstap --help` the commands"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    /// With another sign in a flag's own name, fish completes nothing at all. Aliases may have any.
    #[test]
    fn every_flag_has_a_name_that_every_shell_completes() {
        for flag in Cli::command().get_arguments().filter_map(clap::Arg::get_long) {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            assert!(flag.bytes().all(is_plain), "--{flag}");
        }
    }

    #[test]
    fn a_word_without_a_flag_is_answered_with_the_right_one() {
        let hint = |words: &[&str]| {
            let words = ["wstap"].iter().chain(words);
            hint(&Cli::try_parse_from(words).expect_err("no such word"))
        };
        assert!(hint(&["4168"]).is_some_and(|it| it.contains("--pid 4168")));
        assert!(hint(&["python"]).is_some_and(|it| it.contains("--comm python")));
        assert!(hint(&["messages", "python"]).is_some_and(|it| it.contains("--comm python")));
        assert!(hint(&["--pdi", "7"]).is_none());
        assert!(hint(&["mesages"]).is_some_and(|it| it.contains("wstap --help")));
    }

    #[test]
    fn errors_of_numbers_say_what_was_expected() {
        for words in
            [["--pid", "abc"], ["--timeout", "soon"], ["--ring-size", "8x"], ["--listen", "here"]]
        {
            let error = Cli::try_parse_from(["wstap"].iter().chain(&words)).expect_err("wrong");
            let error = error.to_string();
            assert!(error.contains("such as") && !error.contains("invalid digit"), "{error}");
        }
    }
}
