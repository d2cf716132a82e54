//! The types of metrics that rows are made of, and what the decode thread keeps of each.
//!
//! | type | its series are known | moved by |
//! |---|---|---|
//! | [`Counter`], [`Gauge`], [`Timing`] | in advance: label values are a closed set | a number of the decode thread |
//! | [`RequestCounter`], [`RequestTiming`] | when the first such request passes | a number of the decode thread |
//! | [`OpenCounter`] | when the first one happens, which is rare | the registry itself |
//!
//! Those by protocol are in `by_protocol`.

use std::marker::PhantomData;
use std::sync::Arc;

use prometheus::core::{AtomicU64, Collector, GenericLocalCounter, MetricVec, MetricVecBuilder};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, Result};

use super::by_request::{ByRequest, Request};
use super::families::WithoutEmpty;
use super::histogram::labelled::{Timing as TimingSeries, TimingVec};
use super::histogram::{ANSWER_BOUNDS_NS, Bounds, STREAM_BOUNDS_NS};
use super::labels::Labels;
use super::row::{Flush, Owner, Seen, Shape, forget, owned};

type LocalCounter = GenericLocalCounter<AtomicU64>;

/// Registers a metric and hands it back.
pub(super) fn register<M: Collector + Clone + 'static>(to: &Registry, metric: M) -> Result<M> {
    to.register(Box::new(WithoutEmpty(metric.clone())))?;
    Ok(metric)
}

/// Whether the series are kept apart by target.
fn is_by_target(labels: &[&str]) -> bool {
    labels.first() == Some(&"target")
}

/// The label values of every series of one owner, in the order of `L::all`.
fn values<L: Labels>(owner: &[Box<str>]) -> impl Iterator<Item = Vec<&str>> {
    L::all().into_iter().map(move |labels| owned(owner, labels.values()))
}

/// Sum over all series of a counter or a gauge.
fn sum<B: MetricVecBuilder>(metrics: &MetricVec<B>) -> f64 {
    let families = metrics.collect();
    let series = families.iter().flat_map(|family| family.get_metric());
    series.map(|metric| metric.counter.value() + metric.gauge.value()).sum()
}

/// A counter: by target, and by `L`, unless its labels say otherwise.
#[derive(Clone, Debug)]
pub(in crate::export) struct Counter<L = ()> {
    vec: IntCounterVec,
    by_target: bool,
    labels: PhantomData<L>,
}

impl<L> Counter<L> {
    /// Over all targets and labels.
    pub(in crate::export) fn total(&self) -> u64 {
        sum(&self.vec) as u64
    }
}

impl<L: Labels> Shape for Counter<L> {
    type Series = CounterSeries<L>;

    fn register(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Self> {
        let vec = register(to, IntCounterVec::new(Opts::new(name, help), labels)?)?;
        let by_target = is_by_target(labels);
        if !by_target {
            values::<L>(&[]).for_each(|values| drop(vec.with_label_values(&values)));
        }
        Ok(Self { vec, by_target, labels: PhantomData })
    }

    fn of(&self, owner: &Owner) -> CounterSeries<L> {
        let local = |values: Vec<&str>| self.vec.with_label_values(&values).local();
        let owner: &[Box<str>] = if self.by_target { owner } else { &[] };
        CounterSeries { counters: values::<L>(owner).map(local).collect(), labels: PhantomData }
    }

    fn forget(&self, owner: &Owner) {
        if self.by_target {
            forget(&self.vec, owner);
        }
    }
}

#[derive(Debug)]
pub(super) struct CounterSeries<L> {
    /// In the order of `L::all`.
    counters: Vec<LocalCounter>,
    labels: PhantomData<L>,
}

impl<L: Labels> CounterSeries<L> {
    pub(super) fn of(&self, labels: L) -> &LocalCounter {
        &self.counters[labels.index()]
    }
}

impl CounterSeries<()> {
    pub(super) fn inc(&self) {
        self.of(()).inc();
    }

