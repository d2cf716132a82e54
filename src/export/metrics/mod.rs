//! Observations in, metrics out: the decode thread's half of the exporter.
//!
//! [`Metrics::record`] is on the hot path, so it only changes plain numbers of its own: every
//! series it may need is looked up once and kept. [`Metrics::flush`] moves the numbers to the
//! shared registry; the owner calls it at the end of each batch, and whenever it falls idle.
//! Scrapes therefore never hold up the decoder.

mod by_protocol;
mod by_request;
pub mod exposition;
mod facts;
mod families;
pub mod histogram;
mod labels;
mod row;
pub(in crate::export) mod rows;
mod shapes;

use std::sync::{Arc, Mutex};

use prometheus::Registry;

use self::by_protocol::Protocols;
use self::by_request::Requests;
use self::row::Seen;
use self::rows::{Catalogue, Series};
use super::status::{LossCounters, SharedLosses, Status};
use super::summary::View;
use crate::event::TargetId;
use crate::observation::Observation;

/// Observations after which [`Metrics::record`] flushes by itself, so that a batch without end
/// cannot pile up durations or hide from scrapes.
const FLUSH_EVERY: u32 = 4_096;

/// Two clocks that drift apart by more than this were not read badly: one was set.
const CLOCK_SET_NS: u64 = 1_000_000;

/// Name of the series for a target that was not announced; it should never appear.
const UNKNOWN_TARGET: &str = "__unknown__";

/// One target's numbers.
#[derive(Debug)]
struct Target {
    requests: Requests,
    protocols: Protocols,
    series: Series,
}

impl Target {
    fn new(all: &Catalogue, name: &str) -> Self {
        let (requests, protocols) = Default::default();
        Self { requests, protocols, series: Series::new(all, name) }
    }

    fn record(&mut self, observation: &Observation<'_>, wall_offset_ns: i64) {
        self.series.record(&Seen {
            what: &observation.what,
            wall_ns: observation.at_ns.cast_signed().saturating_add(wall_offset_ns),
            transport: observation.conn.transport(),
            http: observation.conn.http(),
            role: observation.role,
            request: self.requests.find(&observation.what),
            protocol: self.protocols.find(&observation.what),
        });
    }
}

/// Turns observations into metrics. One thread owns it; scrapes go through [`Metrics::registry`].
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    gate: Arc<Mutex<()>>,
    losses: SharedLosses,
    all: Catalogue,
    /// In `TargetId` order; behind the announced ones at most one more, for all others.
    targets: Vec<Target>,
    announced: usize,
    unflushed: u32,
    wall_offset_ns: i64,
}

impl Metrics {
    /// Registers every metric, with `targets` as the `target` label in `TargetId` order, and makes
    /// every series that is known in advance exist at 0.
    ///
    /// `status` and `losses` are read at each scrape. Fails only where two metrics clash, which is
    /// a mistake in the catalogue.
    pub fn new(
        targets: &[impl AsRef<str>],
        status: Arc<Status>,
        losses: impl LossCounters + 'static,
    ) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let all = Catalogue::register(&registry)?;
        let losses = SharedLosses(Arc::new(losses));
        facts::register(&registry, status, losses.clone())?;
        let names = targets.iter().map(AsRef::as_ref);
        Ok(Self {
            registry,
            gate: Arc::default(),
            losses,
            targets: names.map(|name| Target::new(&all, name)).collect(),
            announced: targets.len(),
            all,
            unflushed: 0,
            wall_offset_ns: 0,
        })
    }

    /// Closed while a scrape is gathered or a batch is flushed.
    pub(super) fn gate(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.gate)
    }

    /// What the kernel side lost, for any thread.
    pub(super) fn losses(&self) -> SharedLosses {
        self.losses.clone()
    }

    /// The registry to gather from, on any thread.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// The same numbers, summed up for people; on any thread.
    #[must_use]
    pub fn view(&self) -> View {
        View::new(self.all.clone())
    }

    /// Says what to add to the times of what is recorded from now on, to get nanoseconds since 1970.
    pub fn set_wall_offset_ns(&mut self, wall_offset_ns: i64) {
        self.wall_offset_ns = wall_offset_ns;
    }

    /// The same where the wall clock has been set anew: less than a millisecond is only how exactly two
    /// clocks can be read.
    pub fn keep_wall_offset_ns(&mut self, wall_offset_ns: i64) {
        if self.wall_offset_ns.abs_diff(wall_offset_ns) > CLOCK_SET_NS {
            self.wall_offset_ns = wall_offset_ns;
        }
    }

    /// Counts one observation.
    pub fn record(&mut self, observation: &Observation<'_>) {
        let wall_offset_ns = self.wall_offset_ns;
        self.target(observation.target).record(observation, wall_offset_ns);
        self.unflushed += 1;
        if self.unflushed >= FLUSH_EVERY {
            self.flush();
        }
    }

    /// Makes everything recorded so far visible to scrapes. Costs next to nothing where nothing
    /// was recorded.
    ///
    /// While a scrape is being gathered nothing is moved, so that a scrape sees batches whole and
    /// the decoder never waits for one: the next flush comes soon.
    pub fn flush(&mut self) {
        if self.unflushed == 0 {
            return;
        }
        let Ok(_whole) = self.gate.try_lock() else { return };
        self.unflushed = 0;
        self.targets.iter_mut().for_each(|target| target.series.flush());
    }

    /// Targets that were not announced share one more entry, made when it is needed.
    fn target(&mut self, id: TargetId) -> &mut Target {
        let at = usize::from(id.0).min(self.announced);
        if at == self.targets.len() {
            self.targets.push(Target::new(&self.all, UNKNOWN_TARGET));
        }
        &mut self.targets[at]
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod feed_tests;
#[cfg(test)]
mod tests;
