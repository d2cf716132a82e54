//! Metrics by target and protocol: what is told of data messages as parts of a feed.
//!
//! A target numbers its protocols in [`Protocols`] once for each message; every metric then finds
//! its own series by that number. They are few: the decoder knows a closed set. A series exists from
//! the first message on that moves it.

use std::marker::PhantomData;
use std::sync::Arc;

use prometheus::core::{AtomicU64, GenericLocalCounter};
use prometheus::{Gauge, GaugeVec, IntCounterVec, Opts, Registry, Result};

use super::by_request::ByRequest as ByNumber;
use super::histogram::labelled::{Timing, TimingVec};
use super::histogram::{Bounds, INTERVAL_BOUNDS_NS, LAG_BOUNDS_NS, SIZE_BOUNDS, Unit};
use super::labels::Labels;
use super::row::{Flush, Owner, Seen, Shape, forget, owned};
use super::shapes::register;
use crate::observation::What;

/// A protocol of one target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Protocol<'a> {
    pub(super) name: &'a str,
    /// Its number among those of its target.
    pub(super) index: usize,
}

/// The protocols of one target, numbered as they come.
#[derive(Debug, Default)]
pub(super) struct Protocols {
    names: Vec<Box<str>>,
    /// The last one seen: most targets speak one.
    recent: usize,
}

impl Protocols {
    /// The protocol of a message; `None` for what is no message.
    pub(super) fn find<'a>(&mut self, what: &What<'a>) -> Option<Protocol<'a>> {
        let name = match *what {
            What::Message { reading, .. } => reading.protocol,
            What::Further { protocol, .. } => protocol,
            _ => return None,
        };
        if self.names.get(self.recent).is_none_or(|recent| **recent != *name) {
            self.recent = self.number(name);
        }
        Some(Protocol { name, index: self.recent })
    }

    fn number(&mut self, name: &str) -> usize {
        self.names.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        })
    }
}

/// A counter by target, protocol and `L`.
#[derive(Clone, Debug)]
pub(in crate::export) struct ProtocolCounter<L = ()> {
    vec: IntCounterVec,
    labels: PhantomData<L>,
}

impl<L: Labels> Shape for ProtocolCounter<L> {
    type Series = ProtocolCounters<L>;

    fn register(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Self> {
        let vec = register(to, IntCounterVec::new(Opts::new(name, help), labels)?)?;
        Ok(Self { vec, labels: PhantomData })
    }

    fn of(&self, owner: &Owner) -> ProtocolCounters<L> {
        let (vec, owner) = (self.vec.clone(), Arc::clone(owner));
        ProtocolCounters { vec, owner, counters: ByNumber::default(), labels: PhantomData }
    }

    fn forget(&self, owner: &Owner) {
        forget(&self.vec, owner);
    }
}

#[derive(Debug)]
pub(super) struct ProtocolCounters<L> {
    vec: IntCounterVec,
    owner: Owner,
    /// Each a counter for every one of `L::all`.
    counters: ByNumber<Vec<GenericLocalCounter<AtomicU64>>>,
    labels: PhantomData<L>,
}

impl<L: Labels> ProtocolCounters<L> {
    /// Adds `by` to the series of the protocol that was seen; with 0 it only makes it exist.
    pub(super) fn add(&mut self, seen: &Seen<'_>, labels: L, by: u64) {
        let Some(protocol) = seen.protocol else { return };
        let Self { vec, owner, counters, .. } = self;
        let new = || {
            let local = |labels: L| {
                let values = owned(owner, [protocol.name].into_iter().chain(labels.values()));
                vec.with_label_values(&values).local()
            };
            L::all().into_iter().map(local).collect()
        };
        counters.change(protocol.index, new)[labels.index()].inc_by(by);
    }
}

impl<L> Flush for ProtocolCounters<L> {
    fn flush(&mut self) {
        self.counters.flush(|counters| counters.iter().for_each(GenericLocalCounter::flush));
    }
}

/// The time of the last one by target and protocol, in seconds since 1970.
#[derive(Clone, Debug)]
pub(in crate::export) struct ProtocolTimestamp(GaugeVec);

impl Shape for ProtocolTimestamp {
    type Series = ProtocolTimestamps;

    fn register(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Self> {
        register(to, GaugeVec::new(Opts::new(name, help), labels)?).map(Self)
    }

    fn of(&self, owner: &Owner) -> ProtocolTimestamps {
        let (vec, owner) = (self.0.clone(), Arc::clone(owner));
        ProtocolTimestamps { vec, owner, last: ByNumber::default() }
    }

    fn forget(&self, owner: &Owner) {
        forget(&self.0, owner);
    }
}

#[derive(Debug)]
pub(super) struct ProtocolTimestamps {
    vec: GaugeVec,
    owner: Owner,
    /// Each with the time that is not shown yet, in nanoseconds since 1970.
    last: ByNumber<(Gauge, i64)>,
}

impl ProtocolTimestamps {
    /// It happened when the observation says.
    pub(super) fn note(&mut self, seen: &Seen<'_>) {
        let Some(protocol) = seen.protocol else { return };
        let Self { vec, owner, last } = self;
        let new = || (vec.with_label_values(&owned(owner, [protocol.name])), 0);
        last.change(protocol.index, new).1 = seen.wall_ns;
    }
}

impl Flush for ProtocolTimestamps {
    fn flush(&mut self) {
        self.last.flush(|(gauge, wall_ns)| gauge.set(*wall_ns as f64 / 1e9));
    }
}

/// How long the least lag is remembered: at least this, at most twice as long.
const LEAST_NS: i64 = 300_000_000_000;

/// The least value of the last five to ten minutes by target and protocol, in seconds. May be below 0.
#[derive(Clone, Debug)]
pub(in crate::export) struct ProtocolLeast(GaugeVec);

impl Shape for ProtocolLeast {
    type Series = ProtocolLeasts;

