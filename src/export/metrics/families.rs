//! Makes metric families at the time of a scrape. The `prometheus` crate has no constructor for
//! them.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::instances::InstanceLabel;

/// A metric whose series do not show labels of instances that are empty: a process that is in no
/// container has no label for one. To Prometheus an empty label and none are the same.
pub(super) struct WithoutEmpty<M>(pub(super) M);

impl<M: Collector> Collector for WithoutEmpty<M> {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        families.iter_mut().for_each(leave_out_empty);
        families
    }
}

/// Takes labels of instances away where they are empty.
pub(super) fn leave_out_empty(family: &mut MetricFamily) {
    let is_shown = |pair: &LabelPair| {
        !(pair.value().is_empty() && InstanceLabel::ALL.iter().any(|it| it.as_str() == pair.name()))
    };
    for metric in family.mut_metric() {
        if !metric.get_label().iter().all(is_shown) {
            let labels = metric.take_label().into_iter().filter(is_shown).collect();
            metric.set_label(labels);
        }
    }
}

/// Name, help and label names of one family.
#[derive(Clone, Debug)]
pub(in crate::export) struct Family {
    pub(in crate::export) desc: Desc,
    kind: MetricType,
}

impl Family {
    /// Fails only where a name is not a legal one.
    pub(in crate::export) fn new(
        name: &str,
        help: &str,
        labels: &[&str],
        kind: MetricType,
    ) -> prometheus::Result<Self> {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?;
        Ok(Self { desc, kind })
    }

    /// The labels of one series, sorted by name as the exposition formats like them.
    pub(in crate::export) fn labels(&self, values: &[&str]) -> Vec<LabelPair> {
        debug_assert_eq!(self.desc.variable_labels.len(), values.len(), "{}", self.desc.fq_name);
        let mut pairs: Vec<_> = self
            .desc
            .variable_labels
            .iter()
            .zip(values)
            .map(|(name, &value)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.clone());
                pair.set_value(value.to_owned());
                pair
            })
            .collect();
        pairs.sort_by(|a, b| a.name().cmp(b.name()));
        pairs
    }

    /// One series of a counter or a gauge.
    pub(in crate::export) fn sample(&self, values: &[&str], value: f64) -> Metric {
        let mut metric = Metric::from_label(self.labels(values));
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    }

    /// The family with these series; the registry drops it where there are none.
    pub(in crate::export) fn with(&self, series: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(self.kind);
        family.set_metric(series);
        family
    }
}
