use super::*;
use crate::event::{ConnId, Direction};
use crate::observation::*;

const WALL: i128 = 1_000_000 * 1_000_000_000;

fn conn(generation: u32) -> ConnId {
    ConnId { tgid: 7, generation, handle: 1, stream: 0 }
}

fn record(recorder: &mut Recorder, generation: u32, what: What<'_>) {
    recorder.record(&Observation {
        at_ns: 5 * SECOND_NS,
        tid: 1,
        target: TargetId(0),
        conn: conn(generation),
        role: Role::Client,
        what,
    });
}

fn ended(method: &str, outcome: Outcome, turnaround_ns: Option<u64>) -> What<'_> {
    let (origin, protocol, id) = (Origin::Local, "jsonrpc", "1".into());
    What::Exchange(Exchange { origin, protocol, method, id, outcome, turnaround_ns })
}

fn opened(fidelity: Fidelity) -> What<'static> {
    What::State { from: None, to: Some((Role::Client, fidelity)) }
}

fn message() -> What<'static> {
    let message = Message {
        direction: Direction::Sent,
        message_type: MessageType::Text,
        frames: 1,
        wire_length: 10,
        length: Some(10),
        compressed: false,
        payload: b"secret",
        tail: b"",
        truncated: false,
        identical: false,
    };
    What::Message { message, reading: MessageReading::UNKNOWN }
}

fn recorder() -> Recorder {
    let mut recorder = Recorder::new(&["feed"], WALL);
    recorder.publish(SECOND_NS);
    recorder
}

#[test]
fn a_second_is_there_once_it_has_ended() {
    let mut recorder = recorder();
    let live = recorder.live();
    record(&mut recorder, 1, ended("call", Outcome::Matched, Some(2_000_000)));
    record(&mut recorder, 1, ended("call", Outcome::Error, Some(8_000_000)));
    record(&mut recorder, 1, ended("call", Outcome::Expired, None));
    recorder.publish(SECOND_NS + SECOND_NS / 2);
    assert!(live.points(0).is_empty());
    recorder.publish(2 * SECOND_NS);
    let [point] = live.points(0).try_into().expect("one second");
    assert_eq!((point.time, point.answered, point.errors, point.unanswered), (1_000_001, 2, 1, 1));
    assert_eq!(point.heat.iter().map(|(_, count)| count).sum::<u64>(), 2);
    assert_eq!(point.p99, Some(0.008), "two observations: the longer one");
    assert!(live.points(point.time).is_empty(), "nothing newer");
}

#[test]
fn a_window_has_the_methods_of_its_seconds_and_failures_first() {
    let mut recorder = recorder();
    for second in 2..=4 {
        for _ in 0..10 {
            record(&mut recorder, 1, ended("fine", Outcome::Matched, Some(second * 1_000_000)));
        }
        if second == 3 {
            record(&mut recorder, 1, ended("bad", Outcome::Expired, None));
        }
        recorder.publish(second * SECOND_NS);
    }
    let live = recorder.live();
    let all = live.window(1_000_001, 1_000_003);
    let names: Vec<_> = all.methods.iter().map(|row| (row.method(), row.answered)).collect();
    assert_eq!(names, [("bad", 0), ("fine", 30)]);
    assert_eq!(all.methods[1].slowest, Some(0.004));
    assert_eq!(all.slowest.len(), 20);
    let first = live.window(1_000_001, 1_000_001);
    assert_eq!(first.methods.len(), 1);
    assert_eq!((first.methods[0].answered, first.methods[0].p50), (10, Some(0.002)));
    assert_eq!(first.methods[0].spark.iter().sum::<u64>(), 10);
}

#[test]
fn history_is_bounded_in_seconds_and_in_rows() {
    let mut recorder = recorder();
    let methods: Vec<String> = (0..50).map(|i| format!("m{i}")).collect();
    for second in 2..1_200 {
        for method in &methods {
            record(&mut recorder, 1, ended(method, Outcome::Matched, Some(1)));
        }
        recorder.publish(second * SECOND_NS);
    }
    let live = recorder.live();
    assert_eq!(live.points(0).len(), SECONDS);
    assert!(live.points(0).iter().all(|point| point.answered == 50), "totals are kept");
    let window = live.window(0, u64::MAX);
    let kept: u64 = window.methods.iter().map(|row| row.answered).sum();
    assert!(kept <= ROWS_MAX as u64, "{kept}");
    assert!(window.methods_since > live.points(0)[0].time, "and the page can say since when");
}

