//! What the tables of methods and connections hold, and what a column is: a head, a text for each row, and
//! an order. The table of feeds is in `feed_columns`.

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

impl<R> Column<R> {
    /// A column of words, which every terminal shows and which reports no failure.
    pub(super) const fn text(
        head: &'static str,
        width: u16,
        text: fn(&R, f64) -> String,
        order: fn(&R, &R) -> Ordering,
    ) -> Self {
        Self { head, width, is_number: false, from_width: 0, text, order, is_bad: |_| false }
    }

    /// The same of numbers.
    pub(super) const fn number(
        head: &'static str,
        width: u16,
        text: fn(&R, f64) -> String,
        order: fn(&R, &R) -> Ordering,
    ) -> Self {
        Self { is_number: true, ..Self::text(head, width, text, order) }
    }

    /// Leaves it out of a terminal that is narrower than `from_width`.
    pub(super) const fn shown_from(self, from_width: u16) -> Self {
        Self { from_width, ..self }
    }

    /// Shows it as a failure where `is_bad` says so.
    pub(super) const fn bad(self, is_bad: fn(&R) -> bool) -> Self {
        Self { is_bad, ..self }
    }
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

fn method(row: &MethodRow) -> String {
    if row.method().is_empty() { "(no method)".to_owned() } else { safe(row.method()) }
}

fn asker(row: &MethodRow) -> &'static str {
    if row.origin() == "local" { "process" } else { "peer" }
}

impl Listed for MethodRow {
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text(
            "METHOD",
            0,
            |row: &MethodRow, _| method(row),
            |a, b| a.method().cmp(b.method()),
        ),
        Column::text(
            "PROTOCOL",
            12,
            |row: &MethodRow, _| safe(row.protocol()),
            |a, b| a.protocol().cmp(b.protocol()),
        )
        .shown_from(100),
        Column::text(
            "ASKED BY",
            8,
            |row: &MethodRow, _| asker(row).to_owned(),
            |a, b| asker(a).cmp(asker(b)),
        ),
        Column::number(
            "ANSWERED",
            8,
            |row: &MethodRow, _| count(row.answered),
            |a, b| descending(a.answered, b.answered),
        ),
        Column::number(
            "/S",
            6,
            |row: &MethodRow, _| rate(row.rate),
            |a, b| descending(a.rate, b.rate),
        ),
        Column::number(
            "P50",
            7,
            |row: &MethodRow, _| seconds(row.p50),
            |a, b| descending(a.p50, b.p50),
        ),
        Column::number(
            "P99",
            7,
            |row: &MethodRow, _| seconds(row.p99),
            |a, b| descending(a.p99, b.p99),
        ),
        Column::number(
            "SLOWEST",
            7,
            |row: &MethodRow, _| seconds(row.slowest),
            |a, b| descending(a.slowest, b.slowest),
        )
        .shown_from(100),
        Column::number(
            "ERRORS",
            6,
            |row: &MethodRow, _| share(row.errors, row.answered),
            |a, b| descending(a.errors, b.errors),
        )
        .bad(|row| row.errors > 0),
        Column::number(
            "UNANSWERED",
            10,
            |row: &MethodRow, _| count(row.unanswered),
            |a, b| descending(a.unanswered, b.unanswered),
        )
        .bad(|row| row.unanswered > 0),
        Column::text(
            "ANSWERS OVER TIME",
            30,
            |row: &MethodRow, _| spark(&row.spark),
            |a, b| descending(a.answered, b.answered),
        )
        .shown_from(140),
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
        Column::text(
            "CONNECTION",
            13,
            |row: &ConnectionRow, _| row.conn.clone(),
            |a, b| a.conn.cmp(&b.conn),
        ),
        Column::text(
            "ROLE",
            7,
            |row: &ConnectionRow, _| row.role.to_owned(),
            |a, b| a.role.cmp(b.role),
        )
        .shown_from(90),
        Column::text(
            "HOST AND PATH",
            0,
            |row: &ConnectionRow, _| place(row),
            |a, b| place(a).cmp(&place(b)),
        ),
        Column::text(
            "OVER",
            5,
            |row: &ConnectionRow, _| row.transport.to_owned(),
            |a, b| a.transport.cmp(b.transport),
        )
        .shown_from(120),
        Column::text(
            "PROTOCOL",
            12,
            |row: &ConnectionRow, _| safe(&row.protocol),
            |a, b| a.protocol.cmp(&b.protocol),
        )
        .shown_from(100),
        Column::number(
            "AGE",
            7,
            |row: &ConnectionRow, now| span(now - row.since),
            |a, b| a.since.total_cmp(&b.since),
        )
        .shown_from(80),
        Column::number(
            "SENT/S",
            6,
            |row: &ConnectionRow, _| rate(row.sent_rate),
            |a, b| descending(a.sent_rate, b.sent_rate),
        ),
        Column::number(
            "RECV/S",
            6,
            |row: &ConnectionRow, _| rate(row.received_rate),
            |a, b| descending(a.received_rate, b.received_rate),
        ),
        Column::number(
            "P99",
            7,
            |row: &ConnectionRow, _| seconds(row.p99),
            |a, b| descending(a.p99, b.p99),
        ),
        Column::number(
            "WAITING",
            7,
            |row: &ConnectionRow, _| count(row.pending),
            |a, b| descending(a.pending, b.pending),
        ),
        Column::number(
            "PING",
            7,
            |row: &ConnectionRow, _| seconds(row.ping),
            |a, b| descending(a.ping, b.ping),
        )
        .shown_from(120),
        Column::text(
            "READ",
            7,
            |row: &ConnectionRow, _| readable(row).to_owned(),
            |a, b| readable(a).cmp(readable(b)),
        )
        .bad(|row| row.decode != "full"),
    ];

    fn key(&self) -> String {
        self.conn.clone()
    }

    fn haystack(&self) -> String {
        format!("{} {} {} {}", self.conn, self.role, place(self), self.protocol).to_lowercase()
    }
}
