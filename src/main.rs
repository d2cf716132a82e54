//! The `wstap` program: arguments, log, exit code.

use std::process::ExitCode;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use wstap::cli::{self, LogArgs, LogLevel};
use wstap::terminal::{self, LogLines};

fn main() -> ExitCode {
    let cli = cli::parse();
    // The first -v beside --version asks for more lines of it, not for a log.
    log(&cli.log, cli.log.verbose.saturating_sub(u8::from(cli.version)));
    match wstap::run::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::complain(Level::ERROR, &failure);
            failure.exit_code()
        }
    }
}

/// The log goes to standard error: standard output belongs to what was asked for. It has no colours,
/// because every control character in it is escaped.
fn log(args: &LogArgs, verbose: u8) {
    if let Some(format) = args.log_format {
        terminal::set_log_format(format);
    }
    let level = match (args.log_level, args.quiet, verbose) {
        (Some(LogLevel::Error), ..) | (None, true, _) => Level::ERROR,
        (Some(LogLevel::Warn), ..) => Level::WARN,
        (Some(LogLevel::Info), ..) | (None, _, 0) => Level::INFO,
        (Some(LogLevel::Debug), ..) | (None, _, 1) => Level::DEBUG,
        (None, ..) => Level::TRACE,
    };
    // What other crates do with each head of HTTP/2 is of no use to anybody here.
    let own = Targets::new().with_target("wstap", level);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| terminal::Log)
        .with_ansi(false)
        .log_internal_errors(false)
        .event_format(LogLines)
        .finish()
        .with(own)
        .init();
}
