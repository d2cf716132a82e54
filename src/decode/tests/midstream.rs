use super::*;

fn messages(said: &[String]) -> Vec<&str> {
    said.iter()
        .filter_map(|line| line.split_once(" message of ")?.1.split_once(": "))
        .map(|it| it.1)
        .collect()
}

#[test]
fn the_second_call_proves_the_first_and_neither_is_lost() {
    let mut tape = Tape::new();
    tape.pass(Sent, &masked(FIN | TEXT, b"one"));
    tape.says(&[]);
    tape.pass(Sent, &masked(FIN | TEXT, b"two"));
    tape.says(&[
        "open client - - - [] mid-stream",
        "state - -> client/full",
        "> text 3",
        "> text message of 1 frames, 3 wire, 3 bytes: one",
        "> text 3",
        "> text message of 1 frames, 3 wire, 3 bytes: two",
    ]);
}

#[test]
fn a_header_walked_to_by_the_kernel_proves_a_connection_at_once() {
    let mut tape = Tape::new();
    tape.start = SegmentStart::FrameHeader;
    tape.pass(Sent, &masked(FIN | TEXT, b"one"));
    let said = tape.said();
    assert_eq!(said[0], "open unknown - - - [] mid-stream");
    assert_states_chain(&said);
    assert_eq!(said.last().unwrap(), "> text message of 1 frames, 3 wire, 3 bytes: one");
}

#[test]
fn the_mask_tells_the_role() {
    for (direction, mask, role) in [
        (Sent, KEY, "client"),
        (Received, None, "client"),
        (Sent, None, "server"),
        (Received, KEY, "server"),
    ] {
        let mut tape = Tape::new();
        tape.pass(direction, &frame(FIN | TEXT, mask, b"one"));
        tape.pass(direction, &frame(FIN | TEXT, mask, b"two"));
        assert_eq!(tape.said()[0], format!("open {role} - - - [] mid-stream"));
    }
}

#[test]
fn contradicting_masks_leave_the_role_unknown() {
    let mut tape = Tape::new();
    for direction in [Sent, Received] {
        tape.pass(direction, &plain(FIN | TEXT, b"one"));
        tape.pass(direction, &plain(FIN | TEXT, b"two"));
    }
    tape.close();
    let said = tape.said();
    assert_states_chain(&said);
    assert!(said.iter().any(|line| line.ends_with("-> unknown/full")), "{said:#?}");
    assert!(said.iter().all(|line| !line.contains("error")));
    assert_eq!(messages(&said).len(), 4);
}

#[test]
fn an_open_direction_is_not_unsynced_because_the_other_is_silent() {
    let mut tape = Tape::new();
    tape.pass(Received, &plain(FIN | TEXT, b"one"));
    tape.pass(Received, &plain(FIN | TEXT, b"two"));
    assert_eq!(tape.said()[1], "state - -> client/full");
    tape.pass(Sent, &masked(FIN | TEXT, b"one"));
    tape.says(&["state client/full -> client/unsynced"]);
    tape.pass(Sent, &masked(FIN | TEXT, b"two"));
    assert_eq!(tape.said()[0], "state client/unsynced -> client/full");
}

#[test]
fn a_stream_met_in_the_midst_of_a_message_is_decoded_from_a_proven_border_on() {
    let mut tape = Tape::new();
    tape.start = SegmentStart::Middle;
    let mut stream = plain(FIN | TEXT, &[b'x'; 90])[40..].to_vec();
    for n in 0..10 {
        stream.extend(plain(FIN | TEXT, format!("{{\"id\":{n}}}").as_bytes()));
    }
    tape.pass_in(Received, &stream, 7);
    let said = tape.said();
    assert_eq!(messages(&said).first(), Some(&"{\\\"id\\\":5}"));
    assert_eq!(messages(&said).len(), 5);
}

#[test]
fn the_rest_of_a_message_that_began_before_is_no_error() {
    let mut tape = Tape::new();
    tape.pass(Received, &plain(CONTINUATION, b"one"));
    tape.pass(Received, &plain(FIN | CONTINUATION, b"two"));
    tape.pass(Received, &plain(FIN | TEXT, b"three"));
    let said = tape.said();
    assert!(said.iter().all(|line| !line.contains("error")), "{said:#?}");
    assert_eq!(messages(&said), ["three"]);
    tape.pass(Received, &plain(FIN | CONTINUATION, b"four"));
    assert_eq!(tape.said()[0], "< error continuation_without_start");
}

