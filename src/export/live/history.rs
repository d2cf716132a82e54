//! Keeps what happened in each second, and sums it up for a window of time.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::methods::{Kind, Methods};
use super::{ROWS_MAX, SECONDS};
use crate::event::{ConnId, Direction};
use crate::export::metrics::histogram::Histogram;
use crate::observation::{Exchange, Outcome};

/// Slowest exchanges that are kept of each second, and listed of a window.
const SLOWEST: usize = 20;

/// The most parts of a window that a sparkline has; a part is never shorter than a second.
const SPARK: usize = 30;

/// What happened in one second.
#[derive(Debug, Default)]
pub(super) struct Second {
    sent: u64,
    received: u64,
    rows: Vec<Row>,
    /// Slowest first.
    slowest: Vec<Slow>,
}

/// What happened in one second to one kind of request.
#[derive(Debug)]
struct Row {
    method: u16,
    /// By `Outcome` in declaration order.
    outcomes: [u32; Outcome::ALL.len()],
    times: Histogram,
}

/// A slow exchange.
#[derive(Clone, Copy, Debug)]
pub struct Slow {
    /// When it ended, in seconds since 1970.
    pub ended: f64,
    /// How long it took.
    pub seconds: f64,
    /// The connection that it passed on.
    pub conn: ConnId,
    pub(super) method: u16,
}

impl Second {
    pub(super) fn message(&mut self, direction: Direction) {
        match direction {
            Direction::Sent => self.sent += 1,
            Direction::Received => self.received += 1,
        }
    }

    pub(super) fn exchange(&mut self, method: u16, exchange: &Exchange<'_>) {
        let at = match self.rows.iter().position(|row| row.method == method) {
            Some(at) => at,
            None => {
                let times = Histogram::new(&[]);
                self.rows.push(Row { method, outcomes: Default::default(), times });
                self.rows.len() - 1
            }
        };
        let row = &mut self.rows[at];
        row.outcomes[exchange.outcome as usize] += 1;
        if let Some(ns) = exchange.turnaround_ns {
            row.times.observe(ns);
        }
    }

    pub(super) fn slow(&mut self, slow: Slow) {
        let at = self.slowest.partition_point(|known| known.seconds >= slow.seconds);
        if at < SLOWEST {
            self.slowest.truncate(SLOWEST - 1);
            self.slowest.insert(at, slow);
        }
    }
}

/// A second as the lines of the page show it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    /// Seconds since 1970.
    pub time: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Requests answered, errors included.
    pub answered: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// Requests that ended without an answer.
    pub unanswered: u64,
    /// Median turnaround in seconds; `None` without an answer, as are the two below.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Answers by time, for the heat map: exponent of the upper bound (a power of two, in seconds)
    /// and number.
    pub heat: Vec<(i32, u64)>,
}

impl Point {
    fn of(time: u64, second: &Second) -> Self {
        let mut times = Histogram::new(&[]);
        let mut point =
            Self { time, sent: second.sent, received: second.received, ..Self::default() };
        for row in &second.rows {
            times.merge(&row.times);
            let (answered, errors, unanswered) = counts(&row.outcomes.map(u64::from));
            point.answered += answered;
            point.errors += errors;
            point.unanswered += unanswered;
        }
        let quantile = |q| times.quantile(q).map(|time| time.as_secs_f64());
        (point.p50, point.p90, point.p99) = (quantile(0.5), quantile(0.9), quantile(0.99));
        point.heat = times.by_octave();
        point
    }
}

/// Answered, answered with an error, ended without an answer.
fn counts(outcomes: &[u64; Outcome::ALL.len()]) -> (u64, u64, u64) {
    let of = |outcome: Outcome| outcomes[outcome as usize];
    let answered = of(Outcome::Matched) + of(Outcome::Error);
    (answered, of(Outcome::Error), outcomes.iter().sum::<u64>() - answered)
}

/// The seconds that are kept, oldest first, each with its point.
#[derive(Debug, Default)]
pub(super) struct History {
    seconds: VecDeque<(Point, Second)>,
    /// Rows in all of them.
    rows: usize,
}

/// One kind of request in a window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodRow {
    #[serde(flatten)]
    kind: Kind,
    /// Answered, errors included.
    pub answered: u64,
    /// Answered with an error.
    pub errors: u64,
    /// Ended without an answer.
    pub unanswered: u64,
    /// Ended requests by outcome, those above 0.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Answers a second.
    pub rate: f64,
    /// Median turnaround in seconds; `None` without an answer, as are those below.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// The longest one.
    pub slowest: Option<f64>,
    /// Answers in each part of the window: 30 of them, or as many as it has seconds.
    pub spark: Vec<u64>,
}

