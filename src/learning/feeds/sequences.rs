//! Where messages have their number: one that goes on with each of them, within what has numbers of its
//! own.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use super::bounds::{LEAST_MESSAGES, LEAST_SHARE};
use super::{flows, times};
use crate::learning::messages::places::{PlaceId, Row, Side, Table};

/// Where a message has its numbers, in the words of the rule language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::learning) struct Numbers {
    pub(in crate::learning) number: PlaceId,
    pub(in crate::learning) first: Option<PlaceId>,
    pub(in crate::learning) previous: Option<PlaceId>,
    /// At most as many as the rule language takes.
    pub(in crate::learning) channel: Vec<PlaceId>,
    /// From one number to the next.
    pub(in crate::learning) step: i64,
}

/// Most places of numbers, and of channels, that are looked at.
const MAX_NUMBERS: usize = 12;
const MAX_CHANNELS: usize = 8;

/// Greatest step from one number to the next.
const MAX_STEP: i64 = 1_000_000;

/// Names that numbers of messages have, the most telling first.
const NAMES: [&str; 16] = [
    "seq",
    "sequence",
    "sequence_num",
    "seqNum",
    "seq_num",
    "seqId",
    "sequenceEnd",
    "u",
    "a",
    "n",
    "change_id",
    "offset",
    "nonce",
    "version",
    "num",
    "id",
];

/// Names of what has numbers of its own, the most telling first.
const CHANNELS: [&str; 18] = [
    "channel",
    "topic",
    "stream",
    "symbol",
    "s",
    "instId",
    "instrument",
    "instrument_name",
    "product_id",
    "market",
    "pair",
    "subject",
    "contract",
    "room",
    "sym",
    "ch",
    "device",
    "sensor",
];

/// Names of numbers that may rise with the messages and mean something else: amounts, and times since
/// something began.
const OTHERS: [&str; 20] = [
    "price",
    "px",
    "qty",
    "quantity",
    "amount",
    "size",
    "volume",
    "vol",
    "bid",
    "ask",
    "p",
    "q",
    "total",
    "balance",
    "uptime",
    "elapsed",
    "age",
    "duration",
    "remaining",
    "ttl",
];

/// What the values at one place are, for each of the rows.
struct Column {
    place: PlaceId,
    values: Vec<Option<i64>>,
}

/// How numbers go on; the first of those that explain as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// By a step.
    Single,
    /// From the first that a message covers to the last.
    Range(PlaceId),
    /// Each names the one before it.
    Chain(PlaceId),
}

/// The place of the numbers of `rows`, if they have some. `said` are values of the other side: what comes
/// back may be an id.
pub(super) fn find(
    table: &Table,
    side: Side,
    rows: &[(usize, &Row)],
    said: &FxHashSet<(u32, u64)>,
) -> Option<Numbers> {
    let search = Search { table, side, rows, numbers: numbers(table, rows) };
    let candidates = search.numbers.iter().filter(|column| search.may_count(column, said));
    let candidates: Vec<&Column> = candidates.collect();
    if candidates.is_empty() {
        return None;
    }
    let mut best: Option<Candidate> = None;
    for channel in search.channels() {
        let names = search.names(&channel);
        for column in &candidates {
            let Some((score, form, step)) = search.score(column, &names) else { continue };
            let rank = (score, channel.len(), form, step != 1, search.rank(column.place));
            if best.as_ref().is_none_or(|known| rank < known.rank) {
                let channel = channel.clone();
                best = Some(Candidate { rank, number: column.place, channel, step });
            }
        }
    }
    let Candidate { rank: (_, _, form, ..), number, mut channel, step } = best?;
    if channel.is_empty() {
        channel.extend(search.only_channel());
    }
    let (first, previous) = match form {
        Form::Single => (None, None),
        Form::Range(first) => (Some(first), None),
        Form::Chain(previous) => (None, Some(previous)),
    };
    Some(Numbers { number, first, previous, channel, step })
}

