use super::*;

fn text(n: u32) -> Vec<u8> {
    plain(FIN | TEXT, format!("{{\"id\":{n}}}").as_bytes())
}

#[test]
fn a_gap_inside_a_payload_costs_the_content_but_no_frame() {
    let mut tape = Tape::client();
    let frame = plain(FIN | TEXT, b"0123456789");
    tape.pass(Received, &frame[..5]);
    tape.lose(Received, &frame[5..8]);
    tape.pass(Received, &[&frame[8..], &text(2)[..]].concat());
    tape.says(&[
        "< gap 3 ring_full",
        "< text plain 10",
        "< text message of 1 frames, 10 wire, 10 bytes, truncated: 012",
        "< text plain 8",
        "< text message of 1 frames, 8 wire, 8 bytes: {\\\"id\\\":2}",
    ]);
}

#[test]
fn a_gap_up_to_the_end_of_a_payload_still_ends_the_frame() {
    let mut tape = Tape::client();
    let frame = plain(FIN | BINARY, b"0123456789");
    tape.segment(Received, &frame[..4], frame.len() as u64, Absent::CopyFailed);
    tape.pass(Received, &text(2));
    tape.says(&[
        "< gap 8 copy_failed",
        "< binary plain 10",
        "< binary message of 1 frames, 10 wire, 10 bytes, truncated: 01",
        "< text plain 8",
        "< text message of 1 frames, 8 wire, 8 bytes: {\\\"id\\\":2}",
    ]);
}

#[test]
fn skipped_payload_is_counted_but_is_no_gap() {
    let mut tape = Tape::client();
    let frame = plain(FIN | TEXT, &[b'a'; 1000]);
    tape.segment(Received, &frame[..14], frame.len() as u64, Absent::Skipped);
    tape.pass(Received, &text(2));
    tape.says(&[
        "< skipped 990",
        "< text plain 1000",
        "< text message of 1 frames, 1000 wire, 1000 bytes, truncated: aaaaaaaaaa",
        "< text plain 8",
        "< text message of 1 frames, 8 wire, 8 bytes: {\\\"id\\\":2}",
    ]);
    assert_eq!(tape.counts.wire, tape.offsets);
}

#[test]
fn a_lost_header_costs_the_sync_until_two_calls_begin_with_frames() {
    let mut tape = Tape::client();
    tape.pass(Received, &text(0));
    tape.lose(Received, &text(1));
    tape.said();
    tape.pass(Received, &text(2));
    tape.says(&["< gap 10 ring_full", "state client/full -> client/unsynced"]);
    tape.pass(Received, &text(3));
    tape.says(&[
        "state client/unsynced -> client/full",
        "< text plain 8",
        "< text message of 1 frames, 8 wire, 8 bytes: {\\\"id\\\":2}",
        "< text plain 8",
        "< text message of 1 frames, 8 wire, 8 bytes: {\\\"id\\\":3}",
    ]);
}

#[test]
fn a_header_walked_to_by_the_kernel_ends_a_gap_at_once() {
    let mut tape = Tape::client();
    tape.lose(Received, &text(1));
    tape.start = SegmentStart::FrameHeader;
    tape.pass(Received, &text(2));
    tape.says(&[
        "< gap 10 ring_full",
        "state client/full -> client/unsynced",
        "state client/unsynced -> client/full",
        "< text plain 8",
        "< text message of 1 frames, 8 wire, 8 bytes: {\\\"id\\\":2}",
    ]);
}

#[test]
fn a_header_walked_to_inside_of_a_frame_ends_that_frame() {
    let mut tape = Tape::client();
    tape.pass(Received, &plain(FIN | TEXT, b"0123456789")[..5]);
    tape.start = SegmentStart::FrameHeader;
    tape.pass(Received, &text(2));
    tape.says(&[
        "< error resync",
        "state client/full -> client/unsynced",
        "state client/unsynced -> client/full",
        "< text plain 8",
        "< text message of 1 frames, 8 wire, 8 bytes: {\\\"id\\\":2}",
    ]);
}

#[test]
fn continuations_of_a_message_whose_start_was_lost_are_no_error() {
    let mut tape = Tape::client();
    tape.lose(Received, &plain(TEXT, b"one"));
    tape.start = SegmentStart::FrameHeader;
    tape.pass(Received, &plain(CONTINUATION, b"two"));
    tape.pass(Received, &plain(FIN | CONTINUATION, b"three"));
    tape.said();
    tape.pass(Received, &plain(FIN | CONTINUATION, b"four"));
    assert_eq!(tape.said()[0], "< error continuation_without_start");
}

