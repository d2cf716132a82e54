//! [`Status`] and loss counters as metrics, read at each scrape.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Metric, MetricFamily};

use super::catalogue::Facts;
use crate::export::status::{LossCounters, Probe, Process, Status, Target};

/// Turns the facts of the moment into metrics.
struct FactCollector {
    facts: Facts,
    status: Arc<Status>,
    losses: Box<dyn LossCounters>,
}

/// Registers them, and the `process_*` metrics of wstap itself.
pub(in crate::export) fn register(
    registry: &Registry,
    status: Arc<Status>,
    losses: Box<dyn LossCounters>,
) -> prometheus::Result<()> {
    registry.register(Box::new(FactCollector { facts: Facts::new()?, status, losses }))?;
    registry.register(Box::new(ProcessCollector::for_self()))
}

impl Collector for FactCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.facts.all().map(|family| &family.desc).to_vec()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Facts {
            lost_records,
            lost_bytes,
            probe_attached,
            tapped_late,
            target_up,
            target_info,
            build_info,
        } = &self.facts;
        let now = self.status.snapshot();
        let (mut records, mut bytes) = (Vec::new(), Vec::new());
        for loss in self.losses.read() {
            records.push(lost_records.sample(&[loss.reason], loss.records as f64));
            bytes.push(lost_bytes.sample(&[loss.reason], loss.bytes as f64));
        }
        let build = [crate::export::VERSION, crate::export::REVISION, std::env::consts::ARCH];
        vec![
            lost_records.with(records),
            lost_bytes.with(bytes),
            probe_attached.with(self.probes(&now.probes)),
            tapped_late.with(self.late(&now.targets)),
            target_up.with(self.targets(&now.targets)),
            target_info.with(self.processes(&now.targets)),
            build_info.with(vec![build_info.sample(&build, 1.0)]),
        ]
    }
}

/// A series that appears twice makes Prometheus refuse the whole scrape, so what has equal labels
/// is joined: two selectors may have one name, and two libraries one file name.
impl FactCollector {
    fn probes(&self, probes: &[Probe]) -> Vec<Metric> {
        let mut attached = BTreeMap::new();
        for probe in probes {
            let labels = [&*probe.library, &*probe.function, &*probe.technique];
            *attached.entry(labels).or_insert(0) += u64::from(probe.attached);
        }
        let family = &self.facts.probe_attached;
        attached.iter().map(|(labels, &sites)| family.sample(labels, sites as f64)).collect()
    }

    fn late(&self, targets: &[Target]) -> Vec<Metric> {
        let mut late = BTreeMap::new();
        for target in targets {
            *late.entry(&*target.name).or_insert(0) += target.tapped_late;
        }
        let family = &self.facts.tapped_late;
        late.iter().map(|(name, &count)| family.sample(&[name], count as f64)).collect()
    }

    fn targets(&self, targets: &[Target]) -> Vec<Metric> {
        let mut up = BTreeMap::new();
        for target in targets {
            *up.entry(&*target.name).or_insert(false) |= target.is_up();
        }
        let family = &self.facts.target_up;
        up.iter().map(|(name, &up)| family.sample(&[name], f64::from(u8::from(up)))).collect()
    }

    fn processes(&self, targets: &[Target]) -> Vec<Metric> {
        let mut processes = BTreeMap::new();
        for target in targets {
            processes.extend(target.processes.iter().map(|p| ((&*target.name, p.pid), p)));
        }
        let info = |(&(target, pid), process): (&(&str, u32), &&Process)| {
            let pid = pid.to_string();
            let Process { comm, exe, tls_library, tls_version, container, .. } = process;
            let labels = [target, &pid, comm, exe, tls_library, tls_version, container];
            self.facts.target_info.sample(&labels, 1.0)
        };
        processes.iter().map(info).collect()
    }
}
