use crate::suite::common::peers::Scene;
use crate::suite::common::wstap::{Monitor, privileged};

/// How many bytes a call of `SSL_write_ex` passed is not always read: it may be known by what passed
/// before. Here one call in two passes a part, and some fail; the next one then brings more than they did.
#[test]
fn root_writes_that_pass_a_part_or_fail_are_counted_to_the_byte() {
    let scene = Scene::new();
    if !privileged() {
        return;
    }
    for site in ["cheapest", "symbol"] {
        let Some(mut peer) = scene.unfinished() else { return };
        let tap = Monitor::attach(peer.pid(), &["--probe-site", site]);
        peer.go();
        let told = peer.line();
        let numbers: Vec<f64> = told.split(' ').map(|it| it.parse().expect(&told)).collect();
        let [frames, payload, parts, failed] = numbers[..] else { panic!("four numbers: {told}") };
        assert!(parts > 100.0 && failed > 20.0, "{parts} of a part, {failed} failed");
        for way in ["sent", "received"] {
            let name = format!("wstap_message_bytes_{way}_total");
            let metrics = tap.metrics_when("all bytes", |m| m.sum(&name, &[]) >= payload);
            assert_eq!(metrics.sum(&name, &[]), payload, "{site}: {way}");
            let frames_seen = metrics.sum(&format!("wstap_frames_{way}_total"), &[]);
            assert_eq!(frames_seen, frames, "{site}: {way}");
            metrics.assert_flawless();
        }
    }
}
