//! What the flows have in common becomes one rule; what they have not is kept apart.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use super::bounds::LEAST_MESSAGES;
use super::flows::{self, Flow};
use super::sequences::{self, Numbers};
use super::times;
use crate::learning::messages::classes::{ClassId, Classes};
use crate::learning::messages::places::{PlaceId, Row, Side, Table};
use crate::learning::search::trace::Trace;
use crate::matching::CHANNEL_PARTS;

/// Messages that are a feed, and where they have their time and their numbers: at least one of the two.
#[derive(Clone, Debug)]
pub(in crate::learning) struct Proposal {
    pub(in crate::learning) side: Side,
    pub(in crate::learning) classes: BTreeSet<ClassId>,
    pub(in crate::learning) time: Option<PlaceId>,
    pub(in crate::learning) numbers: Option<Numbers>,
}

/// What was found in flows, and which.
#[derive(Clone)]
struct Found<'a> {
    flows: Vec<Flow<'a>>,
    time: Option<PlaceId>,
    numbers: Option<Numbers>,
}

/// What the messages that `traces` do not explain may be said to be, those with most messages first.
pub(in crate::learning) fn proposals(
    table: &Table,
    classes: &Classes,
    traces: &[Trace],
) -> Vec<Proposal> {
    let flows = flows::flows(table, classes, traces);
    let explained = flows::explained(traces);
    let mut proposals = Vec::new();
    for side in Side::ALL {
        let said = said(table, classes, side.other(), &explained);
        let mut found: Vec<Found<'_>> = Vec::new();
        let of_side = || flows.iter().filter(|flow| flow.side == side);
        for flow in of_side().filter(|flow| flow.rows.len() >= LEAST_MESSAGES) {
            let numbers = sequences::find(table, side, &flow.rows, &said);
            let time = times::find(table, &flow.rows);
            if numbers.is_none() && time.is_none() {
                continue;
            }
            let one = Found { flows: vec![flow.clone()], time, numbers };
            let alike = found.iter().position(|known| known.is_like(&one));
            let merged = alike.and_then(|at| found[at].with(&one, table, &said).map(|it| (at, it)));
            match merged {
                Some((at, merged)) => found[at] = merged,
                None => found.push(one),
            }
        }
        // What is too rare to prove anything may still be more of the same.
        for flow in of_side().filter(|flow| flow.rows.len() < LEAST_MESSAGES) {
            let more = found.iter().position(|known| known.has_all_in(flow));
            let Some(known) = more.and_then(|at| found.get_mut(at)) else { continue };
            let one = Found {
                flows: vec![flow.clone()],
                time: known.time,
                numbers: known.numbers.clone(),
            };
            if let Some(merged) = known.with(&one, table, &said) {
                *known = merged;
            }
        }
        keep_apart(&mut found);
        proposals.extend(found.into_iter().map(|found| found.proposal(side)));
    }
    proposals
}

/// What one side said in messages that are not explained.
fn said(
    table: &Table,
    classes: &Classes,
    side: Side,
    explained: &BTreeSet<ClassId>,
) -> FxHashSet<(u32, u64)> {
    let rows = table.rows.iter().zip(&classes.of_row);
    let rows = rows.filter(|(row, class)| {
        row.side == side && class.is_some_and(|class| !explained.contains(&class))
    });
    rows.flat_map(|(row, _)| row.fields.iter().map(|field| (row.conn, field.value))).collect()
}

impl<'a> Found<'a> {
    /// Both have the same at the same places.
    fn is_like(&self, other: &Self) -> bool {
        let places = |found: &Self| {
            found.numbers.as_ref().map(|it| (it.number, it.first, it.previous, it.step))
        };
        self.time == other.time && places(self) == places(other)
    }

    /// The flows of both, if their numbers are still in order together.
    fn with(&self, other: &Self, table: &Table, said: &FxHashSet<(u32, u64)>) -> Option<Self> {
        let flows: Vec<Flow<'a>> = self.flows.iter().chain(&other.flows).cloned().collect();
        let mut merged = Self { flows, time: self.time, numbers: None };
        if self.numbers.is_some() {
            let mut rows: Vec<(usize, &Row)> =
                merged.flows.iter().flat_map(|flow| flow.rows.iter().copied()).collect();
            rows.sort_unstable_by_key(|(index, _)| *index);
            merged.numbers = Some(sequences::find(table, self.flows[0].side, &rows, said)?);
            if !merged.is_like(self) {
                return None;
            }
        }
        Some(merged)
    }

    /// Each message of `flow` has what this has, at the same places.
    fn has_all_in(&self, flow: &Flow<'_>) -> bool {
        let numbers = self.numbers.iter();
        let numbers = numbers.flat_map(|it| [Some(it.number), it.first, it.previous]).flatten();
        let numbers: Vec<PlaceId> = numbers.collect();
        flow.rows.iter().all(|(_, row)| {
            let traits = |place: PlaceId| row.field(place).map(|field| field.traits);
            let is_timed =
                self.time.is_none_or(|place| traits(place).is_some_and(|it| it.time_ns.is_some()));
            is_timed && numbers.iter().all(|&it| traits(it).is_some_and(|it| it.whole.is_some()))
        })
    }

    fn rows(&self) -> usize {
        self.flows.iter().map(|flow| flow.rows.len()).sum()
    }

    /// What the flows say they are at a place; `None` where one says nothing there.
    fn tags(&self, place: PlaceId) -> Option<BTreeSet<u64>> {
        let tag = |flow: &Flow<'_>| {
            flow.tags.iter().find(|(known, _)| *known == place).map(|(_, value)| *value)
        };
        self.flows.iter().map(tag).collect()
    }

    fn proposal(self, side: Side) -> Proposal {
        let classes = self.flows.iter().flat_map(|flow| flow.classes.iter().copied()).collect();
        Proposal { side, classes, time: self.time, numbers: self.numbers }
    }
}

/// Rules with the same channel share its numbers. So where there are several sequences, what the messages
/// say they are becomes a part of the channel; where they do not say it, the largest is kept.
fn keep_apart(found: &mut Vec<Found<'_>>) {
    let numbered: Vec<usize> = (0..found.len()).filter(|&at| found[at].numbers.is_some()).collect();
    if numbered.len() < 2 {
        return;
    }
    let Some(place) = telling_place(found, &numbered) else {
        let most = numbered.iter().copied().max_by_key(|&at| found[at].rows());
        for at in numbered {
            if Some(at) != most {
                found[at].numbers = None;
            }
        }
        found.retain(|it| it.numbers.is_some() || it.time.is_some());
        return;
    };
    for at in numbered {
        let Some(numbers) = &mut found[at].numbers else { continue };
        if !numbers.channel.contains(&place) {
            numbers.channel.insert(0, place);
        }
    }
}

/// A place at which each says something else, and that still fits into the names of their channels.
fn telling_place(found: &[Found<'_>], numbered: &[usize]) -> Option<PlaceId> {
    let first = found[*numbered.first()?].flows.first()?;
    let mut places = first.tags.iter().map(|(place, _)| *place);
    places.find(|&place| {
        let mut known: BTreeSet<u64> = BTreeSet::new();
        numbered.iter().all(|&at| {
            let fits = found[at].numbers.as_ref().is_some_and(|numbers| {
                numbers.channel.contains(&place) || numbers.channel.len() < CHANNEL_PARTS
            });
            let tags = found[at].tags(place);
            fits && tags.is_some_and(|tags| tags.into_iter().all(|tag| known.insert(tag)))
        })
    })
}
