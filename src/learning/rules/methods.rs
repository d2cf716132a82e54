//! Which field of a request names what is asked for.
//!
//! It is a word that comes again and again, with one id after the other, and it goes with the shape of the
//! request: what is asked for decides which other fields there are. Its name only decides between
//! several such fields.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};

use crate::learning::messages::classes::{ClassId, Classes};
use crate::learning::messages::json::Kind;
use crate::learning::messages::places::{PlaceId, Row, Side, Table};

/// Names that say it even where all requests ask for the same, the most telling first.
const NAMES: [&str; 13] = [
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
    "requestType",
    "call",
    "janus",
];

/// Names that say it where there are several values.
const WEAK_NAMES: [&str; 8] =
    ["service", "request", "event", "msg", "type", "name", "topic", "target"];

/// Names of words that come again and again and say what is asked about, or by whom.
const OTHERS: [&str; 26] = [
    "symbol", "market", "pair", "side", "currency", "lang", "language", "locale", "region",
    "country", "channel", "room", "user", "username", "text", "message", "body", "content", "key",
    "value", "status", "state", "version", "session", "client", "token",
];

/// Most methods of one protocol that are believed to be methods.
const MAX_METHODS: usize = 64;

/// Of a hundred requests, for so many more the shape must be known by the value than without it.
const LEAST_GAIN: usize = 15;

/// What stands at a place of the requests.
#[derive(Default)]
struct Seen {
    count: usize,
    /// By value, how often with which shape.
    values: FxHashMap<u64, FxHashMap<u64, usize>>,
    is_other: bool,
}

/// How a place comes to be believed, the best reason first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    Named,
    /// The shape of the request goes with it.
    Shapes,
    /// There is but one value, and the name says it.
    OnlyValue,
    /// It has several values, and stands where the id stands.
    BesideId,
    Elsewhere,
    OnlyValueWeakly,
}

/// The place of the method in the requests, if one says it. `id` is where their ids are; of messages
/// without, only a name tells.
pub(in crate::learning) fn place(
    table: &Table,
    classes: &Classes,
    side: Side,
    requests: &BTreeSet<ClassId>,
    id: Option<PlaceId>,
) -> Option<PlaceId> {
    let rows = table.rows.iter().zip(&classes.of_row);
    let rows: Vec<&Row> = rows
        .filter(|(row, class)| {
            row.side == side && class.is_some_and(|class| requests.contains(&class))
        })
        .map(|(row, _)| row)
        .collect();
    let mut seen: FxHashMap<PlaceId, Seen> = FxHashMap::default();
    let mut shapes: FxHashMap<u64, usize> = FxHashMap::default();
    for row in &rows {
        let shape = shape(row);
        *shapes.entry(shape).or_default() += 1;
        row.fields.iter().for_each(|field| {
            let seen = seen.entry(field.place).or_default();
            seen.count += 1;
            seen.is_other |= field.kind != Kind::Text || !field.traits.is_token;
            if seen.values.len() <= MAX_METHODS {
                *seen.values.entry(field.value).or_default().entry(shape).or_default() += 1;
            }
        });
    }
    let most_alike = shapes.values().copied().max().unwrap_or(0);
    let candidates = seen.into_iter().filter_map(|(place, seen)| {
        let is_few = seen.values.len() <= MAX_METHODS && seen.values.len() * 4 <= seen.count;
        if seen.is_other || !is_few || seen.count * 10 < rows.len() * 9 {
            return None;
        }
        let known: usize =
            seen.values.values().filter_map(|shapes| shapes.values().copied().max()).sum();
        let goes_with_shape = known >= most_alike + rows.len() * LEAST_GAIN / 100;
        let (reason, rank) = reason(table, place, id, seen.values.len() > 1, goes_with_shape)?;
        Some((reason, table.place(place).depth, rank, place))
    });
    candidates.min().map(|(.., place)| place)
}

/// Which fields a message has.
fn shape(row: &Row) -> u64 {
    let mut places: Vec<PlaceId> = row.fields.iter().map(|field| field.place).collect();
    places.sort_unstable();
    let mut hasher = FxHasher::default();
    places.hash(&mut hasher);
    hasher.finish()
}

/// Why the place may say the method, and how telling its name is.
fn reason(
    table: &Table,
    place: PlaceId,
    id: Option<PlaceId>,
    has_several: bool,
    goes_with_shape: bool,
) -> Option<(Reason, usize)> {
    let at = table.place(place);
    let is_index = at.name.is_empty() && at.depth == 1;
    let strong = NAMES.iter().position(|name| *name == at.name);
    let weak = WEAK_NAMES.iter().position(|name| *name == at.name);
    let weak = weak.or(is_index.then_some(WEAK_NAMES.len())).map(|rank| NAMES.len() + rank);
    if let Some(rank) = strong.or(weak) {
        let reason = match (has_several, strong) {
            (true, _) => Reason::Named,
            (false, Some(_)) => Reason::OnlyValue,
            (false, None) => Reason::OnlyValueWeakly,
        };
        return Some((reason, rank));
    }
    let id = table.place(id?);
    let is_content = OTHERS.contains(&at.name.to_ascii_lowercase().as_str());
    if !has_several || is_content || at.name.is_empty() || at.spot.is_some() {
        return None;
    }
    let is_beside = parent(&at.path, &at.name) == parent(&id.path, &id.name);
    let reason = match (goes_with_shape, is_beside) {
        (true, _) => Reason::Shapes,
        (false, true) => Reason::BesideId,
        (false, false) => Reason::Elsewhere,
    };
    Some((reason, usize::MAX))
}

/// The path of what a place stands in.
fn parent<'p>(path: &'p str, name: &str) -> &'p str {
    path.strip_suffix(name).unwrap_or(path)
}
