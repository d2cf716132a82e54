//! Which field of a request names what is asked for.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::learning::messages::classes::{ClassId, Classes};
use crate::learning::messages::json::Kind;
use crate::learning::messages::places::{PlaceId, Side, Table};

/// Names that such a field has, the most telling first.
const NAMES: [&str; 21] = [
    "method",
    "cmd",
    "command",
    "op",
    "operation",
    "operationName",
    "action",
    "function",
    "func",
    "procedure",
    "service",
    "request",
    "requestType",
    "call",
    "janus",
    "event",
    "msg",
    "type",
    "name",
    "topic",
    "target",
];

/// Most methods of one protocol that are believed to be methods.
const MAX_METHODS: usize = 64;

/// The place of the method in the requests, if one says it.
pub(in crate::learning) fn place(
    table: &Table,
    classes: &Classes,
    side: Side,
    requests: &BTreeSet<ClassId>,
) -> Option<PlaceId> {
    let mut seen: FxHashMap<PlaceId, (usize, FxHashMap<u64, usize>, bool)> = FxHashMap::default();
    let mut rows = 0;
    for (row, class) in table.rows.iter().zip(&classes.of_row) {
        if row.side != side || !class.is_some_and(|class| requests.contains(&class)) {
            continue;
        }
        rows += 1;
        for field in &row.fields {
            let (count, values, is_text) =
                seen.entry(field.place).or_insert((0, FxHashMap::default(), true));
            *count += 1;
            *is_text &= field.kind == Kind::Text && field.traits.is_token;
            if values.len() <= MAX_METHODS {
                *values.entry(field.value).or_default() += 1;
            }
        }
    }
    let candidates = seen.into_iter().filter_map(|(id, (count, values, is_text))| {
        let place = table.place(id);
        let is_few = values.len() <= MAX_METHODS && values.len() * 4 <= count;
        let name = NAMES.iter().position(|name| *name == place.name);
        let is_index = place.name.is_empty() && place.depth == 1;
        let rank = name.or(is_index.then_some(NAMES.len()))?;
        let usable = is_text && is_few && count * 10 >= rows * 9;
        // One value for all says less than several.
        usable.then_some((values.len() < 2, place.depth, rank, id))
    });
    candidates.min().map(|(.., id)| id)
}
