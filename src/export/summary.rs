//! The metrics, summed up for people: what the web page and tables show.
//!
//! It reads the same series that `/metrics` serves, so the two never disagree.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use serde::Serialize;

use super::metrics::catalogue::Catalogue;
use crate::observation::Outcome;

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

impl View {
    pub(super) fn new(all: Catalogue) -> Self {
        Self { all }
    }

    /// One row for each series of requests, the most frequent first.
    #[must_use]
    pub fn turnarounds(&self) -> Vec<Turnaround> {
        let mut rows: Vec<_> = self
            .all
            .turnaround
            .snapshot()
            .into_iter()
            .filter_map(|(labels, histogram)| {
                let [target, origin, protocol, method] = <[String; 4]>::try_from(labels).ok()?;
                let seconds = |duration: Duration| duration.as_secs_f64();
                Some(Turnaround {
                    outcomes: self.outcomes([&target, &origin, &protocol, &method]),
                    target,
                    origin,
                    protocol,
                    method,
                    count: histogram.count(),
                    mean_seconds: histogram.mean().map(seconds),
                    p50_seconds: histogram.quantile(0.5).map(seconds),
                    p99_seconds: histogram.quantile(0.99).map(seconds),
                })
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        rows
    }

    /// Sums over all targets.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let all = &self.all;
        Totals {
            connections: sum(&all.connections) as i64,
            messages_sent: all.packet_send_count.get(),
            messages_received: all.packet_recv_count.get(),
            answered: all.turnaround_count.get(),
            pending: sum(&all.requests_pending) as i64,
            orphans: sum(&all.orphans) as u64,
            gap_bytes: sum(&all.gap_bytes) as u64,
            protocol_errors: sum(&all.protocol_errors) as u64,
        }
    }

    fn outcomes(
        &self,
        [target, origin, protocol, method]: [&str; 4],
    ) -> BTreeMap<&'static str, u64> {
        Outcome::ALL
            .iter()
            .filter_map(|outcome| {
                let labels = [target, origin, protocol, method, outcome.as_str()];
                let count = self.all.requests.with_label_values(&labels).get();
                (count > 0).then_some((outcome.as_str(), count))
            })
            .collect()
    }
}

/// Sum over all series of a counter or a gauge.
fn sum<B: MetricVecBuilder>(metrics: &MetricVec<B>) -> f64 {
    let families = metrics.collect();
    let series = families.iter().flat_map(|family| family.get_metric());
    series.map(|metric| metric.counter.value() + metric.gauge.value()).sum()
}
