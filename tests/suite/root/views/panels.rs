use crate::suite::common::peers::Scene;
use crate::suite::common::wstap::{Monitor, privileged};
use crate::suite::contract::deploy::{NATIVE, queries, recorded};
use crate::suite::contract::prometheus::Prometheus;

/// What a process really does must fill every panel, and not only series that a test has made up.
#[test]
fn root_a_live_process_fills_every_panel_and_rule_with_both_kinds_of_histograms() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    let Some(mut peer) = scene.everything() else { return };
    let tap = Monitor::attach(peer.pid(), &["--quiet-after", "5s"]);
    let servers = [&[][..], &[NATIVE]].map(|arguments| Prometheus::start(tap.address, arguments));
    let [Some(classic), Some(native)] = servers else { return };
    peer.go();
    for query in queries().iter().chain(&recorded()) {
        classic.expect_series(query);
        native.expect_series(query);
    }
    peer.end();
}