    pub(super) fn inc_by(&self, by: u64) {
        self.of(()).inc_by(by);
    }
}

impl<L> Flush for CounterSeries<L> {
    fn flush(&mut self) {
        self.counters.iter().for_each(LocalCounter::flush);
    }
}

/// A gauge by target and by `L`.
#[derive(Clone, Debug)]
pub(in crate::export) struct Gauge<L = ()> {
    vec: IntGaugeVec,
    labels: PhantomData<L>,
}

impl<L> Gauge<L> {
    /// Over all targets and labels.
    pub(in crate::export) fn total(&self) -> i64 {
        sum(&self.vec) as i64
    }
}

impl<L: Labels> Gauge<L> {
    /// Over all targets, of the series whose labels `is_wanted`.
    pub(in crate::export) fn total_where(&self, is_wanted: impl Fn(&L) -> bool) -> i64 {
        let wanted: Vec<Vec<&str>> =
            L::all().into_iter().filter(|labels| is_wanted(labels)).map(Labels::values).collect();
        let families = self.vec.collect();
        let series = families.iter().flat_map(|family| family.get_metric());
        let has_all = |metric: &&prometheus::proto::Metric| {
            let values: Vec<&str> = metric.get_label().iter().map(|pair| pair.value()).collect();
            wanted.iter().any(|all| all.iter().all(|value| values.contains(value)))
        };
        series.filter(has_all).map(|metric| metric.gauge.value() as i64).sum()
    }
}

impl<L: Labels> Shape for Gauge<L> {
    type Series = GaugeSeries<L>;

    fn register(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Self> {
        let vec = register(to, IntGaugeVec::new(Opts::new(name, help), labels)?)?;
        Ok(Self { vec, labels: PhantomData })
    }

    fn of(&self, owner: &Owner) -> GaugeSeries<L> {
        let gauge = |values: Vec<&str>| (self.vec.with_label_values(&values), 0);
        GaugeSeries { gauges: values::<L>(owner).map(gauge).collect(), labels: PhantomData }
    }

    fn forget(&self, owner: &Owner) {
        forget(&self.vec, owner);
    }
}

#[derive(Debug)]
pub(super) struct GaugeSeries<L> {
    /// Each with the change that is not flushed yet; in the order of `L::all`.
    gauges: Vec<(IntGauge, i64)>,
    labels: PhantomData<L>,
}

impl<L: Labels> GaugeSeries<L> {
    pub(super) fn add(&mut self, labels: L, change: i64) {
        self.gauges[labels.index()].1 += change;
    }
}

impl<L> Flush for GaugeSeries<L> {
    fn flush(&mut self) {
        for (gauge, change) in self.gauges.iter_mut().filter(|(_, change)| *change != 0) {
            gauge.add(std::mem::take(change));
        }
    }
}

/// A histogram of answer times by target and by `L`.
#[derive(Clone, Debug)]
pub(in crate::export) struct Timing<L> {
    vec: TimingVec,
    labels: PhantomData<L>,
}

impl<L: Labels> Shape for Timing<L> {
    type Series = LabelledTimings<L>;

    fn register(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Self> {
        let vec = register(to, TimingVec::new(name, help, labels, &ANSWER_BOUNDS_NS)?)?;
        Ok(Self { vec, labels: PhantomData })
    }

    fn of(&self, owner: &Owner) -> LabelledTimings<L> {
        let timing = |values: Vec<&str>| self.vec.series(&values);
        LabelledTimings { timings: values::<L>(owner).map(timing).collect(), labels: PhantomData }
    }

    fn forget(&self, owner: &Owner) {
        self.vec.forget(owner);
    }
}

#[derive(Debug)]
pub(super) struct LabelledTimings<L> {
    /// In the order of `L::all`.
    timings: Vec<TimingSeries>,
    labels: PhantomData<L>,
}

impl<L: Labels> LabelledTimings<L> {
    pub(super) fn observe(&mut self, labels: L, ns: u64) {
        self.timings[labels.index()].observe(ns);
    }
}

impl<L> Flush for LabelledTimings<L> {
    fn flush(&mut self) {
        self.timings.iter_mut().for_each(TimingSeries::flush);
    }
}

/// A counter of rare things, with label values that are bounded elsewhere.
#[derive(Clone, Debug)]
pub(in crate::export) struct OpenCounter {
    vec: IntCounterVec,
    by_target: bool,
}

impl OpenCounter {
    /// Over all targets and labels.
    pub(in crate::export) fn total(&self) -> u64 {
        sum(&self.vec) as u64
    }
}

impl Shape for OpenCounter {
    type Series = OpenSeries;

