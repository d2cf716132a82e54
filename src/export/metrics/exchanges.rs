//! The series of a target's requests, found without allocating.

use std::collections::HashMap;

use super::LocalCounter;
use crate::decode::observation::{Exchange, Origin, Outcome};
use crate::export::catalogue::Catalogue;
use crate::export::timings::Timing;

/// What tells the series of one target's requests apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) origin: Origin,
    pub(super) protocol: &'a str,
    pub(super) method: &'a str,
}

/// The series of one target's requests.
///
/// Bounded by the decoder, which folds methods into `__other__` and knows a closed set of
/// protocols.
#[derive(Debug)]
pub(super) struct Exchanges {
    target: String,
    all: Catalogue,
    series: Vec<Series>,
    /// By origin.
    index: [ByProtocol; 2],
    /// The last one used, by origin: most traffic repeats itself.
    recent: [Option<usize>; 2],
    /// Indices of those that changed since the last flush.
    dirty: Vec<usize>,
}

type ByProtocol = HashMap<Box<str>, ByMethod>;
/// To an index into `Exchanges::series`.
type ByMethod = HashMap<Box<str>, usize>;

impl Exchanges {
    pub(super) fn new(target: &str, all: Catalogue) -> Self {
        Self {
            target: target.to_owned(),
            all,
            series: Vec::new(),
            index: Default::default(),
            recent: [None; 2],
            dirty: Vec::new(),
        }
    }

    /// Makes the series of a request exist at 0, all outcomes together, so that none is missing
    /// from a rate.
    pub(super) fn announce(&mut self, request: Request<'_>) {
        self.find(request);
    }

    /// Counts a request that ended.
    pub(super) fn record(&mut self, ended: &Exchange<'_>) {
        let Exchange { origin, protocol, method, outcome, turnaround_ns, id: _ } = *ended;
        let at = self.find(Request { origin, protocol, method });
        let series = &mut self.series[at];
        series.outcomes[outcome as usize].inc();
        // Present with `matched` and `error`: an error is an answer.
        if let Some(ns) = turnaround_ns {
            series.turnaround.observe(ns);
        }
        if !std::mem::replace(&mut series.is_dirty, true) {
            self.dirty.push(at);
        }
    }

    pub(super) fn flush(&mut self) {
        for at in self.dirty.drain(..) {
            self.series[at].flush();
        }
    }

    /// Index of a request's series, made where it is new.
    fn find(&mut self, request: Request<'_>) -> usize {
        let Request { origin, protocol, method } = request;
        let index = &mut self.index[origin as usize];
        let recent = &mut self.recent[origin as usize];
        if let Some(at) = *recent
            && *self.series[at].method == *method
            && *self.series[at].protocol == *protocol
        {
            return at;
        }
        let known = index.get(protocol).and_then(|methods| methods.get(method));
        let at = known.copied().unwrap_or_else(|| {
            self.series.push(Series::new(&self.all, &self.target, request));
            let at = self.series.len() - 1;
            index.entry(protocol.into()).or_default().insert(method.into(), at);
            at
        });
        *recent = Some(at);
        at
    }
}

/// The series of one target's equal requests.
#[derive(Debug)]
struct Series {
    protocol: Box<str>,
    method: Box<str>,
    /// By `Outcome` in declaration order.
    outcomes: Vec<LocalCounter>,
    turnaround: Timing,
    /// It is in the list of the dirty ones.
    is_dirty: bool,
}

impl Series {
    fn new(all: &Catalogue, target: &str, request: Request<'_>) -> Self {
        let Request { origin, protocol, method } = request;
        let origin = origin.as_str();
        let outcome = |outcome: &Outcome| {
            let labels = [target, origin, protocol, method, outcome.as_str()];
            all.requests.with_label_values(&labels).local()
        };
        Self {
            protocol: protocol.into(),
            method: method.into(),
            outcomes: Outcome::ALL.iter().map(outcome).collect(),
            turnaround: all.turnaround.series(&[target, origin, protocol, method]),
            is_dirty: false,
        }
    }

    fn flush(&mut self) {
        self.outcomes.iter().for_each(LocalCounter::flush);
        self.turnaround.flush();
        self.is_dirty = false;
    }
}
