use super::*;

/// A tracker whose connections are told apart by their generation.
fn pass(tape: &mut Tape, generation: u32, direction: Direction, offset: u64, bytes: &[u8]) {
    let segment = Segment {
        direction,
        offset,
        len: bytes.len() as u64,
        bytes,
        absent: Absent::Skipped,
        start: SegmentStart::Call,
    };
    let event = Event {
        conn: ConnId { generation, ..CONN },
        target: TargetId(0),
        tid: 1,
        at_ns: tape.now_ns,
        kind: EventKind::Data(segment),
    };
    let (lines, counts) = (&mut tape.lines, &mut tape.counts);
    tape.tracker.event(&event, &mut |observation| note(lines, counts, observation));
}

fn upgrade(tape: &mut Tape, generation: u32, more: &str) -> [u64; 2] {
    let (request, answer) = (get(more), switching(more));
    pass(tape, generation, Sent, 0, &request);
    pass(tape, generation, Received, 0, &answer);
    [request.len() as u64, answer.len() as u64]
}

#[test]
fn the_connection_silent_for_longest_is_evicted_and_leaves_the_gauge() {
    let mut tape = Tape::with(Limits { connections: 2, ..Limits::default() });
    let [sent, received] = upgrade(&mut tape, 1, "");
    upgrade(&mut tape, 2, "");
    pass(&mut tape, 1, Sent, sent, &masked(FIN | PING, b""));
    tape.said();
    upgrade(&mut tape, 3, "");
    tape.says(&[
        "state client/full -> -",
        "evicted connections",
        "open client example.com /feed - []",
        "state - -> client/full",
    ]);
    pass(&mut tape, 1, Received, received, &plain(FIN | TEXT, b"still there"));
    assert_eq!(tape.said().len(), 2);
    assert_eq!(tape.tracker.connections(), 2);
}

#[test]
fn a_connection_that_comes_back_after_eviction_has_lost_nothing() {
    let mut tape = Tape::with(Limits { connections: 1, ..Limits::default() });
    let [sent, _] = upgrade(&mut tape, 1, "");
    upgrade(&mut tape, 2, "");
    tape.said();
    pass(&mut tape, 1, Sent, sent, &masked(FIN | PING, b""));
    tape.says(&["state client/full -> -", "evicted connections"]);
}

#[test]
fn an_evicted_inflater_makes_its_direction_unreadable_and_says_so() {
    let mut tape = Tape::with(Limits { inflaters: 1, ..Limits::default() });
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let (mut first, mut second) = (Deflater::new(true), Deflater::new(true));
    let [_, received] = upgrade(&mut tape, 1, offer);
    upgrade(&mut tape, 2, offer);
    let message = plain(FIN | RSV1 | TEXT, &first.message(b"words"));
    pass(&mut tape, 1, Received, received, &message);
    tape.said();
    pass(&mut tape, 2, Received, received, &plain(FIN | RSV1 | TEXT, &second.message(b"words")));
    assert_eq!(tape.said()[1], "evicted inflaters");
    let at = received + message.len() as u64;
    pass(&mut tape, 1, Received, at, &plain(FIN | RSV1 | TEXT, &first.message(b"words")));
    let said = tape.said();
    assert_eq!(said[1..3], ["< error poisoned_context", "state client/full -> client/no_content"]);
    assert!(said[3].contains("? bytes, compressed, truncated: "), "{said:?}");
}

#[test]
fn unfinished_messages_share_a_budget_and_are_truncated_beyond_it() {
    let mut tape = Tape::with(Limits { unfinished_bytes: 10, ..Limits::default() });
    let [_, received] = upgrade(&mut tape, 1, "");
    upgrade(&mut tape, 2, "");
    tape.said();
    pass(&mut tape, 1, Received, received, &plain(BINARY, b"12345678"));
    pass(&mut tape, 2, Received, received, &plain(BINARY, b"abcdefgh"));
    pass(&mut tape, 2, Received, received + 10, &plain(FIN | CONTINUATION, b"i"));
    assert!(tape.said().last().unwrap().ends_with(" 9 bytes, truncated: ab"));
    pass(&mut tape, 1, Received, received + 10, &plain(FIN | CONTINUATION, b"9"));
    assert!(tape.said().last().unwrap().ends_with(" 9 bytes: 123456789"));
}

#[test]
fn a_head_longer_than_the_limit_is_counted_and_the_connection_let_be() {
    let mut tape = Tape::new();
    let request = get(&format!("X: {}\r\n", "x".repeat(270_000)));
    tape.pass_in(Sent, &request, 1000);
    tape.pass(Received, &switching(""));
    tape.says(&["> error handshake_too_long"]);

    let mut tape = Tape::new();
    tape.pass_in(Sent, &get(&format!("X: {}\r\n", "x".repeat(250_000))), 1000);
    tape.pass(Received, &switching(""));
    assert_eq!(tape.said()[0], "open client example.com /feed - []");
}

#[test]
fn frames_held_beyond_the_limit_cost_the_sync_of_that_direction() {
    let mut tape = Tape::with(Limits { head_bytes: 1000, ..Limits::default() });
    tape.pass(Sent, &get(""));
    tape.pass(Sent, &masked(FIN | BINARY, &[0; 2000]));
    tape.pass(Received, &switching(""));
    tape.says(&[
        "open client example.com /feed - []",
        "state - -> client/full",
        "state client/full -> client/unsynced",
    ]);
}

#[test]
fn heads_of_all_connections_share_a_budget() {
    let mut tape = Tape::with(Limits { held_bytes_in_all: 1000, ..Limits::default() });
    let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(400));
    pass(&mut tape, 1, Sent, 0, head.as_bytes());
    pass(&mut tape, 2, Sent, 0, head.as_bytes());
    tape.says(&[]);
    pass(&mut tape, 3, Sent, 0, head.as_bytes());
    tape.says(&["> error handshake_too_long"]);
    pass(&mut tape, 1, Sent, head.len() as u64, b"\r\n\r\n");
    pass(&mut tape, 4, Sent, 0, head.as_bytes());
    tape.says(&[]);
    tape.finish();
    tape.assert_nothing_is_kept();
}

#[test]
fn an_idle_connection_takes_less_than_3_kb() {
    let mut tape = Tape::client();
    tape.pass(Sent, &masked(FIN | PING, &[b'p'; 125]));
    for n in 0..2000 {
        tape.pass(Received, &plain(FIN | TEXT, format!("message {n}").as_bytes()));
    }
    tape.pass_in(Received, &plain(FIN | TEXT, &[b'x'; 50_000]), 1000);
    tape.now_ns += 61_000_000_000;
    tape.tick();
    let bytes = tape.tracker.connection_bytes();
    assert!(bytes <= 3000, "{bytes}");
}

#[test]
fn a_64_mib_message_costs_no_more_than_the_window() {
    let mut tape = Tape::server();
    let header = [0x82, 0xff, 0, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4];
    tape.pass(Received, &header);
    let piece = vec![0; 1 << 20];
    for _ in 0..64 {
        tape.pass(Received, &piece);
        assert!(tape.tracker.kept_bytes() <= 64 << 10);
    }
    let said = tape.said();
    assert_eq!(said[0], "< binary 67108864");
    assert!(said[1].contains("67108864 bytes, truncated"), "{}", &said[1][..80]);
    assert_eq!(tape.tracker.kept_bytes(), 0);
}
