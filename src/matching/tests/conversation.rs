//! Requests and answers that find each other.

use super::*;

#[test]
fn a_turnaround_is_the_time_from_request_to_answer() {
    let mut tap = Tap::forced("jsonrpc");
    tap.at(100).sent(ask(1)).at(350).received(reply(1));
    assert_eq!(tap.lines(), ["started local m", "matched local 1 m 250"]);
    assert_eq!(tap.messages(), ["jsonrpc request 1 m", "jsonrpc response 1 -"]);
}

#[test]
fn a_request_that_was_received_has_the_remote_origin() {
    let mut tap = Tap::forced("jsonrpc");
    tap.at(1).received(ask(1)).at(5).sent(reply(1));
    assert_eq!(tap.lines(), ["started remote m", "matched remote 1 m 4"]);
}

#[test]
fn an_error_is_an_answer_with_a_turnaround() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1)).at(9).received(r#"{"jsonrpc":"2.0","error":{"code":1},"id":1}"#);
    assert_eq!(tap.lines(), ["started local m", "error local 1 m 9"]);
}

#[test]
fn answers_may_come_in_any_order() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1)).sent(ask(2)).at(3).received(reply(2)).at(4).received(reply(1));
    assert_eq!(tap.lines()[2..], ["matched local 2 m 3", "matched local 1 m 4"]);
}

#[test]
fn both_sides_may_use_the_same_id_at_once() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1)).at(1).received(ask(1)).at(3).sent(reply(1)).at(7).received(reply(1));
    assert_eq!(
        tap.lines(),
        ["started local m", "started remote m", "matched remote 1 m 2", "matched local 1 m 7"]
    );
}

#[test]
fn an_answer_does_not_answer_a_request_of_its_own_side() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1)).sent(reply(1)).at(2 * SECOND_NS).tick();
    assert_eq!(tap.lines(), ["started local m", "orphan unknown"]);
    assert_eq!(tap.matching.pending(TargetId(0)), 1);
}

#[test]
fn ids_are_compared_as_they_are_written() {
    for other in [r#""1""#, "1.0", "01", "1e0"] {
        let mut tap = Tap::forced("jsonrpc");
        tap.sent(ask(1)).received(reply(other));
        assert_eq!(tap.lines(), ["started local m"], "{other} is not 1");
    }
    let large = "9007199254740993";
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(large)).received(reply("9007199254740992")).received(reply(large));
    assert_eq!(tap.lines().last().unwrap(), "matched local 9007199254740993 m 0");
}

