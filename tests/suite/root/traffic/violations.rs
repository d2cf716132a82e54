use serde_json::Value;

use crate::suite::common::peers::{Peer, Runtime, Scene};
use crate::suite::common::wstap::{Metrics, Monitor, privileged};

/// Reserved bits and opcodes, control frames of all lengths, lengths that could be shorter, text
/// that is not UTF-8, masks on the wrong side, closes of all kinds: of each opcode wstap counts as
/// many frames as the peers' own TLS calls have passed, and every request finds its answer.
#[test]
fn root_frames_behind_every_violation_are_counted_as_the_peers_passed_them() {
    if !privileged() {
        return;
    }
    for runtime in [Runtime::Python, Runtime::Node] {
        let scene = Scene::new();
        let Some((mut server, mut client)) = scene.rule_breakers(runtime) else { return };
        let on_server = Monitor::attach(server.pid(), &[]);
        let on_client = Monitor::attach(client.pid(), &[]);
        client.go();
        for (peer, tap, role) in
            [(&mut server, &on_server, "server"), (&mut client, &on_client, "client")]
        {
            let passed = counts(peer);
            let closes = passed["sent"]["close"].as_f64().expect("a number");
            let metrics = tap.metrics_when("the last frame", |metrics| {
                let close = ["opcode=\"close\""];
                metrics.sum("wstap_frames_sent_total", &close) == closes
                    && metrics.sum("wstap_frames_received_total", &close) == closes
            });
            for direction in ["sent", "received"] {
                let name = format!("wstap_frames_{direction}_total");
                for (opcode, count) in passed[direction].as_object().expect("an object") {
                    let label = format!("opcode=\"{opcode}\"");
                    let frames = metrics.sum(&name, &[&label]);
                    assert_eq!(Some(frames), count.as_f64(), "{runtime:?} {role} {name} {opcode}");
                }
            }
            assert_matched(&metrics, &format!("{runtime:?} {role}"));
        }
    }
}

fn assert_matched(metrics: &Metrics, who: &str) {
    let matched = metrics.sum("wstap_requests_total", &["outcome=\"matched\""]);
    assert!(matched > 20.0, "{who}: {matched}");
    assert_eq!(metrics.sum("wstap_requests_total", &[]), matched, "{who}: no other outcome");
    assert_eq!(metrics.sum("wstap_requests_pending", &[]), 0.0, "{who}");
    for reason in ["rsv_unexpected", "opcode_reserved", "control_too_long", "utf8_text"] {
        let label = format!("reason=\"{reason}\"");
        assert!(metrics.sum("wstap_protocol_errors_total", &[&label]) > 0.0, "{who} {reason}");
    }
    assert_eq!(metrics.sum("wstap_protocol_errors_total", &["reason=\"resync\""]), 0.0, "{who}");
    assert_eq!(metrics.sum("wstap_lost_bytes_total", &[]), 0.0, "{who}");
}

/// What the peer says that it has passed.
fn counts(peer: &mut Peer) -> Value {
    serde_json::from_str(&peer.line()).expect("JSON")
}
