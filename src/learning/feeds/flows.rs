//! Messages that no id explains, sorted by what they say they are.

use std::collections::{BTreeMap, BTreeSet};

use crate::learning::messages::classes::{Class, ClassId, Classes, is_telling};
use crate::learning::messages::json::Kind;
use crate::learning::messages::places::{PlaceId, Row, Side, Table};
use crate::learning::search::trace::Trace;
use crate::matching::is_heartbeat;

/// Most flows of one group; what is rarer is left out.
const MAX_FLOWS: usize = 64;

/// Further names of fields that say what a message is, where nothing is asked.
const KINDS: [&str; 8] = [
    "subject",
    "channel",
    "eventType",
    "event_type",
    "msgType",
    "msg_type",
    "messageType",
    "table",
];

/// What messages say they are: their fields with few values that have a telling name.
pub(super) type Tags = Vec<(PlaceId, u64)>;

/// Messages of one side that say the same of what they are.
#[derive(Clone, Debug)]
pub(super) struct Flow<'a> {
    pub(super) side: Side,
    pub(super) tags: Tags,
    pub(super) classes: BTreeSet<ClassId>,
    /// Each with its place among all.
    pub(super) rows: Vec<(usize, &'a Row)>,
}

/// The flows, those with most messages first.
pub(super) fn flows<'a>(table: &'a Table, classes: &Classes, traces: &[Trace]) -> Vec<Flow<'a>> {
    let explained = explained(traces);
    let mut flows: BTreeMap<(Side, Tags), Flow<'a>> = BTreeMap::new();
    for (index, (row, class)) in table.rows.iter().zip(&classes.of_row).enumerate() {
        let Some(id) = class.filter(|id| !explained.contains(id)) else { continue };
        let class = classes.get(id);
        if is_alive_only(table, class) || is_text(table, row) {
            continue;
        }
        let tags: Tags =
            class.tags.iter().copied().filter(|(place, _)| says_kind(table, *place)).collect();
        let flow = flows.entry((row.side, tags.clone())).or_insert_with(|| Flow {
            side: row.side,
            tags,
            classes: BTreeSet::new(),
            rows: Vec::new(),
        });
        flow.classes.insert(id);
        flow.rows.push((index, row));
    }
    let mut flows: Vec<Flow<'a>> = flows.into_values().collect();
    flows.sort_by_key(|flow| std::cmp::Reverse(flow.rows.len()));
    flows.truncate(MAX_FLOWS);
    flows
}

/// Classes of which an id says what they are.
pub(super) fn explained(traces: &[Trace]) -> BTreeSet<ClassId> {
    traces
        .iter()
        .flat_map(|trace| trace.requests.keys().chain(trace.answers.keys()))
        .copied()
        .collect()
}

/// A place whose values say what a message is: a word or a small number under a telling name, or the
/// first element of an array.
fn says_kind(table: &Table, id: PlaceId) -> bool {
    let place = table.place(id);
    is_telling(&place.name) || KINDS.contains(&&*place.name) || place.path == "$[0]"
}

/// The message only says that its sender is there.
fn is_alive_only(table: &Table, class: &Class) -> bool {
    let says = |&(place, value): &(PlaceId, u64)| {
        let texts = &table.place(place).values[class.side as usize];
        texts.get(&value).is_some_and(|text| is_heartbeat(text.as_bytes()))
    };
    let named = |place: &PlaceId| is_heartbeat(table.place(*place).name.as_bytes());
    class.tags.iter().any(says) || class.has.iter().any(|(place, _)| named(place))
}

/// Rules find times and numbers by paths only.
fn is_text(table: &Table, row: &Row) -> bool {
    row.fields.iter().any(|field| table.place(field.place).spot.is_some())
}

/// A place that could name a channel: words or numbers, of which there are few.
pub(super) fn may_be_channel(table: &Table, id: PlaceId, side: Side) -> bool {
    let kinds = &table.place(id).kinds[side as usize];
    kinds.iter().all(|kind| matches!(kind, Kind::Text | Kind::Number))
}
