//! The series of a target's requests, found by (origin, protocol, method) without allocating.

use std::collections::HashMap;

use super::LocalCounter;
use crate::decode::observation::{Exchange, Origin, Outcome};
use crate::export::catalogue::Catalogue;
use crate::export::timings::Timing;

/// Bounded by the decoder, which folds methods into `__other__` and knows a closed set of
/// protocols.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    all: Vec<Series>,
    /// By origin.
    index: [ByProtocol; 2],
    /// The last one used, by origin: most traffic repeats itself.
    recent: [Option<usize>; 2],
    /// Indices of those that changed since the last flush.
    dirty: Vec<usize>,
}

type ByProtocol = HashMap<Box<str>, ByMethod>;
/// To an index into `Exchanges::all`.
type ByMethod = HashMap<Box<str>, usize>;

impl Exchanges {
    /// Makes the series of a request exist at 0, all outcomes together, so that none is missing
    /// from a rate.
    pub(super) fn announce(
        &mut self,
        catalogue: &Catalogue,
        target: &str,
        origin: Origin,
        protocol: &str,
        method: &str,
    ) {
        self.find(catalogue, target, origin, protocol, method);
    }

    /// Counts a request that ended.
    pub(super) fn record(&mut self, catalogue: &Catalogue, target: &str, ended: &Exchange<'_>) {
        let at = self.find(catalogue, target, ended.origin, ended.protocol, ended.method);
        let series = &mut self.all[at];
        series.outcomes[ended.outcome as usize].inc();
        // Present with `matched` and `error`: an error is an answer.
        if let Some(ns) = ended.turnaround_ns {
            series.turnaround.observe(ns);
        }
        if !std::mem::replace(&mut series.is_dirty, true) {
            self.dirty.push(at);
        }
    }

    pub(super) fn flush(&mut self) {
        for at in self.dirty.drain(..) {
            self.all[at].flush();
        }
    }

    fn find(
        &mut self,
        catalogue: &Catalogue,
        target: &str,
        origin: Origin,
        protocol: &str,
        method: &str,
    ) -> usize {
        let who = origin as usize;
        if let Some(at) = self.recent[who]
            && *self.all[at].method == *method
            && *self.all[at].protocol == *protocol
        {
            return at;
        }
        let known = self.index[who].get(protocol).and_then(|methods| methods.get(method));
        let at = known.copied().unwrap_or_else(|| {
            self.all.push(Series::new(catalogue, target, origin, protocol, method));
            let at = self.all.len() - 1;
            self.index[who].entry(protocol.into()).or_default().insert(method.into(), at);
            at
        });
        self.recent[who] = Some(at);
        at
    }
}

/// The series of one (target, origin, protocol, method).
#[derive(Debug)]
struct Series {
    protocol: Box<str>,
    method: Box<str>,
    /// By `Outcome` in declaration order.
    outcomes: Vec<LocalCounter>,
    turnaround: Timing,
    /// It is in its target's `dirty` list.
    is_dirty: bool,
}

impl Series {
    fn new(all: &Catalogue, target: &str, origin: Origin, protocol: &str, method: &str) -> Self {
        let labels = [target, origin.as_str(), protocol, method];
        let outcome = |outcome: &Outcome| {
            let [target, origin, protocol, method] = labels;
            let labels = [target, origin, protocol, method, outcome.as_str()];
            all.requests.with_label_values(&labels).local()
        };
        Self {
            protocol: protocol.into(),
            method: method.into(),
            outcomes: Outcome::ALL.iter().map(outcome).collect(),
            turnaround: all.turnaround.series(&labels),
            is_dirty: false,
        }
    }

    fn flush(&mut self) {
        self.outcomes.iter().for_each(LocalCounter::flush);
        self.turnaround.flush();
        self.is_dirty = false;
    }
}
