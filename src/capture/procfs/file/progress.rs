//! How far a thread is that reads and plans a file, for those who wait for it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a thread does with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::capture::procfs) enum Stage {
    /// A file system is asked for bytes.
    Reading,
    /// No file system is waited for any more.
    Planning,
    /// It is finished, whatever came of it.
    Done,
}

/// Written by the thread that has the file, read by others.
#[derive(Debug)]
pub(in crate::capture::procfs) struct Progress {
    began: Instant,
    stage: AtomicU8,
    /// When the file system last passed bytes, milliseconds after `began`.
    answered_ms: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self::since(Instant::now())
    }
}

impl Progress {
    /// Reading began then.
    pub(in crate::capture::procfs) fn since(began: Instant) -> Self {
        let stage = AtomicU8::new(Stage::Reading as u8);
        Self { began, stage, answered_ms: AtomicU64::new(0) }
    }

    pub(in crate::capture::procfs) fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    pub(in crate::capture::procfs) fn is(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Relaxed) == stage as u8
    }

    /// Another thread does the work: this one is as far as that.
    pub(in crate::capture::procfs) fn follow(&self, maker: &Self) {
        self.stage.store(maker.stage.load(Ordering::Relaxed), Ordering::Relaxed);
        let silence = maker.silence().min(self.began.elapsed());
        let answered = (self.began.elapsed() - silence).as_millis();
        self.answered_ms.store(u64::try_from(answered).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The file system has passed some bytes.
    pub(in crate::capture::procfs) fn has_answered(&self) {
        let now = self.began.elapsed().as_millis();
        self.answered_ms.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long the file system has passed nothing.
    pub(in crate::capture::procfs) fn silence(&self) -> Duration {
        let answered = Duration::from_millis(self.answered_ms.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_lasts_until_bytes_come() {
        let progress = Progress::since(Instant::now() - Duration::from_secs(60));
        assert!(progress.silence() >= Duration::from_secs(60));
        progress.has_answered();
        assert!(progress.silence() < Duration::from_secs(60));
        assert!(progress.is(Stage::Reading));
        progress.enter(Stage::Planning);
        assert!(progress.is(Stage::Planning));
    }

    #[test]
    fn who_waits_for_another_is_as_far_as_that() {
        let maker = Progress::since(Instant::now() - Duration::from_secs(60));
        let waiting = Progress::since(Instant::now() - Duration::from_secs(5));
        waiting.has_answered();
        waiting.follow(&maker);
        let silence = waiting.silence();
        assert!(silence >= Duration::from_secs(4), "no longer than it has waited: {silence:?}");
        maker.has_answered();
        maker.enter(Stage::Planning);
        waiting.follow(&maker);
        assert!(waiting.is(Stage::Planning) && waiting.silence() < Duration::from_secs(4));
    }
}
