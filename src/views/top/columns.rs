//! What the tables hold (that of feeds is in `feed_columns`): a column has a head, a text for each row, and an order.

use std::cmp::Ordering;

use super::figures::{count, rate, seconds, share, span};
use crate::export::live::{ConnectionRow, MethodRow};
use crate::terminal::Escaped;

/// A column of a table of `R`.
pub(super) struct Column<R> {
    pub(super) head: &'static str,
    /// Characters; 0 takes as many as its longest text needs and the others leave.
    pub(super) width: u16,
    /// Stands on the right side.
    pub(super) is_number: bool,
    /// Is left out of a narrower terminal.
    pub(super) from_width: u16,
    /// The text, given the time in seconds since 1970.
    pub(super) text: fn(&R, f64) -> String,
    /// Which row stands first.
    pub(super) order: fn(&R, &R) -> Ordering,
    /// The text reports a failure.
    pub(super) is_bad: fn(&R) -> bool,
}

/// A row of a table.
pub(super) trait Listed: Sized + 'static {
    const COLUMNS: &'static [Column<Self>];

    /// What names it, from one second to the next.
    fn key(&self) -> String;

    /// What a filter looks into.
    fn haystack(&self) -> String;
}

/// The texts that follow come from the wire.
pub(super) fn safe(text: &str) -> String {
    Escaped(text).to_string()
}

pub(super) fn descending<T: PartialOrd>(a: T, b: T) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}

pub(super) fn never<R>(_: &R) -> bool {
    false
}

fn method(row: &MethodRow) -> String {
    if row.method().is_empty() { "(no method)".to_owned() } else { safe(row.method()) }
}

fn asker(row: &MethodRow) -> &'static str {
    if row.origin() == "local" { "process" } else { "peer" }
}

impl Listed for MethodRow {
    const COLUMNS: &'static [Column<Self>] = &[
        Column {
            head: "METHOD",
            width: 0,
            is_number: false,
            from_width: 0,
            text: |row, _| method(row),
            order: |a, b| a.method().cmp(b.method()),
            is_bad: never,
        },
        Column {
            head: "PROTOCOL",
            width: 12,
            is_number: false,
            from_width: 100,
            text: |row, _| safe(row.protocol()),
            order: |a, b| a.protocol().cmp(b.protocol()),
            is_bad: never,
        },
        Column {
            head: "ASKED BY",
            width: 8,
            is_number: false,
            from_width: 0,
            text: |row, _| asker(row).to_owned(),
            order: |a, b| asker(a).cmp(asker(b)),
            is_bad: never,
        },
        Column {
            head: "ANSWERED",
            width: 8,
            is_number: true,
            from_width: 0,
            text: |row, _| count(row.answered),
            order: |a, b| descending(a.answered, b.answered),
            is_bad: never,
        },
        Column {
            head: "/S",
            width: 6,
            is_number: true,
            from_width: 0,
            text: |row, _| rate(row.rate),
            order: |a, b| descending(a.rate, b.rate),
            is_bad: never,
        },
        Column {
            head: "P50",
            width: 7,
            is_number: true,
            from_width: 0,
            text: |row, _| seconds(row.p50),
            order: |a, b| descending(a.p50, b.p50),
            is_bad: never,
        },
        Column {
            head: "P99",
            width: 7,
            is_number: true,
            from_width: 0,
            text: |row, _| seconds(row.p99),
            order: |a, b| descending(a.p99, b.p99),
            is_bad: never,
        },
        Column {
            head: "SLOWEST",
            width: 7,
            is_number: true,
            from_width: 100,
            text: |row, _| seconds(row.slowest),
            order: |a, b| descending(a.slowest, b.slowest),
            is_bad: never,
        },
        Column {
            head: "ERRORS",
            width: 6,
            is_number: true,
            from_width: 0,
            text: |row, _| share(row.errors, row.answered),
            order: |a, b| descending(a.errors, b.errors),
            is_bad: |row| row.errors > 0,
        },
        Column {
            head: "UNANSWERED",
            width: 10,
            is_number: true,
            from_width: 0,
            text: |row, _| count(row.unanswered),
            order: |a, b| descending(a.unanswered, b.unanswered),
            is_bad: |row| row.unanswered > 0,
        },
        Column {
            head: "ANSWERS OVER TIME",
            width: 30,
            is_number: false,
            from_width: 140,
            text: |row, _| spark(&row.spark),
            order: |a, b| descending(a.answered, b.answered),
            is_bad: never,
        },
    ];

    fn key(&self) -> String {
        format!("{} {} {}", self.origin(), self.protocol(), self.method())
    }

    fn haystack(&self) -> String {
        format!("{} {} {}", method(self), self.protocol(), asker(self)).to_lowercase()
    }
}

