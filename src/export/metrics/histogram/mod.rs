//! A histogram of durations, or of sizes, that serves both of Prometheus's histogram kinds from one
//! lock.
//!
//! The *classic* buckets are what every Prometheus understands: 21 bounds for answers, 16 wider ones
//! for streams and so on. The *native* buckets (schema 3: eight to a power of two, so at most 9 % wide) are what
//! newer servers and our own pages use for quantiles. Both count every observation once, so a
//! scrape in either format sees the same total.

pub(in crate::export) mod labelled;
mod native;

use std::time::Duration;

/// Upper bounds of the classic buckets in nanoseconds, inclusive.
pub type Bounds = [u64];

/// For the time to an answer: 100 us, doubled 20 times, up to 105 s: beyond the time after which a
/// request expires unless it was told otherwise.
pub const ANSWER_BOUNDS_NS: [u64; 21] = bounds(100_000, 2);

/// For how long something goes on: 1 ms, taken four times 15 times, up to 12 days.
pub const STREAM_BOUNDS_NS: [u64; 16] = bounds(1_000_000, 4);

/// For the time between two messages: 10 us, taken four times 15 times, up to 3 hours.
pub const INTERVAL_BOUNDS_NS: [u64; 16] = bounds(10_000, 4);

/// For how old a message is: 1 ms, doubled 20 times, up to 17 minutes. What is shorter says more of the
/// two clocks than of the way.
pub const LAG_BOUNDS_NS: [u64; 21] = bounds(1_000_000, 2);

/// For the size of a message: 64 bytes, taken four times 11 times, up to 256 MiB.
pub const SIZE_BOUNDS: [u64; 12] = bounds(64, 4);

/// What a histogram counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Durations, observed in nanoseconds and shown in seconds.
    Seconds,
    /// Sizes.
    Bytes,
}

impl Unit {
    /// How many of what is observed are one of what is shown.
    const fn scale(self) -> f64 {
        match self {
            Self::Seconds => 1e9,
            Self::Bytes => 1.0,
        }
    }
}

const fn bounds<const N: usize>(first: u64, ratio: u64) -> [u64; N] {
    let mut bounds = [first; N];
    let mut i = 1;
    while i < bounds.len() {
        bounds[i] = bounds[i - 1] * ratio;
        i += 1;
    }
    bounds
}

/// Native histogram schema: the ratio of neighbouring bounds is 2^(2^-schema).
pub const NATIVE_SCHEMA: i32 = 3;

/// Observations at or below this many seconds count as zero; 2^-128, as in other clients.
pub const NATIVE_ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);

const PER_OCTAVE: i32 = 1 << NATIVE_SCHEMA;

/// Lower halves of the bounds in one octave: `2^(i / 8) / 2`, the nearest doubles.
const OCTAVE: [f64; PER_OCTAVE as usize] = [
    0.5,
    0.545_253_866_332_628_8,
    0.594_603_557_501_360_5,
    0.648_419_777_325_504_8,
    std::f64::consts::FRAC_1_SQRT_2,
    0.771_105_412_703_970_4,
    0.840_896_415_253_714_5,
    0.917_004_043_204_671_2,
];

/// Durations or sizes, counted. Sums are exact.
///
/// Bounded: at most 22 classic buckets, and at most one native bucket for each of the 272 or so that a
/// duration of 1 ns to 584 years can fall into (in practice a few dozen).
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: &'static Bounds,
    unit: Unit,
    count: u64,
    sum: u128,
    zero: u64,
    /// The least and the greatest one; meaningless before the first.
    range: (u64, u64),
    /// One more than there are bounds.
    classic: Box<[u64]>,
    /// (key, count), sorted by key; the bucket holds `base^(key-1) < seconds <= base^key`.
    native: Vec<(i32, u64)>,
}

impl Histogram {
    /// Of durations, without observations.
    #[must_use]
    pub fn new(bounds: &'static Bounds) -> Self {
        Self::of(Unit::Seconds, bounds)
    }

    /// Without observations.
    #[must_use]
    pub fn of(unit: Unit, bounds: &'static Bounds) -> Self {
        let classic = vec![0; bounds.len() + 1].into();
        let range = (u64::MAX, 0);
        Self { bounds, unit, count: 0, sum: 0, zero: 0, range, classic, native: Vec::new() }
    }

    /// Counts one duration in nanoseconds, or one size in bytes.
    pub fn observe(&mut self, value: u64) {
        self.count += 1;
        self.sum += u128::from(value);
        self.range = (self.range.0.min(value), self.range.1.max(value));
        self.classic[self.bounds.partition_point(|&bound| bound < value)] += 1;
        if value == 0 {
            self.zero += 1;
            return;
        }
        let key = native_key(value as f64 / self.unit.scale());
        match self.native.binary_search_by_key(&key, |&(key, _)| key) {
            Ok(at) => self.native[at].1 += 1,
            Err(at) => self.native.insert(at, (key, 1)),
        }
    }

