use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::suite::common::peers::many::Many;
use crate::suite::common::peers::mixed::scaled;
use crate::suite::common::wstap::{Metrics, Monitor, privileged, resident_kb, signal, wait_for};

const OPEN: &str = "wstap_connections";
const UNSEEN: &str = "wstap_connection_ends_unseen_total";

/// Both ends of each pair are in the same process. Returns how far wstap's memory has grown, in KiB.
fn counted_exactly(processes: usize, pairs_of_each: usize) -> Option<u64> {
    let all = 2.0 * (processes * pairs_of_each) as f64;
    let mut peers = Vec::new();
    for _ in 0..processes {
        peers.push(Many::start(pairs_of_each)?);
    }
    let bound = (all as usize + 16).to_string();
    let mut arguments = vec!["--connections".into(), bound, "--plain".into(), "off".into()];
    arguments.extend(peers.iter().flat_map(|peer| ["--pid".into(), peer.pid().to_string()]));
    let began = Instant::now();
    let tap = Monitor::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tap.await_all_tapped(processes);
    let attached = began.elapsed();
    let before = resident_kb(tap.pid());
    let began = Instant::now();
    each_does(&mut peers, "open");
    tap.metrics_when("every connection", |m| m.sum(OPEN, &[]) == all);
    let grown = resident_kb(tap.pid()).saturating_sub(before);
    let opened = began.elapsed();
    println!(
        "{all} connections of {processes} processes: tapped in {attached:?}, opened in \
         {opened:?}, {grown} KiB more"
    );
    each_does(&mut peers, "say");
    let passed = each_does(&mut peers, "say");
    let metrics =
        tap.metrics_when("two answers on each", |m| m.sum("turnaround_count", &[]) == 2.0 * all);
    metrics.assert_balance(2.0 * all);
    metrics.assert_flawless();
    assert_eq!(accounted_for(&metrics), passed);
    each_does(&mut peers, "close");
    let metrics = tap.metrics_when("no connection", |m| m.sum(OPEN, &[]) == 0.0);
    assert_eq!(metrics.sum("wstap_connections_opened_total", &[]), all);
    assert_eq!(metrics.sum("wstap_connections_closed_total", &[]), all);
    assert_eq!(metrics.sum(UNSEEN, &[]), 0.0);
    Some(grown)
}

/// Returns the plaintext bytes that have passed in all of them.
fn each_does(peers: &mut [Many], line: &str) -> f64 {
    peers.iter_mut().map(|peer| peer.does(line)).sum()
}

#[test]
fn root_two_thousand_connections_are_counted_exactly_in_one_process_and_in_ten() {
    if privileged() {
        counted_exactly(1, 1_000);
        counted_exactly(10, 100);
    }
}

/// More than the default bound, and many times that: wstap's memory grows in proportion.
#[test]
#[ignore = "takes minutes; make attack runs it"]
fn root_a_hundred_thousand_connections_are_counted_exactly_in_one_process_and_in_a_hundred() {
    if !privileged() {
        return;
    }
    for (processes, pairs) in [(1, 12_500), (1, 25_000), (1, 50_000), (100, 500)] {
        let Some(grown_kb) = counted_exactly(processes, pairs) else { return };
        let connections = 2 * (processes * pairs) as u64;
        assert!(grown_kb <= 3 * connections, "{processes} x {pairs} pairs: {grown_kb} KiB");
    }
}