/// A bar for each part of the window.
fn spark(parts: &[u64]) -> String {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = parts.iter().copied().max().unwrap_or(0).max(1);
    parts.iter().map(|&part| BARS[((part * 8).div_ceil(most) as usize).min(8)]).collect()
}

fn place(row: &ConnectionRow) -> String {
    match (&row.host, &row.path) {
        (None, None) => "-".to_owned(),
        (host, path) => [host, path].map(|it| safe(it.as_deref().unwrap_or_default())).concat(),
    }
}

/// Whether its contents can be read.
fn readable(row: &ConnectionRow) -> &'static str {
    match row.decode {
        "full" => "yes",
        "no_content" => "no",
        _ => "not yet",
    }
}

impl Listed for ConnectionRow {
    const COLUMNS: &'static [Column<Self>] = &[
        Column {
            head: "CONNECTION",
            width: 13,
            is_number: false,
            from_width: 0,
            text: |row, _| row.conn.clone(),
            order: |a, b| a.conn.cmp(&b.conn),
            is_bad: never,
        },
        Column {
            head: "ROLE",
            width: 7,
            is_number: false,
            from_width: 90,
            text: |row, _| row.role.to_owned(),
            order: |a, b| a.role.cmp(b.role),
            is_bad: never,
        },
        Column {
            head: "HOST AND PATH",
            width: 0,
            is_number: false,
            from_width: 0,
            text: |row, _| place(row),
            order: |a, b| place(a).cmp(&place(b)),
            is_bad: never,
        },
        Column {
            head: "OVER",
            width: 5,
            is_number: false,
            from_width: 120,
            text: |row, _| row.transport.to_owned(),
            order: |a, b| a.transport.cmp(b.transport),
            is_bad: never,
        },
        Column {
            head: "PROTOCOL",
            width: 12,
            is_number: false,
            from_width: 100,
            text: |row, _| safe(&row.protocol),
            order: |a, b| a.protocol.cmp(&b.protocol),
            is_bad: never,
        },
        Column {
            head: "AGE",
            width: 7,
            is_number: true,
            from_width: 80,
            text: |row, now| span(now - row.since),
            order: |a, b| a.since.total_cmp(&b.since),
            is_bad: never,
        },
        Column {
            head: "SENT/S",
            width: 6,
            is_number: true,
            from_width: 0,
            text: |row, _| rate(row.sent_rate),
            order: |a, b| descending(a.sent_rate, b.sent_rate),
            is_bad: never,
        },
        Column {
            head: "RECV/S",
            width: 6,
            is_number: true,
            from_width: 0,
            text: |row, _| rate(row.received_rate),
            order: |a, b| descending(a.received_rate, b.received_rate),
            is_bad: never,
        },
        Column {
            head: "P99",
            width: 7,
            is_number: true,
            from_width: 0,
            text: |row, _| seconds(row.p99),
            order: |a, b| descending(a.p99, b.p99),
            is_bad: never,
        },
        Column {
            head: "WAITING",
            width: 7,
            is_number: true,
            from_width: 0,
            text: |row, _| count(row.pending),
            order: |a, b| descending(a.pending, b.pending),
            is_bad: never,
        },
        Column {
            head: "PING",
            width: 7,
            is_number: true,
            from_width: 120,
            text: |row, _| seconds(row.ping),
            order: |a, b| descending(a.ping, b.ping),
            is_bad: never,
        },
        Column {
            head: "READ",
            width: 7,
            is_number: false,
            from_width: 0,
            text: |row, _| readable(row).to_owned(),
            order: |a, b| readable(a).cmp(readable(b)),
            is_bad: |row| row.decode != "full",
        },
    ];

    fn key(&self) -> String {
        self.conn.clone()
    }

    fn haystack(&self) -> String {
        format!("{} {} {} {}", self.conn, self.role, place(self), self.protocol).to_lowercase()
    }
}
