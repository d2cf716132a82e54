use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use crate::suite::common::peers::mixed::{WHOLE, assert_same, counts, finish, forget, say, scaled};
use crate::suite::common::peers::{Runtime, Scene, Transcript};
use crate::suite::common::wstap::{Frames, Monitor, privileged, transcript};

const RUNTIMES: [Runtime; 2] = [Runtime::Python, Runtime::Node];

/// As negotiated by default, and with every parameter that can be forced.
fn negotiations() -> Vec<Vec<String>> {
    let of = |words: &str| words.split(' ').map(str::to_owned).collect();
    let fixed = ["default", "no-takeover", "server-no-takeover", "client-no-takeover"];
    let fixed = fixed.map(|name| format!("--deflate {name}"));
    let bits = (9..=15).map(|bits| format!("--deflate bits --bits {bits}"));
    fixed.into_iter().chain(bits).map(|words| of(&words)).collect()
}

/// What the 101 must say for the negotiation to be the one that is meant.
fn agreed(negotiation: &[String]) -> String {
    match negotiation[1].as_str() {
        "server-no-takeover" => "server_no_context_takeover".to_owned(),
        "client-no-takeover" => "client_no_context_takeover".to_owned(),
        "no-takeover" => "server_no_context_takeover; client_no_context_takeover".to_owned(),
        "bits" => format!("server_max_window_bits={}", negotiation[3]),
        _ => "permessage-deflate".to_owned(),
    }
}

/// Python's server with Node's client and the other way round, so that each is seen in each role.
#[test]
fn root_compressed_messages_equal_the_peers_own_logs_however_compression_is_negotiated() {
    if !privileged() {
        return;
    }
    for server in RUNTIMES {
        let client = if server == Runtime::Python { Runtime::Node } else { Runtime::Python };
        for negotiation in negotiations() {
            let messages = scaled(2000, 100_000);
            let began = Instant::now();
            compare(server, client, &negotiation, messages);
            println!(
                "{server:?} serves {client:?}, {}: {messages} messages each way equal, {:.0} s",
                negotiation[1..].join(" "),
                began.elapsed().as_secs_f64(),
            );
        }
    }
}

fn compare(server: Runtime, client: Runtime, negotiation: &[String], messages: u32) {
    let scene = Scene::new();
    let messages = messages.to_string();
    let mut arguments = vec!["--messages", &messages, "--connections", "2"];
    arguments.extend(negotiation.iter().map(String::as_str));
    let Some((mut server, mut client, _)) = scene.mixed(server, client, &arguments) else { return };
    let on_server = Frames::attach(server.pid(), &WHOLE);
    let on_client = Frames::attach(client.pid(), &WHOLE);
    let flawless = Monitor::attach(server.pid(), &WHOLE[2..]);
    say(&mut client);
    let [sent, received] = counts(&client.transcript());
    assert_eq!([sent, received], [messages.parse::<f64>().expect("a number"); 2]);
    let metrics = flawless.metrics_when("the last message", |m| {
        m.sum("packet_send_count", &[]) == received && m.sum("packet_recv_count", &[]) == sent
    });
    metrics.assert_flawless();
    finish(&mut server);
    let (on_server, on_client) = (on_server.finish(), on_client.finish());
    let opened = on_client.iter().find(|line| line["event"] == "open").expect("an open event");
    let extensions = opened["extensions"].as_str().expect("compression");
    assert!(extensions.contains(&agreed(negotiation)), "{negotiation:?}: {extensions}");
    let who = format!("{negotiation:?}");
    assert_same(&transcript(&on_server), &server.transcript(), &format!("server, {who}"));
    assert_same(&transcript(&on_client), &client.transcript(), &format!("client, {who}"));
    assert!(on_server.iter().chain(&on_client).all(|line| line["event"] != "gap"), "{who}");
}

