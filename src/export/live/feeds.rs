//! Feeds as people look at them: is it as fast as it was, is it late, is it all there?
//!
//! A row is what passes one way for one target and protocol without being asked for. Requests and
//! their answers are in `history`.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use rustc_hash::{FxBuildHasher, FxHashSet};
use serde::Serialize;

use super::SECOND_NS;
use crate::event::{Direction, TargetId};
use crate::export::metrics::histogram::Histogram;
use crate::observation::{FeedReading, MessageKind, Observation, OwnTime, SequenceStep, What};

/// The rate now is that of so many seconds.
const NOW_SECONDS: usize = 10;

/// And what it is compared with, that of so many minutes.
const HOUR_MINUTES: usize = 60;

const MINUTE_NS: u64 = 60 * SECOND_NS;

/// Feeds that are followed; a target has few. More are in the metrics only.
const FEEDS_MAX: usize = 64;

/// Feeds that are counted beyond these.
const UNLISTED_MAX: usize = 10_000;

/// A feed, as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FeedRow {
    /// Name of the target.
    pub target: String,
    /// Protocol label.
    pub protocol: String,
    /// `sent` or `received`.
    pub direction: &'static str,
    /// When the last message passed, in seconds since 1970.
    pub last: f64,
    /// Messages a second over the last ten seconds.
    pub rate: f64,
    /// The same over the last hour, or since the first one.
    pub hour_rate: f64,
    /// Median lag of the last minute or two in seconds; `None` where messages have no time of their own,
    /// as is the one below.
    pub lag_p50: Option<f64>,
    /// 99th percentile.
    pub lag_p99: Option<f64>,
    /// Messages that seem to come from the future, since the start, as are those below.
    pub from_future: u64,
    /// Messages that have a number.
    pub numbers: u64,
    /// Numbers that did not come.
    pub missing: u64,
    /// Messages whose number came before.
    pub repeated: u64,
    /// Messages whose number should have come before.
    pub backward: u64,
    /// Messages with which the numbers began anew.
    pub resets: u64,
    /// Messages whose number could not be compared, because of wstap.
    pub unchecked: u64,
}

#[derive(Debug)]
struct Feed {
    row: FeedRow,
    target: TargetId,
    direction: Direction,
    first_ns: u64,
    last_ns: u64,
    /// Messages by second, and by minute, the one that is under way last.
    seconds: Ring,
    minutes: Ring,
    /// Of this minute and of the one before.
    lag: [Histogram; 2],
    lag_since_ns: u64,
}

/// Counts by stretch of time.
#[derive(Debug)]
struct Ring {
    stretch_ns: u64,
    kept: usize,
    /// The number of the last one, counted from 0 of the clock.
    last: u64,
    counts: VecDeque<u64>,
}

impl Ring {
    fn new(stretch_ns: u64, kept: usize) -> Self {
        Self { stretch_ns, kept, last: 0, counts: VecDeque::new() }
    }

    /// Makes the stretch of `at_ns` the last one.
    fn turn(&mut self, at_ns: u64) {
        let now = at_ns / self.stretch_ns;
        let ahead = now.saturating_sub(self.last).min(self.kept as u64 + 1);
        for _ in 0..ahead {
            self.counts.push_back(0);
        }
        while self.counts.len() > self.kept + 1 {
            self.counts.pop_front();
        }
        self.last = self.last.max(now);
    }

    fn add(&mut self, at_ns: u64) {
        if at_ns / self.stretch_ns > self.last {
            self.turn(at_ns);
        }
        if let Some(count) = self.counts.back_mut() {
            *count += 1;
        }
    }

    /// Counts a second over the stretches that are over, those after `since_ns`.
    fn rate(&mut self, now_ns: u64, since_ns: u64) -> f64 {
        self.turn(now_ns);
        let over = self.counts.len().saturating_sub(1);
        let sum: u64 = self.counts.iter().take(over).sum();
        let whole_ns = self.last * self.stretch_ns;
        let lasted_ns = whole_ns.saturating_sub(since_ns).min(self.kept as u64 * self.stretch_ns);
        if lasted_ns == 0 { 0.0 } else { sum as f64 * SECOND_NS as f64 / lasted_ns as f64 }
    }

