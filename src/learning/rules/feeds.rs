//! Rules for what nobody asks for: which messages are a feed, and where they have their time and their
//! numbers.

use std::collections::BTreeSet;

use crate::learning::feeds::Proposal;
use crate::learning::messages::classes::{ClassId, Classes};
use crate::learning::messages::places::{PlaceId, Table};
use crate::learning::rules::conditions::{self, Condition};
use crate::learning::rules::methods;
use crate::learning::rules::rule::Rule;

/// The rule for a proposal, in the rule language; `None` where its messages cannot be told from others.
pub(super) fn rule(table: &Table, classes: &Classes, proposal: &Proposal) -> Option<String> {
    let Proposal { side, classes: wanted, time, numbers } = proposal;
    let mut conditions = between(table, classes, wanted, proposal)?;
    // What every message has says nothing, but a rule must say something.
    let place: PlaceId = numbers.as_ref().map(|it| it.number).or(*time)?;
    let is_asked = |it: &Condition| matches!(it, Condition::Has(known) if *known == place);
    if !conditions.iter().any(is_asked) {
        conditions.push(Condition::Has(place));
    }
    let rule = Rule {
        conditions,
        method: methods::place(table, classes, *side, wanted, None),
        time: *time,
        numbers: numbers.clone(),
        ..Rule::new("notification", *side)
    };
    let mut out = String::new();
    rule.write(table, &mut out);
    Some(out)
}

/// What tells the messages from the others of their side.
fn between(
    table: &Table,
    classes: &Classes,
    wanted: &BTreeSet<ClassId>,
    proposal: &Proposal,
) -> Option<Vec<Condition>> {
    let all = (0..).zip(&classes.list);
    let others: BTreeSet<ClassId> = all
        .filter(|(id, class)| class.side == proposal.side && class.rows > 0 && !wanted.contains(id))
        .map(|(id, _)| id)
        .collect();
    conditions::between(table, classes, wanted, &others)
}