    /// Adds the observations of `other`. The classic buckets are added only where both have the same
    /// bounds.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.zero += other.zero;
        self.range = (self.range.0.min(other.range.0), self.range.1.max(other.range.1));
        if self.bounds == other.bounds {
            for (sum, count) in self.classic.iter_mut().zip(&other.classic) {
                *sum += count;
            }
        }
        for &(key, count) in &other.native {
            match self.native.binary_search_by_key(&key, |&(key, _)| key) {
                Ok(at) => self.native[at].1 += count,
                Err(at) => self.native.insert(at, (key, count)),
            }
        }
    }

    /// Observations by powers of two: (exponent of the upper bound in seconds, count), sorted, none
    /// of them empty. Observations of zero are left out.
    #[must_use]
    pub fn by_octave(&self) -> Vec<(i32, u64)> {
        let mut octaves: Vec<(i32, u64)> = Vec::new();
        for &(key, count) in &self.native {
            // The bucket of this key ends at 2^(key / 8).
            let octave = key.div_euclid(PER_OCTAVE) + i32::from(key.rem_euclid(PER_OCTAVE) > 0);
            match octaves.last_mut() {
                Some((last, sum)) if *last == octave => *sum += count,
                _ => octaves.push((octave, count)),
            }
        }
        octaves
    }

    /// Number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sum of all observations, in seconds or bytes.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum as f64 / self.unit.scale()
    }

    /// Mean duration, `None` before the first observation.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.sum.checked_div(u128::from(self.count))?;
        Some(Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    /// `(upper bound in seconds or bytes, observations at or below it)` for each classic bucket but
    /// `+Inf`.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let scale = self.unit.scale();
        self.bounds.iter().zip(&self.classic).scan(0, move |total, (&bound, &count)| {
            *total += count;
            Some((bound as f64 / scale, *total))
        })
    }

    /// Observations of zero.
    #[must_use]
    pub fn zero_count(&self) -> u64 {
        self.zero
    }

    /// The native buckets as (key, count), sorted by key, none of them empty.
    #[must_use]
    pub fn native(&self) -> &[(i32, u64)] {
        &self.native
    }

    /// The duration that a share `q` (0 to 1) of the observations did not exceed, or `None`
    /// before the first.
    ///
    /// Read from the native buckets with exponential interpolation inside the bucket, so it is
    /// off by less than the bucket's width: 9 %. It is never outside of what was observed, so that
    /// all quantiles of a single observation are that observation.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        if self.count == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * self.count as f64;
        let mut below = self.zero as f64;
        if self.zero > 0 && rank <= below {
            return Some(Duration::ZERO);
        }
        let mut seconds = 0.0;
        for &(key, count) in &self.native {
            let share = ((rank - below) / count as f64).min(1.0);
            seconds = upper_bound(key - 1) * (upper_bound(key) / upper_bound(key - 1)).powf(share);
            below += count as f64;
            if rank <= below {
                break;
            }
        }
        let (shortest, longest) = self.range;
        let quantile = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Some(quantile.clamp(Duration::from_nanos(shortest), Duration::from_nanos(longest)))
    }
}

/// Upper bound of a native bucket in seconds.
fn upper_bound(key: i32) -> f64 {
    let octave = key.div_euclid(PER_OCTAVE);
    OCTAVE[key.rem_euclid(PER_OCTAVE) as usize] * 2f64.powi(octave + 1)
}

