use super::*;

#[test]
fn the_examples_of_rfc_6455_section_5_7_decode() {
    let mut tape = Tape::client();
    tape.pass(Received, &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    tape.pass(Sent, &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    tape.says(&[
        "< text plain 5",
        "< text message of 1 frames, 5 wire, 5 bytes: Hello",
        "> text 5",
        "> text message of 1 frames, 5 wire, 5 bytes, identical: Hello",
    ]);
    tape.pass(Received, &[0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f]);
    tape.says(&[
        "< text+ plain 3",
        "< continuation plain 2",
        "< text message of 2 frames, 5 wire, 5 bytes, identical: Hello",
    ]);
    tape.pass(Received, &[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    tape.pass(Sent, &[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    tape.says(&["< ping plain 5", "> pong 5", "ping remote 10"]);
    for (header, length) in
        [(&[0x82, 0x7e, 0x01, 0x00][..], 256), (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0][..], 65_536)]
    {
        tape.pass(Received, &[header, &vec![0; length]].concat());
        let said = tape.said();
        assert_eq!(said[0], format!("< binary plain {length}"));
        assert!(said[1].contains(&format!("{length} wire, {length} bytes: ")), "{}", said[1]);
    }
}

#[test]
fn a_ping_between_fragments_does_not_disturb_the_message() {
    let stream = [
        masked(TEXT, b"one, "),
        masked(FIN | PING, b"p"),
        masked(CONTINUATION, b"two, "),
        masked(FIN | CONTINUATION, b""),
    ]
    .concat();
    for size in 1..stream.len() {
        let mut tape = Tape::client();
        tape.pass_in(Sent, &stream, size);
        tape.says(&[
            "> text+ 5",
            "> ping 1",
            "> continuation+ 5",
            "> continuation 0",
            "> text message of 3 frames, 10 wire, 10 bytes: one, two, ",
        ]);
    }
}

#[test]
fn a_message_longer_than_the_window_is_counted_exactly() {
    let limits = Limits { window_bytes: 8, ..Limits::default() };
    for size in [3, 50, 1 << 20] {
        let mut tape = Tape::with(limits).upgrade(Sent, "", "");
        tape.pass_in(Sent, &masked(FIN | TEXT, &[b'a'; 200_000]), size);
        tape.says(&[
            "> text 200000",
            "> text message of 1 frames, 200000 wire, 200000 bytes, truncated: aaaaaaaa",
        ]);
    }
}

/// Some libraries write the id last.
#[test]
fn the_end_of_a_message_beyond_the_window_is_told_in_any_cutting() {
    let payload: Vec<u8> = (0..3_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
    let limits = Limits { window_bytes: 2_600, ..Limits::default() };
    let (one, two) = payload.split_at(1_000);
    for (first, stream) in [
        (TEXT, masked(FIN | TEXT, &payload)),
        (BINARY, [masked(BINARY, one), masked(FIN | CONTINUATION, two)].concat()),
        (TEXT, [masked(TEXT, two), masked(FIN | CONTINUATION, one)].concat()),
    ] {
        let whole = if first == TEXT && stream[0] != FIN | TEXT {
            [two, one].concat()
        } else {
            payload.clone()
        };
        for size in [1, 7, 100, 511, 513, 1 << 20] {
            let mut tape = Tape::with(limits).upgrade(Sent, "", "");
            tape.pass_in(Sent, &stream, size);
            assert_eq!(tape.counts.tails, [&whole[2_600..]], "{size}");
        }
        let mut short = Tape::with(Limits { window_bytes: 10, ..limits }).upgrade(Sent, "", "");
        short.pass_in(Sent, &stream, 333);
        assert_eq!(short.counts.tails, [&whole[3_000 - TAIL_BYTES..]]);
    }
}

#[test]
fn text_is_checked_beyond_the_window_and_across_fragments() {
    let limits = Limits { window_bytes: 2, ..Limits::default() };
    let mut tape = Tape::with(limits).upgrade(Sent, "", "");
    let text = "aé€😀".as_bytes();
    for cut in 0..=text.len() {
        tape.pass(Received, &plain(TEXT, &text[..cut]));
        tape.pass(Received, &plain(FIN | CONTINUATION, &text[cut..]));
    }
    assert!(tape.said().iter().all(|line| !line.contains("error")));
    tape.pass(Received, &plain(FIN | TEXT, b"abcd\xff"));
    tape.pass(Received, &plain(FIN | TEXT, &text[..text.len() - 1]));
    let errors = tape.said().iter().filter(|line| *line == "< error utf8_text").count();
    assert_eq!(errors, 2);
}

/// A peer that sends, seen from where its frames are received and where they are sent.
#[derive(Clone, Copy)]
struct Side {
    direction: Direction,
    /// Of the frames that it should send.
    mask: Option<[u8; 4]>,
}

impl Side {
    /// Servers and clients, received from and sent as.
    const ALL: [Self; 4] = [
        Self { direction: Received, mask: None },
        Self { direction: Sent, mask: None },
        Self { direction: Received, mask: KEY },
        Self { direction: Sent, mask: KEY },
    ];

    fn tape(self) -> Tape {
        if self.role() == "client" { Tape::client() } else { Tape::server() }
    }

    /// Of the tapped process: what it receives without masks, or sends with them, it has as client.
    fn role(self) -> &'static str {
        let unmasked = self.mask.is_none();
        if unmasked == (self.direction == Received) { "client" } else { "server" }
    }

    fn frame(self, first: u8, payload: &[u8]) -> Vec<u8> {
        frame(first, self.mask, payload)
    }

    /// A header that ends before the mask, with this length in its second byte and behind.
    fn header(self, first: u8, length: &[u8]) -> Vec<u8> {
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        [&[first, masked | length[0]], &length[1..]].concat()
    }

    fn way(self) -> char {
        if self.direction == Sent { '>' } else { '<' }
    }
}

#[test]
fn each_broken_rule_is_counted_in_both_directions_and_decoding_goes_on() {
    for side in Side::ALL {
        let of = |first, payload: &[u8]| side.frame(first, payload);
        let other_mask = if side.mask.is_some() { None } else { KEY };
        let mask_error = if side.mask.is_some() { "mask_missing" } else { "mask_unexpected" };
        let key = side.mask.unwrap_or_default();
        let long = [
            &side.header(FIN | TEXT, &[126, 0, 1])[..],
            side.mask.as_ref().map_or(&[], |key| &key[..]),
            &[b'x' ^ key[0]],
        ];
        for (broken, error) in [
            (frame(FIN | TEXT, other_mask, b"x"), mask_error),
            (long.concat(), "length_not_minimal"),
            (of(PING, b""), "control_fragmented"),
            (of(FIN | CONTINUATION, b"x"), "continuation_without_start"),
            ([of(TEXT, b"x"), of(FIN | TEXT, b"y")].concat(), "start_inside_fragment"),
            (of(FIN | RSV1 | TEXT, b"x"), "rsv_unexpected"),
            (of(FIN | CLOSE, b"x"), "close_len_1"),
            (of(FIN | CLOSE, &1005_u16.to_be_bytes()), "close_code_invalid"),
            (of(FIN | CLOSE, b"\x03\xe8\xff"), "utf8_close"),
            ([of(FIN | CLOSE, b""), of(FIN | TEXT, b"z")].concat(), "data_after_close"),
            (of(FIN | TEXT, b"\xff"), "utf8_text"),
            (of(FIN | 0x20 | TEXT, b"RSV2"), "rsv_unexpected"),
            (of(FIN | 0x10 | BINARY, b"RSV3"), "rsv_unexpected"),
            (of(FIN | 0x70 | PING, b"all of them"), "rsv_unexpected"),
            (of(FIN | 3, b"data, reserved"), "opcode_reserved"),
            (of(7, b"in two"), "opcode_reserved"),
            (of(FIN | 11, b""), "opcode_reserved"),
            (of(FIN | 15, b"control, reserved"), "opcode_reserved"),
            (of(FIN | PING, &[b'p'; 126]), "control_too_long"),
            (of(FIN | PONG, &[b'p'; 70_000]), "control_too_long"),
            (of(FIN | CLOSE, &[&b"\x03\xe8"[..], &[b'r'; 200]].concat()), "control_too_long"),
        ] {
            for size in [1, 1000] {
                let mut tape = side.tape();
                tape.pass_in(side.direction, &broken, size);
                tape.pass(side.direction, &of(FIN | TEXT, b"good"));
                let said = tape.said();
                let errors: Vec<_> = said.iter().filter(|line| line.contains("error")).collect();
                assert!(!said.iter().any(|line| line.contains("resync")), "{error}");
                assert_eq!(errors[0], &format!("{} error {error}", side.way()));
                let good =
                    format!("{} text message of 1 frames, 4 wire, 4 bytes: good", side.way());
                assert_eq!(said.last().unwrap(), &good, "{error}");
            }
        }
    }
}

#[test]
fn a_header_without_a_border_costs_the_sync_until_frames_are_found_again() {
    for side in Side::ALL {
        for (broken, error) in [
            (side.header(0x82, &[127, 0xff, 0, 0, 0, 0, 0, 0, 0]), "length_msb"),
            (side.header(0x82, &[127, 0x7f, 0, 0, 0, 0, 0, 0, 0]), "message_too_big"),
        ] {
            for size in [1, 1000] {
                let mut tape = side.tape();
                let mask = side.mask.as_ref().map_or(&[][..], |key| &key[..]);
                let broken = [&broken[..], mask].concat();
                tape.pass_in(side.direction, &broken, size);
                for n in 0..8 {
                    let text = format!("message {n}");
                    let frame = side.frame(FIN | TEXT, text.as_bytes());
                    tape.pass_in(side.direction, &frame, size);
                }
                let said = tape.said();
                let (way, role) = (side.way(), side.role());
                let expected = [
                    format!("{way} error {error}"),
                    format!("{way} error resync"),
                    format!("state {role}/full -> {role}/unsynced"),
                    format!("state {role}/unsynced -> {role}/full"),
                ];
                assert_eq!(said[..4], expected);
                let last = format!("{way} text message of 1 frames, 9 wire, 9 bytes: message 7");
                assert_eq!(said.last().unwrap(), &last, "{error}");
            }
        }
    }
}

/// Text of a client that breaks off is no stream of frames, and the border is given up at last.
#[test]
fn bytes_that_are_no_frames_are_not_counted_as_frames_for_ever() {
    let text = b"The quick brown fox jumps over the lazy dog, and then again. ".repeat(100);
    let mut tape = Tape::client();
    tape.pass(Received, &text);
    let said = tape.said();
    assert!(said.iter().any(|line| line == "< error resync"));
    let frames = said.iter().filter(|line| line.contains(" plain ")).count();
    assert!(frames <= 8, "{frames}");
}

#[test]
fn every_opcode_with_every_reserved_bit_is_counted_once() {
    for fin in [FIN, 0] {
        let mut tape = Tape::client();
        for opcode in 0..16 {
            for rsv in 0..8 {
                tape.pass(Received, &plain(fin | rsv << 4 | opcode, b"x"));
                tape.pass(Received, &plain(FIN | PING, b""));
            }
        }
        let said = tape.said();
        let of = |name: &str| said.iter().filter(|line| line.starts_with(name)).count();
        assert_eq!(of("< reserved"), 80);
        assert_eq!(of("< ping"), 8 + 128);
        assert_eq!(of("< close") + of("< pong"), 16);
        assert_eq!(of("< text") + of("< binary") + of("< continuation"), {
            24 + said.iter().filter(|line| line.contains(" message of ")).count()
        });
        assert!(!said.iter().any(|line| line.contains("resync")));
    }
}

#[test]
fn the_close_handshake_ends_the_connection_once_with_its_first_code() {
    let mut tape = Tape::client();
    tape.pass(Sent, &masked(FIN | CLOSE, b"\x03\xe8bye"));
    tape.says(&["> close 5"]);
    tape.pass(Received, &plain(FIN | CLOSE, b"\x03\xe9"));
    tape.says(&["< close plain 2", "close 1000", "state client/full -> -"]);
    tape.pass(Sent, &masked(FIN | TEXT, b"late"));
    assert_eq!(tape.said()[0], "> error data_after_close");
    tape.close();
    tape.says(&[]);
}

#[test]
fn an_end_without_a_code_is_1005_and_without_a_close_frame_1006() {
    let mut tape = Tape::client();
    tape.pass(Received, &plain(FIN | CLOSE, b""));
    tape.close();
    tape.says(&["< close plain 0", "close 1005", "state client/full -> -"]);

    let mut tape = Tape::client();
    tape.close();
    tape.says(&["close 1006", "state client/full -> -"]);
}

#[test]
fn an_end_inside_a_frame_is_counted() {
    for cut in [1, 3] {
        let mut tape = Tape::client();
        tape.pass(Received, &plain(FIN | TEXT, b"hello")[..cut]);
        tape.close();
        tape.says(&["< error eof_mid_frame", "close 1006", "state client/full -> -"]);
    }
}

#[test]
fn a_detached_connection_leaves_the_gauge_without_a_close() {
    let mut tape = Tape::server();
    tape.finish();
    tape.says(&["state server/full -> -"]);
    assert_eq!(tape.tracker.connections(), 0);
}

#[test]
fn ping_round_trips_are_told_apart_by_who_asked() {
    let mut tape = Tape::server();
    tape.pass(Sent, &plain(FIN | PING, b"a"));
    tape.pass(Received, &masked(FIN | PONG, b"a"));
    tape.pass(Received, &masked(FIN | PONG, b"a"));
    tape.says(&["> ping plain 1", "< pong 1", "ping local 10", "< pong 1"]);
}

#[test]
fn what_control_frames_say_is_told_unmasked_and_only_if_it_is_whole() {
    let mut tape = Tape::server();
    tape.pass(Sent, &plain(FIN | PING, b"a"));
    tape.pass(Received, &masked(FIN | PONG, b"a"));
    tape.pass(Sent, &plain(FIN | PING, &[b'x'; 2000]));
    tape.pass(Received, &masked(FIN | CLOSE, &[3, 232, b'o', b'k']));
    assert_eq!(
        tape.counts.controls,
        [
            (Sent, Opcode::Ping, Some(b"a".to_vec())),
            (Received, Opcode::Pong, Some(b"a".to_vec())),
            (Sent, Opcode::Ping, None),
            (Received, Opcode::Close, Some(b"\x03\xe8ok".to_vec())),
        ]
    );
}

#[test]
fn an_empty_payload_is_never_identical() {
    let mut tape = Tape::client();
    tape.pass(Sent, &masked(FIN | TEXT, b""));
    tape.pass(Received, &plain(FIN | TEXT, b""));
    assert!(tape.said().iter().all(|line| !line.contains("identical")));
}
