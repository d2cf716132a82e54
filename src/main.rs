//! The `wstap` program: arguments, log, exit code.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing::Level;
use wstap::cli::{Cli, Verbosity};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(&cli.verbosity);
    match wstap::run::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("wstap: {failure}");
            failure.exit_code()
        }
    }
}

/// The log goes to standard error: standard output belongs to what was asked for.
fn log(verbosity: &Verbosity) {
    let level = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => Level::ERROR,
        (_, 0) => Level::INFO,
        (_, 1) => Level::DEBUG,
        _ => Level::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
