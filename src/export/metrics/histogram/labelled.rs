//! Labelled [`Histogram`]s: filled by the decode thread, collected by a scrape.
//!
//! The decode thread keeps a [`Timing`] for each series and pushes raw values into it; nothing
//! is shared until [`Timing::flush`]. A scrape renders classic and native buckets together: the
//! native ones travel as protobuf fields that the `prometheus` crate's older schema does not name
//! but keeps, so only the protobuf format shows them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, Bucket, Metric, MetricFamily, MetricType};

use super::native;
use crate::export::metrics::families::Family;
use crate::export::metrics::histogram::{Bounds, Histogram, Unit};

/// All series of one histogram metric. Clones share them.
#[derive(Clone, Debug)]
pub(in crate::export) struct TimingVec {
    family: Family,
    unit: Unit,
    bounds: &'static Bounds,
    series: Arc<Mutex<Vec<Series>>>,
}

#[derive(Clone, Debug)]
struct Series {
    /// Label values, in the order of the label names.
    values: Vec<String>,
    histogram: Arc<Mutex<Histogram>>,
}

impl TimingVec {
    /// A histogram metric of durations without series. Fails only where a name is not a legal one.
    pub(in crate::export) fn new(
        name: &str,
        help: &str,
        labels: &[&str],
        bounds: &'static Bounds,
    ) -> prometheus::Result<Self> {
        let family = Family::new(name, help, labels, MetricType::HISTOGRAM)?;
        Ok(Self { family, unit: Unit::Seconds, bounds, series: Arc::default() })
    }

    /// The same of what has another unit. For a metric that has no series yet.
    pub(in crate::export) fn of(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    /// The series with these label values; it exists from now on.
    pub(in crate::export) fn series(&self, values: &[&str]) -> Timing {
        let mut all = lock(&self.series);
        let known = all.iter().find(|series| series.values == values);
        let shared = match known {
            Some(series) => Arc::clone(&series.histogram),
            None => {
                let histogram = Arc::new(Mutex::new(Histogram::of(self.unit, self.bounds)));
                let values = values.iter().map(|&value| value.to_owned()).collect();
                all.push(Series { values, histogram: Arc::clone(&histogram) });
                histogram
            }
        };
        Timing { shared, pending: Vec::new() }
    }

    /// Takes away the series whose label values begin with these.
    pub(in crate::export) fn forget(&self, first: &[Box<str>]) {
        let begins = |values: &[String]| {
            values.len() >= first.len() && values.iter().zip(first).all(|(a, b)| **a == **b)
        };
        lock(&self.series).retain(|series| !begins(&series.values));
    }

    /// The label values and the present contents of every series.
    #[must_use]
    pub(in crate::export) fn snapshot(&self) -> Vec<(Vec<String>, Histogram)> {
        let all = lock(&self.series).clone();
        all.into_iter().map(|series| (series.values, lock(&series.histogram).clone())).collect()
    }
}

impl Collector for TimingVec {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.family.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let series = self.snapshot().into_iter().map(|(values, histogram)| {
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            let mut metric = Metric::from_label(self.family.labels(&values));
            metric.set_histogram(to_proto(&histogram));
            metric
        });
        vec![self.family.with(series.collect())]
    }
}

/// The decode thread's end of one series.
#[derive(Debug)]
pub(in crate::export) struct Timing {
    shared: Arc<Mutex<Histogram>>,
    /// What is not shared yet. Bounded by how often the owner flushes.
    pending: Vec<u64>,
}

impl Timing {
    /// Notes a duration in nanoseconds, or a size.
    pub(in crate::export) fn observe(&mut self, value: u64) {
        self.pending.push(value);
    }

    /// Makes what was noted visible to scrapes.
    pub(in crate::export) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut histogram = lock(&self.shared);
        self.pending.drain(..).for_each(|value| histogram.observe(value));
    }
}

/// A panic elsewhere cannot leave these values half-changed in a way that matters.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn to_proto(histogram: &Histogram) -> proto::Histogram {
    let mut out = proto::Histogram::default();
    out.set_sample_count(histogram.count());
    out.set_sample_sum(histogram.sum());
    let buckets = histogram.cumulative().map(|(upper_bound, cumulative_count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(upper_bound);
        bucket.set_cumulative_count(cumulative_count);
        bucket
    });
    out.set_bucket(buckets.collect());
    native::add(&mut out, histogram);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::metrics::histogram::ANSWER_BOUNDS_NS;

    fn timings() -> TimingVec {
        let labels = &["target", "method"];
        TimingVec::new("test_seconds", "Test.", labels, &ANSWER_BOUNDS_NS).expect("legal name")
    }

    #[test]
    fn a_duration_is_visible_after_the_flush_and_not_before() {
        let timings = timings();
        let mut series = timings.series(&["feed", "ping"]);
        series.observe(5);
        series.observe(6);
        assert_eq!(timings.snapshot()[0].1.count(), 0);
        series.flush();
        assert_eq!(timings.snapshot()[0].1.count(), 2);
    }

    #[test]
    fn the_same_labels_are_the_same_series() {
        let timings = timings();
        for _ in 0..2 {
            let mut series = timings.series(&["feed", "ping"]);
            series.observe(5);
            series.flush();
        }
        assert_eq!(timings.snapshot().len(), 1);
        assert_eq!(timings.snapshot()[0].1.count(), 2);
    }

    #[test]
    fn classic_buckets_are_cumulative_and_labels_sorted() {
        let timings = timings();
        let mut series = timings.series(&["feed", "ping"]);
        for ns in [50_000, 150_000, 10_000_000_000] {
            series.observe(ns);
        }
        series.flush();
        let families = timings.collect();
        let metric = &families[0].get_metric()[0];
        let names: Vec<_> = metric.get_label().iter().map(|label| label.name()).collect();
        assert_eq!(names, ["method", "target"]);
        let buckets = &metric.get_histogram().bucket;
        assert_eq!(buckets[0].cumulative_count(), 1);
        assert_eq!(buckets[1].cumulative_count(), 2);
        assert_eq!(buckets[15].cumulative_count(), 2);
        assert_eq!(metric.get_histogram().sample_count(), 3);
    }
}