    /// Counts a second over all stretches, the one under way included, where they began after `since_ns`.
    /// What is less than a second old is taken to have lasted one.
    fn rate_so_far(&mut self, now_ns: u64, since_ns: u64) -> f64 {
        self.turn(now_ns);
        let sum: u64 = self.counts.iter().sum();
        let lasted_ns = now_ns.saturating_sub(since_ns).max(SECOND_NS);
        sum as f64 * SECOND_NS as f64 / lasted_ns as f64
    }
}

/// The feeds of all targets.
#[derive(Debug)]
pub(super) struct Feeds {
    names: Vec<String>,
    feeds: Vec<Feed>,
    /// The last one that had a message: most messages belong to the same.
    recent: usize,
    /// Hashes of target, direction and protocol of those that are not followed.
    unlisted: FxHashSet<u64>,
}

impl Feeds {
    pub(super) fn new(targets: &[impl AsRef<str>]) -> Self {
        let names = targets.iter().map(|name| name.as_ref().to_owned()).collect();
        Self { names, feeds: Vec::new(), recent: 0, unlisted: FxHashSet::default() }
    }

    /// Takes note of a message, given the offset of the wall clock.
    pub(super) fn record(&mut self, observation: &Observation<'_>, wall_offset_ns: i128) {
        let (direction, protocol, reading) = match &observation.what {
            What::Message { message, reading } => {
                let asked = [Some(MessageKind::Request), Some(MessageKind::Response)];
                let Some(feed) = reading.feed.filter(|_| !asked.contains(&reading.kind)) else {
                    return;
                };
                (message.direction, reading.protocol, feed)
            }
            What::Further { direction, protocol, feed } => (*direction, *protocol, *feed),
            _ => return,
        };
        let Some(feed) = self.feed(observation, direction, protocol) else { return };
        if matches!(observation.what, What::Message { .. }) {
            feed.passed(observation.at_ns);
        }
        feed.read(observation.at_ns, &reading, wall_offset_ns);
    }

    fn feed(
        &mut self,
        observation: &Observation<'_>,
        direction: Direction,
        protocol: &str,
    ) -> Option<&mut Feed> {
        let target = observation.target;
        let is_it = |feed: &Feed| {
            feed.target == target && feed.direction == direction && feed.row.protocol == protocol
        };
        if !self.feeds.get(self.recent).is_some_and(is_it) {
            self.recent = match self.feeds.iter().position(is_it) {
                Some(at) => at,
                None if self.feeds.len() >= FEEDS_MAX => {
                    self.leave_out(target, direction, protocol);
                    return None;
                }
                None => {
                    let name = self.names.get(usize::from(target.0)).cloned().unwrap_or_default();
                    self.feeds.push(Feed::new(
                        name,
                        target,
                        direction,
                        protocol,
                        observation.at_ns,
                    ));
                    self.feeds.len() - 1
                }
            };
        }
        self.feeds.get_mut(self.recent)
    }

    #[cold]
    fn leave_out(&mut self, target: TargetId, direction: Direction, protocol: &str) {
        let hash = FxBuildHasher.hash_one((target, direction, protocol));
        if self.unlisted.len() < UNLISTED_MAX {
            self.unlisted.insert(hash);
        }
    }

    /// Feeds that are not followed, up to [`UNLISTED_MAX`].
    pub(super) fn unlisted(&self) -> u64 {
        self.unlisted.len() as u64
    }

    /// Every feed, the fastest first.
    pub(super) fn rows(&mut self, now_ns: u64, wall_offset_ns: i128) -> Vec<FeedRow> {
        let row = |feed: &mut Feed| feed.row(now_ns, wall_offset_ns);
        let mut rows: Vec<_> = self.feeds.iter_mut().map(row).collect();
        rows.sort_by(|a, b| b.hour_rate.total_cmp(&a.hour_rate));
        rows
    }
}

