//! The metrics that state facts of the moment, a row each: they are read at each scrape and never
//! kept. Those that observations move are in `rows`.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{MetricFamily, MetricType};

use super::families::{Family, leave_out_empty};
use super::instances::InstanceLabel;
use crate::event::Loss;
use crate::export::status::{SharedLosses, Snapshot, Status, Target};

/// One moment, as the rows see it.
struct Moment<'a> {
    now: Snapshot,
    losses: Vec<Loss>,
    /// Of each target the labels that tell its instances apart.
    labels: &'a [Vec<InstanceLabel>],
}

/// Label values and a value. Those with equal labels are joined into one series, because a series
/// that appears twice makes Prometheus refuse the whole scrape.
type Sample = (Vec<String>, f64);

/// A row.
struct Fact {
    name: &'static str,
    kind: MetricType,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Moment<'_>) -> Vec<Sample>,
    /// How samples with equal labels become one.
    join: fn(f64, f64) -> f64,
}

const FACTS: [Fact; 9] = [
    Fact {
        name: "wstap_lost_records_total",
        kind: MetricType::COUNTER,
        labels: &["reason"],
        help: "Records that were lost before they reached the decoder.",
        read: |at| lost(at, |loss| loss.records),
        join: sum,
    },
    Fact {
        name: "wstap_lost_bytes_total",
        kind: MetricType::COUNTER,
        labels: &["reason"],
        help: "Plaintext bytes that were lost before they reached the decoder.",
        read: |at| lost(at, |loss| loss.bytes),
        join: sum,
    },
    Fact {
        name: "wstap_probe_attached",
        kind: MetricType::GAUGE,
        labels: &["library", "function", "technique"],
        help: "Attached sites of a function that wstap wants to probe, in all files of a TLS library together.",
        read: probes,
        join: sum,
    },
    Fact {
        name: "wstap_processes_tapped_late_total",
        kind: MetricType::COUNTER,
        labels: &["target"],
        help: "Processes that ran before their probes were in place, though wstap was there when they began: what passed by then is in no other metric.",
        read: |at| by_target(at, |target| target.tapped_late as f64),
        join: sum,
    },
    Fact {
        name: "wstap_requests_oldest_pending_timestamp_seconds",
        kind: MetricType::GAUGE,
        labels: &["target"],
        help: "When the request was asked that has waited for longest, in seconds since 1970; 0 where none waits.",
        read: |at| by_target(at, |target| target.oldest_pending.unwrap_or(0.0)),
        // Two selectors may have one name: the older one counts, and 0 is none.
        join: |one, other| if one == 0.0 || (other > 0.0 && other < one) { other } else { one },
    },
    Fact {
        name: "wstap_files_not_seen",
        kind: MetricType::GAUGE,
        labels: &["target", "reason"],
        help: "Executable files of the target's processes in which traffic may pass that is not seen: unreadable ones, those whose probes could not be placed, and TLS libraries that cannot be tapped.",
        read: not_seen,
        join: sum,
    },
    Fact {
        name: "wstap_target_up",
        kind: MetricType::GAUGE,
        labels: &["target", "container_id", "pod_uid", "unit"],
        help: "Whether a process of the target is alive and tapped.",
        read: up,
        // Two selectors may have one name.
        join: f64::max,
    },
    Fact {
        name: "wstap_target_info",
        kind: MetricType::GAUGE,
        // A scrape in Kubernetes adds `container`, `pod` and `namespace` of wstap itself.
        labels: &[
            "target",
            "pid",
            "comm",
            "exe",
            "tls_library",
            "tls_version",
            "container_id",
            "pod_uid",
            "unit",
        ],
        help: "Processes of the target; always 1.",
        read: processes,
        join: f64::max,
    },
    Fact {
        name: "wstap_build_info",
        kind: MetricType::GAUGE,
        labels: &["version", "revision", "arch"],
        help: "Version of wstap; always 1.",
        read: |_| {
            let build = [crate::export::VERSION, crate::export::REVISION, std::env::consts::ARCH];
            vec![(build.map(str::to_owned).to_vec(), 1.0)]
        },
        join: f64::max,
    },
];

fn sum(one: f64, other: f64) -> f64 {
    one + other
}

fn lost(at: &Moment<'_>, of: impl Fn(&Loss) -> u64) -> Vec<Sample> {
    at.losses.iter().map(|loss| (vec![loss.reason.to_owned()], of(loss) as f64)).collect()
}

