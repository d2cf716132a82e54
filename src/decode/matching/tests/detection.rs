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
    for _ in 0..1_000 {
        tap.received(r#"{"price":1.5}"#);
    }
    tap.sent(r#"[2,"a","Reset",{}]"#).at(3).received(r#"[3,"a",{}]"#);
    assert_eq!(tap.lines(), ["started local Reset", "matched local \"a\" Reset 3"]);
}

#[test]
fn what_was_kept_across_a_gap_is_not_used() {
    let mut tap = Tap::unknown();
    tap.sent(r#"[2,"a","Reset",{}]"#).gap(Direction::Received).received(r#"[3,"a",{}]"#);
    assert!(tap.lines().is_empty());
}
