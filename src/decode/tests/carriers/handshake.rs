use super::*;

const OPEN: &str = "open client example.com /feed - []";
const ENTER: &str = "state - -> client/full";

#[test]
fn a_101_with_the_right_accept_opens_a_connection_for_either_role() {
    let mut tape = Tape::new();
    tape.pass(Sent, &get(""));
    tape.says(&[]);
    tape.pass(Received, &switching(""));
    tape.says(&[OPEN, ENTER]);

    let mut tape = Tape::new();
    tape.pass(Received, &get(""));
    tape.pass(Sent, &switching(""));
    tape.says(&["open server example.com /feed - []", "state - -> server/full"]);
}

#[test]
fn a_101_read_byte_by_byte_opens_and_the_first_frame_may_share_its_call() {
    let stream = [switching(""), plain(FIN | TEXT, b"hi")].concat();
    let expected =
        [OPEN, ENTER, "< text plain 2", "< text message of 1 frames, 2 wire, 2 bytes: hi"];
    for size in [1, 2, 7, 64, 4096] {
        let mut tape = Tape::new();
        tape.pass_in(Sent, &get(""), size);
        tape.pass_in(Received, &stream, size);
        tape.says(&expected);
    }
}

#[test]
fn requests_with_bodies_and_interim_answers_may_come_before_the_upgrade() {
    let requests = [
        b"POST /login HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /".to_vec(),
        b"PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n".to_vec(),
        b"HEAD /y HTTP/1.1\r\n\r\n".to_vec(),
        get(""),
    ];
    let answers = [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 "
            .to_vec(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\nA;x\r\n0123456789\r\n0\r\n\r\n"
            .to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_vec(),
        [b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec(), switching("")].concat(),
    ];
    for size in [1, 3, 1000] {
        let mut tape = Tape::new();
        for (request, answer) in requests.iter().zip(&answers) {
            tape.pass_in(Sent, request, size);
            tape.pass_in(Received, answer, size);
        }
        tape.says(&[OPEN, ENTER]);
    }
    let mut pipelined = Tape::new();
    pipelined.pass(Sent, &requests.concat());
    pipelined.pass(Received, &answers.concat());
    pipelined.says(&[OPEN, ENTER]);
}

#[test]
fn a_refused_upgrade_may_be_tried_again_on_the_same_connection() {
    let mut tape = Tape::new();
    tape.pass(Sent, &get(""));
    tape.pass(Received, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
    tape.says(&["refused 401"]);
    tape.pass(Sent, &get("Authorization: Basic eDp5\r\n"));
    tape.pass(Received, &switching(""));
    tape.says(&[OPEN, ENTER]);
}

/// However few bytes of the next head come first, none of them is read as a frame.
#[test]
fn after_a_close_the_next_head_is_no_frame_however_it_is_cut() {
    let transcript = |bytes: usize, start: SegmentStart| {
        let mut tape = Tape::new();
        tape.pass(Sent, &get(""));
        tape.pass(Received, &switching(""));
        tape.pass(Sent, &masked(FIN | CLOSE, b"\x03\xe8"));
        for (direction, head) in [(Sent, get("")), (Received, switching(""))] {
            tape.start = SegmentStart::Call;
            for piece in head.chunks(bytes) {
                tape.pass(direction, piece);
                tape.start = start;
            }
        }
        tape.start = SegmentStart::Call;
        tape.pass(Sent, &masked(FIN | TEXT, b"next"));
        tape.said()
    };
    let whole = transcript(usize::MAX, SegmentStart::Call);
    assert_eq!(whole.iter().filter(|line| *line == OPEN).count(), 2, "{whole:?}");
    for bytes in 1..9 {
        for start in [SegmentStart::Call, SegmentStart::Middle] {
            assert_eq!(transcript(bytes, start), whole, "{bytes} bytes");
        }
    }
}

/// What only looked like a head is a frame that breaks the rules, also when nothing comes behind it.
#[test]
fn after_a_close_what_only_begins_like_a_head_is_still_read() {
    let rules = ["> error control_fragmented", "> error mask_missing", "> error rsv_unexpected"];
    let whole = [&rules[..], &["> close+* plain 0"]].concat();
    let begun = [&rules[..], &["> error eof_mid_frame"]].concat();
    let cases: [(&[&[u8]], &[&str]); 4] = [
        (&[b"H\0"], &whole),
        (&[b"H", b"\0"], &whole),
        (&[b"HT", b"x"], &begun),
        (&[b"H"], &["> error eof_mid_frame"]),
    ];
    for (calls, frames) in cases {
        let mut tape = Tape::new();
        tape.pass(Sent, &get(""));
        tape.pass(Received, &switching(""));
        tape.pass(Received, &plain(FIN | CLOSE, b"\x03\xe8"));
        tape.said();
        calls.iter().for_each(|call| tape.pass(Sent, call));
        tape.close();
        tape.says(&[frames, &["close 1000", "state client/full -> -"]].concat());
    }
}

/// Its second byte is a zero, which an answer of HTTP/2 begins with. Within a frame no head begins.
#[test]
fn after_a_close_the_answer_to_it_is_read_however_it_is_cut() {
    for bytes in [1, 2] {
        let mut tape = Tape::client();
        tape.pass(Sent, &masked(FIN | CLOSE, b"\x03\xe8"));
        tape.said();
        tape.pass_in(Received, &plain(FIN | CLOSE, b""), bytes);
        let said = tape.said();
        assert!(said.contains(&"close 1000".to_owned()), "{bytes} bytes a call: {said:?}");
    }
}

#[test]
fn frames_written_before_the_101_was_reported_are_held() {
    let mut tape = Tape::new();
    tape.pass(Sent, &get(""));
    tape.pass(Sent, &masked(FIN | TEXT, b"early"));
    tape.says(&[]);
    tape.pass(Received, &switching(""));
    let message = "> text message of 1 frames, 5 wire, 5 bytes: early";
    tape.says(&[OPEN, ENTER, "> text 5", message]);
}

#[test]
fn a_second_try_reported_before_the_refusal_is_held_too() {
    let mut tape = Tape::new();
    tape.pass(Sent, &get(""));
    tape.pass(Sent, &get(""));
    tape.pass(Received, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    tape.pass(Received, &switching(""));
    tape.says(&["refused 401", OPEN, ENTER]);
}

#[test]
fn a_101_reported_before_its_request_waits_for_it() {
    let mut tape = Tape::new();
    tape.pass(Received, &[switching(""), plain(FIN | BINARY, b"x")].concat());
    tape.says(&[]);
    tape.pass(Sent, &get(""));
    let message = "< binary message of 1 frames, 1 wire, 1 bytes: x";
    tape.says(&[OPEN, ENTER, "< binary plain 1", message]);
}

#[test]
fn a_101_whose_request_passed_before_the_tap_opens_after_a_while_or_with_a_frame() {
    let unseen = ["open client - - - []", ENTER];
    let mut tape = Tape::new();
    tape.pass(Received, &switching(""));
    tape.tick();
    tape.says(&[]);
    tape.now_ns += 2_000_000_000;
    tape.tick();
    tape.says(&unseen);

    let mut tape = Tape::new();
    tape.pass(Received, &switching(""));
    tape.pass(Sent, &masked(FIN | PING, b""));
    tape.says(&[unseen[0], unseen[1], "> ping 0"]);
}

/// Of each at least one real client goes on.
#[test]
fn a_sloppy_101_to_an_offered_upgrade_opens_and_is_counted_by_reason() {
    let without = |head: &[u8], name: &str| -> Vec<u8> {
        let head = String::from_utf8(head.to_vec()).unwrap();
        let lines = head.split_inclusive("\r\n").filter(|line| !line.starts_with(name));
        lines.collect::<String>().into_bytes()
    };
    let with = |from: &str, to: &str| -> Vec<u8> {
        let head = String::from_utf8(switching("X: y\r\n")).unwrap();
        assert!(head.contains(from));
        head.replace(from, to).into_bytes()
    };
    let good = "< text message of 1 frames, 2 wire, 2 bytes: hi";
    for (request, answer, error) in [
        (get(""), with("s3pP", "S3pP"), Some("accept_mismatch")),
        (get(""), without(&switching(""), "Sec-WebSocket-Accept"), Some("accept_missing")),
        (without(&get(""), "Sec-WebSocket-Key"), switching(""), Some("handshake_invalid")),
        (without(&get(""), "Connection"), switching(""), None),
        (get(""), without(&switching(""), "Upgrade"), Some("upgrade_header_invalid")),
        (get(""), without(&switching(""), "Connection"), Some("upgrade_header_invalid")),
        (get(""), with("websocket", "websocket; websocket"), Some("upgrade_header_invalid")),
        (get(""), with("websocket", "WebSocket/13"), Some("upgrade_header_invalid")),
        (get(""), switching(&"X-Header: y\r\n".repeat(150)), Some("head_malformed")),
        (get(&"X-Header: y\r\n".repeat(150)), switching(""), None),
        (get(""), switching(&format!("X: {}\r\n", "x".repeat(100_000))), None),
        (get(""), with("X: y", "X: y\r\n  folded"), Some("head_malformed")),
        (get(""), with("X: y", "X : y"), Some("head_malformed")),
        (get(""), with("X: y", "X[0]{}: y"), Some("head_malformed")),
        (get(""), with("X: y", "X: \u{1}\u{7f}"), Some("head_malformed")),
        (get(""), with("X: y", "no colon"), Some("head_malformed")),
        (get(""), with(" Switching Protocols", ""), None),
        (get(""), with("HTTP/1.1 101", "HTTP/1.0 101"), None),
        (get(""), with("HTTP/1.1 101", "HTTP/1.1  101"), Some("head_malformed")),
        (get(""), with("\r\n", "\n"), None),
    ] {
        for size in [7, 1 << 20] {
            let mut tape = Tape::new();
            tape.pass(Sent, &request);
            tape.pass_in(Received, &answer, size);
            tape.pass(Received, &plain(FIN | TEXT, b"hi"));
            let said = tape.said();
            let errors: Vec<_> = said.iter().filter(|line| line.contains("error")).collect();
            let expected: Vec<_> = error.iter().map(|it| format!("< error {it}")).collect();
            assert_eq!(errors, expected.iter().collect::<Vec<_>>(), "{}", answer.escape_ascii());
            assert_eq!(said.last().unwrap(), good, "{}", answer.escape_ascii());
        }
    }
}

#[test]
fn a_101_to_something_else_is_no_websocket() {
    for answer in [
        String::from_utf8(switching("")).unwrap().replace("websocket", "h2c").into_bytes(),
        b"HTTP/1.1 1O1\r\n\r\n".to_vec(),
    ] {
        let mut tape = Tape::new();
        tape.pass(Sent, &get(""));
        tape.pass(Received, &answer);
        tape.pass(Received, &plain(FIN | TEXT, b"hi"));
        assert!(!tape.said().iter().any(|line| line.contains("text")));
    }
    let mut tape = Tape::new();
    tape.pass(Received, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n");
    tape.now_ns += 2_000_000_000;
    tape.tick();
    tape.says(&[]);
}

#[test]
fn permessage_deflate_that_is_agreed_upon_twice_is_read() {
    let deflate = "permessage-deflate; server_no_context_takeover";
    let mut tape = Tape::new();
    tape.pass(Sent, &get("Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    let twice = format!("Sec-WebSocket-Extensions: {deflate}, {deflate}\r\n");
    tape.pass(Received, &switching(&twice));
    let message = Deflater::new(false).message(b"hello hello hello");
    tape.pass(Received, &plain(FIN | RSV1 | TEXT, &message));
    let said = tape.said();
    assert_eq!(said[0], "< error extension_repeated");
    assert!(said.last().unwrap().ends_with("compressed: hello hello hello"), "{said:#?}");
}

#[test]
fn an_extension_that_changes_nothing_hides_nothing() {
    let usp = "Sec-WebSocket-Extensions: bbf-usp-protocol; eid=\"doc::device\"\r\n";
    let mut tape = Tape::new();
    tape.pass(Sent, &get(usp));
    tape.pass(Received, &switching(usp));
    tape.pass(Received, &plain(FIN | BINARY, b"record"));
    assert!(tape.said().last().unwrap().ends_with("6 bytes: record"));
}

#[test]
fn what_was_not_offered_is_counted() {
    let mut tape = Tape::new();
    tape.pass(Sent, &get("Sec-WebSocket-Protocol: mqtt\r\n"));
    tape.pass(
        Received,
        &switching("Sec-WebSocket-Protocol: ocpp1.6\r\nSec-WebSocket-Extensions: x-own\r\n"),
    );
    tape.says(&[
        "< error subprotocol_not_offered",
        "< error extension_not_offered",
        "open client example.com /feed ocpp1.6 [x-own]",
        "state - -> client/no_content",
    ]);
}

#[test]
fn an_unknown_subprotocol_is_called_other() {
    let mut tape = Tape::new();
    tape.pass(Sent, &get("Sec-WebSocket-Protocol: secret-token-1\r\n"));
    tape.pass(Received, &switching("Sec-WebSocket-Protocol: secret-token-1\r\n"));
    tape.says(&["open client example.com /feed other []", ENTER]);
}

#[test]
fn plain_https_is_silent_ignored_and_may_still_upgrade_later() {
    let mut tape = Tape::new();
    tape.pass(Sent, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    tape.pass(Received, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(tape.hints(), [KernelHint::Ignore { conn: CONN }]);
    // The kernel side leaves out the body and all of the next exchange.
    tape.segment(Received, &[], 1000 + 300, Absent::Skipped);
    tape.segment(Sent, &[], 200, Absent::Skipped);
    tape.pass(Sent, &get(""));
    tape.pass(Received, &switching(""));
    tape.says(&["< skipped 1300", "> skipped 200", OPEN, ENTER]);
}

#[test]
fn an_upload_is_ignored_from_its_head_on() {
    let mut tape = Tape::new();
    tape.pass(Sent, b"GET / HTTP/1.1\r\n\r\n");
    assert!(tape.hints().is_empty());
    tape.pass(Received, b"HTTP/1.1 100 Continue\r\n\r\n");
    tape.pass(Sent, b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(tape.hints(), [KernelHint::Ignore { conn: CONN }]);
    tape.segment(Sent, &[], 1000, Absent::Skipped);
    tape.segment(Received, &[], 300, Absent::Skipped);
    tape.pass(Received, &switching(""));
    tape.says(&["> skipped 1000", "< skipped 300", "open client - - - []", ENTER]);
}

#[test]
fn an_upgrade_of_an_ignored_connection_is_known_from_its_answer_alone() {
    let mut tape = Tape::new();
    tape.pass(Sent, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    tape.pass(Received, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    tape.segment(Sent, &[], 200, Absent::Skipped);
    tape.segment(Received, &[], 1000, Absent::Skipped);
    tape.pass(Received, &switching(""));
    tape.pass(Sent, &masked(FIN | TEXT, b"hi"));
    tape.says(&[
        "> skipped 200",
        "< skipped 1000",
        "open client - - - []",
        ENTER,
        "> text 2",
        "> text message of 1 frames, 2 wire, 2 bytes: hi",
    ]);
}

#[test]
fn bytes_that_never_come_are_lost_even_of_an_ignored_connection() {
    let mut tape = Tape::new();
    tape.pass(Sent, b"GET / HTTP/1.1\r\n\r\n");
    tape.pass(Received, b"HTTP/1.1 204 No Content\r\n\r\n");
    tape.lose(Sent, &[0; 50]);
    tape.lose(Received, &[0; 60]);
    tape.pass(Sent, &get(""));
    tape.close();
    tape.says(&["> gap 50 ring_full", "< gap 60 ring_full"]);
    assert_eq!(tape.counts.wire, tape.offsets);
}

#[test]
fn tunnels_and_other_upgrades_are_ignored() {
    let mut tape = Tape::new();
    tape.pass(Sent, b"CONNECT a:443 HTTP/1.1\r\n\r\n");
    tape.pass(Received, b"HTTP/1.1 200 OK\r\n\r\n");
    tape.says(&[]);
    assert_eq!(tape.hints(), [KernelHint::Ignore { conn: CONN }]);
    let mut tape = Tape::new();
    tape.pass(Sent, b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n");
    tape.pass(Received, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n");
    assert_eq!(tape.hints(), [KernelHint::Ignore { conn: CONN }]);
}

#[test]
fn the_kernel_side_is_told_where_frames_begin_until_it_walks_by_itself() {
    let frame = plain(FIN | TEXT, b"hi");
    let mut tape = Tape::new();
    tape.pass(Sent, &get(""));
    let [sent, _] = tape.offsets;
    tape.pass(Received, &[switching(""), frame.clone()].concat());
    let first = switching("").len() as u64;
    let at = |direction, offset| {
        KernelHint::FrameAt(FrameAt { conn: CONN, direction, offset, whole: false, narrow: false })
    };
    let second = first + frame.len() as u64;
    assert_eq!(tape.hints(), [at(Sent, sent), at(Received, first), at(Received, second)]);
    tape.start = SegmentStart::FrameHeader;
    tape.pass(Received, &frame);
    assert_eq!(tape.hints(), []);
}

#[test]
fn nats_agrees_to_leave_masks_out() {
    let mut tape = Tape::upgraded(Sent, "", "Nats-No-Masking: true\r\n");
    tape.pass(Sent, &plain(FIN | BINARY, b"PING"));
    tape.says(&["> binary plain 4", "> binary message of 1 frames, 4 wire, 4 bytes: PING"]);
}

#[test]
fn a_lost_101_leaves_it_to_the_frames() {
    let mut tape = Tape::new();
    tape.pass(Sent, &get(""));
    tape.lose(Received, &switching(""));
    for n in 0..3 {
        tape.pass(Received, &plain(FIN | TEXT, format!("{{\"n\":{n}}}").as_bytes()));
    }
    let said = tape.said();
    assert_eq!(said[0], format!("< gap {} ring_full", switching("").len()));
    assert_eq!(said[1], "open client - - - [] mid-stream");
    assert_eq!(said.iter().filter(|line| line.contains("message")).count(), 3, "{said:#?}");
}

#[test]
fn an_answer_cut_into_calls_is_found_on_a_connection_that_was_given_up() {
    let damaged = [b"X", &get("")[..]].concat();
    let stream = [switching(""), plain(FIN | TEXT, b"hi")].concat();
    for size in [1, 2, 3, 7, 11, 4096] {
        let mut tape = Tape::new();
        tape.pass(Sent, &damaged);
        tape.pass_in(Received, &stream, size);
        tape.pass(Sent, &masked(FIN | TEXT, b"ho"));
        tape.close();
        tape.says(&[
            "open client - - - []",
            ENTER,
            "< text plain 2",
            "< text message of 1 frames, 2 wire, 2 bytes: hi",
            "> text 2",
            "> text message of 1 frames, 2 wire, 2 bytes: ho",
            "close 1006",
            "state client/full -> -",
        ]);
    }
}

#[test]
fn a_request_and_its_answer_may_both_be_cut_on_a_connection_that_was_given_up() {
    let mut tape = Tape::new();
    tape.pass(Sent, b"no http");
    let (request, answer) = (get(""), switching(""));
    tape.pass(Received, &answer[..5]);
    tape.pass_in(Sent, &request, 2);
    tape.pass(Received, &answer[5..]);
    tape.says(&[OPEN, ENTER]);
}

#[test]
fn what_follows_an_answer_without_a_request_is_decoded_alike_in_any_cutting() {
    // No frame begins with an H, but HEAD and HTTP do.
    let stream = [b"Host".to_vec(), masked(FIN | TEXT, b"hi").repeat(8)].concat();
    let play = |size: usize| {
        let mut tape = Tape::new();
        tape.tick_ns = 0;
        tape.pass(Received, &switching(""));
        tape.pass_in(Sent, &stream, size);
        tape.said()
    };
    let whole = play(stream.len());
    assert_eq!(whole[2], "> error control_fragmented");
    for size in 1..stream.len() {
        assert_eq!(play(size), whole, "{size} bytes a call");
    }
}

/// Probes are placed one after the other: that on writes may come in time for the request, and that
/// on reads too late for its answer.
#[test]
fn an_answer_that_passed_before_its_probe_was_placed_leaves_it_to_the_frames() {
    let mut tape = Tape::new();
    tape.pass(Sent, &get(""));
    for n in 0..5 {
        tape.pass(Sent, &masked(FIN | TEXT, format!("{{\"n\":{n}}}").as_bytes()));
        tape.pass(Received, &plain(FIN | TEXT, format!("{{\"n\":{n}}}").as_bytes()));
    }
    let said = tape.said();
    let messages = |way: &str| {
        let of_way = said.iter().filter(|line| line.starts_with(way) && line.contains("message"));
        of_way.count()
    };
    assert_eq!(messages("<"), 5, "{said:#?}");
    // What was sent before the first frame proved the connection is not decoded.
    assert_eq!(messages(">"), 3, "{said:#?}");
}
