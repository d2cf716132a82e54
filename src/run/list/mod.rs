//! `wstap ps` lists the processes that can be tapped, `wstap probes` shows where probes would go, and
//! `wstap protocols` lists the message protocols, or tries rules on messages. None of them attaches
//! anything.

mod attempt;
mod plain;
mod probes;
mod protocols;
mod ps;

pub(super) use self::attempt::attempt;
pub(super) use self::probes::probes;
pub(super) use self::protocols::protocols;
pub(super) use self::ps::ps;

use tracing::Level;

use crate::terminal;

/// Refused files that are named; the others are only counted.
const NAMED_MAX: usize = 10;

/// Names the files that were not looked into.
fn print_refused<'a>(files: impl IntoIterator<Item = &'a String>) {
    let mut files = files.into_iter();
    for file in files.by_ref().take(NAMED_MAX) {
        terminal::complain(Level::WARN, file);
    }
    let more = files.count();
    if more > 0 {
        terminal::complain(Level::WARN, format_args!("{more} more files could not be looked into"));
    }
}
