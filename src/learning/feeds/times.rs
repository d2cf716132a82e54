//! Where messages have their own time: a number, or a date, that goes with the clock.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::learning::messages::places::{PlaceId, Row, Table};

const NS: i64 = 1_000_000_000;

/// A time that lies further ahead is of something that is still to come.
const MOST_AHEAD_NS: i64 = 10 * NS;

/// A time that lies further back is of something that was long ago.
const MOST_BEHIND_NS: i64 = 3_600 * NS;

/// A value that says what time it is lies so near, whatever it is the time of.
const NEAR_NS: i64 = 7 * 24 * 3_600 * NS;

/// Different times that must have been seen.
const LEAST_DIFFERENT: usize = 10;

/// What the messages say at one place.
#[derive(Default)]
struct Told {
    messages: usize,
    times: Vec<Time>,
}

#[derive(Clone, Copy)]
struct Time {
    conn: u32,
    at_ns: u64,
    /// Nanoseconds since 1970.
    own_ns: i64,
    /// When it passed, minus that.
    lag_ns: i64,
    unit_ns: u64,
}

/// The place of the time at which each of `rows` was made. Of several times it is the latest that does not
/// lie ahead: what is written last says best when the message was sent.
pub(super) fn find(table: &Table, rows: &[(usize, &Row)]) -> Option<PlaceId> {
    let candidates = told(table, rows).into_iter().filter_map(|(place, told)| {
        let is_in_most = told.messages * 5 >= rows.len() * 4;
        let lag_ns = is_in_most.then(|| told.lag_ns()).flatten()?;
        // Clocks differ by a little.
        let is_ahead = lag_ns < -NS / 20;
        let depth = table.place(place).depth;
        Some((is_ahead, lag_ns.unsigned_abs() / 1_000, depth, place))
    });
    candidates.min().map(|(.., place)| place)
}

fn told(table: &Table, rows: &[(usize, &Row)]) -> BTreeMap<PlaceId, Told> {
    let mut all: BTreeMap<PlaceId, Told> = BTreeMap::new();
    for (_, row) in rows {
        for field in &row.fields {
            let told = all.entry(field.place).or_default();
            told.messages += 1;
            let Some(own_ns) = field.traits.time_ns else { continue };
            let lag_ns = lag_ns(table, row, own_ns);
            let unit_ns = field.traits.unit_ns.unwrap_or(1);
            told.times.push(Time { conn: row.conn, at_ns: row.at_ns, own_ns, lag_ns, unit_ns });
        }
    }
    all
}

/// How long after its own time a message passed; negative where that lies ahead.
fn lag_ns(table: &Table, row: &Row, own_ns: i64) -> i64 {
    let offset_ns = table.wall_offsets_ns.get(row.conn as usize).copied().unwrap_or(0);
    let lag = i128::from(row.at_ns) + i128::from(offset_ns) - i128::from(own_ns);
    lag.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Whether a value says what time it is, now or lately.
pub(super) fn is_near(table: &Table, row: &Row, own_ns: i64) -> bool {
    lag_ns(table, row, own_ns).unsigned_abs() < NEAR_NS as u64
}

impl Told {
    /// The median lag, if all of it goes with the clock.
    fn lag_ns(&self) -> Option<i64> {
        let Self { messages, times } = self;
        if times.len() < super::bounds::LEAST_MESSAGES || times.len() * 20 < messages * 19 {
            return None;
        }
        let different: FxHashSet<i64> = times.iter().map(|it| it.own_ns).collect();
        if different.len() < LEAST_DIFFERENT {
            return None;
        }
        let mut lags: Vec<i64> = times.iter().map(|it| it.lag_ns).collect();
        lags.sort_unstable();
        let [least, median, most] = [5, 50, 95].map(|share| lags[(lags.len() - 1) * share / 100]);
        let is_of_now = (-MOST_AHEAD_NS..MOST_BEHIND_NS).contains(&median);
        // From first to last it has gone on as long as the clock, but for how far lags differ.
        let apart_ns = most.saturating_sub(least);
        let is_steady = apart_ns <= self.lasted_ns() / 2 || apart_ns <= NS;
        (is_of_now && is_steady && self.is_renewed()).then_some(median)
    }

    fn lasted_ns(&self) -> i64 {
        let at = || self.times.iter().map(|it| it.at_ns);
        let lasted = at().max().unwrap_or(0) - at().min().unwrap_or(0);
        i64::try_from(lasted).unwrap_or(i64::MAX)
    }

    /// It goes on from message to message: it does not go back, and does not stay where it was while the
    /// clock has gone on, as the beginning of a candle does.
    fn is_renewed(&self) -> bool {
        const MOMENT_NS: u64 = 10_000_000;
        let mut last: FxHashMap<u32, Time> = FxHashMap::default();
        let (mut steps, mut back, mut stale) = (0_usize, 0_usize, 0_usize);
        for time in &self.times {
            let Some(before) = last.insert(time.conn, *time) else { continue };
            steps += 1;
            back += usize::from(time.own_ns < before.own_ns);
            let passed_ns = time.at_ns.saturating_sub(before.at_ns);
            let has_passed = passed_ns > MOMENT_NS.max(2 * time.unit_ns);
            stale += usize::from(time.own_ns == before.own_ns && has_passed);
        }
        back * 3 <= steps && stale * 3 <= steps
    }
}