impl Feed {
    fn new(
        name: String,
        target: TargetId,
        direction: Direction,
        protocol: &str,
        at_ns: u64,
    ) -> Self {
        let row = FeedRow {
            target: name,
            protocol: protocol.to_owned(),
            direction: direction.as_str(),
            ..FeedRow::default()
        };
        Self {
            row,
            target,
            direction,
            first_ns: at_ns,
            last_ns: at_ns,
            seconds: Ring::new(SECOND_NS, NOW_SECONDS),
            minutes: Ring::new(MINUTE_NS, HOUR_MINUTES),
            lag: [Histogram::new(&[]), Histogram::new(&[])],
            lag_since_ns: at_ns,
        }
    }

    fn passed(&mut self, at_ns: u64) {
        self.last_ns = at_ns;
        self.seconds.add(at_ns);
        self.minutes.add(at_ns);
    }

    fn read(&mut self, at_ns: u64, reading: &FeedReading, wall_offset_ns: i128) {
        if let OwnTime::At(made_ns) = reading.time {
            let lag_ns = i128::from(at_ns) + wall_offset_ns - i128::from(made_ns);
            match u64::try_from(lag_ns) {
                Ok(lag_ns) => self.lag[0].observe(lag_ns),
                Err(_) => self.row.from_future += 1,
            }
        }
        let Some(step) = reading.sequence else { return };
        self.row.numbers += 1;
        match step {
            SequenceStep::Begun | SequenceStep::InOrder => {}
            SequenceStep::Missing(missing) => self.row.missing += missing,
            SequenceStep::Repeated => self.row.repeated += 1,
            SequenceStep::Backward => self.row.backward += 1,
            SequenceStep::Reset => self.row.resets += 1,
            SequenceStep::Unchecked(_) => self.row.unchecked += 1,
        }
    }

