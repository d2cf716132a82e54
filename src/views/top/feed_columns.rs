//! What the table of feeds holds.

use super::columns::{Column, Listed, descending, safe};
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
        Column::text(
            "TARGET",
            0,
            |row: &FeedRow, _| safe(&row.target),
            |a, b| a.target.cmp(&b.target),
        ),
        Column::text(
            "PROTOCOL",
            12,
            |row: &FeedRow, _| safe(&row.protocol),
            |a, b| a.protocol.cmp(&b.protocol),
        ),
        Column::text(
            "WAY",
            8,
            |row: &FeedRow, _| row.direction.to_owned(),
            |a, b| a.direction.cmp(b.direction),
        ),
        Column::number(
            "NOW/S",
            6,
            |row: &FeedRow, _| rate(row.rate),
            |a, b| descending(a.rate, b.rate),
        )
        .bad(is_quiet),
        Column::number(
            "HOUR/S",
            6,
            |row: &FeedRow, _| rate(row.hour_rate),
            |a, b| descending(a.hour_rate, b.hour_rate),
        ),
        Column::number(
            "LAST",
            7,
            |row: &FeedRow, now| seconds(Some(now - row.last)),
            |a, b| descending(a.last, b.last),
        ),
        Column::number(
            "LAG P50",
            7,
            |row: &FeedRow, _| seconds(row.lag_p50),
            |a, b| descending(a.lag_p50, b.lag_p50),
        ),
        Column::number(
            "LAG P99",
            7,
            |row: &FeedRow, _| seconds(row.lag_p99),
            |a, b| descending(a.lag_p99, b.lag_p99),
        )
        .shown_from(80),
        Column::number(
            "MISSING",
            7,
            |row: &FeedRow, _| numbered(row, row.missing),
            |a, b| descending(a.missing, b.missing),
        )
        .bad(|row| row.missing > 0),
        Column::number(
            "REPEATED",
            8,
            |row: &FeedRow, _| numbered(row, row.repeated),
            |a, b| descending(a.repeated, b.repeated),
        )
        .shown_from(100)
        .bad(|row| row.repeated > 0),
        Column::number(
            "BACKWARD",
            8,
            |row: &FeedRow, _| numbered(row, row.backward),
            |a, b| descending(a.backward, b.backward),
        )
        .shown_from(100)
        .bad(|row| row.backward > 0),
        Column::number(
            "NOT COMPARED",
            12,
            |row: &FeedRow, _| numbered(row, row.unchecked),
            |a, b| descending(a.unchecked, b.unchecked),
        )
        .shown_from(120),
    ];

    fn key(&self) -> String {
        format!("{} {} {}", self.target, self.protocol, self.direction)
    }

    fn haystack(&self) -> String {
        self.key().to_lowercase()
    }
}
