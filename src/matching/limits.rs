//! Bounds of the matching's memory, and its times.

/// Bounds and times of the matching. A bound of 0 is taken as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchLimits {
    /// Requests that wait for an answer on one connection; the oldest is evicted.
    pub pending_per_connection: usize,
    /// Requests that wait for an answer in all, about 110 bytes each; the oldest is evicted.
    pub pending_total: usize,
    /// Nanoseconds after which a request without an answer has expired.
    pub timeout_ns: u64,
    /// Events of different threads may arrive in the wrong order. An answer without a request
    /// waits this many nanoseconds of event time for the request to turn up.
    pub reorder_window_ns: u64,
    /// Answers that wait so on one connection; the oldest becomes an orphan.
    pub early_per_connection: usize,
    /// The same in all; beyond it, an answer without a request does not wait.
    pub early_total: usize,
    /// Ids of one connection that are remembered after their request expired, was evicted or was
    /// cancelled, to tell a late answer from one that nobody asked for.
    pub late_per_connection: usize,
    /// The same in all.
    pub late_total: usize,
    /// Answered requests of one connection that more answers may come for; the oldest is
    /// forgotten.
    pub streams_per_connection: usize,
    /// The same in all.
    pub streams_total: usize,
    /// Requests without an id, answered in order, in one queue of a connection; the oldest is
    /// evicted.
    pub queue_length: usize,
    /// Different method labels for each target; more become `__other__`.
    pub methods_per_target: usize,
    /// Channels of one connection whose sequence is followed; more are not.
    pub channels_per_connection: usize,
    /// The same in all, about 150 bytes each.
    pub channels_total: usize,
    /// Nanoseconds after which a connection without a data message is quiet; 0 for never.
    pub quiet_after_ns: u64,
}

impl Default for MatchLimits {
    fn default() -> Self {
        Self {
            pending_per_connection: 4_096,
            pending_total: 262_144,
            timeout_ns: 60_000_000_000,
            reorder_window_ns: 1_000_000_000,
            early_per_connection: 64,
            early_total: 65_536,
            late_per_connection: 1_024,
            late_total: 65_536,
            streams_per_connection: 1_024,
            streams_total: 65_536,
            queue_length: 64,
            methods_per_target: 128,
            channels_per_connection: 1_024,
            channels_total: 65_536,
            quiet_after_ns: 0,
        }
    }
}

impl MatchLimits {
    /// With every bound at least 1 and small enough for the tables' 32-bit positions.
    pub(super) fn checked(self) -> Self {
        let bound = |count: usize| count.clamp(1, 1 << 24);
        Self {
            pending_per_connection: bound(self.pending_per_connection),
            pending_total: bound(self.pending_total),
            early_per_connection: bound(self.early_per_connection),
            early_total: bound(self.early_total),
            late_per_connection: bound(self.late_per_connection),
            late_total: bound(self.late_total),
            streams_per_connection: bound(self.streams_per_connection),
            streams_total: bound(self.streams_total),
            queue_length: bound(self.queue_length),
            methods_per_target: bound(self.methods_per_target),
            channels_per_connection: bound(self.channels_per_connection),
            channels_total: bound(self.channels_total),
            ..self
        }
    }
}