#[test]
fn self_contained_messages_are_read_although_the_parameters_are_unknown() {
    let mut tape = Tape::new();
    let mut deflater = Deflater::new(false);
    for n in 0..4 {
        let message = deflater.message(format!("the same words, number {n}").as_bytes());
        tape.pass(Received, &plain(FIN | RSV1 | TEXT, &message));
    }
    let said = tape.said();
    assert_eq!(said[1], "state - -> client/full");
    assert_eq!(messages(&said)[3], "the same words, number 3");
}

#[test]
fn messages_that_refer_to_unseen_history_are_not_read_and_that_is_said_once() {
    let mut tape = Tape::new();
    let mut deflater = Deflater::new(true);
    deflater.message(b"the same words, number 0");
    for n in 1..5 {
        let message = deflater.message(format!("the same words, number {n}").as_bytes());
        tape.pass(Received, &plain(FIN | RSV1 | TEXT, &message));
    }
    let said = tape.said();
    assert_eq!(messages(&said), [""; 4]);
    let changes: Vec<_> = said.iter().filter(|line| line.starts_with("state")).collect();
    assert_eq!(changes, ["state - -> client/full", "state client/full -> client/no_content"]);
    assert!(said.iter().all(|line| !line.contains("error")));
}

#[test]
fn http_in_flight_beats_frames() {
    let mut tape = Tape::new();
    // The rest of a body, then the next request on the same connection.
    tape.pass(Received, b"...</html>");
    tape.pass(Sent, &get(""));
    tape.pass(Received, &switching(""));
    tape.says(&["open client example.com /feed - []", "state - -> client/full"]);
}

#[test]
fn a_search_in_vain_ends_with_a_hint_to_ignore_the_connection() {
    let limits = Limits { search_bytes: 1000, ..Limits::default() };
    let mut tape = Tape::with(limits);
    for n in 0..40_u8 {
        tape.pass(Received, &[n | 0xf0; 60]);
    }
    assert_eq!(tape.hints(), [KernelHint::Ignore { conn: CONN }]);
    tape.pass(Sent, &get(""));
    tape.pass(Received, &switching(""));
    tape.says(&["open client example.com /feed - []", "state - -> client/full"]);
}

#[test]
fn a_direction_that_is_searched_in_vain_for_long_speaks_for_a_silent_one() {
    let limits = Limits { search_bytes: 1000, ..Limits::default() };
    let mut tape = Tape::with(limits);
    tape.pass(Sent, b"subscribe");
    let mut calls = 0;
    while tape.hints().is_empty() {
        tape.pass(Received, &[0xf3; 100]);
        calls += 1;
    }
    assert_eq!(calls, 160, "sixteen times as many bytes as are searched");
}

/// The search is over before the first message is, and the second one proves both.
#[test]
fn a_connection_with_messages_that_are_longer_than_a_search_is_not_given_up() {
    let limits = Limits { search_bytes: 1000, ..Limits::default() };
    let mut tape = Tape::with(limits);
    tape.pass(Received, &[0xf3; 900]);
    for n in 0..3 {
        let message = masked(FIN | TEXT, format!("{n}{}", "x".repeat(40_000)).as_bytes());
        message.chunks(300).for_each(|call| tape.pass(Received, call));
        assert_eq!(tape.tracker.connections(), 1);
    }
    assert!(!tape.hints().contains(&KernelHint::Ignore { conn: CONN }));
    assert_eq!(tape.said().iter().filter(|line| line.contains(" message of ")).count(), 3);
}

#[test]
fn what_never_ends_is_given_up() {
    let limits = Limits { search_bytes: 1000, ..Limits::default() };
    let mut tape = Tape::with(limits);
    // A frame of 64 MiB begins again and again where the last one ends, and never a call.
    let mut calls = 0_u64;
    let call = [0x82; 1 << 20];
    while tape.hints().is_empty() {
        tape.pass(Received, &[0x82, 0x7f, 0, 0, 0, 0, 0x04, 0, 0, 0]);
        tape.pass_in(Received, &call, 1 << 20);
        calls += 1;
        assert!(calls < 200);
    }
}

#[test]
fn the_kernel_side_is_told_the_border_once_it_is_proven() {
    let mut tape = Tape::new();
    tape.pass(Received, &plain(FIN | TEXT, b"one"));
    tape.pass(Received, &plain(FIN | TEXT, b"two"));
    assert_eq!(
        tape.hints(),
        [KernelHint::FrameAt(FrameAt {
            conn: CONN,
            direction: Received,
            offset: 10,
            whole: false,
            narrow: false
        })]
    );
}

