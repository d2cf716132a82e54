//! Requests with several answers, requests without an id, and heartbeats.

use super::*;

const SUBSCRIBE: &str = r#"{"id":"1","type":"subscribe","payload":{"operationName":"Q"}}"#;
const NEXT: &str = r#"{"id":"1","type":"next","payload":{"data":1}}"#;
const COMPLETE: &str = r#"{"id":"1","type":"complete"}"#;

fn graphql() -> Tap {
    Tap::speaking("graphql-transport-ws")
}

#[test]
fn the_first_answer_is_the_turnaround_and_the_rest_are_items() {
    let mut tap = graphql();
    tap.sent(SUBSCRIBE).at(5).received(NEXT).at(8).received(NEXT).at(9).received(COMPLETE);
    assert_eq!(
        tap.lines(),
        ["started local Q", "matched local \"1\" Q 5", "item Q", "stream end Q 2 4"]
    );
}

#[test]
fn the_end_of_an_empty_stream_is_its_answer() {
    let mut tap = graphql();
    tap.sent(SUBSCRIBE).at(5).received(COMPLETE);
    assert_eq!(tap.lines(), ["started local Q", "matched local \"1\" Q 5"]);
}

#[test]
fn a_client_that_completes_cancels() {
    let mut tap = graphql();
    tap.sent(SUBSCRIBE).sent(COMPLETE).received(NEXT);
    assert_eq!(tap.lines(), ["started local Q", "cancelled local \"1\" Q", "orphan late"]);
    tap.sent(SUBSCRIBE).received(NEXT).at(3).sent(COMPLETE).received(NEXT);
    assert_eq!(
        tap.lines(),
        ["started local Q", "matched local \"1\" Q 0", "stream end Q 1 0", "orphan late"]
    );
}

#[test]
fn a_stream_that_began_unseen_is_one_orphan_and_then_items() {
    let mut tap = Tap::new(Protocols::builtin());
    tap.open(Hint { subprotocol: Some("graphql-transport-ws"), mid_stream: true, ..tap.hint() });
    tap.received(NEXT).received(NEXT).at(2 * SECOND_NS).received(NEXT);
    assert_eq!(tap.lines(), ["orphan pre_attach", "item ", "item "]);
}

