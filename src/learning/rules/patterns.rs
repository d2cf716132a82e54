//! Rules for texts that are not JSON: a pattern for each first word.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::learning::messages::classes::{ClassId, Classes, is_wrong};
use crate::learning::messages::places::{PlaceId, Side, Table};
use crate::learning::messages::texts::{Sign, Spot};
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
        if is_wrong(&lead) {
            writer.rule(&mut out, "error", side, trace.pair.answered, &lead, "")?;
            continue;
        }
        // These come first: the one for the answer holds for errors, too.
        writer.errors(&mut out, side, trace.pair.answered, &lead);
        writer.rule(&mut out, "response", side, trace.pair.answered, &lead, "")?;
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
        let pattern = spot.pattern(lead, kind == "request")?;
        self.write(out, kind, side, &pattern, more);
        Some(())
    }

    /// The rules for answers that a code or an attribute calls errors.
    fn errors(&self, out: &mut String, side: Side, place: PlaceId, lead: &str) {
        let Some(id) = &self.table.place(place).spot else { return };
        let told = self.table.places.iter().filter_map(|place| {
            let texts = || place.values[side as usize].values().map(String::as_str);
            match place.spot.as_ref()? {
                Spot::Word(index) => errors::are_codes(texts()).then_some(Sign::Code(*index)),
                Spot::Attribute(name) => {
                    let wrong: BTreeSet<&str> = texts().filter(|it| is_wrong(it)).collect();
                    let is_telling = !wrong.is_empty() && texts().any(|it| !wrong.contains(it));
                    is_telling.then_some(Sign::Attribute(name, wrong))
                }
                _ => None,
            }
        });
        for pattern in told.flat_map(|sign| id.error_patterns(lead, &sign)) {
            self.write(out, "error", side, &pattern, "");
        }
    }

    fn write(&self, out: &mut String, kind: &str, side: Side, pattern: &str, more: &str) {
        let from = match self.table.sides_known {
            true => format!("from = \"{}\", ", side.as_str()),
            false => String::new(),
        };
        let pattern = quoted(pattern);
        let _ = writeln!(out, "    {{ kind = \"{kind}\", {from}pattern = {pattern}{more} }},");
    }
}
