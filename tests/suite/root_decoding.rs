use crate::mixed::{WHOLE, assert_same, counts, finish, forget, say, scaled};
use crate::peer::{Runtime, Scene};
use crate::wstap::{Frames, Monitor, privileged, transcript};

const RUNTIMES: [Runtime; 2] = [Runtime::Python, Runtime::Node];

/// As negotiated by default, and with every parameter that can be forced.
fn negotiations() -> Vec<Vec<String>> {
    let of = |words: &str| words.split(' ').map(str::to_owned).collect();
    let fixed = ["--deflate default", "--deflate no-takeover"];
    let bits = (9..=15).map(|bits| format!("--deflate bits --bits {bits}"));
    fixed.into_iter().map(str::to_owned).chain(bits).map(|words| of(&words)).collect()
}

/// What the 101 must say for the negotiation to be the one that is meant.
fn agreed(negotiation: &[String]) -> String {
    match negotiation[1].as_str() {
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
            let many = if negotiation[1] == "default" { 100_000 } else { 2000 };
            compare(server, client, &negotiation, scaled(2000, many));
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
        let connections = scaled(50, 1000);
        let (connections, messages) = (connections.to_string(), (connections * 40).to_string());
        let arguments = ["--connections", &connections, "--messages", &messages];
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
    }
}

/// With compression the contents are lost for good, but frames and messages are counted exactly,
/// and no id is made up.
#[test]
fn root_old_compressed_connections_are_counted_exactly_and_yield_no_ids() {
    if !privileged() {
        return;
    }
    for runtime in RUNTIMES {
        let scene = Scene::new();
        let connections = scaled(50, 1000);
        let (connections, messages) = (connections.to_string(), (connections * 40).to_string());
        let mut arguments = vec!["--connections", &connections, "--messages", &messages];
        arguments.extend(["--deflate", "default"]);
        let Some((mut server, mut client, _)) = scene.mixed(runtime, runtime, &arguments) else {
            return;
        };
        say(&mut client);
        forget(&mut server);
        let tap = Monitor::attach(server.pid(), &[]);
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