/// By TLS library and not by file, because the number of files has no bound.
fn probes(at: &Moment<'_>) -> Vec<Sample> {
    let sample = |probe: &crate::export::status::Probe| {
        let labels = vec![probe.stack.clone(), probe.function.clone(), probe.technique.clone()];
        (labels, f64::from(probe.attached))
    };
    at.now.probes.iter().map(sample).collect()
}

fn by_target(at: &Moment<'_>, value: impl Fn(&Target) -> f64) -> Vec<Sample> {
    let targets = at.now.targets.iter();
    targets.map(|target| (vec![target.name.clone()], value(target))).collect()
}

/// By instance, where labels of processes tell any apart. The end of a container is nothing to be told of: it is
/// replaced by another. A systemd unit has a name to which it comes back.
fn up(at: &Moment<'_>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (number, target) in at.now.targets.iter().enumerate() {
        let labels = at.labels.get(number).map_or(&[] as &[InstanceLabel], Vec::as_slice);
        let shown = |label, value: &str| match labels.contains(&label) {
            true => value.to_owned(),
            false => String::new(),
        };
        let sample = |container: &str, pod: &str, unit: &str, up: bool| {
            let values = vec![
                target.name.clone(),
                shown(InstanceLabel::ContainerId, container),
                shown(InstanceLabel::PodUid, pod),
                shown(InstanceLabel::Unit, unit),
            ];
            (values, f64::from(u8::from(up)))
        };
        let before = samples.len();
        samples.extend(
            target
                .processes
                .iter()
                .map(|it| sample(&it.container_id, &it.pod_uid, &it.unit, it.up)),
        );
        if labels.contains(&InstanceLabel::Unit) {
            samples.extend(target.units.iter().map(|unit| sample("", "", unit, false)));
        }
        if samples.len() == before {
            samples.push(sample("", "", "", false));
        }
    }
    samples
}

fn not_seen(at: &Moment<'_>) -> Vec<Sample> {
    let of_target = |target: &Target| {
        let name = target.name.clone();
        target
            .not_seen
            .by_reason()
            .map(|(reason, files)| (vec![name.clone(), reason.to_owned()], files as f64))
    };
    at.now.targets.iter().flat_map(of_target).collect()
}

fn processes(at: &Moment<'_>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for target in &at.now.targets {
        samples.extend(target.processes.iter().map(|process| {
            let pid = process.pid.to_string();
            let texts = [&target.name, &pid, &process.comm, &process.exe, &process.tls_library];
            let home = [&process.container_id, &process.pod_uid, &process.unit];
            let texts = texts.into_iter().chain([&process.tls_version]).chain(home);
            (texts.cloned().collect(), 1.0)
        }));
    }
    samples
}

/// Turns the facts of the moment into metrics.
struct FactCollector {
    families: Vec<(Fact, Family)>,
    status: Arc<Status>,
    losses: SharedLosses,
    labels: Vec<Vec<InstanceLabel>>,
}

/// Registers them, and the `process_*` metrics of wstap itself.
pub(in crate::export) fn register(
    registry: &Registry,
    status: Arc<Status>,
    losses: SharedLosses,
    labels: Vec<Vec<InstanceLabel>>,
) -> prometheus::Result<()> {
    let mut families = Vec::new();
    for fact in FACTS {
        let family = Family::new(fact.name, fact.help, fact.labels, fact.kind)?;
        families.push((fact, family));
    }
    registry.register(Box::new(FactCollector { families, status, losses, labels }))?;
    registry.register(Box::new(ProcessCollector::for_self()))
}

impl Collector for FactCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.families.iter().map(|(_, family)| &family.desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let at = Moment {
            now: self.status.snapshot(),
            losses: self.losses.read(),
            labels: &self.labels,
        };
        let collect = |(fact, family): &(Fact, Family)| {
            let mut joined = BTreeMap::new();
            for (labels, value) in (fact.read)(&at) {
                joined
                    .entry(labels)
                    .and_modify(|known| *known = (fact.join)(*known, value))
                    .or_insert(value);
            }
            let series = joined.iter().map(|(labels, &value)| {
                let labels: Vec<_> = labels.iter().map(String::as_str).collect();
                family.sample(&labels, value)
            });
            let mut family = family.with(series.collect());
            if fact.name != "wstap_target_info" {
                leave_out_empty(&mut family);
            }
            family
        };
        self.families.iter().map(collect).collect()
    }
}