    fn register(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Self> {
        register(to, GaugeVec::new(Opts::new(name, help), labels)?).map(Self)
    }

    fn of(&self, owner: &Owner) -> ProtocolLeasts {
        let (vec, owner) = (self.0.clone(), Arc::clone(owner));
        ProtocolLeasts { vec, owner, least: ByNumber::default() }
    }

    fn forget(&self, owner: &Owner) {
        forget(&self.0, owner);
    }
}

#[derive(Debug)]
pub(super) struct ProtocolLeasts {
    vec: GaugeVec,
    owner: Owner,
    least: ByNumber<(Gauge, Least)>,
}

/// The least value of the present stretch of time and of the one before it.
#[derive(Clone, Copy, Debug)]
struct Least {
    since_ns: i64,
    now: i64,
    before: i64,
}

impl Least {
    const NONE: Self = Self { since_ns: i64::MIN, now: i64::MAX, before: i64::MAX };

    fn note(&mut self, at_ns: i64, value: i64) {
        let age = at_ns.saturating_sub(self.since_ns);
        if age >= LEAST_NS {
            let before = if age < 2 * LEAST_NS { self.now } else { i64::MAX };
            *self = Self { since_ns: at_ns, now: i64::MAX, before };
        }
        self.now = self.now.min(value);
    }

    fn value(self) -> i64 {
        self.now.min(self.before)
    }
}

impl ProtocolLeasts {
    /// A value in nanoseconds.
    pub(super) fn note(&mut self, seen: &Seen<'_>, value_ns: i64) {
        let Some(protocol) = seen.protocol else { return };
        let Self { vec, owner, least } = self;
        let new = || (vec.with_label_values(&owned(owner, [protocol.name])), Least::NONE);
        least.change(protocol.index, new).1.note(seen.wall_ns, value_ns);
    }
}

impl Flush for ProtocolLeasts {
    fn flush(&mut self) {
        self.least.flush(|(gauge, least)| gauge.set(least.value() as f64 / 1e9));
    }
}

/// What a histogram by protocol measures.
pub(in crate::export) trait Measure {
    const UNIT: Unit;
    const BOUNDS: &'static Bounds;
}

/// The time between two messages.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Interval;

impl Measure for Interval {
    const UNIT: Unit = Unit::Seconds;
    const BOUNDS: &'static Bounds = &INTERVAL_BOUNDS_NS;
}

/// How old a message is.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Lag;

impl Measure for Lag {
    const UNIT: Unit = Unit::Seconds;
    const BOUNDS: &'static Bounds = &LAG_BOUNDS_NS;
}

/// Bytes of a message.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Size;

impl Measure for Size {
    const UNIT: Unit = Unit::Bytes;
    const BOUNDS: &'static Bounds = &SIZE_BOUNDS;
}

/// A histogram by target and protocol.
#[derive(Clone, Debug)]
pub(in crate::export) struct ProtocolHistogram<M> {
    vec: TimingVec,
    measure: PhantomData<M>,
}

impl<M: Measure> Shape for ProtocolHistogram<M> {
    type Series = ProtocolHistograms<M>;

    fn register(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Self> {
        let vec = TimingVec::new(name, help, labels, M::BOUNDS)?.of(M::UNIT);
        Ok(Self { vec: register(to, vec)?, measure: PhantomData })
    }

    fn of(&self, owner: &Owner) -> ProtocolHistograms<M> {
        let (vec, owner) = (self.vec.clone(), Arc::clone(owner));
        ProtocolHistograms { vec, owner, series: ByNumber::default(), measure: PhantomData }
    }

    fn forget(&self, owner: &Owner) {
        self.vec.forget(owner);
    }
}

#[derive(Debug)]
pub(super) struct ProtocolHistograms<M> {
    vec: TimingVec,
    owner: Owner,
    series: ByNumber<Timing>,
    measure: PhantomData<M>,
}

impl<M> ProtocolHistograms<M> {
    /// A duration in nanoseconds, or a size.
    pub(super) fn observe(&mut self, seen: &Seen<'_>, value: u64) {
        if let Some(series) = self.series(seen) {
            series.observe(value);
        }
    }

    /// Makes the series exist without an observation.
    pub(super) fn announce(&mut self, seen: &Seen<'_>) {
        self.series(seen);
    }

    fn series(&mut self, seen: &Seen<'_>) -> Option<&mut Timing> {
        let protocol = seen.protocol?;
        let Self { vec, owner, series, .. } = self;
        Some(series.change(protocol.index, || vec.series(&owned(owner, [protocol.name]))))
    }
}

impl<M> Flush for ProtocolHistograms<M> {
    fn flush(&mut self) {
        self.series.flush(Timing::flush);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_value_is_forgotten_after_ten_minutes_and_not_before_five() {
        let mut least = Least::NONE;
        least.note(0, -7);
        least.note(LEAST_NS - 1, 5);
        assert_eq!(least.value(), -7);
        least.note(LEAST_NS, 6);
        assert_eq!(least.value(), -7);
        least.note(2 * LEAST_NS, 8);
        assert_eq!(least.value(), 6);
        least.note(9 * LEAST_NS, 9);
        assert_eq!(least.value(), 9);
    }
}