/// The best sequence so far. What it is compared by: how much of it is out of order, how many places name
/// its channels, how it goes on, whether by more than 1, and what its place is called.
struct Candidate {
    rank: (usize, usize, Form, bool, (usize, usize, PlaceId)),
    number: PlaceId,
    channel: Vec<PlaceId>,
    step: i64,
}

/// The places with whole numbers.
fn numbers(table: &Table, rows: &[(usize, &Row)]) -> Vec<Column> {
    let mut found: BTreeMap<PlaceId, (usize, usize)> = BTreeMap::new();
    for field in rows.iter().flat_map(|(_, row)| &row.fields) {
        let (all, whole) = found.entry(field.place).or_default();
        *all += 1;
        *whole += usize::from(field.traits.whole.is_some());
    }
    let is_one = |&(_, (all, whole)): &(PlaceId, (usize, usize))| {
        whole >= LEAST_MESSAGES && whole * 20 >= all * 19
    };
    let mut places: Vec<_> = found.into_iter().filter(is_one).collect();
    let depth = |place: PlaceId| table.place(place).depth;
    places.sort_by_key(|&(place, (_, whole))| (usize::MAX - whole, depth(place), place));
    let column = |(place, _)| {
        let value = |row: &Row| row.field(place).and_then(|field| field.traits.whole);
        Column { place, values: rows.iter().map(|(_, row)| value(row)).collect() }
    };
    places.into_iter().take(MAX_NUMBERS).map(column).collect()
}

struct Search<'a> {
    table: &'a Table,
    side: Side,
    rows: &'a [(usize, &'a Row)],
    numbers: Vec<Column>,
}

