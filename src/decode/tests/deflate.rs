use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The last line said is about a compressed message with this content.
#[track_caller]
fn says_content(tape: &mut Tape, content: &str) {
    let said = tape.said();
    let last = said.last().unwrap();
    assert!(last.contains(", compressed: ") && last.ends_with(&format!(": {content}")), "{said:?}");
}

#[test]
fn the_examples_of_rfc_7692_section_7_2_3_decode() {
    for size in [1, 1000] {
        let mut tape = Tape::deflate("");
        for example in [
            "c107f248cdc9c90700",
            "c105f200110000",
            "c10b000500faff48656c6c6f00",
            "c108f348cdc9c9070000",
            "c105f200110000",
            "c10df248050000 00ffffcac9c90700",
            "4103f248cd8004c9c90700",
        ] {
            tape.pass_in(Received, &hex(&example.replace(' ', "")), size);
            says_content(&mut tape, "Hello");
        }
        tape.pass_in(Received, &hex("c10100"), size);
        says_content(&mut tape, "");
    }
}

#[test]
fn a_fragmented_message_may_end_with_an_empty_block_of_its_own() {
    let mut tape = Tape::deflate("");
    let mut deflater = Deflater::new(true);
    // Python's websockets ends a fragmented message with a final frame of one byte.
    let stream = [
        plain(RSV1 | TEXT, &[&deflater.message(b"Hello, ")[..], &[0, 0, 0xff, 0xff]].concat()),
        plain(FIN | CONTINUATION, &[0]),
    ]
    .concat();
    let mut whole = stream.clone();
    let body = deflater.message(b"Hello, again");
    whole.extend(plain(FIN | RSV1 | TEXT, &body));
    tape.pass_in(Received, &whole, 3);
    let said = tape.said();
    assert!(said[2].contains("2 frames"), "{said:?}");
    assert!(said[2].ends_with(": Hello, "), "{said:?}");
    assert!(said[4].ends_with(": Hello, again"), "{said:?}");
}

#[test]
fn the_window_goes_on_in_each_direction_unless_it_was_agreed_not_to() {
    for (parameters, client_takeover, server_takeover) in [
        ("", true, true),
        ("; client_no_context_takeover", false, true),
        ("; server_no_context_takeover", true, false),
        ("; client_no_context_takeover; server_no_context_takeover", false, false),
        ("; server_max_window_bits=12; client_max_window_bits=12", true, true),
    ] {
        let mut tape = Tape::deflate(parameters);
        let mut client = Deflater::new(client_takeover);
        let mut server = Deflater::new(server_takeover);
        for n in 0..5 {
            let text = format!("the same words again and again {n}");
            tape.pass(Sent, &masked(FIN | RSV1 | TEXT, &client.message(text.as_bytes())));
            says_content(&mut tape, &text);
            let text = format!("the same answer again and again {n}");
            tape.pass(Received, &plain(FIN | RSV1 | TEXT, &server.message(text.as_bytes())));
            says_content(&mut tape, &text);
        }
    }
}

#[test]
fn messages_that_are_not_compressed_do_not_enter_the_window() {
    let mut tape = Tape::deflate("");
    let mut deflater = Deflater::new(true);
    for n in 0..3 {
        let text = format!("compressed message {n}");
        tape.pass(Received, &plain(FIN | RSV1 | TEXT, &deflater.message(text.as_bytes())));
        says_content(&mut tape, &text);
        tape.pass(Received, &plain(FIN | TEXT, b"compressed message, but for real"));
        assert!(tape.said()[1].ends_with(": compressed message, but for real"));
    }
}

#[test]
fn only_the_first_frame_of_a_message_may_say_that_it_is_compressed() {
    let mut tape = Tape::deflate("");
    tape.pass(Received, &hex("4103f248cd"));
    tape.pass(Received, &hex("c004c9c90700"));
    tape.pass(Received, &plain(FIN | RSV1 | PING, b""));
    let said = tape.said();
    assert_eq!(said.iter().filter(|line| *line == "< error rsv_unexpected").count(), 2);
    assert!(said.iter().any(|line| line.ends_with(", compressed: Hello")), "{said:?}");
}

