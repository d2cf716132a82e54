//! Runs the commands: decides which thread does what, in which order the stages start and stop, and
//! with which code the process exits.

mod doctor;
mod learn;
mod list;
mod mailbox;
mod messages;
mod monitor;
mod output;
mod reader;
mod record;
mod refused;
mod replay;
mod session;
mod signals;
mod stop;
mod top;
mod unreadable;
mod version;

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;
use wstap_symbols::{Options, SitePreference};

use crate::capture::Error;
use crate::capture::procfs::planner::Planner;
use crate::cli::{Cli, Command, ProbeSite};
use crate::config::{self, MonitorConfig, RecordConfig, TapConfig, UsageError};
use crate::terminal::Page;

/// Why wstap failed. Each kind has its exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line or the configuration file makes no sense: exit code 2.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// Tapping failed: exit code 3 for privilege and kernel, 4 for a missing target, else 1.
    #[error(transparent)]
    Capture(#[from] Error),
    /// Anything else: exit code 1.
    #[error("{0}")]
    Runtime(String),
}

impl Failure {
    /// The exit code that users and scripts can rely on.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::Capture(Error::Privilege(_) | Error::Kernel(_)) => 3,
            Self::Capture(Error::NoSuchProcess(_) | Error::NoTls(_) | Error::NoTarget(_)) => 4,
            Self::Capture(Error::Other(_)) | Self::Runtime(_) => 1,
        })
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Runtime(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Runtime(error.to_string())
    }
}

/// Runs the command that the command line asks for.
///
/// # Errors
///
/// The [`Failure`] whose sentence and exit code the user gets.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    if cli.version {
        return version::print(cli.log.verbose > 0);
    }
    match &cli.command {
        None => monitor::run(MonitorConfig::new(&cli.monitor)?),
        Some(Command::Ps(args)) => list::ps(args.json),
        Some(Command::Probes(args)) => {
            let libraries = config::user_libraries(args.config.as_deref())?;
            list::probes(
                args.pid.0,
                Planner::with_user_libraries(options(args.probe_site), libraries)
                    .without_own_program(),
                args.json,
            )
        }
        Some(Command::Messages(args)) => {
            let whole = args.output.is_file();
            let record = args.record.clone();
            let record = record.map(|path| RecordConfig::beside(path, args.record_http2));
            messages::run(TapConfig::interactive(&args.tap, record, whole)?, args)
        }
        Some(Command::Top(args)) => top::run(TapConfig::interactive(&args.tap, None, false)?, args),
        Some(Command::Record(args)) => record::run(RecordConfig::tap(args)?),
        Some(Command::Replay(args)) => replay::run(args),
        Some(Command::Learn(args)) => learn::run(args),
        Some(Command::Protocols(args)) => match &args.r#try {
            Some(file) => list::attempt(file, std::io::stdin().lock()),
            None => list::protocols(&args.rules, args.json),
        },
        Some(Command::Doctor(args)) => doctor::run(args.json),
        Some(Command::Health(args)) => monitor::health::run(&args.address.0),
        Some(Command::Completions(args)) => completions(args.shell),
    }
}

/// Prints the completions of `shell`.
fn completions(shell: Shell) -> Result<(), Failure> {
    let mut out = Page::new(false);
    clap_complete::generate(shell, &mut Cli::command(), "wstap", &mut out);
    Ok(out.show()?)
}

fn options(site: Option<ProbeSite>) -> Options {
    let site = match site {
        Some(ProbeSite::Symbol) => SitePreference::Symbol,
        _ => SitePreference::Cheapest,
    };
    Options { site }
}
