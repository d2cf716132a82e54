//! Why values that come back may be no ids all the same.
//!
//! The dangerous case is a counter that each side runs on its own: the server's 7 follows the
//! client's 7, and answers nothing. Such counters and echoed ids cannot be told apart while all is
//! in order. So a counter is believed only on evidence that counters of one's own cannot give:
//! answers that overtake each other, or numbers that the client left out and the server, too.

use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::learning::messages::places::{Field, Table};
use crate::learning::search::pairs::Pair;
use crate::learning::search::trace::{Exchange, Trace};

/// Requests that must have been answered before anything is believed.
pub const LEAST_ANSWERED: usize = 20;

/// Times that an answer must have overtaken that of the number before.
const LEAST_SWAPS: usize = 3;

/// Jumps of a counter that may have another reason, such as a channel with a counter of its own.
const FREE_JUMPS: usize = 8;

/// Why a pair of places is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Doubt {
    /// Fractions come back by chance.
    Prices,
    /// Both sides say what time it is.
    Timestamps,
    /// Words that somebody wrote, or names, come back because they are passed on.
    Contents,
    /// The same few values again and again.
    FewValues,
    /// Each side numbers its own messages.
    OwnCounters,
    /// A counter that is repeated in order: it may be the other side's own.
    LockStep,
    /// Only some numbers come back: each stands for all before it.
    Ranges,
    /// Values come back, and as many do not.
    Unsteady,
    /// It looks right, but too little of it was seen.
    TooFew,
}

impl Doubt {
    /// It may come from counters of both sides that were taken for one another.
    pub(in crate::learning) fn may_be_mixed(self) -> bool {
        matches!(self, Self::OwnCounters | Self::LockStep | Self::Unsteady | Self::Ranges)
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prices => "these are prices or amounts: equal ones are chance",
            Self::Timestamps => "these are times: both sides read a clock",
            Self::Contents => "these are contents that are passed on, not ids",
            Self::FewValues => "there are few different values, and they are used again and again",
            Self::OwnCounters => "these are counters that each side runs on its own",
            Self::LockStep => {
                "this is a counter that the other side repeats in order, which may be a counter of \
                 its own that runs behind; answers out of order, or numbers that are left out on \
                 both sides, would prove an id"
            }
            Self::Ranges => "only some of the numbers come back: one acknowledges all before it",
            Self::Unsteady => "too many values do not come back, or were not asked for",
            Self::TooFew => "too few requests with an answer have passed so far",
        })
    }
}

/// Names of fields whose values are no ids although they come back.
const CONTENTS: [&str; 12] = [
    "text", "msg", "message", "body", "content", "comment", "topic", "channel", "room", "symbol",
    "user", "username",
];
const AMOUNTS: [&str; 12] =
    ["price", "px", "qty", "quantity", "amount", "size", "volume", "bid", "ask", "p", "q", "total"];
const TIMES: [&str; 12] =
    ["ts", "time", "timestamp", "t", "T", "E", "date", "now", "created", "sent_at", "sentAt", "at"];

/// What speaks against the pair, if anything does.
pub(in crate::learning) fn doubt(table: &Table, trace: &Trace) -> Option<Doubt> {
    let [asked, answered, answers, orphans] = trace.raw;
    let exchanges = &trace.exchanges;
    let count = exchanges.len();
    let names = [trace.pair.asked, trace.pair.answered];
    let named = |list: &[&str]| names.iter().all(|it| list.contains(&&*table.place(*it).name));
    let share = |is: &dyn Fn(&Exchange) -> bool| {
        exchanges.iter().filter(|it| is(it)).count() * 20 >= count.max(1)
    };
    if count == 0 {
        return Some(without_exchanges(table, trace.pair, [asked, answered, answers, orphans]));
    }
    if share(&|it| it.asked.traits.is_decimal) || named(&AMOUNTS) {
        return Some(Doubt::Prices);
    }
    if named(&CONTENTS) {
        return Some(Doubt::Contents);
    }
    if share(&|it| it.asked.traits.unit_ns.is_some()) && !is_echoed_time(exchanges, named(&TIMES)) {
        return Some(Doubt::Timestamps);
    }
    let distinct: FxHashSet<(u32, u64)> =
        exchanges.iter().map(|it| (it.conn, it.asked.value)).collect();
    if distinct.len() * 10 < count * 9 || is_shared(exchanges) {
        return Some(Doubt::FewValues);
    }
    if trace.answered() < LEAST_ANSWERED {
        return Some(Doubt::TooFew);
    }
    if trace.answered() * 10 < count * 8 || trace.orphans * 10 > trace.answered() {
        return Some(Doubt::Unsteady);
    }
    Steps::of(table, trace).doubt()
}

/// The same few values on all connections.
fn is_shared(exchanges: &[Exchange]) -> bool {
    let values: FxHashSet<u64> = exchanges.iter().map(|it| it.asked.value).collect();
    values.len() < LEAST_ANSWERED / 2 && exchanges.len() >= LEAST_ANSWERED
}