impl MethodRow {
    /// Method label.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.kind.method
    }

    /// Protocol label.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.kind.protocol
    }

    /// `local` or `remote`.
    #[must_use]
    pub fn origin(&self) -> &'static str {
        self.kind.origin
    }
}

/// A slow exchange, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlowRow {
    #[serde(flatten)]
    kind: Option<Kind>,
    ended: f64,
    seconds: f64,
    conn: String,
}

/// What happened in a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Window {
    /// First and last second, since 1970.
    pub from: u64,
    /// See `from`.
    pub to: u64,
    /// Of this second and later ones the methods are known; of earlier ones only totals are kept.
    pub methods_since: u64,
    /// By kind of request: those that failed most first, then by answers.
    pub methods: Vec<MethodRow>,
    /// The slowest exchanges, slowest first.
    pub slowest: Vec<SlowRow>,
}

impl History {
    pub(super) fn push(&mut self, unix: u64, second: Second) {
        self.rows += second.rows.len();
        self.seconds.push_back((Point::of(unix, &second), second));
        while self.seconds.len() > SECONDS {
            if let Some((_, gone)) = self.seconds.pop_front() {
                self.rows -= gone.rows.len();
            }
        }
        for (_, second) in &mut self.seconds {
            if self.rows <= ROWS_MAX {
                break;
            }
            self.rows -= second.rows.len();
            second.rows = Vec::new();
        }
    }

    pub(super) fn points(&self, after: u64) -> Vec<Point> {
        let points = self.seconds.iter().map(|(point, _)| point);
        points.filter(|point| point.time > after).cloned().collect()
    }

    pub(super) fn window(&self, from: u64, to: u64, methods: &Methods) -> Window {
        let time = |(point, _): &(Point, Second)| point.time;
        let from = from.max(self.seconds.front().map_or(from, time));
        let to = to.min(self.seconds.back().map_or(to, time)).max(from);
        let inside = || self.seconds.iter().filter(|(point, _)| (from..=to).contains(&point.time));
        let mut sums: BTreeMap<u16, Sum> = BTreeMap::new();
        let mut slowest: Vec<Slow> = Vec::new();
        for (point, second) in inside() {
            for row in &second.rows {
                sums.entry(row.method).or_default().add(row, point.time, from, to);
            }
            slowest.extend(&second.slowest);
        }
        slowest.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        slowest.truncate(SLOWEST);
        let slowest = slowest.into_iter().map(|slow| SlowRow {
            kind: methods.kind(slow.method).cloned(),
            ended: slow.ended,
            seconds: slow.seconds,
            conn: slow.conn.to_string(),
        });
        // A window may begin before there was anything.
        let seconds = inside().count().max(1) as f64;
        let rows =
            sums.into_iter().filter_map(|(number, sum)| sum.row(methods.kind(number)?, seconds));
        let mut rows: Vec<MethodRow> = rows.collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.errors + row.unanswered, row.answered)));
        let is_kept = |(point, second): &&(Point, Second)| {
            point.answered + point.unanswered == 0 || !second.rows.is_empty()
        };
        let since = self.seconds.iter().find(is_kept).map_or(from, |(point, _)| point.time);
        Window { from, to, methods_since: since, methods: rows, slowest: slowest.collect() }
    }
}

/// One kind of request, over the seconds of a window.
#[derive(Debug)]
struct Sum {
    outcomes: [u64; Outcome::ALL.len()],
    times: Histogram,
    spark: Vec<u64>,
}

impl Default for Sum {
    fn default() -> Self {
        Self { outcomes: Default::default(), times: Histogram::new(&[]), spark: Vec::new() }
    }
}

impl Sum {
    fn add(&mut self, row: &Row, time: u64, from: u64, to: u64) {
        for (sum, &count) in self.outcomes.iter_mut().zip(&row.outcomes) {
            *sum += u64::from(count);
        }
        self.times.merge(&row.times);
        let seconds = (to - from) as usize + 1;
        let parts = SPARK.min(seconds);
        self.spark.resize(parts, 0);
        let part = (time - from) as usize * parts / seconds;
        self.spark[part.min(parts - 1)] += row.times.count();
    }

    fn row(self, kind: &Kind, seconds: f64) -> Option<MethodRow> {
        let (answered, errors, unanswered) = counts(&self.outcomes);
        let named = Outcome::ALL.iter().map(|outcome| outcome.as_str()).zip(self.outcomes);
        let quantile = |q| self.times.quantile(q).map(|time| time.as_secs_f64());
        Some(MethodRow {
            kind: kind.clone(),
            answered,
            errors,
            unanswered,
            outcomes: named.filter(|&(_, count)| count > 0).collect(),
            rate: answered as f64 / seconds,
            p50: quantile(0.5),
            p99: quantile(0.99),
            slowest: quantile(1.0),
            spark: self.spark,
        })
    }
}
