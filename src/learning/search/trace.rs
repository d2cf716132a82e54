//! What became of the values of a pair of places: who was answered, when, and what remains over.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::learning::messages::classes::{ClassId, Classes};
use crate::learning::messages::places::{Field, Row, Table};
use crate::learning::search::pairs::Pair;
use crate::learning::search::splits::Split;

/// Of a class of requests, or of answers, this share must be in order: in percent.
const LEAST_SHARE: usize = 85;

/// Rounds in which classes that are out of order are dropped.
const ROUNDS: usize = 6;

/// What happened to the messages of one class.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::learning) struct Count {
    pub(in crate::learning) messages: usize,
    /// Requests that were answered, or answers that had a request.
    pub(in crate::learning) fitting: usize,
    /// Requests whose answer may still come.
    pub(in crate::learning) open: usize,
    /// Answers that were not the first.
    pub(in crate::learning) further: usize,
    /// Answers that were followed by another.
    pub(in crate::learning) followed: usize,
}

impl Count {
    fn is_in_order(&self) -> bool {
        let settled = self.messages.saturating_sub(self.open);
        self.fitting > 0 && self.fitting * 100 >= settled * LEAST_SHARE
    }
}

/// One request and its first answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::learning) struct Exchange {
    pub(in crate::learning) conn: u32,
    pub(in crate::learning) asked: Field,
    /// Place in the order of all first answers.
    pub(in crate::learning) answered_at: Option<usize>,
    pub(in crate::learning) delay_ns: u64,
}

/// The values of a pair, followed through all connections.
#[derive(Debug)]
pub(in crate::learning) struct Trace {
    pub(in crate::learning) pair: Pair,
    /// What happened to the classes that ask, and to those that answer.
    pub(in crate::learning) requests: BTreeMap<ClassId, Count>,
    pub(in crate::learning) answers: BTreeMap<ClassId, Count>,
    pub(in crate::learning) exchanges: Vec<Exchange>,
    /// Answers to nothing.
    pub(in crate::learning) orphans: usize,
    /// Values that were asked again on the same connection.
    pub(in crate::learning) repeated: usize,
    /// The same before any class was dropped: asked, answered, answers, orphans.
    pub(in crate::learning) raw: [usize; 4],
}

/// What is known of a value on a connection.
#[derive(Debug)]
struct Open {
    exchange: usize,
    class: ClassId,
    row: usize,
    /// The class of the last answer.
    answered_by: Option<ClassId>,
}

impl Trace {
    /// Follows the values, and drops the classes that are out of order until all are in order. `taken` are
    /// rows that another pair explains; `split` says what may ask, and what may answer.
    pub(in crate::learning) fn new(
        table: &Table,
        classes: &Classes,
        pair: Pair,
        split: Split,
        taken: &[bool],
    ) -> Self {
        let with = |place, side| {
            let has = |(row, class): (&Row, &Option<ClassId>)| {
                let field = row.field(place).is_some_and(|field| field.traits.is_token);
                class.filter(|_| row.side == side && field)
            };
            let rows = table.rows.iter().zip(&classes.of_row);
            rows.filter_map(has).map(|class| (class, Count::default())).collect()
        };
        let mut trace = Self {
            pair,
            requests: with(pair.asked, pair.side),
            answers: with(pair.answered, pair.side.other()),
            exchanges: Vec::new(),
            orphans: 0,
            repeated: 0,
            raw: [0; 4],
        };
        trace.requests.retain(|id, _| split.may_ask(classes.get(*id)));
        trace.answers.retain(|id, _| split.may_answer(classes.get(*id)));
        for round in 0..ROUNDS {
            trace.follow(table, classes, taken);
            if round == 0 {
                let answers = trace.answers.values().map(|count| count.messages).sum();
                trace.raw = [trace.exchanges.len(), trace.answered(), answers, trace.orphans];
            }
            let before = trace.requests.len() + trace.answers.len();
            trace.requests.retain(|_, count| count.is_in_order());
            trace.answers.retain(|_, count| count.is_in_order());
            if trace.requests.len() + trace.answers.len() == before {
                break;
            }
        }
        trace.follow(table, classes, taken);
        trace
    }

