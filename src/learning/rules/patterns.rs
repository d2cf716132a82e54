//! Rules for texts that are not JSON: a pattern for each first word.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::learning::messages::classes::{ClassId, Classes};
use crate::learning::messages::places::{PlaceId, Side, Table};
use crate::learning::messages::texts::Spot;
use crate::learning::rules::errors;
use crate::learning::rules::quoting::quoted;
use crate::learning::search::trace::{Count, Trace};

/// Most first words of the messages that ask, or answer.
const MAX_LEADS: usize = 16;

/// The rules for what the trace explains, in the rule language; `None` where messages cannot be told
/// apart by their first words.
pub(super) fn rules(table: &Table, classes: &Classes, trace: &Trace) -> Option<String> {
    let mut out = String::new();
    let writer = Writer { table, classes };
    let side = trace.pair.side;
    for lead in writer.leads(&trace.requests, side)? {
        let label = format!(", label = {}", quoted(lead.trim_start_matches('<')));
        writer.rule(&mut out, "request", side, trace.pair.asked, &lead, &label)?;
    }
    let side = side.other();
    for lead in writer.leads(&trace.answers, side)? {
        let kind = if errors::is_wrong(&lead) { "error" } else { "response" };
        writer.rule(&mut out, kind, side, trace.pair.answered, &lead, "")?;
    }
    Some(out)
}

struct Writer<'a> {
    table: &'a Table,
    classes: &'a Classes,
}

impl Writer<'_> {
    /// The first words of the messages of some classes. Each class has one, and no two the same.
    fn leads(&self, counts: &BTreeMap<ClassId, Count>, side: Side) -> Option<Vec<String>> {
        let place = self.table.lead()?;
        let texts = &self.table.place(place).values[side as usize];
        let lead = |id: &ClassId| texts.get(&self.classes.get(*id).tag(place)?).cloned();
        let leads: Vec<String> = counts.keys().map(lead).collect::<Option<_>>()?;
        (leads.len() <= MAX_LEADS).then_some(leads)
    }

    fn rule(
        &self,
        out: &mut String,
        kind: &str,
        side: Side,
        place: PlaceId,
        lead: &str,
        more: &str,
    ) -> Option<()> {
        let spot: &Spot = self.table.place(place).spot.as_ref()?;
        let pattern = quoted(&spot.pattern(lead, kind == "request")?);
        let from = match self.table.sides_known {
            true => format!("from = \"{}\", ", side.as_str()),
            false => String::new(),
        };
        let _ = writeln!(out, "    {{ kind = \"{kind}\", {from}pattern = {pattern}{more} }},");
        Some(())
    }
}