impl Search<'_> {
    /// The place may have numbers of messages: they are no amounts, no times, and do not come back.
    fn may_count(&self, column: &Column, said: &FxHashSet<(u32, u64)>) -> bool {
        let place = self.table.place(column.place);
        if OTHERS.contains(&&*place.name) {
            return false;
        }
        let (mut all, mut times, mut come_back) = (0, 0, 0);
        for (_, row) in self.rows {
            let Some(field) = row.field(column.place) else { continue };
            all += 1;
            let near = |own_ns| times::is_near(self.table, row, own_ns);
            // What counts messages may be as large as a number of seconds is.
            let is_epoch = field
                .traits
                .unit_ns
                .is_some_and(|unit_ns| unit_ns < 1_000_000_000 || !NAMES.contains(&&*place.name));
            times += usize::from(is_epoch || field.traits.time_ns.is_some_and(near));
            come_back += usize::from(said.contains(&(row.conn, field.value)));
        }
        let values: FxHashSet<i64> = column.values.iter().flatten().copied().collect();
        times * 2 < all && come_back * 5 < all && values.len() >= LEAST_MESSAGES / 2
    }

    /// Every set of places that may name a channel.
    fn channels(&self) -> Vec<Vec<PlaceId>> {
        let places = self.channel_places();
        let mut sets = vec![Vec::new()];
        sets.extend(places.iter().map(|&place| vec![place]));
        for (at, &one) in places.iter().enumerate() {
            sets.extend(places[at + 1..].iter().map(|&other| vec![one, other]));
        }
        sets
    }

    /// The places with a word or a number in all messages, of which each comes again and again.
    fn channel_places(&self) -> Vec<PlaceId> {
        let mut places: Vec<_> = self.values().into_iter().collect();
        places.retain(|(_, (rows, values))| {
            *rows == self.rows.len() && values.len() > 1 && values.len() * 8 <= *rows
        });
        let mut places: Vec<PlaceId> = places.into_iter().map(|(place, _)| place).collect();
        places.sort_by_key(|&place| (self.channel_rank(place), place));
        places.truncate(MAX_CHANNELS);
        places
    }

    /// Where but one channel was seen: the place that names it, by its own name.
    fn only_channel(&self) -> Option<PlaceId> {
        let mut places: Vec<_> = self.values().into_iter().collect();
        places.retain(|(place, (rows, values))| {
            *rows == self.rows.len()
                && values.len() == 1
                && self.channel_rank(*place).0 < CHANNELS.len()
        });
        places.into_iter().map(|(place, _)| (self.channel_rank(place), place)).min().map(|it| it.1)
    }

    /// By place that may name a channel: in how many messages it is, and its values.
    fn values(&self) -> BTreeMap<PlaceId, (usize, FxHashSet<u64>)> {
        let mut found: BTreeMap<PlaceId, (usize, FxHashSet<u64>)> = BTreeMap::new();
        for field in self.rows.iter().flat_map(|(_, row)| &row.fields) {
            if flows::may_be_channel(self.table, field.place, self.side) {
                let (rows, values) = found.entry(field.place).or_default();
                *rows += 1;
                values.insert(field.value);
            }
        }
        found
    }

    fn channel_rank(&self, place: PlaceId) -> (usize, usize) {
        let place = self.table.place(place);
        let named = CHANNELS.iter().position(|name| *name == place.name);
        (named.unwrap_or(CHANNELS.len()), place.depth)
    }

    fn rank(&self, place: PlaceId) -> (usize, usize, PlaceId) {
        let at = self.table.place(place);
        let named = NAMES.iter().position(|name| *name == at.name);
        (named.unwrap_or(NAMES.len()), at.depth, place)
    }

    /// By row: whose numbers it has.
    fn names(&self, channel: &[PlaceId]) -> Vec<u64> {
        let name = |row: &Row| {
            let mut hasher = FxHasher::default();
            row.conn.hash(&mut hasher);
            let values = channel.iter().map(|&place| row.field(place).map(|field| field.value));
            values.for_each(|value| value.hash(&mut hasher));
            hasher.finish()
        };
        self.rows.iter().map(|(_, row)| name(row)).collect()
    }

    /// How many numbers are out of order, in steps of 2 %, how they go on, and by how much; `None` where
    /// they do not.
    fn score(&self, column: &Column, names: &[u64]) -> Option<(usize, Form, i64)> {
        let mut last: FxHashMap<u64, usize> = FxHashMap::default();
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        let mut messages = 0;
        for (at, name) in names.iter().enumerate().filter(|(at, _)| column.values[*at].is_some()) {
            messages += 1;
            pairs.extend(last.insert(*name, at).map(|before| (before, at)));
        }
        if pairs.len() < LEAST_MESSAGES || pairs.len() * 2 < messages {
            return None;
        }
        let score = |fitting: usize| {
            let is_enough = fitting * 100 >= pairs.len() * LEAST_SHARE;
            is_enough.then(|| (pairs.len() - fitting) * 50 / pairs.len())
        };
        let number = |at: usize| column.values[at].unwrap_or(0);
        let (step, fitting) =
            common_step(pairs.iter().map(|&(a, b)| number(b).wrapping_sub(number(a))));
        let single = score(fitting).map(|score| (score, Form::Single, step));
        let others = self.numbers.iter().filter(|other| other.place != column.place);
        let others = others.flat_map(|other| {
            let covers = |&(before, at): &(usize, usize)| {
                let first = other.values[at];
                first == number(before).checked_add(1) && first <= Some(number(at))
            };
            let names = |&(before, at): &(usize, usize)| {
                other.values[at] == Some(number(before)) && number(at) > number(before)
            };
            let fitting = |is: &dyn Fn(&(usize, usize)) -> bool| {
                score(pairs.iter().filter(|pair| is(pair)).count())
            };
            let range = fitting(&covers).map(|score| (score, Form::Range(other.place), 1));
            let chain = fitting(&names).map(|score| (score, Form::Chain(other.place), 1));
            range.into_iter().chain(chain)
        });
        single.into_iter().chain(others).min()
    }
}

/// The step that is taken most often, and how often.
fn common_step(steps: impl Iterator<Item = i64>) -> (i64, usize) {
    let mut counts: FxHashMap<i64, usize> = FxHashMap::default();
    for step in steps.filter(|step| (1..=MAX_STEP).contains(step)) {
        *counts.entry(step).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|&(step, count)| (count, std::cmp::Reverse(step)));
    most.unwrap_or((1, 0))
}
