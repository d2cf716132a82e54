use crate::suite::common::groups::Group;
use crate::suite::common::peers::Scene;
use crate::suite::common::peers::wss_pair::{self, Pair};
use crate::suite::common::wstap::{Metrics, Monitor, privileged};

/// What is counted of so many requests of a `wss_pair`: both of its ends are tapped.
#[track_caller]
fn assert_counts(metrics: &Metrics, labels: &[&str], requests: u64) {
    let requests = requests as f64;
    for origin in ["local", "remote"] {
        let origin = format!("origin=\"{origin}\"");
        let labels = [labels, &[&origin]].concat();
        assert_eq!(metrics.sum("wstap_requests_total", &labels), requests, "{labels:?}");
        assert_eq!(metrics.sum("wstap_turnaround_seconds_count", &labels), requests, "{labels:?}");
    }
    assert_eq!(metrics.sum("wstap_messages_sent_total", labels), 2.0 * requests, "{labels:?}");
    assert_eq!(metrics.sum("wstap_connections_opened_total", labels), 2.0, "{labels:?}");
}

/// Two services whose programs have one name: in a Prometheus they are two series.
#[test]
fn root_two_units_with_processes_of_one_name_are_told_apart() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(program) = wss_pair::named(&scene.path(""), "pair-twofold") else { return };
    let groups = ["one.service", "two.service"].map(Group::new);
    let [Some(one), Some(two)] = groups else { return };
    let tap = Monitor::start(&["--comm", "pair-twofold"]);
    let mut pairs = [(&one, 10_u64), (&two, 30)].map(|(group, requests)| {
        let arguments = format!("go requests={requests} linger");
        (Pair::spawn(group.command(&program, &arguments)), group, requests)
    });
    tap.await_all_tapped(2);
    let unit = |group: &Group| format!("unit=\"{}\"", group.name());
    for (_, group, _) in &pairs {
        let up = tap.metrics().sum("wstap_target_up", &["target=\"pair-twofold\"", &unit(group)]);
        assert_eq!(up, 1.0, "before anything passes");
    }
    for (pair, _, requests) in &mut pairs {
        pair.go();
        assert_eq!(pair.answers(), *requests);
    }
    let metrics = tap.metrics_when("80", |m| m.sum("turnaround_count", &[]) == 80.0);
    metrics.assert_flawless();
    for (_, group, requests) in &pairs {
        assert_counts(&metrics, &["target=\"pair-twofold\"", &unit(group)], *requests);
    }
    let [(one, group, _), (two, ..)] = pairs;
    one.end();
    let metrics =
        tap.metrics_when("it to be down", |m| m.sum("wstap_target_up", &[&unit(group)]) == 0.0);
    assert_eq!(metrics.sum("wstap_target_up", &[]), 1.0, "the other is up");
    two.end();
}

/// The same with containers; `sum by (container_id)` is what joins with other metrics of it.
#[test]
fn root_two_containers_with_processes_of_one_name_are_told_apart() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(program) = wss_pair::named(&scene.path(""), "pair-boxed") else { return };
    let [Some((one, first)), Some((two, second))] = [1, 2].map(Group::of_container) else { return };
    let mut pair = Pair::spawn(one.command(&program, "go requests=10 linger"));
    let exe = format!("{}$", program.display());
    let tap = Monitor::start(&["--exe", &exe]);
    let mut other = Pair::spawn(two.command(&program, "go requests=20 linger"));
    tap.await_all_tapped(2);
    for pair in [&mut pair, &mut other] {
        pair.go();
        pair.answers();
    }
    let metrics = tap.metrics_when("60", |m| m.sum("turnaround_count", &[]) == 60.0);
    metrics.assert_flawless();
    assert_counts(&metrics, &[&format!("container_id=\"{first}\"")], 10);
    assert_counts(&metrics, &[&format!("container_id=\"{second}\"")], 20);
    assert_eq!(metrics.sum("wstap_target_up", &[&format!("container_id=\"{second}\"")]), 1.0);
    pair.end();
    other.end();
}

/// Host and path are of connections, and only where they are asked for.
#[test]
fn root_hosts_and_paths_are_labels_where_they_are_asked_for() {
    let Some(program) = wss_pair::program().filter(|_| privileged()) else { return };
    let mut pair = Pair::start(&program, &["go", "requests=15", "linger"]);
    let tap = Monitor::attach(pair.pid(), &["--label", "path,host"]);
    let plain = Monitor::attach(pair.pid(), &[]);
    pair.go();
    assert_eq!(pair.answers(), 15);
    let metrics = tap.metrics_when("30", |m| m.sum("turnaround_count", &[]) == 30.0);
    metrics.assert_flawless();
    assert_counts(&metrics, &["host=\"pair\"", "path=\"/\""], 15);
    assert_eq!(metrics.sum("wstap_label_overflow_total", &["label=\"host\""]), 0.0);
    let metrics = plain.metrics_when("30", |m| m.sum("turnaround_count", &[]) == 30.0);
    assert!(metrics.all().keys().all(|series| !series.contains("host=")));
    assert_counts(&metrics, &["target=\"wss_pair\""], 15);
    pair.end();
}