    fn register(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Self> {
        let vec = register(to, IntCounterVec::new(Opts::new(name, help), labels)?)?;
        Ok(Self { vec, by_target: is_by_target(labels) })
    }

    fn of(&self, owner: &Owner) -> OpenSeries {
        let owner = if self.by_target { Arc::clone(owner) } else { Owner::default() };
        OpenSeries { vec: self.vec.clone(), owner }
    }

    fn forget(&self, owner: &Owner) {
        if self.by_target {
            forget(&self.vec, owner);
        }
    }
}

#[derive(Debug)]
pub(super) struct OpenSeries {
    vec: IntCounterVec,
    /// Nobody where the metric is not by target.
    owner: Owner,
}

impl OpenSeries {
    /// Counts one with these values of the labels behind those of its owner.
    pub(super) fn inc(&self, values: &[&str]) {
        self.with(values, 1);
    }

    /// Makes the series with these values exist.
    pub(super) fn announce(&self, values: &[&str]) {
        self.with(values, 0);
    }

    fn with(&self, values: &[&str], by: u64) {
        let values = owned(&self.owner, values.iter().copied());
        self.vec.with_label_values(&values).inc_by(by);
    }
}

impl Flush for OpenSeries {
    fn flush(&mut self) {}
}

/// Values of the labels origin, protocol and method.
fn request_values<'a>(request: &Request<'a>) -> [&'a str; 3] {
    [request.origin.as_str(), request.protocol, request.method]
}

/// A counter by target, origin, protocol and method, and by `L`.
#[derive(Clone, Debug)]
pub(in crate::export) struct RequestCounter<L = ()> {
    vec: IntCounterVec,
    labels: PhantomData<L>,
}

impl<L: Labels> RequestCounter<L> {
    /// What was counted for one owner, origin, protocol and method, by `L`.
    pub(in crate::export) fn counts(&self, request: &[String]) -> Vec<(L, u64)> {
        let count = |labels: &L| {
            let known = request.iter().map(String::as_str);
            let values: Vec<_> = known.chain(labels.values()).collect();
            self.vec.with_label_values(&values).get()
        };
        L::all().into_iter().map(|labels| (labels, count(&labels))).collect()
    }
}

impl<L: Labels> Shape for RequestCounter<L> {
    type Series = RequestCounters<L>;

    fn register(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Self> {
        let vec = register(to, IntCounterVec::new(Opts::new(name, help), labels)?)?;
        Ok(Self { vec, labels: PhantomData })
    }

    fn of(&self, owner: &Owner) -> RequestCounters<L> {
        let (all, owner) = (self.clone(), Arc::clone(owner));
        RequestCounters { all, owner, counters: ByRequest::default() }
    }

    fn forget(&self, owner: &Owner) {
        forget(&self.vec, owner);
    }
}

#[derive(Debug)]
pub(super) struct RequestCounters<L> {
    all: RequestCounter<L>,
    owner: Owner,
    /// Each a counter for every one of `L::all`.
    counters: ByRequest<Vec<LocalCounter>>,
}

impl<L: Labels> RequestCounters<L> {
    /// Counts the request that was seen.
    pub(super) fn inc(&mut self, seen: &Seen<'_>, labels: L) {
        if let Some(counters) = self.counters(seen) {
            counters[labels.index()].inc();
        }
    }

