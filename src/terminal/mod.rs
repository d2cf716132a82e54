//! Writes to standard output and standard error.
//!
//! The reader may go away, stop reading, or have a full disk. That only ends the writing: nothing
//! here panics, and nothing waits for a reader for longer than it was told to.
//! What others have named (paths, commands, hosts) may contain control characters, so lines for
//! people go through [`Escaped`].

mod format;
mod log;

use std::fmt::{self, Display, Write as _};
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use self::format::{LogFormat, LogLines, set_log_format};
pub use self::log::{Log, hold_log, last_held_line, release_log};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::Level;

/// A pipe that is ready for writing takes this many bytes without waiting (`pipe(7)`, PIPE_BUF).
const CHUNK: usize = 4096;
/// How often a waiting writer checks whether to go on waiting.
const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// A line for people is given up when nobody has read for this many slices.
const PATIENCE: usize = 20;

/// Prints a line on standard output. A line that cannot be written is dropped.
pub fn print(line: impl Display) {
    let _ = write_line(io::stdout().as_fd(), &line.to_string());
}

/// Prints a sentence about this call of wstap on standard error, in the format of the log. What cannot be
/// written is dropped.
pub fn complain(level: Level, sentence: impl Display) {
    let sentence = sentence.to_string();
    let line = format::line(level, &sentence).unwrap_or_else(|| format!("wstap: {sentence}"));
    let _ = write_line(io::stderr().as_fd(), &line);
}

fn write_line(to: BorrowedFd<'_>, line: &str) -> io::Result<()> {
    let line = format!("{}\n", Escaped(line));
    Output { to, waits: Waits::Slices(PATIENCE) }.write_all(line.as_bytes())
}

/// Text with every character escaped that is not simply visible: control characters, changes of the
/// direction of writing, invisible ones.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' | '\'' | '\\' => f.write_char(c)?,
                c => Display::fmt(&c.escape_debug(), f)?,
            }
        }
        Ok(())
    }
}

/// Standard output for lines whose content is safe already. It is written to without waiting for a
/// reader once `stop` is set, and then ends as if the reader had gone.
#[must_use]
pub fn stdout_until(stop: Arc<AtomicBool>) -> impl Write + Send {
    Output { to: StandardOutput, waits: Waits::Until(stop) }
}

/// Whether standard output shows colours: it is a terminal that knows them, and nobody has set
/// `NO_COLOR` (<https://no-color.org>).
#[must_use]
pub fn shows_colors() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdout().is_terminal() && !is_dumb && !is_set("NO_COLOR")
}

/// Columns of the terminal that standard output is. Where it is none, `COLUMNS` says how many to
/// fill; without that there are 80.
#[must_use]
pub fn columns() -> usize {
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    let of_terminal = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let of_terminal = of_terminal.map(|size| usize::from(size.ws_col));
    of_terminal.or_else(told).filter(|&columns| columns > 0).unwrap_or(COLUMNS)
}

/// Columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;

/// Whether whoever read standard output has gone, as `head` does after its last line.
#[must_use]
pub fn is_abandoned() -> bool {
    let out = io::stdout();
    let mut fds = [PollFd::from_borrowed_fd(out.as_fd(), PollFlags::empty())];
    poll(&mut fds, Some(&NOT_AT_ALL)).is_ok() && fds[0].revents().contains(PollFlags::ERR)
}

#[derive(Debug)]
struct StandardOutput;

impl AsFd for StandardOutput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        rustix::stdio::stdout()
    }
}

/// A list that is shown as a whole and then ends the program: for people with every line escaped,
/// for programs as it is.
#[derive(Debug)]
pub struct Page {
    bytes: Vec<u8>,
    for_people: bool,
}

impl Page {
    /// An empty one.
    #[must_use]
    pub fn new(for_people: bool) -> Self {
        Self { bytes: Vec::new(), for_people }
    }

    /// Writes it to standard output. A reader that has gone has seen what it wanted.
    ///
    /// # Errors
    ///
    /// It cannot be written for another reason, such as a full disk.
    pub fn show(self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.write_to(&mut out).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => {
                Err(io::Error::new(error.kind(), format!("cannot write the output: {error}")))
            }
            Ok(()) => Ok(()),
        }
    }

    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        if !self.for_people {
            return out.write_all(&self.bytes);
        }
        let text = String::from_utf8_lossy(&self.bytes);
        text.lines().try_for_each(|line| writeln!(out, "{}", Escaped(line)))
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How long a writer waits for a reader.
#[derive(Debug)]
enum Waits {
    /// For this many slices of time.
    Slices(usize),
    /// Until that is set.
    Until(Arc<AtomicBool>),
}

impl Waits {
    fn is_over(&mut self) -> bool {
        match self {
            Self::Slices(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            Self::Until(stop) => stop.load(Ordering::Relaxed),
        }
    }
}

#[derive(Debug)]
struct Output<F> {
    to: F,
    waits: Waits,
}

impl<F: AsFd> Write for Output<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while !is_ready(self.to.as_fd(), &SLICE)? {
            if self.waits.is_over() {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads it"));
            }
        }
        Ok(rustix::io::write(&self.to, &bytes[..bytes.len().min(CHUNK)])?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const NOT_AT_ALL: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Whether a write to `fd` does not wait. Files are always ready; so is what is broken.
fn is_ready(fd: BorrowedFd<'_>, timeout: &Timespec) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    match poll(&mut fds, Some(timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_controls_a_terminal_is_escaped_and_what_is_visible_is_not() {
        let escaped = |text: &str| Escaped(text).to_string();
        assert_eq!(escaped("/usr/bin/my \"app\" \\x \u{fc}"), "/usr/bin/my \"app\" \\x \u{fc}");
        assert_eq!(escaped("\x1b]0;owned\x07"), "\\u{1b}]0;owned\\u{7}");
        for control in ["\r", "\n", "\x08", "\x7f", "\u{9b}31m", "\u{202e}", "\u{200b}"] {
            assert!(escaped(control).starts_with('\\'), "{control:?}");
        }
    }

    #[test]
    fn a_page_is_escaped_line_by_line_for_people_only() {
        let shown = |for_people| {
            let mut page = Page::new(for_people);
            page.write_all(b"a\x1b[2J\nb\n").unwrap();
            let mut out = Vec::new();
            page.write_to(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(true), "a\\u{1b}[2J\nb\n");
        assert_eq!(shown(false), "a\x1b[2J\nb\n");
    }

    #[test]
    fn a_writer_whose_reader_is_stuck_ends_when_it_is_told_to() {
        let (mut reader, writer) = io::pipe().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let waits = Waits::Until(Arc::clone(&stop));
        let mut output = Output { to: writer, waits };
        let writing = std::thread::spawn(move || output.write_all(&[7; 1 << 20]));
        let mut first = [0; 1];
        reader.read_exact(&mut first).unwrap();
        assert!(!writing.is_finished());
        stop.store(true, Ordering::Relaxed);
        let ended = writing.join().unwrap().unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_line_that_nobody_reads_is_given_up() {
        let (_reader, writer) = io::pipe().unwrap();
        let mut output = Output { to: &writer, waits: Waits::Slices(2) };
        assert!(output.write_all(&[7; 1 << 20]).is_err());
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        assert!(write_line(writer.as_fd(), "line").is_err());
    }
}
