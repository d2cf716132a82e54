//! The summary that is printed at the end: what was seen, and what was not.

use std::fmt::Write;
use std::time::Duration;

use crate::event::Loss;
use crate::export::summary::{Totals, Turnaround};

/// Rows of methods that are shown.
const ROWS: usize = 20;

/// The lines, each with its end.
pub(super) fn lines(totals: &Totals, methods: &[Turnaround], losses: &[Loss]) -> String {
    let mut text = format!(
        "saw {} messages sent and {} received, {} requests answered, {} waiting\n",
        totals.messages_sent, totals.messages_received, totals.answered, totals.pending
    );
    for row in methods.iter().take(ROWS) {
        let _ = writeln!(text, "  {}", method(row));
    }
    if let Some(more) = methods.len().checked_sub(ROWS).filter(|&more| more > 0) {
        let _ = writeln!(text, "  and {more} more methods");
    }
    for line in unseen(totals, losses) {
        let _ = writeln!(text, "not seen: {line}");
    }
    text
}

fn method(row: &Turnaround) -> String {
    let name = if row.method.is_empty() { "(no method)" } else { &row.method };
    let asked = if row.origin == "local" { "asked here" } else { "asked by the peer" };
    let time = |seconds: Option<f64>| match seconds {
        Some(seconds) => format!("{:.3?}", Duration::from_secs_f64(seconds)),
        None => String::from("-"),
    };
    let others = row.outcomes.iter().filter(|&(&outcome, _)| outcome != "matched");
    let others: String = others.map(|(outcome, count)| format!(", {count} {outcome}")).collect();
    format!(
        "{name} ({}, {asked}): {} answered, p50 {}, p99 {}{others}",
        row.protocol,
        row.count,
        time(row.p50_seconds),
        time(row.p99_seconds)
    )
}

fn unseen(totals: &Totals, losses: &[Loss]) -> Vec<String> {
    let mut lines: Vec<String> = losses
        .iter()
        .filter(|loss| loss.records > 0 || loss.bytes > 0)
        .map(|loss| {
            format!("{} bytes in {} records lost ({})", loss.bytes, loss.records, loss.reason)
        })
        .collect();
    if totals.gap_bytes > 0 {
        lines.push(format!("{} bytes in the streams that were decoded", totals.gap_bytes));
    }
    if totals.unreadable > 0 {
        lines.push(format!("the contents of {} connections that are open now", totals.unreadable));
    }
    if totals.orphans > 0 {
        lines.push(format!("the requests of {} answers", totals.orphans));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(method: &str) -> Turnaround {
        Turnaround {
            target: "feed".into(),
            origin: "local".into(),
            protocol: "jsonrpc".into(),
            method: method.into(),
            count: 7,
            mean_seconds: Some(0.002),
            p50_seconds: Some(0.001),
            p99_seconds: Some(0.25),
            outcomes: [("error", 2), ("matched", 5)].into(),
        }
    }

    #[test]
    fn methods_have_their_quantiles_and_what_was_not_answered_well() {
        let totals = Totals { answered: 7, ..Totals::default() };
        assert_eq!(
            lines(&totals, &[row("eth_call")], &[]),
            "saw 0 messages sent and 0 received, 7 requests answered, 0 waiting\n  \
             eth_call (jsonrpc, asked here): 7 answered, p50 1.000ms, p99 250.000ms, 2 error\n"
        );
    }

    #[test]
    fn what_was_not_seen_is_said() {
        let totals = Totals { gap_bytes: 9, unreadable: 3, orphans: 1, ..Totals::default() };
        let loss = |records| Loss { reason: "ring_full", records, bytes: 100 * records };
        let text = lines(&totals, &[], &[loss(2)]);
        for line in
            ["200 bytes in 2 records lost (ring_full)", "contents of 3 connections", "9 bytes"]
        {
            assert!(text.contains(line), "{text}");
        }
        let quiet = Loss { reason: "ring_full", records: 0, bytes: 0 };
        assert!(!lines(&Totals::default(), &[], &[quiet]).contains("not seen"));
    }

    #[test]
    fn methods_beyond_the_bound_are_counted() {
        let rows: Vec<_> = (0..25).map(|i| row(&format!("m{i}"))).collect();
        assert!(lines(&Totals::default(), &rows, &[]).contains("and 5 more methods"));
    }
}
