use std::collections::BTreeMap;

use serde_json::Value;

use crate::suite::common::peers::{Peer, Runtime, Scene};
use crate::suite::common::programs::find;
use crate::suite::common::wstap::{Monitor, privileged};
use crate::suite::root::exactness::feeds::{feed, round};

const REQUESTS: f64 = 60.0;

/// A list of texts in what the browser reports.
fn texts(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|it| it.as_str().expect("a text")).collect()
}

/// The answers and errors of each method, as `/metrics` has them.
fn by_method(tap: &Monitor) -> BTreeMap<String, (f64, f64)> {
    let metrics = tap.metrics();
    let of = |method: &str| {
        let label = format!("method=\"{method}\"");
        let count = |outcome: &str| {
            metrics.sum("wstap_requests_total", &[&label, &format!("outcome=\"{outcome}\"")])
        };
        (count("matched") + count("error"), count("error"))
    };
    ["echo", "fail"].map(|method| (method.to_owned(), of(method))).into()
}

fn open_page(scene: &Scene, tap: &Monitor) -> Option<Peer> {
    let url = format!("http://{}/", tap.address);
    // Whoever wants to look at it says where the pictures go.
    let pictures = std::env::var("WSTAP_PICTURES").unwrap_or_default();
    scene.page(&["--url", &url, "--answered", &REQUESTS.to_string(), "--pictures", &pictures])
}

/// Everything that a person does there, in one browser: to start one takes seconds.
#[test]
fn root_the_page_in_a_browser_shows_the_metrics_and_does_what_it_offers() {
    if !privileged() || find("chromium").is_none() {
        return;
    }
    let scene = Scene::new();
    let Some((server, port)) = scene.server(Runtime::Python, &[]) else { return };
    let requests = REQUESTS.to_string();
    let load = ["--requests", &requests, "--fail-every", "4", "--pause", "0.02"];
    let load = [&load[..], &["--connections", "2", "--stay"]].concat();
    let Some(mut client) = scene.client(Runtime::Python, port, &load) else { return };
    let feed_scene = Scene::new();
    let faults = ["--faults", "--messages", "4000"];
    let Some((_feed, mut reader, rules)) = feed(&feed_scene, &faults) else { return };
    let reader_pid = reader.pid().to_string();
    let tap = Monitor::attach(server.pid(), &["--pid", &reader_pid, "--rules", &rules]);
    tap.await_all_tapped(2);
    let done = round(&mut reader);
    client.go();
    tap.metrics_when("the answers", |m| m.sum("turnaround_count", &[]) == REQUESTS);
    let Some(mut browser) = open_page(&scene, &tap) else { return };
    let found: Value = serde_json::from_str(&browser.line()).expect("JSON");

    let number = |text: &str| text.replace(',', "").parse::<f64>().expect("a number");
    let shown: BTreeMap<String, (f64, f64)> = found["methods"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| {
            let cell = |name: &str| row[name].as_str().expect("a cell");
            let answered = number(cell("answered"));
            let percent = cell("errors").trim_end_matches(" %").parse::<f64>().expect("a share");
            (cell("method").to_owned(), (answered, (percent * answered / 100.0).round()))
        })
        .collect();
    assert_eq!(shown, by_method(&tap), "{found:#}");
    assert_eq!(found["connections"].as_array().expect("rows").len(), 3, "{found:#}");
    let feeds = found["feeds"].as_array().expect("rows");
    let ticks = feeds.iter().find(|row| row["protocol"] == "ticks").expect("the feed");
    assert_eq!(ticks["direction"], "received");
    for key in ["missing", "repeated", "backward"] {
        assert_eq!(
            Some(number(ticks[key].as_str().expect("a cell"))),
            done[key].as_f64(),
            "{ticks}"
        );
    }
    assert_ne!(ticks["lag p99"], "–", "{ticks}");
    assert!(
        found["sentence"].as_str().is_some_and(|it| it.contains("all can be read")),
        "{found:#}"
    );

    let order = found["sorting"]["order"].as_array().expect("three orders");
    assert_eq!(texts(&order[0]), ["fail", "echo"], "failures first");
    assert_eq!(texts(&order[1]), ["echo", "fail"]);
    assert_eq!(texts(&order[2]), ["fail", "echo"]);
    assert_eq!(found["sorting"]["direction"], "descending");
    assert_eq!(texts(&found["filtered"]), ["fail"]);

    let dragging = &found["dragging"];
    assert_ne!(dragging["before"], dragging["during"], "{dragging}");
    assert_eq!((&dragging["pressed"], &dragging["again"]), (&0.into(), &"true".into()));
    let connection = &found["connection"];
    assert_eq!(connection["focused"], "messages-title", "{connection}");
    assert_eq!(connection["closed"], true, "{connection}");
    assert_eq!(connection["lines"].as_array().expect("rows").len(), 20, "{connection}");

    for (how, findings) in found["axe"].as_object().expect("three runs") {
        assert!(texts(findings).is_empty(), "{how}: {findings:#}");
    }
    assert!(texts(&found["outside"]).is_empty(), "at 390 pixels: {:#}", found["outside"]);
    assert!(texts(&found["complaints"]).is_empty(), "{:#}", found["complaints"]);

    browser.say("ended");
    assert!(tap.terminate().success());
    let said: Value = serde_json::from_str(&browser.line()).expect("JSON");
    // The script closes the browser, which would go on without it.
    browser.wait();
    assert_eq!((&said["sentence"], &said["gone"]), (&"wstap is gone.".into(), &"gone".into()));
}