#[test]
fn connections_come_and_go_and_their_last_messages_are_kept() {
    let mut recorder = recorder();
    record(&mut recorder, 1, opened(Fidelity::Full));
    record(&mut recorder, 2, opened(Fidelity::NoContent));
    let (host, path) = (Some("rpc.example.com"), Some("/ws"));
    record(&mut recorder, 1, What::Open(Open { host, path, ..Open::default() }));
    for _ in 0..100 {
        record(&mut recorder, 1, message());
    }
    recorder.publish(2 * SECOND_NS);
    let live = recorder.live();
    let now = live.now(true);
    assert_eq!((now.open, now.unreadable, now.connections.len()), (2, 1, 2));
    assert_eq!((&*now.connections[0].conn, now.connections[0].sent), ("7-1", 100));
    assert_eq!(now.connections[0].host.as_deref(), Some("rpc.example.com"));
    assert!(live.now(false).connections.iter().all(|row| row.host.is_none() && row.path.is_none()));
    let lines = live.messages("7-1").expect("it is open");
    assert_eq!(lines.len(), connections::LINES);
    let json = serde_json::to_string(&lines).expect("JSON");
    assert!(!json.contains("secret"), "payload is never shown");
    record(&mut recorder, 1, What::State { from: Some((Role::Client, Fidelity::Full)), to: None });
    recorder.publish(3 * SECOND_NS);
    assert!(live.messages("7-1").is_none());
    assert_eq!(live.now(true).open, 1);
}

#[test]
fn connections_beyond_the_bound_are_counted() {
    let mut recorder = recorder();
    for generation in 0..connections::OPEN_MAX as u32 + 5 {
        record(&mut recorder, generation, opened(Fidelity::Full));
    }
    recorder.publish(2 * SECOND_NS);
    let now = recorder.live().now(true);
    assert_eq!(now.connections.len(), connections::OPEN_MAX);
    assert_eq!(now.open, connections::OPEN_MAX as u64 + 5);
}

#[test]
fn the_sentence_says_what_cannot_be_read_and_what_ends_it() {
    let mut recorder = recorder();
    for generation in 0..8 {
        record(&mut recorder, generation, opened(Fidelity::NoContent));
    }
    recorder.publish(2 * SECOND_NS);
    let sentence = recorder.live().sentence(&Snapshot::default(), 0);
    assert!(sentence.starts_with("Waiting for a process to tap."), "{sentence}");
    assert!(sentence.contains("8 of 8 connections cannot be read"), "{sentence}");
    assert!(sentence.contains("once it reconnects"), "{sentence}");
}

#[test]
fn the_oldest_waiting_request_of_each_target_is_found() {
    let waiting = |target, asked_ns| Waiting {
        asked_ns,
        target: TargetId(target),
        conn: conn(1),
        origin: Origin::Local,
        protocol: "jsonrpc",
        method: "",
    };
    let all = [waiting(1, 10), waiting(1, 20), waiting(0, 30), waiting(9, 40)];
    assert_eq!(oldest_by_target(all.into_iter(), 3), [Some(30), Some(10), None]);
}

/// The decoder reports the handshake before the state.
#[test]
fn a_connection_keeps_the_host_and_path_of_its_handshake() {
    let mut recorder = recorder();
    let live = recorder.live();
    let (host, path) = (Some("rpc.example.com"), Some("/ws"));
    record(&mut recorder, 1, What::Open(Open { host, path, ..Open::default() }));
    record(&mut recorder, 1, opened(Fidelity::Full));
    recorder.publish(2 * SECOND_NS);
    let row = &live.now(true).connections[0];
    assert_eq!((row.host.as_deref(), row.path.as_deref()), (host, path));
    assert_eq!((row.role, row.decode, live.now(true).open), ("client", "full", 1));
}

#[test]
fn a_short_window_has_as_many_parts_as_seconds() {
    let mut recorder = recorder();
    for second in 2..=5 {
        record(&mut recorder, 1, ended("call", Outcome::Matched, Some(1)));
        recorder.publish(second * SECOND_NS);
    }
    let first = recorder.live().points(0)[0].time;
    assert_eq!(recorder.live().window(0, u64::MAX).methods[0].spark, [1, 1, 1, 1]);
    assert_eq!(recorder.live().window(first, first + 1).methods[0].spark, [1, 1]);
}
