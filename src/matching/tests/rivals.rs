//! Protocols that look like each other: none may take another's label.

use super::*;
use crate::matching::protocols::builtin_files;
use crate::matching::rules::{Said, compile_file, conversation};

/// Each protocol's own examples as a conversation: as they stand in the file, all questions before
/// all answers, and answers first.
#[test]
fn no_protocol_takes_anothers_examples_for_its_own() {
    let mut recognised = 0;
    for (file, text) in builtin_files() {
        for compiled in compile_file(file, &text).unwrap() {
            let name = file.trim_end_matches(".toml");
            let said = conversation(&compiled);
            let (asked, answered): (Vec<Said>, Vec<Said>) =
                said.iter().cloned().partition(|said| said.by_client);
            for said in [
                said.clone(),
                [asked.clone(), answered.clone()].concat(),
                [answered.clone(), asked.clone()].concat(),
                [asked.clone(), asked, answered.clone(), answered].concat(),
            ] {
                recognised += usize::from(labels(&said, name));
            }
        }
    }
    assert!(recognised > 3 * builtin_files().count(), "{recognised} conversations");
}

/// Whether the conversation took the label `name`; that it took no other is asserted.
fn labels(said: &[Said], name: &str) -> bool {
    let mut tap = Tap::unknown();
    for (number, Said { by_client, message_type, payload }) in said.iter().enumerate() {
        let direction = if *by_client { Direction::Sent } else { Direction::Received };
        tap.at(number as u64 * MILLISECOND_NS);
        tap.pass(direction, payload, *message_type, Wholeness::Whole);
        let line = tap.messages().remove(0);
        let label = line.split(' ').next().unwrap_or_default();
        assert!(
            label == name || label == "unknown",
            "{name} became {label} by {}",
            payload.escape_ascii()
        );
        if label == name {
            return true;
        }
    }
    false
}

/// The label of the last message of an exchange, and what was counted.
fn exchange(messages: &[(Direction, &str)]) -> (String, Vec<String>) {
    let mut tap = Tap::unknown();
    for (direction, text) in messages {
        tap.pass(*direction, text.as_bytes(), MessageType::Text, Wholeness::Whole);
    }
    let last = tap.messages().pop().unwrap();
    (last.split(' ').next().unwrap_or_default().to_owned(), tap.lines())
}

use Direction::{Received, Sent};

