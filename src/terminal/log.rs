//! The log on standard error. While a view has the screen, its lines are held back.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::Level;

use super::{Escaped, NOT_AT_ALL, Output, PATIENCE, Waits, complain, format, is_ready, write_line};

/// Lines that are held at most; of more, the oldest go and are counted.
const HELD_MAX: usize = 100;

/// Lines that wait for the screen to be given back.
#[derive(Debug, Default)]
struct Held {
    lines: VecDeque<String>,
    /// Lines that found no room.
    gone: u64,
    /// The last line has not been asked for yet.
    is_new: bool,
}

static HELD: Mutex<Option<Held>> = Mutex::new(None);

fn held() -> MutexGuard<'static, Option<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds back what is logged from now on, because something else has the screen.
pub fn hold_log() {
    held().get_or_insert_default();
}

/// The last line that was held back, once.
#[must_use]
pub fn last_held_line() -> Option<String> {
    let mut held = held();
    let held = held.as_mut()?;
    std::mem::take(&mut held.is_new).then(|| held.lines.back().cloned()).flatten()
}

/// Writes what was held back. The log goes on as usual.
pub fn release_log() {
    let Some(held) = held().take() else { return };
    if held.gone > 0 {
        complain(Level::WARN, format_args!("{} older lines of the log were left out", held.gone));
    }
    for line in held.lines {
        let _ = write_line(io::stderr().as_fd(), &line);
    }
}

/// Keeps a line, if lines are held back.
fn hold(line: &[u8]) -> bool {
    let mut held = held();
    let Some(held) = held.as_mut() else { return false };
    if held.lines.len() == HELD_MAX {
        held.lines.pop_front();
        held.gone += 1;
    }
    held.lines.push_back(String::from_utf8_lossy(line).trim_end().to_owned());
    held.is_new = true;
    true
}

/// Lines of the log that could not be written since the last one that could.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The log: one line of standard error for each write. It never fails. While nobody reads it, lines
/// are dropped, and their number is written as soon as somebody does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if hold(line) {
            return Ok(line.len());
        }
        let stderr = io::stderr();
        let dropped = DROPPED.load(Ordering::Relaxed);
        // Whoever did not read a moment ago is not waited for again.
        let waits = Waits::Slices(if dropped > 0 { 1 } else { PATIENCE });
        let mut output = Output { to: stderr.as_fd(), waits };
        let text = String::from_utf8_lossy(line);
        let mut text = format!("{}\n", Escaped(text.trim_end_matches('\n')));
        if dropped > 0 {
            let sentence = format!("{dropped} lines of the log could not be written");
            let line = format::line(Level::WARN, &sentence).unwrap_or(sentence);
            text = format!("{line}\n{text}");
        }
        if dropped > 0 && !is_ready(stderr.as_fd(), &NOT_AT_ALL).unwrap_or(false) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        } else if output.write_all(text.as_bytes()).is_ok() {
            DROPPED.fetch_sub(dropped, Ordering::Relaxed);
        } else {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_lines_are_bounded_and_the_last_one_is_told_once() {
        assert!(!hold(b"not held"));
        hold_log();
        for number in 0..=HELD_MAX {
            assert!(hold(format!("line {number}\n").as_bytes()));
        }
        assert_eq!(last_held_line(), Some(format!("line {HELD_MAX}")));
        assert_eq!(last_held_line(), None);
        {
            let held = held();
            let held = held.as_ref().expect("held");
            assert_eq!((held.lines.len(), held.gone), (HELD_MAX, 1));
        }
        release_log();
        assert!(!hold(b"not held any more"));
    }
}