/// The ends of many connections find no room while wstap stands still. What comes after shows each of
/// them: another connection of the same handle, or the end of the process.
#[test]
fn root_connections_whose_ends_were_lost_do_not_stay_open() {
    // More ends than there is room for: the one buffer for them takes 14,563.
    const PAIRS: usize = 11_000;
    const BOTH: f64 = 2.0 * PAIRS as f64;
    if !privileged() {
        return;
    }
    let Some(mut peer) = Many::start(PAIRS) else { return };
    let arguments = ["--connections", "65536", "--plain", "off", "--ring-size", "256k"];
    let tap = Monitor::attach(peer.pid(), &arguments);
    peer.does("open");
    // Some records may be lost, in so small a buffer. That is not what this is about.
    let mut open = 0.0;
    wait_for("the connections", || {
        let before = open;
        thread::sleep(Duration::from_millis(500));
        open = tap.metrics().sum(OPEN, &[]);
        (open > BOTH / 2.0 && open == before).then_some(())
    });
    signal(tap.pid(), Signal::STOP);
    peer.does("clear");
    signal(tap.pid(), Signal::CONT);
    let lost = |m: &Metrics| m.sum("wstap_lost_records_total", &["reason=\"connection_end\""]);
    let metrics = tap.metrics_when("ends that are lost", |m| lost(m) > 0.0);
    let lost = lost(&metrics);
    assert!(lost <= BOTH, "{lost} of {BOTH}");
    let ghosts = |m: &Metrics| m.sum(OPEN, &[]);
    let metrics = tap.metrics_when("the ends that came", |m| ghosts(m) <= lost);
    assert_eq!(metrics.sum(UNSEEN, &[]), 0.0);
    let ghosts = ghosts(&metrics);

    // The same handles have other connections now.
    peer.does("open");
    let reused = |m: &Metrics| m.sum(UNSEEN, &["reason=\"handle_reused\""]);
    let metrics = tap.metrics_when("handles that are used again", |m| reused(m) == ghosts);
    assert_eq!(metrics.sum(UNSEEN, &[]), ghosts);
    let open = tap.metrics_when("the others", |m| m.sum(OPEN, &[]) > BOTH / 2.0).sum(OPEN, &[]);
    assert!(open <= BOTH, "{open} of {BOTH}");
    drop(peer);
    let metrics = tap.metrics_when("no connection", |m| m.sum(OPEN, &[]) == 0.0);
    assert!(metrics.sum(UNSEEN, &["reason=\"process_ended\""]) >= open);
    let closed = metrics.sum("wstap_connections_closed_total", &[]);
    assert_eq!(closed, metrics.sum("wstap_connections_opened_total", &[]));
}

/// Much more passes than wstap gets time to decode: it runs for a tenth of the time. At each scrape, what
/// was decoded, skipped and lost is what had passed, to within what passes from one scrape to the next.
#[test]
fn root_under_overload_every_scrape_accounts_for_all_that_has_passed() {
    let duration = Duration::from_secs(scaled(15, 60).into());
    if !privileged() {
        return;
    }
    let Some(mut peer) = Many::start(50) else { return };
    let arguments = ["--plain", "off", "--ring-size", "512k"];
    let tap = Monitor::attach(peer.pid(), &arguments);
    peer.does("open");
    tap.metrics_when("the connections", |m| m.sum(OPEN, &[]) == 100.0);
    let (pid, began) = (tap.pid(), Instant::now());
    let brake = thread::spawn(move || {
        while began.elapsed() < duration {
            signal(pid, Signal::STOP);
            thread::sleep(Duration::from_millis(90));
            signal(pid, Signal::CONT);
            thread::sleep(Duration::from_millis(10));
        }
    });
    peer.does("flood");
    let (mut before, mut scrapes, mut lost) = (0.0, 0, 0.0);
    while began.elapsed() < duration {
        thread::sleep(Duration::from_secs(1));
        let passed = peer.does("count");
        let metrics = tap.metrics();
        let accounted = accounted_for(&metrics);
        let after = peer.does("count");
        assert!(accounted >= before, "{accounted} of {before} that had passed a scrape ago");
        // The peer counts a call when it has returned.
        assert!(accounted <= after + 2_048.0, "{accounted} of {after} that have passed");
        let lost_now = metrics.sum("wstap_lost_bytes_total", &[]);
        assert!(lost_now >= lost);
        (before, lost) = (passed, lost_now);
        scrapes += 1;
    }
    brake.join().expect("it ends");
    let passed = peer.does("rest");
    println!("{scrapes} scrapes, {passed} bytes passed, {lost} lost");
    assert!(lost > passed / 4.0, "{lost} of {passed}: it was to be overload");
    let metrics = tap.metrics_when("every byte", |m| accounted_for(m) >= passed);
    assert_eq!(accounted_for(&metrics), passed);
}

/// What the decoder has seen of the streams, gaps included, and what was lost behind the last record that
/// it has met.
fn accounted_for(metrics: &Metrics) -> f64 {
    let sum = |name| metrics.sum(name, &[]);
    let wire =
        sum("wstap_plaintext_bytes_sent_total") + sum("wstap_plaintext_bytes_received_total");
    wire + sum("wstap_lost_bytes_total") - sum("wstap_gap_bytes_total")
}
