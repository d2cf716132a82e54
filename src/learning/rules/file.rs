//! A protocol as a file of rules has it.

use std::fmt::Write;

use crate::learning::feeds::Proposal;
use crate::learning::messages::classes::Classes;
use crate::learning::messages::places::Table;
use crate::learning::rules::quoting::quoted;
use crate::learning::rules::{feeds, paths, patterns};
use crate::learning::search::trace::Trace;

/// The protocol that the traces and the feeds make; `None` where requests or answers, or what is a feed,
/// cannot be told from other messages.
pub(in crate::learning) fn protocol(
    name: &str,
    paths: &[&str],
    table: &Table,
    classes: &Classes,
    traces: &[Trace],
    proposals: &[Proposal],
) -> Option<String> {
    let mut out = format!("name = {}\n", quoted(name));
    if !paths.is_empty() {
        let paths: Vec<String> = paths.iter().map(|path| quoted(path)).collect();
        let _ = writeln!(out, "paths = [{}]", paths.join(", "));
    }
    if let Some(packing) = table.packing.as_toml() {
        let _ = writeln!(out, "{packing}");
    }
    out.push_str("rule = [\n");
    for trace in traces {
        out.push_str(&match table.place(trace.pair.asked).spot {
            Some(_) => patterns::rules(table, classes, trace)?,
            None => paths::rules(table, classes, trace)?,
        });
    }
    for proposal in proposals {
        out.push_str(&feeds::rule(table, classes, proposal)?);
    }
    out.push_str("]\n");
    Some(out)
}
