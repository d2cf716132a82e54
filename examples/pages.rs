//! Writes what packages contain beside the binary: man pages and shell completions.
//!
//! Both come from the definitions of the command line, so they cannot say anything else than
//! `--help`. `make release` runs it.

use std::path::Path;
use std::{env, fs, io};

use clap::CommandFactory;
use clap_complete::Shell;
use wstap::cli::Cli;

fn main() -> io::Result<()> {
    let Some(folder) = env::args_os().nth(1) else {
        eprintln!("usage: pages FOLDER");
        std::process::exit(2);
    };
    let folder = Path::new(&folder);
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(Cli::command().version(env!("CARGO_PKG_VERSION")), man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "wstap", &completions)?;
    }
    Ok(())
}