#[test]
fn frames_that_passed_in_one_call_before_they_proved_anything_are_told() {
    let four: Vec<u8> = (0..4).flat_map(|n| masked(FIN | TEXT, &[b'a' + n; 20])).collect();
    let mut tape = Tape::new();
    tape.pass(Sent, &four);
    let said = tape.said();
    assert_eq!(messages(&said).len(), 4, "{said:#?}");
    assert_eq!(tape.counts.unsynced, [0, 0]);
}

#[test]
fn long_messages_that_passed_before_they_proved_anything_are_told() {
    let mut tape = Tape::new();
    for n in 0..2 {
        tape.pass_in(Received, &plain(FIN | TEXT, &[b'a' + n; 40_000]), 16_384);
    }
    assert_eq!(messages(&tape.said()).len(), 2);
}

/// A push feed may say the same twice in each call.
#[test]
fn two_equal_frames_in_each_call_are_proof_after_a_few_calls() {
    for payload in [&b"tick"[..], b"{\"type\":\"tick\"}"] {
        let mut tape = Tape::new();
        for _ in 0..10 {
            tape.pass(Received, &plain(FIN | TEXT, payload).repeat(2));
        }
        assert_eq!(messages(&tape.said()).len(), 20);
    }
}

#[test]
fn what_passed_before_the_first_border_is_told_as_unsynced_bytes() {
    for end in [false, true] {
        let mut tape = Tape::new();
        tape.start = SegmentStart::Middle;
        tape.pass(Received, &[0xff; 10_000]);
        tape.start = SegmentStart::Call;
        for n in 0..3 {
            tape.pass(Received, &plain(FIN | TEXT, format!("message {n}").as_bytes()));
        }
        if end {
            tape.close();
        }
        let said = tape.said();
        assert_eq!(tape.counts.unsynced, [0, 10_000]);
        assert_eq!(messages(&said).len(), 3);
    }
}

#[test]
fn every_byte_of_a_search_is_decoded_or_told() {
    let mut tape = Tape::client();
    tape.lose(Received, &[0; 3]);
    tape.start = SegmentStart::Middle;
    let stream: Vec<u8> =
        (0..9_u8).flat_map(|n| plain(FIN | TEXT, &[n + b'a'; 30])).skip(11).collect();
    tape.pass_in(Received, &stream, 7);
    tape.close();
    let said = tape.said();
    let unsynced = tape.counts.unsynced[Received.index()] as usize;
    assert_eq!(unsynced + messages(&said).len() * 32, stream.len(), "{said:#?}");
}

#[test]
fn an_upgrade_request_behind_a_close_begins_a_new_connection() {
    for closed_by_both in [false, true] {
        let mut tape = Tape::client();
        tape.pass(Sent, &masked(FIN | CLOSE, b"\x03\xe8"));
        if closed_by_both {
            tape.pass(Received, &plain(FIN | CLOSE, b"\x03\xe8"));
        }
        tape.said();
        tape.pass_in(Sent, &get(""), 64);
        tape.pass(Received, &switching(""));
        tape.pass(Sent, &masked(FIN | TEXT, b"again"));
        let said = tape.said();
        assert!(!said.iter().any(|line| line.contains("error")), "{said:#?}");
        assert!(said.iter().any(|line| line == "open client example.com /feed - []"));
        assert_eq!(messages(&said).len(), 1);
        assert_states_chain(&said);
    }
}

/// A frame may begin with a zero, and so may an answer of HTTP/2. Which it is, a later byte tells.
#[test]
fn a_call_that_begins_with_a_zero_is_searched_from_its_start_however_it_is_cut() {
    let first = plain(CONTINUATION, b"the midst of a message");
    let others =
        (0..6_u8).flat_map(|n| plain(FIN | if n == 0 { 0 } else { TEXT }, &[n + b'a'; 40]));
    let call: Vec<u8> = first.into_iter().chain(others).collect();
    let transcript = |bytes: usize| {
        let mut tape = Tape::new();
        for piece in call.chunks(bytes) {
            tape.pass(Received, piece);
            tape.start = SegmentStart::Middle;
        }
        tape.said()
    };
    let whole = transcript(usize::MAX);
    assert!(messages(&whole).len() > 4, "{whole:?}");
    for bytes in 1..20 {
        assert_eq!(transcript(bytes), whole, "records of {bytes} bytes");
    }
}
