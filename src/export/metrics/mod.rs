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
mod instances;
mod labels;
mod row;
pub(in crate::export) mod rows;
mod shapes;

use std::sync::{Arc, Mutex};

use prometheus::Registry;

use self::by_protocol::Protocols;
use self::by_request::Requests;
pub use self::instances::{Home, InstanceLabel};
use self::instances::{Instances, Place};
use self::row::{Owner, Seen, Shape};
use self::rows::{Catalogue, Series};
use super::status::{LossCounters, SharedLosses, Status};
use super::summary::View;
use crate::event::TargetId;
use crate::observation::{Observation, What};

/// Observations after which [`Metrics::record`] flushes by itself, so that a batch without end
/// cannot pile up durations or hide from scrapes.
const FLUSH_EVERY: u32 = 4_096;

/// Two clocks that drift apart by more than this were not read badly: one was set.
const CLOCK_SET_NS: u64 = 1_000_000;

/// The numbers of one instance, which mostly is a whole target.
#[derive(Debug)]
struct Numbers {
    owner: Owner,
    requests: Requests,
    protocols: Protocols,
    series: Series,
    /// Something was recorded since the last flush.
    is_dirty: bool,
}

impl Numbers {
    fn new(all: &Catalogue, owner: &Owner) -> Self {
        let (requests, protocols) = Default::default();
        let series = Series::new(all, owner);
        Self { owner: Arc::clone(owner), requests, protocols, series, is_dirty: false }
    }

    fn record(&mut self, observation: &Observation<'_>, wall_offset_ns: i64) {
        self.is_dirty = true;
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

    fn flush(&mut self) {
        if std::mem::take(&mut self.is_dirty) {
            self.series.flush();
        }
    }
}

/// Turns observations into metrics. One thread owns it; scrapes go through [`Metrics::registry`].
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    gate: Arc<Mutex<()>>,
    losses: SharedLosses,
    all: Catalogue,
    instances: Instances,
    /// By number of the instance.
    numbers: Vec<Numbers>,
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
        let targets: Vec<_> =
            targets.iter().map(|name| (name.as_ref(), &[] as &[InstanceLabel])).collect();
        Self::with_labels(&targets, status, losses)
    }

    /// The same, with labels for each target that tell its processes or connections apart. The series of
    /// such a target exist from when its first process has [arrived](Self::arrived).
    ///
    /// # Errors
    ///
    /// As [`Metrics::new`].
    pub fn with_labels(
        targets: &[(&str, &[InstanceLabel])],
        status: Arc<Status>,
        losses: impl LossCounters + 'static,
    ) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let instances = Instances::new(targets.iter().copied());
        let labels = instances.label_names();
        let all = Catalogue::register(&registry, &labels)?;
        let overflow = all.label_overflow.of(&Owner::default());
        labels.iter().for_each(|label| overflow.announce(&[label]));
        let losses = SharedLosses(Arc::new(losses));
        let of_targets = targets.iter().map(|(_, labels)| labels.to_vec()).collect();
        facts::register(&registry, status, losses.clone(), of_targets)?;
        let mut metrics = Self {
            registry,
            gate: Arc::default(),
            losses,
            all,
            instances,
            numbers: Vec::new(),
            unflushed: 0,
            wall_offset_ns: 0,
        };
        let Self { all, instances, numbers, .. } = &mut metrics;
        instances.begin_all(&mut |place, owner| begin(all, numbers, place, owner));
        Ok(metrics)
    }

    /// A process of a target is going to be tapped, or has moved to this home: where labels of processes
    /// are wanted, its series exist from now on.
    pub fn arrived(&mut self, target: TargetId, pid: u32, home: Home) {
        let Self { all, instances, numbers, .. } = self;
        let begin = &mut |place, owner: &Owner| begin(all, numbers, place, owner);
        instances.arrived(target.0, pid, home, begin);
    }

    /// A process has made a copy of itself, which is at home where it is.
    pub fn forked(&mut self, pid: u32, parent: u32) {
        self.instances.forked(pid, parent);
    }

    /// A process that had [arrived](Self::arrived) has ended.
    pub fn ended(&mut self, pid: u32) {
        self.instances.ended(pid);
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
        let Self { all, instances, numbers, wall_offset_ns, .. } = self;
        let begin = &mut |place, owner: &Owner| begin(all, numbers, place, owner);
        let at = instances.find(observation, begin);
        numbers[at].record(observation, *wall_offset_ns);
        for label in instances.take_folded() {
            let folded = Observation { what: What::LabelOverflow(label), ..observation.clone() };
            numbers[at].record(&folded, *wall_offset_ns);
        }
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
        self.numbers.iter_mut().for_each(Numbers::flush);
    }
}

/// Makes the series of a new instance, and takes those away in whose place they come.
fn begin(all: &Catalogue, numbers: &mut Vec<Numbers>, place: Place, owner: &Owner) {
    match place {
        Place::Next => numbers.push(Numbers::new(all, owner)),
        Place::InsteadOf(at) => {
            all.forget(&numbers[at].owner);
            numbers[at] = Numbers::new(all, owner);
        }
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
