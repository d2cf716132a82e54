//! Sums up the metrics for the page and for tables.
//!
//! It reads the same series that `/metrics` serves, so the two never disagree.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use serde::Serialize;

use super::metrics::histogram::Histogram;
use super::metrics::rows::Catalogue;
use crate::observation::{Fidelity, Outcome};

/// Reads summaries from any thread. Clones read the same metrics.
#[derive(Clone, Debug)]
pub struct View {
    all: Catalogue,
}

/// Answered requests of one (target, origin, protocol, method).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turnaround {
    /// Value of the `target` label.
    pub target: String,
    /// `local` or `remote`.
    pub origin: String,
    /// Protocol label.
    pub protocol: String,
    /// Method label; empty where the protocol has none.
    pub method: String,
    /// Answered requests.
    pub count: u64,
    /// Mean turnaround; `None` before the first answer, as are the quantiles.
    pub mean_seconds: Option<f64>,
    /// Median turnaround, within 9 %.
    pub p50_seconds: Option<f64>,
    /// 99th percentile, within 9 %.
    pub p99_seconds: Option<f64>,
    /// Ended requests by outcome, those above 0.
    pub outcomes: BTreeMap<&'static str, u64>,
}

/// Sums over all targets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Open WebSocket connections.
    pub connections: i64,
    /// Those whose contents cannot be read.
    pub unreadable: i64,
    /// Complete data messages sent.
    pub messages_sent: u64,
    /// Complete data messages received.
    pub messages_received: u64,
    /// Requests that were answered, errors included.
    pub answered: u64,
    /// Requests that wait for an answer.
    pub pending: i64,
    /// Responses without a request.
    pub orphans: u64,
    /// Bytes in holes that the decoder met.
    pub gap_bytes: u64,
    /// Broken rules of the protocol.
    pub protocol_errors: u64,
}

/// Turnaround times, and ended requests by outcome.
type Sum = (Histogram, BTreeMap<&'static str, u64>);

impl View {
    pub(super) fn new(all: Catalogue) -> Self {
        Self { all }
    }

    /// One row for each target, origin, protocol and method, the most frequent first.
    #[must_use]
    pub fn turnarounds(&self) -> Vec<Turnaround> {
        // Instances of one target are summed up.
        let mut sums: BTreeMap<[String; 4], Sum> = BTreeMap::new();
        for (labels, histogram) in self.all.turnaround.vec.snapshot() {
            let outcomes = self.outcomes(&labels);
            let (Some(target), Some(request)) = (labels.first(), labels.last_chunk::<3>()) else {
                continue;
            };
            let [origin, protocol, method] = request.clone();
            match sums.entry([target.clone(), origin, protocol, method]) {
                Entry::Vacant(entry) => drop(entry.insert((histogram, outcomes))),
                Entry::Occupied(mut sum) => {
                    let (times, counts) = sum.get_mut();
                    times.merge(&histogram);
                    for (outcome, count) in outcomes {
                        *counts.entry(outcome).or_default() += count;
                    }
                }
            }
        }
        let seconds = |duration: Duration| duration.as_secs_f64();
        let row = |([target, origin, protocol, method], (times, outcomes)): ([String; 4], Sum)| {
            Turnaround {
                target,
                origin,
                protocol,
                method,
                outcomes,
                count: times.count(),
                mean_seconds: times.mean().map(seconds),
                p50_seconds: times.quantile(0.5).map(seconds),
                p99_seconds: times.quantile(0.99).map(seconds),
            }
        };
        let mut rows: Vec<_> = sums.into_iter().map(row).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        rows
    }

    /// Sums over all targets.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let all = &self.all;
        Totals {
            connections: all.connections.total(),
            unreadable: all
                .connections
                .total_where(|&(_, _, _, fidelity)| fidelity == Fidelity::NoContent),
            messages_sent: all.packet_send_count.total(),
            messages_received: all.packet_recv_count.total(),
            answered: all.turnaround_count.total(),
            pending: all.requests_pending.total(),
            orphans: all.orphans.total(),
            gap_bytes: all.gap_bytes.total(),
            protocol_errors: all.protocol_errors.total(),
        }
    }

    fn outcomes(&self, request: &[String]) -> BTreeMap<&'static str, u64> {
        let counts = self.all.requests.counts(request).into_iter();
        let seen = counts.filter(|&(_, count)| count > 0);
        seen.map(|(outcome, count): (Outcome, u64)| (outcome.as_str(), count)).collect()
    }
}
