//! Limits how many requests are answered in a time, whoever asks: a bucket of tokens.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// `burst` requests at once, then one for each interval.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    burst: u32,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Pace {
    /// `interval` and `burst` are above 0.
    pub(super) fn new(interval: Duration, burst: u32) -> Self {
        let bucket = Bucket { tokens: f64::from(burst), filled: Instant::now() };
        Self { interval, burst, bucket: Mutex::new(bucket) }
    }

    /// Whether one more request may be answered now.
    pub(super) fn allows(&self) -> bool {
        self.allows_at(Instant::now())
    }

    fn allows_at(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(bucket.filled);
        let gained = passed.as_secs_f64() / self.interval.as_secs_f64();
        bucket.tokens = (bucket.tokens + gained).min(f64::from(self.burst));
        bucket.filled = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_answered_and_then_one_for_each_interval() {
        let second = Duration::from_secs(1);
        let pace = Pace::new(second, 3);
        let start = Instant::now();
        let allowed = |after: Duration| pace.allows_at(start + after);
        assert_eq!([0; 5].map(|_| allowed(Duration::ZERO)), [true, true, true, false, false]);
        assert_eq!([0; 2].map(|_| allowed(second)), [true, false]);
        let later = second * 3_600;
        assert_eq!(
            [0; 4].map(|_| allowed(later)),
            [true, true, true, false],
            "no more than a burst"
        );
    }
}
