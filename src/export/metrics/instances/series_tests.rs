use std::sync::Arc;

use super::{Home, InstanceLabel};
use crate::event::{ConnId, Direction, TargetId};
use crate::export::metrics::tests::{assert_samples, ended, message, samples, started};
use crate::export::metrics::{Metrics, exposition};
use crate::export::status::{Process, Status, Target};
use crate::observation::{Observation, Open, Outcome, Role, What};

/// Two processes of one target, in two services.
fn told_apart(status: &Arc<Status>) -> Metrics {
    let labels = &InstanceLabel::ALL;
    let mut metrics =
        Metrics::with_labels(&[("node", labels)], Arc::clone(status), ()).expect("no clash");
    for (pid, unit) in [(1, "a.service"), (2, "b.service")] {
        metrics.arrived(TargetId(0), pid, Home { unit: unit.into(), ..Home::default() });
    }
    metrics
}

fn record_of(metrics: &mut Metrics, pid: u32, what: What<'_>) {
    let (target, role) = (TargetId(0), Role::Client);
    let conn = ConnId { tgid: pid, generation: pid, handle: 1, stream: 0 };
    metrics.record(&Observation { at_ns: 1, tid: 1, target, conn, role, what });
}

#[test]
fn instances_have_series_of_their_own_and_tables_sum_them_up() {
    let status = Arc::new(Status::default());
    let mut metrics = told_apart(&status);
    let name = r#"wstap_messages_sent_total{target="node",type="text",unit="a.service"}"#;
    assert_samples(&mut metrics, &[(name, 0.0)]);
    for (pid, count) in [(1, 1), (2, 3)] {
        for _ in 0..count {
            record_of(&mut metrics, pid, started("m"));
            record_of(&mut metrics, pid, ended("m", Outcome::Matched, Some(1_000_000)));
            record_of(&mut metrics, pid, message(Direction::Sent, Some(1), false));
        }
    }
    assert_samples(
        &mut metrics,
        &[
            (name, 1.0),
            (r#"wstap_messages_sent_total{target="node",type="text",unit="b.service"}"#, 3.0),
            (
                r#"wstap_turnaround_seconds_count{method="m",origin="local",protocol="jsonrpc",target="node",unit="b.service"}"#,
                3.0,
            ),
            ("turnaround_count", 4.0),
        ],
    );
    let rows = metrics.view().turnarounds();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].count, rows[0].outcomes["matched"]), (4, 4));
    assert_eq!(rows[0].target, "node");
}

/// What a peer sends as its host must not become a second line or a second label.
#[test]
fn hosts_and_paths_are_escaped_in_every_format() {
    let mut metrics = told_apart(&Arc::default());
    let host = "a\"} 1\nwstap_forged{b=\"\\";
    let open = Open { host: Some(host), path: Some("/\t\u{202e}"), ..Open::default() };
    record_of(&mut metrics, 1, What::Open(open));
    metrics.flush();
    let families = metrics.registry().gather();
    for format in [exposition::Format::Text, exposition::Format::OpenMetrics] {
        let text = String::from_utf8(format.encode(&families).expect("text")).expect("UTF-8");
        assert!(text.contains(r#"host="a\"} 1\nwstap_forged{b=\"\\""#), "{format:?}");
        assert!(text.lines().all(|line| !line.starts_with("wstap_forged")), "{format:?}");
    }
}

/// The series of what is gone are gone, and those of what came instead begin at 0.
#[test]
fn an_instance_that_gives_way_takes_its_series_along() {
    const HOUR_NS: u64 = 3_600_000_000_000;
    let mut metrics = told_apart(&Arc::default());
    let before = samples(&mut metrics).len();
    for n in 0..150_u64 {
        let pid = 10 + n as u32;
        metrics.arrived(TargetId(0), pid, Home { unit: format!("{n}.service"), ..Home::default() });
        let conn = ConnId { tgid: pid, generation: pid, handle: 1, stream: 0 };
        let (at_ns, target, role) = (n * HOUR_NS, TargetId(0), Role::Client);
        let what = message(Direction::Sent, Some(1), false);
        metrics.record(&Observation { at_ns, tid: 1, target, conn, role, what });
        metrics.ended(pid);
    }
    let after = samples(&mut metrics);
    assert!(after.len() < 60 * before, "{} series, at first {before}", after.len());
    let of =
        |n| format!(r#"wstap_messages_sent_total{{target="node",type="text",unit="{n}.service"}}"#);
    assert_eq!(after.get(&of(149)), Some(&1.0));
    assert_eq!(after.get(&of(0)), None);
    assert_eq!(after[r#"wstap_label_overflow_total{label="unit"}"#], 0.0);
}

#[test]
fn a_unit_that_is_down_shows_beside_one_that_is_up() {
    let status = Arc::new(Status::default());
    let mut metrics = told_apart(&status);
    let process = |unit: &str| Process { unit: unit.into(), up: true, ..Process::default() };
    status.update(|now| {
        now.targets = vec![Target { name: "node".into(), ..Target::default() }];
    });
    assert_samples(&mut metrics, &[(r#"wstap_target_up{target="node"}"#, 0.0)]);
    status.update(|now| {
        for unit in ["a.service", "b.service"] {
            now.targets[0].push(process(unit));
        }
        now.targets[0].processes.clear();
        now.targets[0].push(process("b.service"));
    });
    assert_samples(
        &mut metrics,
        &[
            (r#"wstap_target_up{target="node",unit="a.service"}"#, 0.0),
            (r#"wstap_target_up{target="node",unit="b.service"}"#, 1.0),
        ],
    );
}