    /// Makes the series of a request exist at 0, all values of `L` together, so that none is
    /// missing from a rate.
    pub(super) fn announce(&mut self, seen: &Seen<'_>) {
        self.counters(seen);
    }

    fn counters(&mut self, seen: &Seen<'_>) -> Option<&mut Vec<LocalCounter>> {
        let request = seen.request?;
        let Self { all, owner, counters } = self;
        let new = || {
            let known = request_values(&request);
            let local = |labels: L| {
                let values = owned(owner, known.into_iter().chain(labels.values()));
                all.vec.with_label_values(&values).local()
            };
            L::all().into_iter().map(local).collect()
        };
        Some(counters.change(request.index, new))
    }
}

impl<L> Flush for RequestCounters<L> {
    fn flush(&mut self) {
        self.counters.flush(|counters| counters.iter().for_each(LocalCounter::flush));
    }
}

/// What a histogram measures: its buckets and how many of the labels origin, protocol and method it
/// has.
pub(in crate::export) trait Measure {
    const BOUNDS_NS: &'static Bounds;
    const LABELS: usize;
}

/// The time to an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Answer;

impl Measure for Answer {
    const BOUNDS_NS: &'static Bounds = &ANSWER_BOUNDS_NS;
    const LABELS: usize = 3;
}

/// How long something went on.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Stream;

impl Measure for Stream {
    const BOUNDS_NS: &'static Bounds = &STREAM_BOUNDS_NS;
    const LABELS: usize = 3;
}

/// The time to an answer of what has no method.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Heartbeat;

impl Measure for Heartbeat {
    const BOUNDS_NS: &'static Bounds = &ANSWER_BOUNDS_NS;
    const LABELS: usize = 2;
}

/// A histogram by target, origin, protocol and, unless `M` says otherwise, method.
#[derive(Clone, Debug)]
pub(in crate::export) struct RequestTiming<M> {
    /// The series, for summaries.
    pub(in crate::export) vec: TimingVec,
    measure: PhantomData<M>,
}

impl<M: Measure> Shape for RequestTiming<M> {
    type Series = RequestTimings<M>;

    fn register(to: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<Self> {
        debug_assert!(labels.ends_with(&["origin", "protocol", "method"][..M::LABELS]), "{name}");
        let vec = register(to, TimingVec::new(name, help, labels, M::BOUNDS_NS)?)?;
        Ok(Self { vec, measure: PhantomData })
    }

    fn of(&self, owner: &Owner) -> RequestTimings<M> {
        let (vec, owner) = (self.vec.clone(), Arc::clone(owner));
        RequestTimings { vec, owner, timings: ByRequest::default(), measure: PhantomData }
    }

    fn forget(&self, owner: &Owner) {
        self.vec.forget(owner);
    }
}

#[derive(Debug)]
pub(super) struct RequestTimings<M> {
    vec: TimingVec,
    owner: Owner,
    timings: ByRequest<TimingSeries>,
    measure: PhantomData<M>,
}

impl<M: Measure> RequestTimings<M> {
    pub(super) fn observe(&mut self, seen: &Seen<'_>, ns: u64) {
        if let Some(timing) = self.timing(seen) {
            timing.observe(ns);
        }
    }

    /// Makes the series of a request exist without an observation.
    pub(super) fn announce(&mut self, seen: &Seen<'_>) {
        self.timing(seen);
    }

    fn timing(&mut self, seen: &Seen<'_>) -> Option<&mut TimingSeries> {
        let request = seen.request?;
        let Self { vec, owner, timings, .. } = self;
        let known = request_values(&request);
        let new = || vec.series(&owned(owner, known.into_iter().take(M::LABELS)));
        Some(timings.change(request.index, new))
    }
}

impl<M> Flush for RequestTimings<M> {
    fn flush(&mut self) {
        self.timings.flush(TimingSeries::flush);
    }
}
