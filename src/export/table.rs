//! Turnaround times as a table for a terminal.

use std::fmt;
use std::time::Duration;

use super::duration::Nanoseconds;
use super::view::Turnaround;

/// Shows rows under a heading, columns as wide as they need to be.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a>(pub &'a [Turnaround]);

const HEADING: [&str; 7] = ["target", "asked by", "protocol", "method", "answered", "p50", "p99"];

/// Columns from here on are figures and stand to the right.
const FIRST_FIGURE: usize = 4;

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.0.iter().map(cells).collect();
        let mut widths = HEADING.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        write_row(f, &HEADING, widths)?;
        rows.iter().try_for_each(|row| write_row(f, row, widths))
    }
}

fn cells(row: &Turnaround) -> [String; HEADING.len()] {
    let asked_by = if row.origin == "local" { "process" } else { "peer" };
    let time = |seconds: Option<f64>| {
        let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let ns = span.and_then(|span| u64::try_from(span.as_nanos()).ok());
        ns.map_or_else(|| "-".to_owned(), |ns| Nanoseconds(ns).to_string())
    };
    // Names may come from the wire: show them as text whatever they hold.
    let name = |name: &str| match name {
        "" => "-".to_owned(),
        name => name.escape_debug().to_string(),
    };
    [
        name(&row.target),
        asked_by.to_owned(),
        name(&row.protocol),
        name(&row.method),
        row.count.to_string(),
        time(row.p50_seconds),
        time(row.p99_seconds),
    ]
}

fn write_row(
    f: &mut fmt::Formatter<'_>,
    cells: &[impl fmt::Display; HEADING.len()],
    widths: [usize; HEADING.len()],
) -> fmt::Result {
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let gap = if column == 0 { "" } else { "  " };
        if column < FIRST_FIGURE {
            write!(f, "{gap}{cell:<width$}")?;
        } else {
            write!(f, "{gap}{cell:>width$}")?;
        }
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn row(method: &str, count: u64, p50_seconds: Option<f64>) -> Turnaround {
        Turnaround {
            target: "feed".into(),
            origin: if count == 0 { "remote" } else { "local" }.into(),
            protocol: "jsonrpc".into(),
            method: method.into(),
            count,
            mean_seconds: None,
            p50_seconds,
            p99_seconds: p50_seconds.map(|seconds| seconds * 2.0),
            outcomes: BTreeMap::new(),
        }
    }

    #[test]
    fn columns_are_aligned_and_what_is_unknown_is_a_dash() {
        let rows = [row("eth_getBlockByNumber", 12_345, Some(0.0081)), row("", 0, None)];
        let table = "\
target  asked by  protocol  method                answered       p50        p99
feed    process   jsonrpc   eth_getBlockByNumber     12345  8.100 ms  16.200 ms
feed    peer      jsonrpc   -                            0         -          -
";
        assert_eq!(Table(&rows).to_string(), table);
    }

    #[test]
    fn a_hostile_method_cannot_move_the_cursor() {
        let table = Table(&[row("\u{1b}[2J\n", 1, None)]).to_string();
        assert_eq!(table.lines().count(), 2);
        assert!(!table.contains('\u{1b}'));
    }
}
