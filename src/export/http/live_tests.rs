//! What the live page fetches: events, windows, the messages of a connection.

use std::pin::Pin;

use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures_util::StreamExt;
use serde_json::Value;
use tower::ServiceExt;

use super::door::Client;
use super::tests::{Fixture, text};
use super::*;
use crate::event::{ConnId, Direction, TargetId};
use crate::observation::{
    Exchange, Fidelity, Message, MessageReading, MessageType, Observation, Open, Origin, Outcome,
    Role, What,
};

const SECOND_NS: u64 = 1_000_000_000;

fn observe(fixture: &mut Fixture, what: What<'_>) {
    let observation = Observation {
        at_ns: 1,
        tid: 1,
        target: TargetId(0),
        conn: ConnId { tgid: 4242, generation: 17, handle: 1, stream: 0 },
        role: Role::Client,
        what,
    };
    fixture.metrics.record(&observation);
    fixture.metrics.flush();
    fixture.recorder.record(&observation);
}

fn open(fixture: &mut Fixture) {
    let to = Some((Role::Client, Fidelity::Full));
    observe(fixture, What::State { from: None, to });
    let (host, path) = (Some("rpc.example.com"), Some("/secret-path"));
    observe(fixture, What::Open(Open { host, path, ..Open::default() }));
}

fn answer(fixture: &mut Fixture, method: &str) {
    let (origin, protocol, id) = (Origin::Local, "jsonrpc", "7".into());
    let (outcome, turnaround_ns) = (Outcome::Matched, Some(2_000_000));
    observe(fixture, What::Started { origin, protocol, method });
    observe(
        fixture,
        What::Exchange(Exchange { origin, protocol, method, id, outcome, turnaround_ns }),
    );
}

fn say(fixture: &mut Fixture) {
    let message = Message {
        direction: Direction::Sent,
        message_type: MessageType::Text,
        frames: 1,
        wire_length: 12,
        length: Some(12),
        compressed: false,
        payload: b"secret words",
        tail: b"",
        truncated: false,
        identical: false,
    };
    observe(fixture, What::Message { message, reading: MessageReading::UNKNOWN });
}

/// One who follows the page, from an address.
struct Follower(Pin<Box<BodyDataStream>>);

impl Follower {
    async fn of(router: &Router, from: &str) -> Result<Self, StatusCode> {
        let mut request = Request::get("/api/v1/live").body(Body::empty()).expect("legal");
        let client = Client::new("127.0.0.1:8080".parse().ok(), from.parse().ok());
        request.extensions_mut().insert(client);
        let response = router.clone().oneshot(request).await.expect("infallible");
        match response.status() {
            StatusCode::OK => Ok(Self(Box::pin(response.into_body().into_data_stream()))),
            status => Err(status),
        }
    }

    /// The next event.
    async fn next(&mut self) -> Value {
        let chunk = self.0.next().await.expect("an event").expect("no error");
        let text = std::str::from_utf8(&chunk).expect("UTF-8");
        let data = text.strip_prefix("data: ").and_then(|it| it.strip_suffix("\n\n"));
        serde_json::from_str(data.expect("one event")).expect("JSON")
    }
}

fn routes(fixture: &Fixture) -> Router {
    let live = fixture.recorder.live();
    router(Exporter::new(&fixture.metrics, Arc::clone(&fixture.status), live))
}