#[test]
fn a_gap_in_a_direction_with_takeover_makes_it_unreadable_to_the_end() {
    let mut tape = Tape::deflate("");
    let mut deflater = Deflater::new(true);
    tape.pass(Received, &plain(FIN | RSV1 | TEXT, &deflater.message(b"the first message")));
    tape.lose(Received, &plain(FIN | RSV1 | TEXT, &deflater.message(b"the second message")));
    tape.said();
    tape.start = SegmentStart::FrameHeader;
    for _ in 0..2 {
        let message = deflater.message(b"the first message");
        tape.pass(Received, &plain(FIN | RSV1 | TEXT, &message));
    }
    let said = tape.said();
    assert_eq!(
        said[1..4],
        [
            "state client/full -> client/unsynced",
            "< error poisoned_context",
            "state client/unsynced -> client/no_content",
        ]
    );
    let opaque =
        said.iter().filter(|line| line.contains("? bytes, compressed, truncated: ")).count();
    assert_eq!(opaque, 2);
    assert_eq!(said.iter().filter(|line| line.contains("poisoned")).count(), 1);
}

#[test]
fn a_gap_in_an_uncompressed_frame_leaves_the_window_whole() {
    let mut tape = Tape::deflate("");
    let mut deflater = Deflater::new(true);
    tape.pass(Received, &plain(FIN | RSV1 | TEXT, &deflater.message(b"the first message")));
    let frame = plain(FIN | TEXT, b"not compressed");
    tape.segment(Received, &frame[..5], frame.len() as u64, Absent::CallTooLarge);
    tape.pass(Received, &plain(FIN | RSV1 | TEXT, &deflater.message(b"the first message")));
    assert!(tape.said().last().unwrap().ends_with("compressed: the first message"));
}

#[test]
fn a_gap_without_takeover_costs_nothing_but_what_was_lost() {
    let mut tape = Tape::deflate("; server_no_context_takeover");
    let mut deflater = Deflater::new(false);
    let frame = plain(FIN | RSV1 | TEXT, &deflater.message(b"the first message"));
    tape.segment(Received, &frame[..9], frame.len() as u64, Absent::CopyFailed);
    tape.says(&[
        &format!("< gap {} copy_failed", frame.len() - 9),
        &format!("< text* plain {}", frame.len() - 2),
        &format!(
            "< text message of 1 frames, {} wire, ? bytes, compressed, truncated: the fi",
            frame.len() - 2
        ),
    ]);
    tape.pass(Received, &frame);
    assert!(tape.said()[1].ends_with("compressed: the first message"));
}

#[test]
fn the_final_totals_tell_of_a_loss_at_the_end() {
    let mut tape = Tape::client();
    tape.lose(Received, &text(1));
    tape.lose(Sent, &[0; 3]);
    tape.close();
    tape.says(&[
        "> gap 3 ring_full",
        "state client/full -> client/unsynced",
        "< gap 10 ring_full",
        "close 1006",
        "state client/unsynced -> -",
    ]);
    assert_eq!(tape.counts.wire, tape.offsets);
}

#[test]
fn skipped_payload_of_a_compressed_message_costs_the_window_too() {
    let mut tape = Tape::deflate("");
    let mut deflater = Deflater::new(true);
    let frame = plain(FIN | RSV1 | TEXT, &deflater.message(b"the first message"));
    tape.segment(Received, &frame[..9], frame.len() as u64, Absent::Skipped);
    tape.pass(Received, &plain(FIN | RSV1 | TEXT, &deflater.message(b"the first message")));
    let said = tape.said();
    assert_eq!(said[0], format!("< skipped {}", frame.len() - 9));
    assert_eq!(said[1..3], ["< error poisoned_context", "state client/full -> client/no_content"]);
    let [.., message, miss] = &said[..] else { panic!("{said:#?}") };
    assert!(message.ends_with("? bytes, compressed, truncated: "), "{said:#?}");
    assert!(miss.ends_with("reason: Opaque }"), "{said:#?}");
}

