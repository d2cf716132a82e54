//! Labelled [`Histogram`]s: filled by the decode thread, collected by a scrape.
//!
//! The decode thread keeps a [`Timing`] for each series and pushes raw durations into it; nothing
//! is shared until [`Timing::flush`]. A scrape renders classic and native buckets together: the
//! native ones travel as protobuf fields that the `prometheus` crate's older schema does not name
//! but keeps, so only the protobuf format shows them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, Bucket, Metric, MetricFamily, MetricType};

use super::families::Family;
use super::histogram::{Histogram, NATIVE_SCHEMA, NATIVE_ZERO_THRESHOLD};

/// All series of one histogram metric. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct TimingVec {
    family: Family,
    series: Arc<Mutex<Vec<Series>>>,
}

#[derive(Clone, Debug)]
struct Series {
    /// Label values, in the order of the label names.
    values: Vec<String>,
    histogram: Arc<Mutex<Histogram>>,
}

impl TimingVec {
    /// A histogram metric without series. Fails only where a name is not a legal one.
    pub(super) fn new(name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Self> {
        let family = Family::new(name, help, labels, MetricType::HISTOGRAM)?;
        Ok(Self { family, series: Arc::default() })
    }

    /// The series with these label values; it exists from now on.
    pub(super) fn series(&self, values: &[&str]) -> Timing {
        let mut all = lock(&self.series);
        let known = all.iter().find(|series| series.values == values);
        let shared = match known {
            Some(series) => Arc::clone(&series.histogram),
            None => {
                let histogram = Arc::default();
                let values = values.iter().map(|&value| value.to_owned()).collect();
                all.push(Series { values, histogram: Arc::clone(&histogram) });
                histogram
            }
        };
        Timing { shared, pending: Vec::new() }
    }

    /// The label values and the present contents of every series.
    #[must_use]
    pub(super) fn snapshot(&self) -> Vec<(Vec<String>, Histogram)> {
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
pub(super) struct Timing {
    shared: Arc<Mutex<Histogram>>,
    /// Durations not yet shared. Bounded by how often the owner flushes.
    pending: Vec<u64>,
}

impl Timing {
    /// Notes a duration in nanoseconds.
    pub(super) fn observe(&mut self, ns: u64) {
        self.pending.push(ns);
    }

    /// Makes the noted durations visible to scrapes.
    pub(super) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let mut histogram = lock(&self.shared);
        self.pending.drain(..).for_each(|ns| histogram.observe(ns));
    }
}

/// A panic elsewhere cannot leave these values half-changed in a way that matters.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn to_proto(histogram: &Histogram) -> proto::Histogram {
    let mut out = proto::Histogram::default();
    out.set_sample_count(histogram.count());
    out.set_sample_sum(histogram.sum_seconds());
    let buckets = histogram.cumulative().map(|(upper_bound, cumulative_count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(upper_bound);
        bucket.set_cumulative_count(cumulative_count);
        bucket
    });
    out.set_bucket(buckets.collect());
    add_native(&mut out, histogram);
    out
}

/// Field numbers of the native part of `io.prometheus.client.Histogram`, metrics.proto of
/// prometheus/client_model.
mod field {
    pub(super) const SCHEMA: u32 = 5;
    pub(super) const ZERO_THRESHOLD: u32 = 6;
    pub(super) const ZERO_COUNT: u32 = 7;
    pub(super) const POSITIVE_SPAN: u32 = 12;
    pub(super) const POSITIVE_DELTA: u32 = 13;
}

fn add_native(out: &mut proto::Histogram, histogram: &Histogram) {
    let fields = out.special_fields.mut_unknown_fields();
    fields.add_varint(field::SCHEMA, zigzag(i64::from(NATIVE_SCHEMA)));
    fields.add_fixed64(field::ZERO_THRESHOLD, NATIVE_ZERO_THRESHOLD.to_bits());
    fields.add_varint(field::ZERO_COUNT, histogram.zero_count());
    for (offset, length) in spans(histogram.native()) {
        let mut span = vec![0x08]; // field 1, varint
        push_varint(&mut span, zigzag(i64::from(offset)));
        span.push(0x10); // field 2, varint
        push_varint(&mut span, u64::from(length));
        fields.add_length_delimited(field::POSITIVE_SPAN, span);
    }
    if histogram.native().is_empty() {
        // An empty span tells an empty native histogram from a classic one.
        fields.add_length_delimited(field::POSITIVE_SPAN, vec![0x08, 0, 0x10, 0]);
    }
    let mut before = 0i64;
    for &(_, count) in histogram.native() {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        fields.add_varint(field::POSITIVE_DELTA, zigzag(count - before));
        before = count;
    }
}

/// Runs of neighbouring keys: how far each lies behind the end of the one before (the first:
/// behind key 0), and its length.
fn spans(native: &[(i32, u64)]) -> Vec<(i32, u32)> {
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let mut next = 0;
    for &(key, _) in native {
        match spans.last_mut() {
            Some((_, length)) if key == next => *length += 1,
            _ => spans.push((key - next, 1)),
        }
        next = key + 1;
    }
    spans
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timings() -> TimingVec {
        TimingVec::new("test_seconds", "Test.", &["target", "method"]).expect("legal name")
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
    fn spans_start_anew_after_a_hole() {
        assert_eq!(spans(&[(-3, 1), (-2, 5), (1, 1), (2, 1), (3, 9)]), [(-3, 2), (2, 3)]);
        assert_eq!(spans(&[]), []);
    }

    #[test]
    fn zigzag_and_varint_follow_the_protobuf_encoding() {
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
        assert_eq!(zigzag(i64::MIN), u64::MAX);
        let mut out = Vec::new();
        push_varint(&mut out, 300);
        assert_eq!(out, [0xac, 0x02]);
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