/// Why no class of messages was in order.
fn without_exchanges(table: &Table, pair: Pair, counts: [usize; 4]) -> Doubt {
    let [asked, answered, answers, orphans] = counts;
    let rows = || {
        table.rows.iter().filter_map(|row| {
            let place = if row.side == pair.side { pair.asked } else { pair.answered };
            row.field(place).filter(|field| field.traits.is_token)
        })
    };
    let all = rows().count().max(1);
    let share = |count: usize| count * 2 >= all;
    if share(rows().filter(|field| field.traits.is_decimal).count()) {
        return Doubt::Prices;
    }
    if share(rows().filter(|field| field.traits.unit_ns.is_some()).count()) {
        return Doubt::Timestamps;
    }
    let values: FxHashSet<u64> = rows().map(|field| field.value).collect();
    if values.len() * 4 < all {
        return Doubt::FewValues;
    }
    let numbers = rows().filter(|field| field.traits.number.is_some()).count();
    match numbers * 10 >= all * 9 {
        true if orphans * 10 < answers.max(1) && answered < asked => Doubt::Ranges,
        true => Doubt::OwnCounters,
        false => Doubt::Unsteady,
    }
}

/// A time that comes back unchanged, although the other side's clock has gone on meanwhile, by more
/// than chance can explain.
fn is_echoed_time(exchanges: &[Exchange], is_named_so: bool) -> bool {
    let unit_ns = exchanges.iter().filter_map(|it| it.asked.traits.unit_ns).max().unwrap_or(0);
    let answered = || exchanges.iter().filter(|it| it.answered_at.is_some());
    let longest = answered().map(|it| it.delay_ns).max().unwrap_or(0);
    let shortest = answered().map(|it| it.delay_ns).min().unwrap_or(0);
    !is_named_so && unit_ns <= 1_000_000 && longest - shortest >= 4 * unit_ns
}

/// A number of an id: whose connection, what stands before it, and the number.
type Numbered = (u32, u64, i64);

/// How the numbers in ids go on.
struct Steps {
    requests: usize,
    /// Numbers that follow one before on the same connection.
    successors: usize,
    /// Numbers whose predecessor neither side said, although the connection had begun.
    jumps: usize,
    /// Successors that were answered first.
    swaps: usize,
}

impl Steps {
    fn of(table: &Table, trace: &Trace) -> Self {
        let Trace { exchanges, pair, .. } = trace;
        let step = step(exchanges);
        // A number that the other side says at either place was not left out: both may draw from one
        // sequence.
        let answers = table.rows.iter().filter(|row| row.side != pair.side);
        let told: FxHashSet<Numbered> = answers
            .flat_map(|row| [pair.asked, pair.answered].map(|place| (row, row.field(place))))
            .filter_map(|(row, field)| numbered(row.conn, &field?))
            .collect();
        let mut seen: FxHashMap<Numbered, Option<usize>> = FxHashMap::default();
        let mut begun: FxHashSet<u32> = FxHashSet::default();
        let mut steps = Self { requests: exchanges.len(), successors: 0, jumps: 0, swaps: 0 };
        for exchange in exchanges {
            let Some(number) = numbered(exchange.conn, &exchange.asked) else { continue };
            let before = (number.0, number.1, number.2.saturating_sub(step));
            let is_first = begun.insert(exchange.conn);
            match seen.get(&before) {
                Some(earlier) => {
                    steps.successors += 1;
                    let overtakes =
                        |earlier: &usize| exchange.answered_at.is_some_and(|at| at < *earlier);
                    steps.swaps += usize::from(earlier.as_ref().is_some_and(overtakes));
                }
                None => {
                    let jumps = !is_first && exchange.answered_at.is_some();
                    steps.jumps += usize::from(jumps && !told.contains(&before));
                }
            }
            seen.insert(number, exchange.answered_at);
        }
        steps
    }

    fn doubt(&self) -> Option<Doubt> {
        // What does not count cannot be a counter.
        if self.successors * 2 < self.requests && self.jumps > FREE_JUMPS {
            return None;
        }
        let is_proven = self.swaps >= LEAST_SWAPS.max(self.requests / 100)
            || self.jumps > FREE_JUMPS + self.requests / 20;
        (!is_proven).then_some(Doubt::LockStep)
    }
}

fn numbered(conn: u32, field: &Field) -> Option<Numbered> {
    Some((conn, field.traits.stem, field.traits.number?))
}

/// By how much the numbers on a connection grow most often.
fn step(exchanges: &[Exchange]) -> i64 {
    let mut last: FxHashMap<(u32, u64), i64> = FxHashMap::default();
    let mut counts: FxHashMap<i64, usize> = FxHashMap::default();
    for exchange in exchanges {
        let Some((conn, stem, number)) = numbered(exchange.conn, &exchange.asked) else { continue };
        if let Some(before) = last.insert((conn, stem), number) {
            *counts.entry(number.saturating_sub(before)).or_default() += 1;
        }
    }
    let steps = counts.into_iter().filter(|(step, _)| *step != 0);
    steps.max_by_key(|&(step, count)| (count, std::cmp::Reverse(step))).map_or(1, |(step, _)| step)
}