#[test]
fn a_pong_whose_payload_was_lost_answers_nothing() {
    let mut tape = Tape::client();
    tape.pass(Sent, &masked(FIN | PING, b"ab"));
    let pong = plain(FIN | PONG, b"ab");
    tape.segment(Received, &pong[..3], 4, Absent::CopyFailed);
    tape.says(&["> ping 2", "< gap 1 copy_failed", "< pong plain 2"]);
}

#[test]
fn a_close_frame_cut_by_a_gap_keeps_its_code() {
    let mut tape = Tape::client();
    let close = plain(FIN | CLOSE, b"\x03\xe9going away");
    tape.segment(Received, &close[..6], close.len() as u64, Absent::CopyFailed);
    tape.close();
    assert_eq!(tape.said()[2], "close 1001");
}

#[test]
fn a_large_frame_is_announced_to_the_kernel_with_the_border_behind_it() {
    let mut tape = Tape::client();
    tape.hints();
    let start = tape.offsets[Received.index()];
    let frame = plain(FIN | BINARY, &vec![0; 100_000]);
    tape.pass(Received, &frame[..20]);
    let offset = start + frame.len() as u64;
    assert_eq!(
        tape.hints(),
        [KernelHint::FrameAt(FrameAt {
            conn: CONN,
            direction: Received,
            offset,
            whole: false,
            narrow: false
        })]
    );
}

#[test]
fn a_websocket_whose_whole_handshake_was_lost_is_found_by_its_frames() {
    let mut tape = Tape::new();
    tape.lose(Received, &get(""));
    tape.lose(Sent, &switching(""));
    for n in 0..2 {
        tape.pass(Sent, &text(n));
        tape.pass(Received, &masked(FIN | TEXT, b"hi"));
    }
    let said = tape.said();
    assert_eq!(said[0], format!("> gap {} ring_full", switching("").len()));
    assert_eq!(said[1], format!("< gap {} ring_full", get("").len()));
    assert_eq!(said[2], "open server - - - [] mid-stream");
    assert_states_chain(&said);
    assert_eq!(said.iter().filter(|line| line.contains(" message of ")).count(), 4);
}

#[test]
fn a_request_that_was_lost_costs_what_it_asked_for_and_the_first_border_behind_it() {
    let mut tape = Tape::new();
    tape.lose(Sent, &get(""));
    tape.pass(Received, &switching(""));
    tape.pass(Received, &text(0));
    tape.says(&[]);
    for _ in 0..2 {
        tape.pass(Sent, &masked(FIN | TEXT, b"hi"));
    }
    tape.says(&[
        &format!("> gap {} ring_full", get("").len()),
        "open client - - - []",
        "state - -> client/full",
        "< text plain 8",
        "< text message of 1 frames, 8 wire, 8 bytes: {\\\"id\\\":0}",
        "state client/full -> client/unsynced",
        "state client/unsynced -> client/full",
        "> text 2",
        "> text message of 1 frames, 2 wire, 2 bytes: hi",
        "> text 2",
        "> text message of 1 frames, 2 wire, 2 bytes: hi",
    ]);
}

#[test]
fn an_upgrade_whose_answer_was_lost_is_never_given_up() {
    let mut tape = Tape::with(Limits { search_bytes: 1000, ..Limits::default() });
    tape.pass(Sent, &get(""));
    tape.lose(Received, &switching(""));
    for direction in Direction::BOTH {
        tape.pass_in(direction, &[0xff; 5000], 100);
    }
    assert_eq!(tape.hints(), []);
    for n in 0..2 {
        tape.pass(Received, &text(n));
    }
    let said = tape.said();
    assert_eq!(said[1], "open client - - - [] mid-stream");
    assert_eq!(said.iter().filter(|line| line.contains(" message of ")).count(), 2);
}

#[test]
fn http_goes_on_behind_a_hole_in_it() {
    let mut tape = Tape::new();
    tape.lose(Sent, &[0; 50]);
    tape.pass(Sent, b"GET / HTTP/1.1\r\n\r\n");
    tape.lose(Received, &[0; 70]);
    tape.pass(Received, b"HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(tape.hints(), [KernelHint::Ignore { conn: CONN }]);
    tape.pass(Sent, &get(""));
    tape.pass(Received, &switching(""));
    assert_eq!(tape.said()[2..], ["open client example.com /feed - []", "state - -> client/full"]);
}