    fn row(&mut self, now_ns: u64, wall_offset_ns: i128) -> FeedRow {
        let rate = self.seconds.rate(now_ns, self.first_ns);
        // Before a whole minute is over, the one under way counts as far as it has come.
        let is_young = now_ns / MINUTE_NS <= self.first_ns / MINUTE_NS + 1;
        let hour_rate = if is_young {
            self.minutes.rate_so_far(now_ns, self.first_ns)
        } else {
            self.minutes.rate(now_ns, self.first_ns)
        };
        let mut lag = self.lag[0].clone();
        lag.merge(&self.lag[1]);
        if now_ns.saturating_sub(self.lag_since_ns) >= MINUTE_NS {
            self.lag_since_ns = now_ns;
            self.lag.swap(0, 1);
            self.lag[0] = Histogram::new(&[]);
        }
        let quantile = |q| lag.quantile(q).map(|time| time.as_secs_f64());
        FeedRow {
            last: (i128::from(self.last_ns) + wall_offset_ns) as f64 / 1e9,
            rate,
            hour_rate,
            lag_p50: quantile(0.5),
            lag_p99: quantile(0.99),
            ..self.row.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ConnId;
    use crate::observation::{Message, MessageReading, MessageType, Role};

    #[test]
    fn a_rate_is_that_of_the_stretches_that_are_over() {
        let mut ring = Ring::new(SECOND_NS, 10);
        let start = 1_000 * SECOND_NS;
        for i in 0..400 {
            ring.add(start + i * SECOND_NS / 20);
        }
        // 20 seconds of 20; the last ten count.
        assert_eq!(ring.rate(start + 20 * SECOND_NS, start), 20.0);
        assert_eq!(ring.rate(start + 25 * SECOND_NS, start), 10.0);
        assert_eq!(ring.rate(start + 500 * SECOND_NS, start), 0.0);
        let mut young = Ring::new(SECOND_NS, 10);
        (0..20).for_each(|i| young.add(start + i * SECOND_NS / 20));
        assert_eq!(young.rate(start + SECOND_NS, start), 20.0);
    }

    const HOUR_NS: u64 = 3_600 * SECOND_NS;

    fn tick(
        at_ns: u64,
        kind: Option<MessageKind>,
        feed: Option<FeedReading>,
    ) -> Observation<'static> {
        let message = Message {
            direction: Direction::Received,
            message_type: MessageType::Text,
            frames: 1,
            wire_length: 10,
            length: Some(10),
            compressed: false,
            payload: b"",
            tail: b"",
            truncated: false,
            identical: false,
        };
        let reading = MessageReading { protocol: "ticks", kind, feed, ..MessageReading::UNKNOWN };
        Observation {
            at_ns,
            tid: 1,
            target: TargetId(0),
            conn: ConnId { tgid: 1, generation: 1, handle: 1, stream: 0 },
            role: Role::Client,
            what: What::Message { message, reading },
        }
    }

    #[test]
    fn feeds_that_are_too_many_to_be_listed_are_counted() {
        let mut feeds = Feeds::new(&["feed"]);
        for _ in 0..2 {
            for target in 0..71 {
                let one = tick(SECOND_NS, None, Some(FeedReading::PLAIN));
                feeds.record(&Observation { target: TargetId(target), ..one }, 0);
            }
        }
        assert_eq!((feeds.rows(2 * SECOND_NS, 0).len(), feeds.unlisted()), (64, 7));
    }

    #[test]
    fn a_feed_that_brings_less_than_before_shows_it() {
        let mut feeds = Feeds::new(&["feed"]);
        let plain = Some(FeedReading::PLAIN);
        // Ten a second for an hour, then one a second.
        for i in 0..36_000 {
            feeds.record(&tick(HOUR_NS + i * SECOND_NS / 10, None, plain), 0);
        }
        for i in 0..30 {
            feeds.record(&tick(2 * HOUR_NS + i * SECOND_NS, None, plain), 0);
        }
        let rows = feeds.rows(2 * HOUR_NS + 30 * SECOND_NS, 0);
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((row.rate, row.hour_rate), (1.0, 10.0));
        assert_eq!((row.last, row.direction), (7_229.0, "received"));
        assert_eq!((row.lag_p50, row.numbers), (None, 0));
    }

    #[test]
    fn a_young_feed_is_compared_with_all_that_it_has_brought() {
        let mut feeds = Feeds::new(&["feed"]);
        let start = HOUR_NS + 50 * SECOND_NS;
        // Five a second for 20 seconds, over the border of a minute, and then nothing.
        for i in 0..100 {
            feeds.record(&tick(start + i * SECOND_NS / 5, None, Some(FeedReading::PLAIN)), 0);
        }
        let mut rates_at = |seconds: u64| {
            let rows = feeds.rows(start + seconds * SECOND_NS, 0);
            rows.first().map(|row| (row.rate, row.hour_rate))
        };
        assert_eq!(rates_at(20), Some((5.0, 5.0)));
        assert_eq!(rates_at(40), Some((0.0, 2.5)));
    }

    #[test]
    fn lag_and_holes_are_those_of_what_was_not_asked_for() {
        let mut feeds = Feeds::new(&["feed"]);
        let at = |time, sequence| Some(FeedReading { since_ns: None, time, sequence });
        let second = i64::try_from(SECOND_NS).unwrap();
        let made = |ns| OwnTime::At(ns);
        for (i, feed) in [
            at(made(9 * second), Some(SequenceStep::Begun)),
            at(made(9 * second), Some(SequenceStep::Missing(4))),
            at(made(11 * second), Some(SequenceStep::Repeated)),
            None,
        ]
        .into_iter()
        .enumerate()
        {
            feeds.record(&tick(SECOND_NS + i as u64, None, feed), i128::from(9 * second));
        }
        let asked = tick(2 * SECOND_NS, Some(MessageKind::Response), Some(FeedReading::PLAIN));
        feeds.record(&asked, 0);
        let rows = feeds.rows(2 * SECOND_NS, i128::from(9 * second));
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((row.numbers, row.missing, row.repeated), (3, 4, 1));
        assert_eq!(row.from_future, 1);
        assert!(row.lag_p50.is_some_and(|lag| (lag - 1.0).abs() < 0.001), "{row:?}");
        assert_eq!(row.target, "feed");
    }
}
