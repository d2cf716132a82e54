//! The books balance, whatever happens: requests started = sum of outcomes + pending.

use proptest::prelude::*;

use super::*;

/// A protocol with everything that the rules can say of a request.
const EVERYTHING: &str = r#"
    name = "everything"
    split = "array"
    rule = [
        { kind = "request", when = { "$.k" = "ask" }, id = "$.id" },
        { kind = "response", when = { "$.k" = "answer" }, id = "$.id" },
        { kind = "error", when = { "$.k" = "error" }, id = "$.id" },
        { kind = "response", more = true, when = { "$.k" = "item" }, id = "$.id" },
        { kind = "response", unasked = true, when = { "$.k" = "echo" }, id = "$.id" },
        { kind = "end", when = { "$.k" = "end" }, id = "$.id" },
        { kind = "progress", when = { "$.k" = "progress" }, id = "$.id" },
        { kind = "cancel", when = { "$.k" = "cancel" }, id = "$.id" },
        { kind = "request", when = { "$.k" = "hello" }, queue = "hello" },
        { kind = "response", when = { "$.k" = "welcome" }, queue = "hello" },
        { kind = "ping", when = { "$.k" = "ping" } },
        { kind = "pong", when = { "$.k" = "pong" } },
    ]"#;

const KINDS: [&str; 16] = [
    "ask", "ask", "ask", "ask", "answer", "answer", "error", "item", "echo", "end", "progress",
    "cancel", "hello", "welcome", "ping", "pong",
];

#[derive(Clone, Debug)]
enum Step {
    Message { connection: u32, direction: Direction, text: String },
    Gap { connection: u32, direction: Direction },
    Close { connection: u32 },
    Wait { ms: i64 },
    Finish,
}

fn step() -> impl Strategy<Value = Step> {
    let connection = 0..3_u32;
    let direction = prop::sample::select(Direction::BOTH.to_vec());
    let element = (prop::sample::select(KINDS.to_vec()), 0..10_u8)
        .prop_map(|(kind, id)| format!(r#"{{"k":"{kind}","id":{id}}}"#));
    let text = prop_oneof![
        4 => element.clone(),
        1 => prop::collection::vec(element, 0..4).prop_map(|all| format!("[{}]", all.join(","))),
    ];
    prop_oneof![
        25 => (connection.clone(), direction.clone(), text)
            .prop_map(|(connection, direction, text)| Step::Message { connection, direction, text }),
        1 => (connection.clone(), direction)
            .prop_map(|(connection, direction)| Step::Gap { connection, direction }),
        1 => connection.prop_map(|connection| Step::Close { connection }),
        3 => (-500..1_500_i64).prop_map(|ms| Step::Wait { ms }),
        1 => (0..70_000_i64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Finish),
    ]
}

fn take(tap: &mut Tap, step: Step) {
    match step {
        Step::Message { connection, direction, text } => {
            tap.at.conn.generation = connection;
            tap.pass(direction, text.as_bytes(), MessageType::Text, Wholeness::Whole);
        }
        Step::Gap { connection, direction } => {
            tap.at.conn.generation = connection;
            tap.gap(direction);
        }
        Step::Close { connection } => {
            tap.at.conn.generation = connection;
            tap.close();
        }
        Step::Wait { ms } => {
            let ns = ms * MILLISECOND_NS as i64;
            tap.at.at_ns = tap.at.at_ns.saturating_add_signed(ns);
            tap.tick();
        }
        Step::Finish => {
            tap.finish();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_request_ends_in_exactly_one_outcome(steps in prop::collection::vec(step(), 0..300)) {
        let limits = MatchLimits {
            pending_per_connection: 5,
            pending_total: 9,
            early_per_connection: 3,
            early_total: 5,
            late_per_connection: 2,
            late_total: 4,
            streams_per_connection: 2,
            streams_total: 3,
            queue_length: 2,
            ..MatchLimits::default()
        };
        let mut protocols = Protocols::builtin();
        protocols.add_toml("everything.toml", EVERYTHING).unwrap();
        protocols.force("everything").unwrap();
        let mut tap = Tap::with_limits(protocols, limits);
        for step in steps {
            // `Tap` checks the books after each step.
            take(&mut tap, step);
            prop_assert!(tap.matching.pending(TargetId(0)) <= 9);
        }
        tap.finish();
        prop_assert_eq!(tap.books.started, tap.books.ended);
        prop_assert!(tap.matching.interpreter.correlator.is_at_rest());
    }
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let fragments = [
        r#"{"jsonrpc":"2.0","id":"#,
        r#""method":"m""#,
        r#""result""#,
        "[2,",
        "42",
        "43",
        "1[",
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "null",
        "1",
        "\u{1e}",
        "a[",
        "\n",
        "SEND\nreceipt:1\n",
        r#""type":3,"#,
        r#""d":{"#,
        r#""op":7,"#,
        r#""header":{"msg_id":"#,
        "é",
    ];
    let fragment =
        prop::sample::select(fragments.to_vec()).prop_map(|text| text.as_bytes().to_vec());
    let piece = prop_oneof![fragment, prop::collection::vec(any::<u8>(), 0..40)];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_bytes_make_any_protocol_panic(
        payloads in prop::collection::vec((payload(), any::<[bool; 4]>()), 1..60),
        forced in prop::option::of(0..Protocols::builtin().names().count()),
    ) {
        let mut protocols = Protocols::builtin();
        if let Some(index) = forced {
            let name = protocols.names().nth(index).unwrap().to_owned();
            protocols.force(&name).unwrap();
        }
        let mut tap = Tap::with_limits(protocols, MatchLimits::default());
        for (payload, [sent, text, whole, client]) in payloads {
            let direction = if sent { Direction::Sent } else { Direction::Received };
            let message_type = if text { MessageType::Text } else { MessageType::Binary };
            let wholeness = if whole { Wholeness::Whole } else { Wholeness::Cut };
            tap.at.role = if client { Role::Client } else { Role::Server };
            tap.pass(direction, &payload, message_type, wholeness);
        }
        tap.finish();
        prop_assert_eq!(tap.books.started, tap.books.ended);
        prop_assert!(tap.matching.interpreter.correlator.is_at_rest());
    }
}
