//! Pairs of places whose values come back: one in a message, the other in a later message of the
//! other side.

use rustc_hash::FxHashMap;

use crate::learning::messages::places::{PlaceId, Side, Table};

/// A place where values are said first, and one where the other side repeats them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::learning) struct Pair {
    pub(in crate::learning) side: Side,
    pub(in crate::learning) asked: PlaceId,
    pub(in crate::learning) answered: PlaceId,
}

/// Values of fewer messages than this are not looked at.
const MIN_HITS: usize = 3;

/// Most pairs that are looked at closely.
const MAX_PAIRS: usize = 48;

/// Fields of a message that may hold an id; further ones are left out.
const MAX_TOKENS: usize = 48;

/// Where a value was said.
#[derive(Debug)]
struct Said {
    side: Side,
    /// The row in which it was said first, and the places in that row.
    row: usize,
    places: Vec<PlaceId>,
    /// Places where the other side said it later.
    repeated: Vec<PlaceId>,
}

/// The pairs of places with the most values that come back, most first, and how many do; after them those
/// that are only possible, with 0.
pub(in crate::learning) fn candidates(table: &Table) -> Vec<(Pair, usize)> {
    let mut said: FxHashMap<(u32, u64), Said> = FxHashMap::default();
    for (index, row) in table.rows.iter().enumerate() {
        let tokens = row.fields.iter().filter(|field| field.traits.is_token);
        for field in tokens.take(MAX_TOKENS) {
            let first = said.entry((row.conn, field.value)).or_insert_with(|| Said {
                side: row.side,
                row: index,
                places: Vec::new(),
                repeated: Vec::new(),
            });
            if first.row == index {
                first.places.push(field.place);
            } else if first.side != row.side && !first.repeated.contains(&field.place) {
                first.repeated.push(field.place);
            }
        }
    }
    let mut hits: FxHashMap<Pair, usize> = FxHashMap::default();
    for Said { side, places, repeated, .. } in said.into_values() {
        for &asked in &places {
            for &answered in &repeated {
                *hits.entry(Pair { side, asked, answered }).or_default() += 1;
            }
        }
    }
    let mut pairs: Vec<(Pair, usize)> =
        hits.into_iter().filter(|(_, hits)| *hits >= MIN_HITS).collect();
    // No rule reads JSON and other texts alike.
    let is_text = |place| table.place(place).spot.is_some();
    pairs.retain(|(pair, _)| is_text(pair.asked) == is_text(pair.answered));
    pairs.sort_unstable_by_key(|&(pair, hits)| (usize::MAX - hits, pair));
    pairs.truncate(MAX_PAIRS);
    // Where both sides ask with the same numbers, one of them always seems to be the first.
    let same = pairs.iter().filter(|(pair, _)| pair.asked == pair.answered);
    let turned = same.map(|(pair, _)| Pair { side: pair.side.other(), ..*pair });
    let is_new = |turned: &Pair| pairs.iter().all(|(pair, _)| pair != turned);
    let turned: Vec<_> = turned.filter(is_new).map(|pair| (pair, 0)).collect();
    pairs.extend(turned);
    pairs
}
