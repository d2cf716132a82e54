//! Observations in, metrics out: the decode thread's half of the exporter.
//!
//! [`Metrics::record`] is on the hot path, so it only changes plain numbers of its own: every
//! series it may need is looked up once and kept. [`Metrics::flush`] moves the numbers to the
//! shared registry; the owner calls it at the end of each batch, and whenever it falls idle.
//! Scrapes therefore never hold up the decoder.

mod by_request;
pub(in crate::export) mod catalogue;
mod exchanges;
pub mod exposition;
mod facts;
mod families;
pub mod histogram;
mod labels;
mod target;

use std::sync::{Arc, Mutex};

use prometheus::Registry;
use prometheus::core::{AtomicU64, GenericLocalCounter};

use self::target::Target;
use super::status::{LossCounters, Status};
use super::summary::View;
use crate::event::TargetId;
use crate::observation::{Exchange, Observation, Table, What};
use catalogue::Catalogue;

type LocalCounter = GenericLocalCounter<AtomicU64>;

/// Observations after which [`Metrics::record`] flushes by itself, so that a batch without end
/// cannot pile up durations or hide from scrapes.
const FLUSH_EVERY: u32 = 4_096;

/// Name of the series for a target that was not announced; it should never appear.
const UNKNOWN_TARGET: &str = "__unknown__";

/// Turns observations into metrics. One thread owns it; scrapes go through [`Metrics::registry`].
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    gate: Arc<Mutex<()>>,
    all: Catalogue,
    turnaround_count: LocalCounter,
    turnaround_sum: LocalCounter,
    packets: [LocalCounter; 2],
    identical_packets: LocalCounter,
    /// In `TargetId` order; behind the announced ones at most one more, for all others.
    targets: Vec<Target>,
    announced: usize,
    unflushed: u32,
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
        facts::register(&registry, status, Box::new(losses))?;
        Table::ALL
            .iter()
            .for_each(|table| drop(all.evictions.with_label_values(&[table.as_str()])));
        all.label_overflow.with_label_values(&["method"]);
        let names = targets.iter().map(AsRef::as_ref);
        Ok(Self {
            registry,
            gate: Arc::default(),
            turnaround_count: all.turnaround_count.local(),
            turnaround_sum: all.turnaround_sum.local(),
            packets: [all.packet_send_count.local(), all.packet_recv_count.local()],
            identical_packets: all.identical_packets_count.local(),
            targets: names.map(|name| Target::new(name, all.clone())).collect(),
            announced: targets.len(),
            all,
            unflushed: 0,
        })
    }

    /// Closed while a scrape is gathered or a batch is flushed.
    pub(super) fn gate(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.gate)
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

    /// Counts one observation.
    pub fn record(&mut self, observation: &Observation<'_>) {
        match &observation.what {
            What::Message { message, .. } => {
                self.packets[message.direction.index()].inc();
                self.identical_packets.inc_by(u64::from(message.identical));
            }
            What::Exchange(Exchange { turnaround_ns: Some(ns), .. }) => {
                self.turnaround_count.inc();
                self.turnaround_sum.inc_by(*ns);
            }
            _ => {}
        }
        let transport = observation.conn.transport();
        self.target(observation.target).record(transport, observation.role, &observation.what);
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
        self.turnaround_count.flush();
        self.turnaround_sum.flush();
        self.packets.iter().for_each(LocalCounter::flush);
        self.identical_packets.flush();
        self.targets.iter_mut().for_each(Target::flush);
    }

    /// Targets that were not announced share one more entry, made when it is needed.
    fn target(&mut self, id: TargetId) -> &mut Target {
        let at = usize::from(id.0).min(self.announced);
        if at == self.targets.len() {
            self.targets.push(Target::new(UNKNOWN_TARGET, self.all.clone()));
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
mod tests;