    pub(in crate::learning) fn answered(&self) -> usize {
        self.exchanges.iter().filter(|exchange| exchange.answered_at.is_some()).count()
    }

    /// Answers that were not the first.
    pub(in crate::learning) fn further(&self) -> usize {
        self.answers.values().map(|count| count.further).sum()
    }

    fn follow(&mut self, table: &Table, classes: &Classes, taken: &[bool]) {
        self.exchanges.clear();
        (self.orphans, self.repeated) = (0, 0);
        let counts = self.requests.values_mut().chain(self.answers.values_mut());
        counts.for_each(|count| *count = Count::default());
        let mut known: FxHashMap<(u32, u64), Open> = FxHashMap::default();
        let mut answers = 0;
        let is_under_way = |conn: u32| table.mid_stream.get(conn as usize).is_some_and(|it| *it);
        let mut answered_on: FxHashSet<u32> = FxHashSet::default();
        for (index, row) in table.rows.iter().enumerate() {
            let Some(class) = classes.of_row[index] else { continue };
            if taken.get(index).is_some_and(|taken| *taken) {
                continue;
            }
            if row.side == self.pair.side {
                let Some(count) = self.requests.get_mut(&class) else { continue };
                let Some(asked) = token(row.field(self.pair.asked)) else { continue };
                count.messages += 1;
                let exchange = self.exchanges.len();
                self.exchanges.push(Exchange {
                    conn: row.conn,
                    asked,
                    answered_at: None,
                    delay_ns: 0,
                });
                let open = Open { exchange, class, row: index, answered_by: None };
                if known.insert((row.conn, asked.value), open).is_some() {
                    self.repeated += 1;
                }
                continue;
            }
            let Some(count) = self.answers.get_mut(&class) else { continue };
            let Some(answered) = token(row.field(self.pair.answered)) else { continue };
            count.messages += 1;
            let Some(open) = known.get_mut(&(row.conn, answered.value)) else {
                // What was asked before wstap came is no counter-example.
                if is_under_way(row.conn) && !answered_on.contains(&row.conn) {
                    count.fitting += 1;
                } else {
                    self.orphans += 1;
                }
                continue;
            };
            answered_on.insert(row.conn);
            count.fitting += 1;
            if let Some(before) = open.answered_by.replace(class) {
                count.further += 1;
                if let Some(before) = self.answers.get_mut(&before) {
                    before.followed += 1;
                }
                continue;
            }
            let exchange = &mut self.exchanges[open.exchange];
            exchange.answered_at = Some(answers);
            answers += 1;
            exchange.delay_ns = row.at_ns.saturating_sub(table.rows[open.row].at_ns);
            if let Some(count) = self.requests.get_mut(&open.class) {
                count.fitting += 1;
            }
        }
        self.leave_open(table, &known);
    }

    /// Those that were asked so late that their answer may still come are no counter-examples.
    fn leave_open(&mut self, table: &Table, known: &FxHashMap<(u32, u64), Open>) {
        let longest_ns = self.exchanges.iter().map(|exchange| exchange.delay_ns).max();
        let longest_ns = longest_ns.unwrap_or(0).saturating_mul(2);
        for (&(conn, _), open) in known {
            let last_ns = table.last_ns.get(conn as usize).copied().unwrap_or(0);
            let since_ns = last_ns.saturating_sub(table.rows[open.row].at_ns);
            let Some(count) = self.requests.get_mut(&open.class) else { continue };
            if open.answered_by.is_none() && since_ns <= longest_ns {
                count.open += 1;
            }
        }
    }
}

fn token(field: Option<Field>) -> Option<Field> {
    field.filter(|field| field.traits.is_token)
}