/// The native bucket of a duration in seconds, or a size, of at least 1e-9.
///
/// Works on the parts of the double instead of a logarithm, so that a value on a bound is never
/// put on the wrong side of it by rounding.
fn native_key(value: f64) -> i32 {
    let bits = value.to_bits();
    // A double of 1e-9 or more is never subnormal: value = fraction * 2^exponent, fraction in
    // [0.5, 1).
    let exponent = (bits >> 52) as i32 - 1022;
    let fraction = f64::from_bits(bits & ((1 << 52) - 1) | 1022 << 52);
    OCTAVE.partition_point(|&bound| bound < fraction) as i32 + (exponent - 1) * PER_OCTAVE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(durations: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::new(&ANSWER_BOUNDS_NS);
        durations.into_iter().for_each(|ns| histogram.observe(ns));
        histogram
    }

    #[test]
    fn classic_bounds_run_from_100_us_to_105_s_or_from_1_ms_to_12_days() {
        let ends = |bounds: &'static Bounds| {
            let bounds: Vec<f64> = Histogram::new(bounds).cumulative().map(|(le, _)| le).collect();
            (bounds.len(), bounds[0], bounds[1], bounds[bounds.len() - 1])
        };
        assert_eq!(ends(&ANSWER_BOUNDS_NS), (21, 0.0001, 0.0002, 104.8576));
        assert_eq!(ends(&STREAM_BOUNDS_NS), (16, 0.001, 0.004, 1_073_741.824));
    }

    #[test]
    fn a_size_is_shown_as_it_is() {
        let mut sizes = Histogram::of(Unit::Bytes, &SIZE_BOUNDS);
        [64, 65, 1024].into_iter().for_each(|bytes| sizes.observe(bytes));
        assert_eq!(sizes.sum(), 1153.0);
        assert_eq!(
            sizes.cumulative().take(3).collect::<Vec<_>>(),
            [(64.0, 1), (256.0, 2), (1024.0, 3)]
        );
        assert_eq!(sizes.native(), [(48, 1), (49, 1), (80, 1)]);
    }

    #[test]
    fn a_bound_is_inclusive() {
        let at = |ns| of([ns]).cumulative().next().map(|(_, count)| count);
        assert_eq!(at(100_000), Some(1));
        assert_eq!(at(100_001), Some(0));
    }

    #[test]
    fn a_native_bound_is_inclusive_and_keys_follow_the_powers_of_two() {
        // 1 s = base^0, 2 s = base^8, 0.5 s = base^-8.
        for (ns, key) in [(1_000_000_000, 0), (2_000_000_000, 8), (500_000_000, -8)] {
            assert_eq!(of([ns]).native(), [(key, 1)]);
            assert_eq!(of([ns + 1]).native(), [(key + 1, 1)]);
        }
    }

    #[test]
    fn zero_has_a_bucket_of_its_own() {
        let histogram = of([0, 0]);
        assert_eq!((histogram.zero_count(), histogram.native().len()), (2, 0));
        assert_eq!(histogram.quantile(0.5), Some(Duration::ZERO));
    }

    #[test]
    fn every_quantile_of_a_single_observation_is_that_observation() {
        for ns in [1, 22_000_000, 59_000_000_000] {
            for q in [0.0, 0.5, 0.99, 1.0] {
                assert_eq!(of([ns]).quantile(q), Some(Duration::from_nanos(ns)));
            }
        }
    }

    #[test]
    fn an_empty_histogram_has_no_quantile_and_no_mean() {
        assert_eq!(Histogram::new(&ANSWER_BOUNDS_NS).quantile(0.5), None);
        assert_eq!(Histogram::new(&ANSWER_BOUNDS_NS).mean(), None);
    }

    #[test]
    fn octave_constants_are_the_powers_they_claim_to_be() {
        for (i, &bound) in OCTAVE.iter().enumerate() {
            assert!((bound - 2f64.powf(i as f64 / 8.0) / 2.0).abs() < 1e-16, "{i}");
        }
    }

    #[test]
    fn octaves_end_at_powers_of_two() {
        let (second, half) = (1_000_000_000, 500_000_000);
        assert_eq!(of([second, half + 1, second + 1, 0]).by_octave(), [(0, 2), (1, 1)]);
    }

    proptest! {
        #[test]
        fn merging_is_the_same_as_observing_all(
            one in prop::collection::vec(0u64..100_000_000_000, 0..50),
            other in prop::collection::vec(0u64..100_000_000_000, 0..50),
            q in 0.0..1.0,
        ) {
            let mut merged = of(one.iter().copied());
            merged.merge(&of(other.iter().copied()));
            let whole = of(one.into_iter().chain(other));
            prop_assert_eq!(merged.count(), whole.count());
            prop_assert_eq!(merged.native(), whole.native());
            prop_assert_eq!(merged.quantile(q), whole.quantile(q));
            prop_assert!(merged.cumulative().eq(whole.cumulative()));
        }

        #[test]
        fn every_duration_lies_inside_its_native_bucket(ns in 1u64..) {
            let seconds = ns as f64 / 1e9;
            let key = native_key(seconds);
            prop_assert!(upper_bound(key - 1) < seconds && seconds <= upper_bound(key));
        }

        #[test]
        fn classic_and_native_buckets_count_every_observation_once(
            durations in prop::collection::vec(any::<u64>(), 0..200),
        ) {
            let histogram = of(durations.iter().copied());
            let native: u64 = histogram.native().iter().map(|&(_, count)| count).sum();
            prop_assert_eq!(native + histogram.zero_count(), durations.len() as u64);
            prop_assert_eq!(histogram.classic.iter().sum::<u64>(), durations.len() as u64);
            prop_assert!(histogram.native().is_sorted_by(|a, b| a.0 < b.0));
        }

        #[test]
        fn a_quantile_is_within_a_bucket_of_the_exact_one(
            mut durations in prop::collection::vec(1_000u64..10_000_000_000, 1..300),
            q in 0.0f64..=1.0,
        ) {
            let estimate = of(durations.iter().copied()).quantile(q).expect("not empty");
            durations.sort_unstable();
            let rank = (q * durations.len() as f64).ceil().max(1.0) as usize;
            let exact = durations[rank - 1] as f64 / 1e9;
            let ratio = estimate.as_secs_f64() / exact;
            prop_assert!((0.90..=1.10).contains(&ratio), "{estimate:?} for {exact} s");
        }
    }
}
