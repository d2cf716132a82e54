//! Which protocol a connection speaks.

use super::*;

#[test]
fn an_unmistakable_message_decides_at_once() {
    let mut tap = Tap::unknown();
    tap.sent(ask(1)).received(reply(1));
    assert_eq!(tap.lines(), ["started local m", "matched local 1 m 0"]);
    assert_eq!(tap.messages(), ["jsonrpc request 1 m", "jsonrpc response 1 -"]);
}

#[test]
fn an_answered_request_decides_and_the_request_is_not_lost() {
    let mut tap = Tap::unknown();
    tap.sent(r#"[2,"a","Reset",{}]"#);
    assert!(tap.lines().is_empty());
    tap.at(7).received(r#"[3,"a",{}]"#);
    assert_eq!(tap.lines(), ["started local Reset", "matched local \"a\" Reset 7"]);
    assert_eq!(tap.messages(), ["unknown - - -", "ocpp response \"a\" -"]);
}

#[test]
fn an_answer_with_another_id_decides_nothing() {
    let mut tap = Tap::unknown();
    tap.sent(r#"[2,"a","Reset",{}]"#).received(r#"[3,"b",{}]"#);
    assert!(tap.lines().is_empty());
}

#[test]
fn the_subprotocol_that_was_accepted_decides_before_any_message() {
    let mut tap = Tap::speaking("ocpp2.0.1");
    tap.sent(r#"[2,"a","Reset",{}]"#);
    assert_eq!(tap.messages(), ["ocpp request \"a\" Reset"]);
}

#[test]
fn the_path_needs_one_message_that_fits() {
    let mut tap = Tap::new(Protocols::builtin());
    tap.open(Hint { path: Some("/devtools/page/1?x=y"), ..tap.hint() });
    tap.sent("hello").sent(r#"{"id":1,"method":"Page.enable"}"#);
    assert_eq!(tap.messages(), ["unknown - - -", "jsonrpc request 1 Page.enable"]);
}

#[test]
fn a_request_is_recognised_behind_any_number_of_unknown_messages() {
    let mut tap = Tap::unknown();
    let ticks = |tap: &mut Tap| {
        for _ in 0..1_001 {
            tap.received(r#"{"price":1.5}"#);
        }
    };
    ticks(&mut tap);
    tap.sent(r#"[2,"a","Reset",{}]"#);
    ticks(&mut tap);
    tap.at(3).received(r#"[3,"a",{}]"#);
    assert_eq!(tap.lines(), ["started local Reset", "matched local \"a\" Reset 3"]);
}

#[test]
fn answers_to_nobody_do_not_push_out_a_request() {
    let mut tap = Tap::unknown();
    tap.sent(r#"[2,"a","Reset",{}]"#);
    for id in 0..200 {
        tap.received(format!(r#"[3,"{id}",{{}}]"#));
    }
    tap.at(3).received(r#"[3,"a",{}]"#);
    assert!(tap.lines().contains(&"matched local \"a\" Reset 3".to_owned()));
}

#[test]
fn what_was_kept_across_a_gap_is_not_used() {
    let mut tap = Tap::unknown();
    tap.sent(r#"[2,"a","Reset",{}]"#).gap(Direction::Received).received(r#"[3,"a",{}]"#);
    assert!(tap.lines().is_empty());
}

/// Each protocol gives itself away, and no other takes it for its own.
#[test]
fn every_protocol_is_recognised_by_an_exchange() {
    for (name, ask, answer) in [
        ("graphql-transport-ws", SUBSCRIBE, r#"{"id":"1","type":"next","payload":{"data":1}}"#),
        (
            "graphql-ws",
            r#"{"id":"1","type":"start","payload":{"query":"{ a }"}}"#,
            r#"{"id":"1","type":"data","payload":{"data":{}}}"#,
        ),
        ("socketio", r#"421["foo"]"#, "431[]"),
        (
            "signalr",
            "{\"type\":1,\"invocationId\":\"1\",\"target\":\"Send\"}\u{1e}",
            "{\"type\":3,\"invocationId\":\"1\"}\u{1e}",
        ),
        (
            "phoenix",
            r#"["1","2","room:lobby","new_msg",{}]"#,
            r#"["1","2","room:lobby","phx_reply",{"status":"ok"}]"#,
        ),
        ("stomp", "SEND\nreceipt:1\n\n\0", "RECEIPT\nreceipt-id:1\n\n\0"),
        ("wamp2", r#"[48,1,{},"com.ping"]"#, "[50,1,{},[]]"),
        (
            "homeassistant",
            r#"{"id":24,"type":"call_service"}"#,
            r#"{"id":24,"type":"result","success":true,"result":null}"#,
        ),
        (
            "obs",
            r#"{"op":6,"d":{"requestType":"GetVersion","requestId":"f"}}"#,
            r#"{"d":{"requestId":"f","requestStatus":{"result":true}},"op":7}"#,
        ),
        (
            "jupyter",
            r#"{"channel":"shell","header":{"msg_id":"a","msg_type":"x_request"},"parent_header":{}}"#,
            r#"{"channel":"shell","header":{"msg_type":"x_reply"},"parent_header":{"msg_id":"a"}}"#,
        ),
        (
            "janus",
            r#"{"janus":"message","transaction":"t"}"#,
            r#"{"janus":"event","transaction":"t"}"#,
        ),
        ("ddp", r#"{"msg":"method","method":"m","id":"1"}"#, r#"{"msg":"result","id":"1"}"#),
        (
            "actioncable",
            r#"{"command":"subscribe","identifier":"c"}"#,
            r#"{"identifier":"c","type":"confirm_subscription"}"#,
        ),
        (
            "kraken",
            r#"{"method":"add_order","params":{},"req_id":7}"#,
            r#"{"method":"add_order","req_id":7,"success":true}"#,
        ),
        (
            "bybit",
            r#"{"reqId":"1","op":"order.create","args":[]}"#,
            r#"{"reqId":"1","retCode":0,"op":"order.create"}"#,
        ),
        ("okx", r#"{"id":"1","op":"order"}"#, r#"{"id":"1","op":"order","code":"0","data":[]}"#),
        (
            "binance",
            r#"{"id":"u","method":"order.place","params":{}}"#,
            r#"{"id":"u","status":200,"result":{},"rateLimits":[]}"#,
        ),
        ("binance", r#"{"method":"SUBSCRIBE","id":1}"#, r#"{"result":null,"id":1}"#),
        (
            "discord",
            r#"{"op":8,"d":{"guild_id":"1","nonce":"n"}}"#,
            r#"{"op":0,"t":"GUILD_MEMBERS_CHUNK","d":{"nonce":"n"}}"#,
        ),
        ("ocpp", r#"[2,"a","Reset",{}]"#, r#"[3,"a",{}]"#),
        ("jsonrpc", r#"{"id":1,"method":"Page.enable"}"#, r#"{"id":1,"result":{}}"#),
    ] {
        let mut tap = Tap::unknown();
        tap.sent(ask).received(answer);
        let lines = tap.lines();
        assert!(lines.len() == 2 && lines[1].starts_with("matched"), "{name}: {lines:?}");
        assert!(tap.messages()[1].starts_with(name), "{name}");
    }
}

/// Slack's server asks.
#[test]
fn an_envelope_is_recognised() {
    let mut tap = Tap::unknown();
    tap.received(r#"{"envelope_id":"e","type":"events_api","payload":{}}"#)
        .at(4)
        .sent(r#"{"envelope_id":"e"}"#);
    assert_eq!(tap.lines(), ["started remote events_api", "matched remote \"e\" events_api 4"]);
}

#[test]
fn an_mqtt_connect_is_recognised() {
    let mut tap = Tap::unknown();
    let connect = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test";
    tap.pass(Direction::Sent, connect, MessageType::Binary, Wholeness::Whole);
    assert_eq!(tap.messages(), ["mqtt request - CONNECT"]);
}

const SUBSCRIBE: &str =
    r#"{"id":"1","type":"subscribe","payload":{"operationName":"Q","query":"query Q { a }"}}"#;