#[test]
fn an_id_counts_within_its_scope() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(r#"{"id":1,"method":"Page.enable","sessionId":"A"}"#)
        .sent(r#"{"id":1,"method":"Page.close","sessionId":"B"}"#)
        .at(5)
        .received(r#"{"id":1,"result":{},"sessionId":"B"}"#)
        .at(6)
        .received(r#"{"id":1,"result":{},"sessionId":"A"}"#);
    assert_eq!(tap.lines()[2..], ["matched local 1 Page.close 5", "matched local 1 Page.enable 6"]);
}

#[test]
fn a_scope_of_null_is_no_scope() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(r#"{"id":1,"method":"m","sessionId":null}"#).received(r#"{"id":1,"result":{}}"#);
    assert_eq!(tap.lines(), ["started local m", "matched local 1 m 0"]);
}

/// The thread and the time of whoever caused it; of a timeout, the deadline and no thread.
#[test]
fn an_observation_tells_who_and_when() {
    let mut tap = Tap::forced("jsonrpc");
    tap.at(5).sent(ask(1)).sent(ask(2));
    tap.at.tid = 7;
    tap.at(9).received(reply(1));
    let mut seen = Vec::new();
    tap.matching.tick(100 * SECOND_NS, &mut |observation| {
        seen.push((observation.at_ns, observation.tid, observation.conn, observation.role));
    });
    assert_eq!(seen, [(60 * SECOND_NS + 5, 0, tap.at.conn, Role::Client)]);
    tap.at(200 * SECOND_NS).text(Direction::Sent, &ask(3), &mut |observation| {
        assert_eq!((observation.at_ns, observation.tid), (200 * SECOND_NS, 7));
    });
}

#[test]
fn each_element_of_a_batch_is_a_request_of_its_own() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(format!("[{},{}]", ask(1), ask(2)));
    tap.at(4).received(format!("[{},{}]", reply(2), reply(1)));
    assert_eq!(
        tap.lines(),
        ["started local m", "started local m", "matched local 2 m 4", "matched local 1 m 4"]
    );
    assert_eq!(tap.messages().len(), 2, "a batch is one message");
}

#[test]
fn an_answer_that_overtook_its_request_still_matches() {
    let mut tap = Tap::forced("jsonrpc");
    tap.at(20).received(reply(1)).at(15).sent(ask(1));
    assert_eq!(tap.lines(), ["started local m", "matched local 1 m 5"]);
}

#[test]
fn an_answer_from_before_the_request_does_not_match() {
    let mut tap = Tap::forced("jsonrpc");
    tap.at(20).received(reply(1)).at(21).sent(ask(1)).at(20 + SECOND_NS).tick();
    assert_eq!(tap.lines(), ["started local m", "orphan unknown"]);
    let mut tap = Tap::forced("jsonrpc");
    tap.at(21).sent(ask(1)).at(20).received(reply(1)).at(20 + SECOND_NS).tick();
    assert_eq!(tap.lines(), ["started local m", "orphan unknown"]);
}

#[test]
fn what_a_truncated_message_says_before_the_cut_is_believed() {
    let mut tap = Tap::forced("jsonrpc");
    let cut = |tap: &mut Tap, direction, text: &str| {
        tap.pass(direction, text.as_bytes(), MessageType::Text, Wholeness::Cut);
    };
    cut(&mut tap, Direction::Sent, r#"{"jsonrpc":"2.0","id":12,"method":"m","params":["abc"#);
    cut(&mut tap, Direction::Received, r#"{"jsonrpc":"2.0","id":1"#);
    cut(&mut tap, Direction::Received, r#"{"jsonrpc":"2.0","id":12,"result":"abc"#);
    assert_eq!(tap.lines(), ["started local m", "matched local 12 m 0"]);
}

#[test]
fn an_id_whose_scope_was_cut_off_is_not_used() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(r#"{"id":1,"method":"m"}"#);
    let cut = br#"{"id":1,"result":{"data":"abc"#;
    tap.pass(Direction::Received, cut, MessageType::Text, Wholeness::Cut);
    tap.at(2 * SECOND_NS).tick();
    assert_eq!(tap.lines(), ["started local m"]);
}

#[test]
fn an_unreadable_message_has_a_protocol_and_no_more() {
    let mut tap = Tap::forced("jsonrpc");
    tap.pass(Direction::Sent, b"", MessageType::Text, Wholeness::Cut);
    assert_eq!(tap.messages(), ["jsonrpc - - -"]);
}

#[test]
fn ocpp_calls_match_in_both_directions() {
    let mut tap = Tap::speaking("ocpp1.6");
    tap.sent(r#"[2,"a","BootNotification",{}]"#)
        .at(8)
        .received(r#"[3,"a",{}]"#)
        .received(r#"[2,"a","Reset",{}]"#)
        .at(10)
        .sent(r#"[4,"a","NotSupported","",{}]"#);
    assert_eq!(
        tap.lines(),
        [
            "started local BootNotification",
            "matched local \"a\" BootNotification 8",
            "started remote Reset",
            "error remote \"a\" Reset 2",
        ]
    );
}

fn patterns(request: &str, response: Option<&str>, error: Option<&str>) -> Tap {
    let mut protocols = Protocols::builtin();
    let name = ID_PATTERN_NAME;
    protocols.force_id_patterns(IdPatterns { name, request, response, error }).unwrap();
    let mut tap = Tap::new(protocols);
    tap.open(tap.hint());
    tap
}

#[test]
fn a_users_patterns_find_requests_answers_and_errors() {
    let mut tap = patterns(
        "^(?P<method>[A-Z]+) #(?P<id>[0-9]+)",
        Some("^ok #(?P<id>[0-9]+)"),
        Some("^ko #(?P<id>[0-9]+)"),
    );
    tap.sent("GET #1").sent("PUT #2").at(3).received("ko #2").at(4).received("ok #1 more");
    assert_eq!(
        tap.lines(),
        ["started local GET", "started local PUT", "error local 2 PUT 3", "matched local 1 GET 4"]
    );
    assert_eq!(tap.messages()[0], "custom request 1 GET");
}

#[test]
fn one_pattern_serves_for_requests_and_answers() {
    let mut tap = patterns(r#""id":(?P<id>[0-9]+)"#, None, None);
    tap.sent(r#"{"id":5,"x":1}"#).at(2).received(r#"{"id":5,"y":2}"#).received(r#"{"id":6}"#);
    assert_eq!(tap.lines(), ["started local ", "matched local 5  2", "started remote "]);
}

#[test]
fn a_users_pattern_is_searched_in_all_of_a_long_message() {
    let mut tap = patterns(r#""id":(?P<id>[0-9]+)"#, None, None);
    let long = |id: &str| format!(r#"{{"x":"{}"{id}}}"#, "x".repeat(20_000));
    tap.sent(long(r#","id":5"#)).at(2).received(long(r#","id":5"#)).sent(r#"{"id":6}"#);
    // It has no id, so it cannot have been the answer.
    tap.received(long("")).at(90 * SECOND_NS).tick();
    let ends = ["matched local 5  2", "expired local 6 "];
    assert_eq!(tap.lines(), ["started local ", ends[0], "started local ", ends[1]]);
}

#[test]
fn methods_beyond_the_bound_are_folded_and_counted() {
    let mut protocols = Protocols::builtin();
    protocols.force("ocpp").unwrap();
    let limits = MatchLimits { methods_per_target: 1, ..MatchLimits::default() };
    let mut tap = Tap::with_limits(protocols, limits);
    tap.sent(r#"[2,"a","Reset",{}]"#).sent(r#"[2,"b","Clear",{}]"#).received(r#"[3,"b",{}]"#);
    assert_eq!(
        tap.lines(),
        [
            "started local Reset",
            "started local __other__",
            "overflow method",
            "matched local \"b\" __other__ 0",
        ]
    );
}
