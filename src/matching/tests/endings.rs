//! Requests without answers, and answers without requests.

use super::*;

#[test]
fn a_request_expires_after_the_timeout_at_its_deadline() {
    let mut tap = Tap::forced("jsonrpc");
    tap.at(5).sent(ask(1)).at(60 * SECOND_NS + 4).tick();
    assert_eq!(tap.lines(), ["started local m"]);
    tap.at(90 * SECOND_NS).tick();
    assert_eq!(tap.lines(), ["expired local 1 m"]);
}

#[test]
fn messages_move_time_as_well_as_ticks_do() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1)).at(60 * SECOND_NS).received(reply(1));
    assert_eq!(tap.lines(), ["started local m", "expired local 1 m", "orphan late"]);
}

#[test]
fn the_answer_to_an_expired_request_is_late_even_if_it_comes_twice() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1)).at(60 * SECOND_NS).tick().received(reply(1)).received(reply(1));
    assert_eq!(tap.lines()[1..], ["expired local 1 m", "orphan late", "orphan late"]);
}

#[test]
fn an_id_that_is_used_again_is_not_late() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1)).at(60 * SECOND_NS).sent(ask(1)).at(61 * SECOND_NS).received(reply(1));
    assert_eq!(tap.lines().last().unwrap(), "matched local 1 m 1000000000");
    tap.received(reply(1)).at(63 * SECOND_NS).tick();
    assert_eq!(tap.lines(), ["orphan unknown"]);
}

#[test]
fn only_so_many_late_ids_are_remembered() {
    let limits = MatchLimits { late_per_connection: 1, ..MatchLimits::default() };
    let mut protocols = Protocols::builtin();
    protocols.force("jsonrpc").unwrap();
    let mut tap = Tap::with_limits(protocols, limits);
    tap.sent(ask(1)).sent(ask(2)).at(60 * SECOND_NS).tick();
    tap.received(reply(1)).received(reply(2)).at(62 * SECOND_NS).tick();
    let orphans = tap.lines();
    assert_eq!(orphans[4..], ["orphan late", "orphan unknown"]);
}

#[test]
fn the_newest_of_two_requests_with_one_id_gets_the_answer() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1)).at(5).sent(ask(1)).at(7).received(reply(1));
    assert_eq!(
        tap.lines(),
        ["started local m", "duplicate local 1 m", "started local m", "matched local 1 m 2"]
    );
}

#[test]
fn a_full_connection_evicts_its_oldest_request() {
    let mut protocols = Protocols::builtin();
    protocols.force("jsonrpc").unwrap();
    let limits = MatchLimits { pending_per_connection: 2, ..MatchLimits::default() };
    let mut tap = Tap::with_limits(protocols, limits);
    tap.sent(ask(1)).sent(ask(2)).sent(ask(3));
    assert_eq!(tap.lines()[2..], ["evicted local 1 m", "evicted from pending", "started local m"]);
    tap.received(reply(1)).received(reply(2));
    assert_eq!(tap.lines(), ["orphan late", "matched local 2 m 0"]);
}

#[test]
fn a_full_table_evicts_the_oldest_request_of_all_connections() {
    let mut protocols = Protocols::builtin();
    protocols.force("jsonrpc").unwrap();
    let limits = MatchLimits { pending_total: 2, ..MatchLimits::default() };
    let mut tap = Tap::with_limits(protocols, limits);
    tap.sent(ask(1));
    tap.at.conn.generation = 2;
    tap.sent(ask(2)).sent(ask(3));
    assert_eq!(tap.lines()[2..], ["evicted local 1 m", "evicted from pending", "started local m"]);
}

#[test]
fn closing_a_connection_aborts_its_requests_only() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1));
    tap.at.conn.generation = 2;
    tap.sent(ask(2)).close();
    assert_eq!(tap.lines()[2..], ["aborted local 2 m"]);
    assert_eq!(tap.matching.pending(TargetId(0)), 1);
}

#[test]
fn finishing_detaches_all_requests() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1)).received(ask(1)).finish();
    assert_eq!(tap.lines()[2..], ["detached local 1 m", "detached remote 1 m"]);
}

#[test]
fn a_gap_ends_the_requests_that_it_may_have_answered() {
    let mut tap = Tap::forced("jsonrpc");
    tap.sent(ask(1)).received(ask(2)).gap(Direction::Received);
    assert_eq!(tap.lines()[2..], ["gap local 1 m"]);
    tap.at(3).sent(reply(2)).received(reply(1)).at(2 * SECOND_NS).tick();
    assert_eq!(tap.lines(), ["matched remote 2 m 3", "orphan after_gap"]);
}

#[test]
fn an_answer_soon_after_a_mid_stream_attach_may_have_been_asked_before() {
    let mut tap = Tap::new(Protocols::builtin());
    tap.open(Hint { mid_stream: true, ..tap.hint() });
    tap.received(reply(1)).at(2 * SECOND_NS).tick();
    assert_eq!(tap.lines(), ["orphan pre_attach"]);
    tap.at(60 * SECOND_NS).received(reply(2)).at(62 * SECOND_NS).tick();
    assert_eq!(tap.lines(), ["orphan unknown"]);
}

#[test]
fn an_answer_without_a_request_is_told_after_the_reorder_window() {
    let mut tap = Tap::forced("jsonrpc");
    tap.received(reply(1)).at(SECOND_NS - 1).tick();
    assert!(tap.lines().is_empty());
    tap.at(SECOND_NS).tick();
    assert_eq!(tap.lines(), ["orphan unknown"]);
}

#[test]
fn answers_without_requests_are_bounded_and_none_is_forgotten() {
    let mut tap = Tap::forced("jsonrpc");
    for id in 0..100 {
        tap.received(reply(id));
    }
    assert_eq!(tap.lines().len(), 36);
    tap.close();
    assert_eq!(tap.lines().len(), 64);
}

#[test]
fn an_answer_after_the_deadline_is_late_even_if_nobody_looked() {
    let mut tap = Tap::unknown();
    // Kept while the protocol was not known, and so behind a younger request in the queue.
    tap.sent(r#"{"id":1,"method":"Page.enable"}"#);
    tap.at.conn.generation = 2;
    tap.at(50 * SECOND_NS).sent(ask(1));
    tap.at.conn.generation = 1;
    tap.at(61 * SECOND_NS).received(r#"{"id":1,"result":{}}"#);
    assert_eq!(
        tap.lines(),
        [
            "started local m",
            "started local Page.enable",
            "expired local 1 Page.enable",
            "orphan late",
        ]
    );
}
