//! `wstap protocols --try FILE` runs rules over messages that somebody wrote down, and shows what each
//! became.

use std::io::{BufRead, Write};
use std::path::Path;

use tracing::Level;

use crate::config;
use crate::run::Failure;
use crate::terminal::{self, Page};

/// Longest line that is read, in bytes.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// Reads messages from `input`, one a line, and prints what the rules of `file` make of each; then how
/// often each rule held, and what is probably wrong with them.
///
/// # Errors
///
/// The file cannot be read or makes no sense, or a line cannot be read.
pub(in crate::run) fn attempt(file: &Path, mut input: impl BufRead) -> Result<(), Failure> {
    let mut protocols = config::with_rules(&[file.to_owned()])?;
    let mut out = Page::new(true);
    let (mut bytes, mut number, mut unread) = (Vec::new(), 0_u64, 0_u64);
    loop {
        bytes.clear();
        let mut part = std::io::Read::take(&mut input, MAX_LINE_BYTES);
        if part.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        number += 1;
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end_matches(['\n', '\r']);
        match protocols.attempt(line) {
            Ok(said) if said.is_empty() => {
                unread += 1;
                writeln!(out, "{number}: no rule holds")?;
            }
            Ok(said) => said.iter().try_for_each(|it| writeln!(out, "{number}: {it}"))?,
            Err(reason) => writeln!(out, "{number}: {reason}")?,
        }
    }
    writeln!(out, "\n{number} messages, no rule held for {unread}")?;
    for (file, rule, count) in protocols.held() {
        writeln!(out, "  {file}: {rule} held for {count}")?;
    }
    out.show()?;
    let by_messages = protocols.doubts_by_messages();
    for doubt in protocols.doubts().iter().chain(&by_messages) {
        terminal::complain(Level::WARN, doubt);
    }
    Ok(())
}
