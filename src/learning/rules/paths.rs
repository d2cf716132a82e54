//! Rules for JSON: paths, and what tells messages apart.

use std::collections::{BTreeMap, BTreeSet};

use crate::learning::messages::classes::{ClassId, Classes};
use crate::learning::messages::json::Kind;
use crate::learning::messages::places::{PlaceId, Side, Table};
use crate::learning::rules::conditions::{self, Condition};
use crate::learning::rules::rule::Rule;
use crate::learning::rules::{errors, methods};
use crate::learning::search::trace::{Count, Trace};

/// The rules for what the trace explains, in the rule language; `None` where requests or answers cannot
/// be told from other messages.
pub(super) fn rules(table: &Table, classes: &Classes, trace: &Trace) -> Option<String> {
    let asks = Of { table, classes, side: trace.pair.side, id: trace.pair.asked };
    let requests: BTreeSet<ClassId> = trace.requests.keys().copied().collect();
    let method = methods::place(table, classes, trace.pair.side, &requests, Some(trace.pair.asked));
    let mut rules = Vec::new();
    for conditions in asks.apart(&requests)? {
        rules.push(Rule { method, ..asks.rule("request", conditions) });
    }
    let answers = Of { side: trace.pair.side.other(), id: trace.pair.answered, ..asks };
    rules.extend(answers.answers(&trace.answers)?);
    let mut out = String::new();
    rules.iter().for_each(|rule| rule.write(table, &mut out));
    Some(out)
}

/// Messages of one side with an id at one place.
#[derive(Clone, Copy)]
struct Of<'a> {
    table: &'a Table,
    classes: &'a Classes,
    side: Side,
    id: PlaceId,
}

impl Of<'_> {
    fn rule(&self, kind: &'static str, conditions: Vec<Condition>) -> Rule {
        Rule { id: Some(self.id), conditions, ..Rule::new(kind, self.side) }
    }

    /// Conditions that tell `wanted` from all others that have the id: one list, or several of which
    /// one must hold.
    fn apart(&self, wanted: &BTreeSet<ClassId>) -> Option<Vec<Vec<Condition>>> {
        let others = self.others(wanted);
        let between = |wanted: &BTreeSet<ClassId>| {
            conditions::between(self.table, self.classes, wanted, &others)
        };
        if let Some(conditions) = between(wanted) {
            return Some(vec![conditions]);
        }
        if wanted.len() > 8 {
            return None;
        }
        wanted.iter().map(|class| between(&BTreeSet::from([*class]))).collect()
    }

    /// The other classes of this side of which a message has the id.
    fn others(&self, wanted: &BTreeSet<ClassId>) -> BTreeSet<ClassId> {
        let rows = self.table.rows.iter().zip(&self.classes.of_row);
        let with_id = rows.filter(|(row, _)| {
            row.side == self.side
                && row.field(self.id).is_some_and(|it| matches!(it.kind, Kind::Text | Kind::Number))
        });
        with_id.filter_map(|(_, class)| *class).filter(|class| !wanted.contains(class)).collect()
    }

    fn answers(&self, counts: &BTreeMap<ClassId, Count>) -> Option<Vec<Rule>> {
        let all: BTreeSet<ClassId> = counts.keys().copied().collect();
        let mut rules = Vec::new();
        let errors = errors::among(self.table, self.classes, self.side, &all);
        let wrong: BTreeSet<ClassId> = errors.iter().flat_map(|(_, ids)| ids.clone()).collect();
        let right: BTreeSet<ClassId> = all.difference(&wrong).copied().collect();
        let not_wrong: Vec<Condition> = errors.iter().map(|(it, _)| it.negated()).collect();
        let parts = self.parts(&right, counts);
        for conditions in self.apart(&all)? {
            for (at, (error, ids)) in errors.iter().enumerate() {
                let before = not_wrong[..at].iter().cloned();
                let conditions =
                    conditions.iter().cloned().chain([error.clone()]).chain(before).collect();
                let more = ids.iter().all(|id| is_followed(counts, *id));
                rules.push(Rule { more, ..self.rule("error", conditions) });
            }
            let with = |more: &[Condition]| -> Vec<Condition> {
                conditions.iter().chain(&not_wrong).chain(more).cloned().collect()
            };
            match &parts {
                Some((followed, last)) if self.is_receipt(followed) => {
                    rules.push(self.rule("progress", with(followed)));
                    rules.push(self.rule("response", with(last)));
                }
                Some((followed, last)) => {
                    let response = self.rule("response", with(followed));
                    rules.push(Rule { more: true, ..response });
                    rules.push(self.rule("end", with(last)));
                }
                None => rules.push(self.rule("response", with(&[]))),
            }
        }
        Some(rules)
    }

    /// The conditions say in words that this only says that the request has come.
    fn is_receipt(&self, conditions: &[Condition]) -> bool {
        const WORDS: [&str; 8] = [
            "ack",
            "acknowledged",
            "accepted",
            "received",
            "pending",
            "processing",
            "progress",
            "queued",
        ];
        let says = |place: PlaceId, values: &[u64]| {
            let texts = &self.table.place(place).values[self.side as usize];
            let is_word = |text: &String| WORDS.contains(&&*text.to_ascii_lowercase());
            values.iter().all(|value| texts.get(value).is_some_and(is_word))
        };
        conditions
            .iter()
            .any(|it| matches!(it, Condition::When(place, values) if says(*place, values)))
    }

    /// Where requests have several answers: what tells those that others follow from the last.
    fn parts(
        &self,
        right: &BTreeSet<ClassId>,
        counts: &BTreeMap<ClassId, Count>,
    ) -> Option<(Vec<Condition>, Vec<Condition>)> {
        let followed: BTreeSet<ClassId> =
            right.iter().copied().filter(|id| is_followed(counts, *id)).collect();
        let last: BTreeSet<ClassId> = right.difference(&followed).copied().collect();
        let is_last =
            |id: &ClassId| counts.get(id).is_some_and(|it| it.followed * 20 <= it.messages);
        if followed.is_empty() || last.is_empty() || !last.iter().all(is_last) {
            return None;
        }
        let between =
            |wanted, others| conditions::between(self.table, self.classes, wanted, others);
        Some((between(&followed, &last)?, between(&last, &followed)?))
    }
}

/// Another answer to the same request follows nearly each.
fn is_followed(counts: &BTreeMap<ClassId, Count>, class: ClassId) -> bool {
    counts.get(&class).is_some_and(|it| it.followed * 10 >= it.messages * 9)
}