#[test]
fn streams_are_bounded() {
    let limits = MatchLimits { streams_per_connection: 1, ..MatchLimits::default() };
    let mut tap = Tap::with_limits(Protocols::builtin(), limits);
    tap.open(Hint { subprotocol: Some("graphql-transport-ws"), ..tap.hint() });
    tap.sent(SUBSCRIBE).received(NEXT);
    tap.sent(SUBSCRIBE.replace(r#""1""#, r#""2""#)).received(NEXT.replace(r#""1""#, r#""2""#));
    assert_eq!(tap.lines()[3..], ["matched local \"2\" Q 0", "evicted from streams"]);
}

#[test]
fn a_progressive_result_ends_with_the_one_that_is_not() {
    let mut tap = Tap::speaking("wamp.2.json");
    tap.sent(r#"[48,1,{"receive_progress":true},"com.long"]"#)
        .at(1)
        .received(r#"[50,1,{"progress":true},[10]]"#)
        .at(2)
        .received(r#"[50,1,{},[20]]"#);
    assert_eq!(
        tap.lines(),
        [
            "started local com.long",
            "matched local 1 com.long 1",
            "item com.long",
            "stream end com.long 2 1",
        ]
    );
}

#[test]
fn progress_is_neither_an_answer_nor_an_orphan() {
    let mut tap = Tap::speaking("janus-protocol");
    tap.sent(r#"{"janus":"message","transaction":"t"}"#)
        .at(1)
        .received(r#"{"janus":"ack","transaction":"t"}"#)
        .at(7)
        .received(r#"{"janus":"event","transaction":"t"}"#)
        .received(r#"{"janus":"ack","transaction":"u"}"#)
        .at(3 * SECOND_NS)
        .tick();
    assert_eq!(tap.lines(), ["started local message", "matched local \"t\" message 7"]);
}

#[test]
fn requests_without_an_id_are_answered_in_order() {
    let mut tap = graphql();
    let (ask, answer) = (r#"{"type":"connection_init"}"#, r#"{"type":"connection_ack"}"#);
    tap.at(1).sent(ask).at(2).sent(ask).at(5).received(answer).at(7).received(answer);
    assert_eq!(
        tap.lines()[2..],
        ["matched local  connection_init 4", "matched local  connection_init 5"]
    );
    tap.received(answer).at(2 * SECOND_NS).tick();
    assert_eq!(tap.lines(), ["orphan unknown"]);
}

#[test]
fn an_order_is_not_trusted_across_a_gap() {
    for direction in Direction::BOTH {
        let mut tap = graphql();
        tap.sent(r#"{"type":"connection_init"}"#).gap(direction);
        assert_eq!(tap.lines()[1..], ["gap local  connection_init"]);
    }
}

#[test]
fn a_queue_is_bounded_and_an_expired_request_leaves_it() {
    let mut protocols = Protocols::builtin();
    protocols.force("graphql-transport-ws").unwrap();
    let limits = MatchLimits { queue_length: 2, ..MatchLimits::default() };
    let mut tap = Tap::with_limits(protocols, limits);
    let ask = r#"{"type":"connection_init"}"#;
    tap.sent(ask).sent(ask).sent(ask);
    assert_eq!(tap.lines()[2..4], ["evicted local  connection_init", "evicted from pending"]);
    tap.at(60 * SECOND_NS).sent(ask).at(61 * SECOND_NS);
    assert_eq!(tap.lines().len(), 3, "two expired, one started");
    tap.received(r#"{"type":"connection_ack"}"#);
    assert_eq!(tap.lines(), ["matched local  connection_init 1000000000"]);
}

#[test]
fn an_answer_that_overtook_a_request_without_an_id_still_matches() {
    let mut tap = graphql();
    tap.at(9).received(r#"{"type":"connection_ack"}"#);
    tap.at(4).sent(r#"{"type":"connection_init"}"#);
    assert_eq!(tap.lines()[1..], ["matched local  connection_init 5"]);
}

#[test]
fn a_heartbeat_is_measured_from_the_oldest_without_an_answer() {
    let mut tap = Tap::forced("socketio");
    tap.at(10).received("2").at(20).received("2").at(50).sent("3").sent("3");
    assert_eq!(tap.lines(), ["heartbeat remote 40"]);
    tap.received("2").gap(Direction::Received).sent("3");
    assert!(tap.lines().is_empty(), "the answer may be to another");
}

#[test]
fn an_mqtt_publish_of_quality_2_is_two_exchanges() {
    let mut tap = Tap::speaking("mqtt");
    let mut pass = |at_ns, direction, bytes: &[u8]| {
        tap.at(at_ns).pass(direction, bytes, MessageType::Binary, Wholeness::Whole);
    };
    pass(0, Direction::Sent, b"\x34\x07\x00\x03a/b\x00\x0a");
    pass(3, Direction::Received, b"\x50\x02\x00\x0a");
    pass(4, Direction::Sent, b"\x62\x02\x00\x0a");
    pass(9, Direction::Received, b"\x70\x02\x00\x0a");
    assert_eq!(
        tap.lines(),
        [
            "started local PUBLISH",
            "matched local 10 PUBLISH 3",
            "started local PUBREL",
            "matched local 10 PUBREL 5",
        ]
    );
}

#[test]
fn one_message_may_answer_several_requests() {
    let mut tap = Tap::forced("ddp");
    tap.sent(r#"{"msg":"sub","id":"a","name":"posts"}"#)
        .sent(r#"{"msg":"sub","id":"b","name":"users"}"#)
        .at(4)
        .received(r#"{"msg":"ready","subs":["b","a"]}"#);
    assert_eq!(tap.lines()[2..], ["matched local \"b\" users 4", "matched local \"a\" posts 4"]);
    assert_eq!(tap.messages().len(), 3);
}

#[test]
fn an_answer_that_may_come_unasked_is_no_orphan() {
    let mut tap = Tap::forced("okx");
    tap.received(r#"{"event":"subscribe","arg":{"channel":"a","instId":"b"}}"#);
    tap.at(2 * SECOND_NS).tick();
    assert!(tap.lines().is_empty());
}

#[test]
fn what_a_server_says_to_a_cancelled_request_is_no_orphan_if_the_protocol_has_it_so() {
    let mut tap = Tap::speaking("graphql-ws");
    tap.sent(r#"{"id":"1","type":"start"}"#).sent(r#"{"id":"1","type":"stop"}"#);
    tap.received(r#"{"id":"1","type":"complete"}"#).at(2 * SECOND_NS).tick();
    assert_eq!(tap.lines(), ["started local start", "cancelled local \"1\" start"]);
}

#[test]
fn a_jupyter_message_in_parts_is_read_as_one() {
    let mut tap = Tap::speaking("v1.kernel.websocket.jupyter.org");
    let message = |channel: &str, header: &str, parent: &str, content: &str| {
        let parts = [channel, header, parent, "{}", content];
        let mut offsets = vec![8 * (1 + 6)];
        for part in parts {
            offsets.push(offsets[offsets.len() - 1] + part.len());
        }
        let mut bytes = (offsets.len() as u64).to_le_bytes().to_vec();
        offsets.iter().for_each(|offset| bytes.extend((*offset as u64).to_le_bytes()));
        parts.iter().for_each(|part| bytes.extend(part.as_bytes()));
        bytes
    };
    let header = r#"{"msg_id":"q","msg_type":"execute_request"}"#;
    let ask = message("shell", header, "{}", "{}");
    tap.pass(Direction::Sent, &ask, MessageType::Binary, Wholeness::Whole);
    let header = r#"{"msg_id":"r","msg_type":"execute_reply"}"#;
    let reply = message("shell", header, r#"{"msg_id":"q"}"#, r#"{"status":"ok"}"#);
    tap.at(6).pass(Direction::Received, &reply, MessageType::Binary, Wholeness::Whole);
    assert_eq!(
        tap.lines(),
        ["started local execute_request", "matched local \"q\" execute_request 6"]
    );
}
