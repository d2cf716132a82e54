//! What everything that is written from observations has in common.

use std::io;

use crate::observation::Observation;

/// The process that an observation is about, as the caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process<'a> {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// `/proc/PID/comm`.
    pub comm: &'a str,
}

/// Writes observations in one format. It keeps the first error that writing meets, and is closed from
/// then on.
pub trait View {
    /// From now on times are those of a clock that differs from `CLOCK_MONOTONIC` by so many
    /// nanoseconds.
    fn set_wall_offset_ns(&mut self, wall_offset_ns: i128);

    /// Writes what comes before everything else, unless that has been done.
    fn begin(&mut self);

    /// Writes what this format has for `observation`.
    fn observe(&mut self, observation: &Observation<'_>, process: Process<'_>);

    /// Time has passed, up to `now_ns` of the clock of the observations.
    fn tick(&mut self, _now_ns: u64) {}

    /// The next ticks will show something that has been observed already.
    fn holds_back(&self) -> bool {
        false
    }

    /// Shows what was written so far.
    fn flush(&mut self);

    /// Nothing more is wanted, or nothing can be written.
    fn is_closed(&self) -> bool;

    /// Shows the rest. Returns a sentence about what is missing in what was written, if something is.
    ///
    /// # Errors
    ///
    /// Something could not be written. That the reader has gone is no error: it has seen what it
    /// wanted.
    fn finish(self: Box<Self>) -> io::Result<Option<String>>;
}

/// The sentence about `cut` of so many `messages` that are not whole in a file.
pub(super) fn cut_sentence(cut: u64, messages: u64) -> Option<String> {
    (cut > 0).then(|| {
        format!(
            "{cut} of {messages} messages are not whole in the file: more of them was not kept, or \
             cannot be read; `wstap record --payload all` keeps messages of up to 16 MiB whole"
        )
    })
}