#[test]
fn shapes_that_many_protocols_have_prove_nothing() {
    for (ask, answer) in [
        (r#"{"type":"subscribe","id":1}"#, r#"{"type":"error","id":1}"#),
        (r#"{"type":"start","id":1}"#, r#"{"type":"error","id":1}"#),
        (r#"{"type":"ping","id":1}"#, r#"{"type":"pong","id":1}"#),
        (r#"{"type":"subscribe","id":"1","channel":"c"}"#, r#"{"type":"error","id":"1"}"#),
    ] {
        let (label, lines) = exchange(&[(Sent, ask), (Received, answer)]);
        assert_eq!((label.as_str(), lines.len()), ("unknown", 0), "{ask}");
    }
}

#[test]
fn peers_that_were_taken_for_others_are_not() {
    for (name, ask, answer) in [
        (
            "jsonrpc",
            r#"{"id":1,"src":"me","method":"Shelly.Reboot"}"#,
            r#"{"id":1,"src":"shelly","dst":"me","result":null}"#,
        ),
        ("surrealdb", r#"{"id":1,"method":"use","params":["n","d"]}"#, r#"{"id":1,"result":null}"#),
        (
            "playwright",
            r#"{"id":1,"guid":"page@1","method":"close","params":{},"metadata":{}}"#,
            r#"{"id":1}"#,
        ),
        (
            "kucoin",
            r#"{"id":"1","type":"subscribe","topic":"/x","response":true}"#,
            r#"{"id":"1","type":"error","code":404,"data":"no"}"#,
        ),
        (
            "graphql-ws",
            r#"{"id":"1","type":"start","payload":{"data":"{}","extensions":{}}}"#,
            r#"{"type":"start_ack","id":"1"}"#,
        ),
        ("webdriver-bidi", r#"{"id":1,"method":"session.status","params":{}}"#, BIDI_ANSWER),
    ] {
        let (label, lines) = exchange(&[(Sent, ask), (Received, answer)]);
        assert_eq!(label, name, "{ask}");
        assert_eq!(lines.len(), 2, "{name}: {lines:?}");
    }
}

const BIDI_ANSWER: &str = r#"{"type":"success","id":1,"result":{"ready":true}}"#;

/// However long the first answer takes: no request that came before it is lost, and a user's rules
/// for something else change nothing.
#[test]
fn a_burst_before_the_first_answer_counts_in_full() {
    let mine = r#"
        name = "mine"
        rule = [
            { kind = "request", has = ["$.method"], id = "$.id" },
            { kind = "request", has = ["$[2]"], id = "$[1]" },
            { kind = "response", has = ["$.never"], id = "$.id" },
        ]"#;
    type Text = fn(usize) -> String;
    let shapes: [(&str, Text, Text); 3] = [
        (
            "jsonrpc",
            |n| format!(r#"{{"id":{n},"method":"Page.enable"}}"#),
            |n| format!(r#"{{"id":{n},"result":{{}}}}"#),
        ),
        ("ocpp", |n| format!(r#"[2,"{n}","Reset",{{}}]"#), |n| format!(r#"[3,"{n}",{{}}]"#)),
        (
            "okx",
            |n| format!(r#"{{"id":"{n}","op":"order","args":[]}}"#),
            |n| format!(r#"{{"id":"{n}","op":"order","code":"0","data":[]}}"#),
        ),
    ];
    for rules in [None, Some(mine)] {
        for (name, ask, answer) in shapes {
            let mut protocols = Protocols::builtin();
            if let Some(rules) = rules {
                protocols.add_toml("mine.toml", rules).unwrap();
            }
            let mut tap = Tap::new(protocols);
            tap.open(tap.hint());
            for _ in 0..500 {
                tap.received(r#"{"tick":1.5}"#).sent(r#"{"tock":1}"#);
            }
            for n in 0..1_000 {
                tap.at.at_ns += MILLISECOND_NS;
                tap.sent(ask(n));
            }
            for n in (0..1_000).rev() {
                tap.at.at_ns += MILLISECOND_NS;
                tap.received(answer(n));
            }
            let lines = tap.lines();
            let count = |what| lines.iter().filter(|line| line.starts_with(what)).count();
            assert_eq!((count("started"), count("matched")), (1_000, 1_000), "{name}");
            assert!(tap.messages().pop().unwrap().starts_with(name));
        }
    }
}

/// Requests that nobody can answer are bounded, and those that had to go are counted.
#[test]
fn what_is_kept_for_an_unknown_protocol_is_bounded() {
    let mut tap = Tap::unknown();
    for n in 0..5_000 {
        tap.sent(format!(r#"[2,"{n}","Reset",{{}}]"#));
    }
    let evicted = tap.lines().iter().filter(|line| *line == "evicted from unrecognised").count();
    assert_eq!(evicted, 5_000 - 4_096);
}

/// A label that finds few answers is given up, and the connection may still be recognised.
#[test]
fn a_label_that_explains_too_little_is_given_up() {
    let mut tap = Tap::unknown();
    for n in 0..400 {
        tap.at.at_ns += MILLISECOND_NS;
        tap.sent(format!(r#"{{"id":{n},"method":"m"}}"#));
        if n % 3 == 0 {
            tap.received(format!(r#"{{"id":{n},"result":{{}}}}"#));
        }
    }
    let messages = tap.messages();
    assert!(messages.iter().any(|line| line.starts_with("jsonrpc")));
    assert!(messages.last().unwrap().starts_with("unknown"), "{:?}", messages.last());
    assert!(tap.lines().iter().any(|line| line.starts_with("detached")));
    tap.sent(r#"[2,"a","Reset",{}]"#).received(r#"[3,"a",{}]"#);
    assert!(tap.lines().contains(&"matched local \"a\" Reset 0".to_owned()));
}