#[test]
fn corrupt_data_with_takeover_makes_the_direction_unreadable_once() {
    let mut tape = Tape::deflate("");
    let mut deflater = Deflater::new(true);
    tape.pass(Received, &plain(FIN | RSV1 | TEXT, &[0x06, 0xff]));
    tape.pass(Received, &plain(FIN | RSV1 | TEXT, &deflater.message(b"fine")));
    tape.pass(Received, &plain(FIN | TEXT, b"not compressed"));
    tape.says(&[
        "< text* plain 2",
        "< error inflate_error",
        "< error poisoned_context",
        "state client/full -> client/no_content",
        "< text message of 1 frames, 2 wire, ? bytes, compressed, truncated: ",
        "WindowMiss { direction: Received, reason: Opaque }",
        "< text* plain 6",
        "< text message of 1 frames, 6 wire, ? bytes, compressed, truncated: ",
        "WindowMiss { direction: Received, reason: Opaque }",
        "< text plain 14",
        "< text message of 1 frames, 14 wire, 14 bytes: not compressed",
    ]);
    let mut other = Deflater::new(true);
    tape.pass(Sent, &masked(FIN | RSV1 | TEXT, &other.message(b"other way")));
    says_content(&mut tape, "other way");
}

#[test]
fn corrupt_data_without_takeover_costs_one_message() {
    let mut tape = Tape::deflate("; server_no_context_takeover");
    tape.pass(Received, &plain(FIN | RSV1 | TEXT, &[0x06, 0xff]));
    tape.says(&[
        "< text* plain 2",
        "< error inflate_error",
        "< text message of 1 frames, 2 wire, ? bytes, compressed, truncated: ",
        "WindowMiss { direction: Received, reason: Opaque }",
    ]);
    tape.pass(Received, &plain(FIN | RSV1 | TEXT, &Deflater::new(false).message(b"fine")));
    says_content(&mut tape, "fine");
}

#[test]
fn a_long_message_is_inflated_to_its_end_but_kept_to_the_window() {
    let limits = Limits { window_bytes: 10, ..Limits::default() };
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let text = "0123456789abcdef".repeat(20_000);
    for size in [100, 1 << 20] {
        let mut tape = Tape::with(limits).upgrade(Sent, offer, offer);
        let mut deflater = Deflater::new(true);
        tape.pass_in(Received, &plain(FIN | RSV1 | TEXT, &deflater.message(text.as_bytes())), size);
        let said = tape.said();
        assert!(said[1].contains(&format!(", {} bytes, ", text.len())), "{said:?}");
        assert!(said[1].ends_with("truncated: 0123456789"), "{said:?}");
        tape.pass(Received, &plain(FIN | RSV1 | TEXT, &deflater.message(b"89abcdef")));
        says_content(&mut tape, "89abcdef");
    }
}

#[test]
fn a_bomb_is_given_up_at_the_limit_and_frames_go_on() {
    let limits = Limits { inflated_bytes: 1 << 20, ..Limits::default() };
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut tape = Tape::with(limits).upgrade(Sent, offer, offer);
    let bomb = Deflater::new(true).message(&vec![0; 4 << 20]);
    assert!(bomb.len() < 10_000);
    tape.pass(Received, &plain(FIN | RSV1 | BINARY, &bomb));
    tape.pass(Received, &plain(FIN | TEXT, b"next"));
    let said = tape.said();
    assert_eq!(
        said[1..4],
        [
            "< error inflate_limit",
            "< error poisoned_context",
            "state client/full -> client/no_content",
        ]
    );
    assert!(said[4].contains(", ? bytes, compressed, truncated: "), "{}", said[4]);
    assert_eq!(said[6], "< text message of 1 frames, 4 wire, 4 bytes: next");
}

#[test]
fn compressed_text_is_checked_after_inflation() {
    let mut tape = Tape::deflate("");
    let mut deflater = Deflater::new(true);
    tape.pass(Received, &plain(FIN | RSV1 | TEXT, &deflater.message("é€".as_bytes())));
    assert!(tape.said().iter().all(|line| !line.contains("error")));
    tape.pass(Received, &plain(FIN | RSV1 | TEXT, &deflater.message(b"\xff")));
    assert_eq!(tape.said()[1], "< error utf8_text");
}

#[test]
fn identical_means_after_inflation() {
    let mut tape = Tape::deflate("");
    tape.pass(Sent, &masked(FIN | RSV1 | TEXT, &Deflater::new(true).message(b"echo")));
    tape.pass(Received, &plain(FIN | TEXT, b"echo"));
    assert!(tape.said().last().unwrap().contains("identical"));
}
