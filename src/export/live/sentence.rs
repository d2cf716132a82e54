//! The first thing that people read: what is tapped, and whether all of it can be read.

use super::Now;
use crate::export::status::Snapshot;

/// Processes that are named.
const NAMED: usize = 3;

pub(super) fn sentence(status: &Snapshot, now: &Now, lost_bytes: u64) -> String {
    let mut text = tapped(status);
    if now.open == 0 {
        return text + " No WebSocket connection is open.";
    }
    let plural = if now.open == 1 { "" } else { "s" };
    if now.unreadable > 0 {
        text += &format!(
            " {} of {} connection{plural} cannot be read: compressed before wstap attached. Each can \
             be read at the latest once it reconnects.",
            now.unreadable, now.open
        );
    } else {
        text += &format!(" {} connection{plural} open, and all can be read.", now.open);
    }
    if now.feeds_unlisted > 0 {
        let plural = if now.feeds_unlisted == 1 { "" } else { "s" };
        text += &format!(
            " {} feed{plural} more than the {} that are listed: /metrics has them all.",
            now.feeds_unlisted,
            now.feeds.len()
        );
    }
    if lost_bytes > 0 {
        text += &format!(
            " {lost_bytes} bytes were lost before they could be decoded; a larger --ring-size helps."
        );
    }
    text
}

fn tapped(status: &Snapshot) -> String {
    let all = || status.targets.iter().flat_map(|target| &target.processes);
    let up: Vec<_> = all().filter(|process| process.up).collect();
    if up.is_empty() {
        return match all().count() {
            0 => String::from("Waiting for a process to tap."),
            _ => String::from("Every tapped process has ended."),
        };
    }
    let name = |process: &&crate::export::status::Process| {
        let library = match (&*process.tls_library, &*process.tls_version) {
            ("", _) => String::from("plain TCP"),
            (library, "") => library.to_owned(),
            (library, version) => format!("{library} {version}"),
        };
        format!("{} (pid {}, {library})", process.comm, process.pid)
    };
    let mut names: Vec<String> = up.iter().take(NAMED).map(name).collect();
    if let Some(more) = up.len().checked_sub(NAMED).filter(|&more| more > 0) {
        names.push(format!("{more} more"));
    }
    format!("Tapping {}.", names.join(", "))
}