/// wstap comes when the connections have long been open. Without compression it misses nothing of
/// what is said from then on.
#[test]
fn root_old_uncompressed_connections_are_decoded_exactly_from_the_first_frame_on() {
    if !privileged() {
        return;
    }
    for runtime in RUNTIMES {
        let scene = Scene::new();
        let messages = (50 * scaled(40, 1000)).to_string();
        let arguments = ["--connections", "50", "--messages", &messages];
        let Some((mut server, mut client, _)) = scene.mixed(runtime, runtime, &arguments) else {
            return;
        };
        say(&mut client);
        forget(&mut server);
        let on_server = Frames::attach(server.pid(), &WHOLE);
        let on_client = Frames::attach(client.pid(), &WHOLE);
        say(&mut client);
        finish(&mut server);
        let (on_server, on_client) = (on_server.finish(), on_client.finish());
        assert_same(&transcript(&on_server), &server.transcript(), &format!("{runtime:?} server"));
        assert_same(&transcript(&on_client), &client.transcript(), &format!("{runtime:?} client"));
        let asked = asked(&client.transcript());
        assert_eq!(answered(&on_server), asked, "{runtime:?} server");
        assert_eq!(answered(&on_client), asked, "{runtime:?} client");
    }
}

/// With compression the contents are lost where the process must not be asked, but frames and messages
/// are counted exactly, and no id is made up.
#[test]
fn root_old_compressed_connections_are_counted_exactly_and_yield_no_ids() {
    if !privileged() {
        return;
    }
    for runtime in RUNTIMES {
        let scene = Scene::new();
        let messages = (50 * scaled(40, 1000)).to_string();
        let arguments = ["--connections", "50", "--messages", &messages, "--deflate", "default"];
        let Some((mut server, mut client, _)) = scene.mixed(runtime, runtime, &arguments) else {
            return;
        };
        say(&mut client);
        forget(&mut server);
        let tap = Monitor::attach(server.pid(), &["--no-windows"]);
        let received_frames = say(&mut client);
        let [received, sent] = counts(&client.transcript());
        let metrics = tap.metrics_when("the last message", |m| {
            m.sum("packet_send_count", &[]) == sent && m.sum("packet_recv_count", &[]) == received
        });
        let data = ["text", "binary", "continuation"].map(|it| format!("opcode=\"{it}\""));
        let frames = |name| data.iter().map(|it| metrics.sum(name, &[it.as_str()])).sum::<f64>();
        let sent_frames = finish(&mut server);
        assert_eq!(frames("wstap_frames_received_total"), received_frames, "{runtime:?}");
        assert_eq!(frames("wstap_frames_sent_total"), sent_frames, "{runtime:?}");
        assert_eq!(metrics.sum("wstap_requests_total", &[]), 0.0, "{runtime:?}");
        assert_eq!(metrics.sum("wstap_protocol_errors_total", &[]), 0.0, "{runtime:?}");
        assert_eq!(metrics.sum("wstap_lost_bytes_total", &[]), 0.0, "{runtime:?}");
    }
}

/// How often each id was asked for, by the client's own log.
fn asked(said: &Transcript) -> BTreeMap<String, u32> {
    let mut ids = BTreeMap::new();
    let sent = said.iter().flat_map(|[sent, _]| sent).filter(|(kind, _)| kind == "text");
    for (_, message) in sent {
        let request: Value = serde_json::from_slice(message).expect("a request");
        *ids.entry(request["id"].to_string()).or_default() += 1;
    }
    ids
}

/// How often each id was answered, as wstap saw it; every exchange must have matched.
fn answered(lines: &[Value]) -> BTreeMap<String, u32> {
    let mut ids = BTreeMap::new();
    for exchange in lines.iter().filter(|line| line["event"] == "exchange") {
        assert_eq!(exchange["outcome"], "matched", "{exchange}");
        *ids.entry(exchange["id"].as_str().expect("an id").to_owned()).or_default() += 1;
    }
    ids
}
