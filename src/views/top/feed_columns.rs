//! What the table of feeds holds.

use super::columns::{Column, Listed, descending, never, safe};
use super::figures::{count, rate, seconds};
use crate::export::live::FeedRow;

/// A feed that brought less than this in the last hour, messages a second, is no measure.
const LEAST_RATE: f64 = 0.1;

/// It brings less than a tenth of what it did over the last hour.
fn is_quiet(row: &FeedRow) -> bool {
    row.hour_rate > LEAST_RATE && row.rate < row.hour_rate / 10.0
}

/// A count of those that have numbers.
fn numbered(row: &FeedRow, value: u64) -> String {
    if row.numbers == 0 { "-".to_owned() } else { count(value) }
}

impl Listed for FeedRow {
    const COLUMNS: &'static [Column<Self>] = &[
        Column {
            head: "TARGET",
            width: 0,
            is_number: false,
            from_width: 0,
            text: |row, _| safe(&row.target),
            order: |a, b| a.target.cmp(&b.target),
            is_bad: never,
        },
        Column {
            head: "PROTOCOL",
            width: 12,
            is_number: false,
            from_width: 0,
            text: |row, _| safe(&row.protocol),
            order: |a, b| a.protocol.cmp(&b.protocol),
            is_bad: never,
        },
        Column {
            head: "WAY",
            width: 8,
            is_number: false,
            from_width: 0,
            text: |row, _| row.direction.to_owned(),
            order: |a, b| a.direction.cmp(b.direction),
            is_bad: never,
        },
        Column {
            head: "NOW/S",
            width: 6,
            is_number: true,
            from_width: 0,
            text: |row, _| rate(row.rate),
            order: |a, b| descending(a.rate, b.rate),
            is_bad: is_quiet,
        },
        Column {
            head: "HOUR/S",
            width: 6,
            is_number: true,
            from_width: 0,
            text: |row, _| rate(row.hour_rate),
            order: |a, b| descending(a.hour_rate, b.hour_rate),
            is_bad: never,
        },
        Column {
            head: "LAST",
            width: 7,
            is_number: true,
            from_width: 0,
            text: |row, now| seconds(Some(now - row.last)),
            order: |a, b| descending(a.last, b.last),
            is_bad: never,
        },
        Column {
            head: "LAG P50",
            width: 7,
            is_number: true,
            from_width: 0,
            text: |row, _| seconds(row.lag_p50),
            order: |a, b| descending(a.lag_p50, b.lag_p50),
            is_bad: never,
        },
        Column {
            head: "LAG P99",
            width: 7,
            is_number: true,
            from_width: 80,
            text: |row, _| seconds(row.lag_p99),
            order: |a, b| descending(a.lag_p99, b.lag_p99),
            is_bad: never,
        },
        Column {
            head: "MISSING",
            width: 7,
            is_number: true,
            from_width: 0,
            text: |row, _| numbered(row, row.missing),
            order: |a, b| descending(a.missing, b.missing),
            is_bad: |row| row.missing > 0,
        },
        Column {
            head: "REPEATED",
            width: 8,
            is_number: true,
            from_width: 100,
            text: |row, _| numbered(row, row.repeated),
            order: |a, b| descending(a.repeated, b.repeated),
            is_bad: |row| row.repeated > 0,
        },
        Column {
            head: "BACKWARD",
            width: 8,
            is_number: true,
            from_width: 100,
            text: |row, _| numbered(row, row.backward),
            order: |a, b| descending(a.backward, b.backward),
            is_bad: |row| row.backward > 0,
        },
        Column {
            head: "NOT COMPARED",
            width: 12,
            is_number: true,
            from_width: 120,
            text: |row, _| numbered(row, row.unchecked),
            order: |a, b| descending(a.unchecked, b.unchecked),
            is_bad: never,
        },
    ];

    fn key(&self) -> String {
        format!("{} {} {}", self.target, self.protocol, self.direction)
    }

    fn haystack(&self) -> String {
        self.key().to_lowercase()
    }
}