/// The clock is paused: a second passes as soon as everybody waits.
#[tokio::test(start_paused = true)]
async fn a_follower_gets_everything_first_and_then_each_second_what_is_new() {
    let mut fixture = Fixture::new();
    fixture.recorder.publish(10 * SECOND_NS);
    open(&mut fixture);
    answer(&mut fixture, "eth_call");
    fixture.recorder.publish(11 * SECOND_NS);
    let routes = routes(&fixture);
    let mut follower = Follower::of(&routes, "127.0.0.1:5000").await.expect("room");
    let first = follower.next().await;
    assert_eq!(
        (&first["points"][0]["time"], &first["points"][0]["answered"]),
        (&10.into(), &1.into())
    );
    assert_eq!((&first["totals"]["answered"], &first["open"]), (&1.into(), &1.into()));
    assert!(first["sentence"].as_str().is_some_and(|it| it.contains("Waiting for a process")));

    answer(&mut fixture, "eth_call");
    fixture.recorder.publish(12 * SECOND_NS);
    let second = follower.next().await;
    let times = |event: &Value| {
        let points = event["points"].as_array().expect("a list").clone();
        points.into_iter().map(|point| point["time"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(times(&second), [11]);
    assert_eq!(second["totals"]["answered"], 2);
    assert!(times(&follower.next().await).is_empty(), "nothing is told twice");
}

#[tokio::test(start_paused = true)]
async fn hosts_and_paths_are_shown_to_clients_of_this_machine_only() {
    let mut fixture = Fixture::new();
    fixture.recorder.publish(10 * SECOND_NS);
    open(&mut fixture);
    fixture.recorder.publish(11 * SECOND_NS);
    let routes = routes(&fixture);
    let mut here = Follower::of(&routes, "127.0.0.1:5000").await.expect("room");
    assert_eq!(here.next().await["connections"][0]["path"], "/secret-path");
    let mut elsewhere = Follower::of(&routes, "192.0.2.1:5000").await.expect("room");
    let event = elsewhere.next().await;
    assert_eq!(event["connections"][0]["conn"], "4242-17");
    assert!(!event.to_string().contains("secret-path") && !event.to_string().contains("example"));
}

#[tokio::test(start_paused = true)]
async fn followers_beyond_the_bound_are_refused_until_one_leaves() {
    let fixture = Fixture::new();
    let routes = routes(&fixture);
    let mut followers = Vec::new();
    for _ in 0..api::FOLLOWERS_MAX {
        followers.push(Follower::of(&routes, "127.0.0.1:5000").await.expect("room"));
    }
    let refused = Follower::of(&routes, "127.0.0.1:5000").await.err();
    assert_eq!(refused, Some(StatusCode::SERVICE_UNAVAILABLE));
    followers.pop();
    assert!(Follower::of(&routes, "127.0.0.1:5000").await.is_ok());
}

async fn json(fixture: &Fixture, path: &str) -> Value {
    let response = fixture.get(path).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    serde_json::from_str(&text(response).await).expect("JSON")
}

#[tokio::test]
async fn a_window_sums_up_its_seconds_and_no_others() {
    let mut fixture = Fixture::new();
    fixture.recorder.publish(10 * SECOND_NS);
    for (second, method) in [(11, "first"), (12, "second"), (13, "second")] {
        answer(&mut fixture, method);
        fixture.recorder.publish(second * SECOND_NS);
    }
    for (query, answered) in [
        ("", vec![("second", 2), ("first", 1)]),
        ("?from=11", vec![("second", 2)]),
        ("?from=12&to=12", vec![("second", 1)]),
        ("?to=10", vec![("first", 1)]),
        ("?from=0&to=18446744073709551615", vec![("second", 2), ("first", 1)]),
        ("?from=18446744073709551615", vec![("second", 1)]),
    ] {
        let window = json(&fixture, &format!("/api/v1/window{query}")).await;
        let rows = window["methods"].as_array().expect("a list").iter();
        let found = rows.map(|row| {
            (row["method"].as_str().expect("a name"), row["answered"].as_u64().expect("a count"))
        });
        assert_eq!(found.collect::<Vec<_>>(), answered, "{query}: {window}");
    }
    let slowest = json(&fixture, "/api/v1/window").await["slowest"].clone();
    assert_eq!(slowest.as_array().map(Vec::len), Some(3));
    let response = fixture.get("/api/v1/window?from=yesterday").await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_window_of_nothing_is_empty() {
    let fixture = Fixture::new();
    let window = json(&fixture, "/api/v1/window").await;
    assert_eq!(window["methods"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn the_messages_of_a_connection_have_no_payload() {
    let mut fixture = Fixture::new();
    fixture.recorder.publish(10 * SECOND_NS);
    open(&mut fixture);
    (0..30).for_each(|_| say(&mut fixture));
    fixture.recorder.publish(11 * SECOND_NS);
    let messages = json(&fixture, "/api/v1/connection?id=4242-17").await;
    assert_eq!(messages.as_array().map(Vec::len), Some(20), "the last ones");
    assert_eq!((&messages[0]["direction"], &messages[0]["length"]), (&"sent".into(), &12.into()));
    assert!(!messages.to_string().contains("secret words"));
    for id in ["4242-18", "", "%00", "..%2f"] {
        let response = fixture.get(&format!("/api/v1/connection?id={id}")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{id}");
    }
    assert_eq!(fixture.get("/api/v1/connection").await.status(), StatusCode::BAD_REQUEST);
}
