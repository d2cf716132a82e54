use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// A stretch of one direction's stream.
#[derive(Clone, Debug)]
struct Piece {
    direction: Direction,
    bytes: Vec<u8>,
}

/// What an application may do next.
#[derive(Clone, Debug)]
enum Act {
    Message { payload: Vec<u8>, text: bool, compressed: bool, cuts: Vec<Index>, ping: bool },
    Control { opcode: u8, payload: Vec<u8> },
    Garbage(Vec<u8>),
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => (0..50_u32, "[a-z]{0,6}").prop_map(|(id, word)| {
            format!("{{\"id\":{id},\"method\":\"{word}\",\"params\":[]}}").into_bytes()
        }),
        10 => proptest::collection::vec(any::<u8>(), 0..40),
        5 => proptest::collection::vec(any::<u8>(), 100..400),
        1 => (0_usize..70_000).prop_map(|len| vec![b'x'; len]),
    ]
}

fn act(garbage: u32) -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => (
            payload(),
            any::<bool>(),
            any::<bool>(),
            proptest::collection::vec(any::<Index>(), 0..3),
            any::<bool>(),
        )
            .prop_map(|(payload, text, compressed, cuts, ping)| {
                Act::Message { payload, text, compressed, cuts, ping }
            }),
        3 => (
            prop_oneof![Just(PING), Just(PONG)],
            prop_oneof![Just(Vec::new()), Just(b"beat".to_vec())],
        )
            .prop_map(|(opcode, payload)| Act::Control { opcode, payload }),
        garbage => proptest::collection::vec(any::<u8>(), 1..30).prop_map(Act::Garbage),
    ]
}

fn acts(garbage: u32) -> impl Strategy<Value = Vec<(Direction, Act)>> {
    let direction = prop_oneof![Just(Sent), Just(Received)];
    proptest::collection::vec((direction, act(garbage)), 1..25)
}

/// How a script's messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Off,
    Takeover,
    NoTakeover,
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Off), Just(Mode::Takeover), Just(Mode::NoTakeover)]
}

impl Mode {
    fn parameters(self) -> &'static str {
        match self {
            Self::NoTakeover => "; server_no_context_takeover; client_no_context_takeover",
            Self::Off | Self::Takeover => "",
        }
    }

    /// Header lines of an offer and of its answer.
    fn headers(self) -> (String, String) {
        let line =
            |parameters| format!("Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n");
        match self {
            Self::Off => Default::default(),
            _ => (line(""), line(self.parameters())),
        }
    }

    fn upgraded(self, asking: Direction) -> Tape {
        let (offer, answer) = self.headers();
        Tape::new().upgrade(asking, &offer, &answer)
    }
}

/// The streams of a script, and the payloads of its messages.
fn encode(acts: &[(Direction, Act)], mode: Mode) -> (Vec<Piece>, [Vec<Vec<u8>>; 2]) {
    let mut deflaters = [(); 2].map(|()| Deflater::new(mode == Mode::Takeover));
    let mut payloads = [Vec::new(), Vec::new()];
    let mut pieces = Vec::new();
    for (direction, act) in acts {
        let direction = *direction;
        let mut push = |first: u8, payload: &[u8]| {
            let mask = if direction == Sent { KEY } else { None };
            pieces.push(Piece { direction, bytes: frame(first, mask, payload) });
        };
        match act {
            Act::Control { opcode, payload } => push(FIN | opcode, payload),
            Act::Garbage(bytes) => pieces.push(Piece { direction, bytes: bytes.clone() }),
            Act::Message { payload, text, compressed, cuts, ping } => {
                let compressed = *compressed && mode != Mode::Off;
                let content = if compressed {
                    deflaters[direction.index()].message(payload)
                } else {
                    payload.clone()
                };
                payloads[direction.index()].push(payload.clone());
                let mut cuts: Vec<_> = cuts.iter().map(|it| it.index(content.len() + 1)).collect();
                cuts.sort_unstable();
                let mut first = if *text { TEXT } else { BINARY };
                first |= if compressed { RSV1 } else { 0 };
                let mut from = 0;
                for cut in cuts {
                    push(first, &content[from..cut]);
                    if *ping {
                        push(FIN | PING, b"beat");
                    }
                    (first, from) = (CONTINUATION, cut);
                }
                push(FIN | first, &content[from..]);
            }
        }
    }
    (pieces, payloads)
}

/// Passes every piece in calls of the lengths that `cuts` says in turn.
fn play(mut tape: Tape, pieces: &[Piece], cuts: &[usize], start: SegmentStart) -> Vec<String> {
    tape.tick_ns = 0;
    tape.start = start;
    let mut cuts = cuts.iter().copied().cycle();
    for piece in pieces {
        let mut rest = &piece.bytes[..];
        while !rest.is_empty() {
            let (call, tail) = rest.split_at(cuts.next().unwrap_or(usize::MAX).min(rest.len()));
            tape.pass(piece.direction, call);
            rest = tail;
        }
    }
    tape.close();
    assert_eq!(tape.counts.wire, tape.offsets);
    assert_states_chain(&tape.lines);
    let lines = tape.said();
    tape.retire();
    lines
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        Just(vec![1]),
        proptest::collection::vec(1_usize..20, 1..6),
        proptest::collection::vec(1_usize..3000, 1..6),
    ]
}

const WHOLE: [usize; 1] = [usize::MAX];

proptest! {
    #[test]
    fn any_cutting_of_a_valid_stream_gives_the_same_observations(
        acts in acts(0), mode in mode(), cuts in cuts(), client in any::<bool>(),
    ) {
        let (pieces, _) = encode(&acts, mode);
        let asking = if client { Sent } else { Received };
        let whole = play(mode.upgraded(asking), &pieces, &WHOLE, SegmentStart::Call);
        let cut = play(mode.upgraded(asking), &pieces, &cuts, SegmentStart::Call);
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn any_cutting_of_a_broken_stream_gives_the_same_observations(
        acts in acts(3), mode in mode(), cuts in cuts(),
    ) {
        let (pieces, _) = encode(&acts, mode);
        let whole = play(mode.upgraded(Sent), &pieces, &WHOLE, SegmentStart::Middle);
        let cut = play(mode.upgraded(Sent), &pieces, &cuts, SegmentStart::Middle);
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn any_cutting_of_a_handshake_gives_the_same_observations(
        acts in acts(1), cuts in cuts(), status in prop_oneof![Just(None), (400_u16..600).prop_map(Some)],
    ) {
        let refusal = status.map(|status| {
            format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\nabc").into_bytes()
        });
        let answer = [refusal.clone().unwrap_or_default(), switching("")].concat();
        let mut pieces = vec![
            Piece { direction: Sent, bytes: get("").repeat(1 + usize::from(refusal.is_some())) },
            Piece { direction: Received, bytes: answer },
        ];
        pieces.extend(encode(&acts, Mode::Off).0);
        let whole = play(Tape::new(), &pieces, &WHOLE, SegmentStart::Middle);
        let cut = play(Tape::new(), &pieces, &cuts, SegmentStart::Middle);
        prop_assert!(whole.iter().any(|line| line.starts_with("open")));
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn any_cutting_of_a_valid_connection_into_calls_gives_the_same_observations(
        acts in acts(0), cuts in cuts(), before in 0_usize..3, mode in mode(),
    ) {
        let ordinary = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nGET ".repeat(before);
        let answered = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\
            Content-Length: 7\r\n\r\nHTTP/1.".repeat(before);
        let (offer, answer) = mode.headers();
        let mut pieces = vec![
            Piece { direction: Sent, bytes: [ordinary, get(&offer)].concat() },
            Piece { direction: Received, bytes: [answered, switching(&answer)].concat() },
        ];
        pieces.extend(encode(&acts, mode).0);
        let whole = play(Tape::new(), &pieces, &WHOLE, SegmentStart::Call);
        let cut = play(Tape::new(), &pieces, &cuts, SegmentStart::Call);
        prop_assert!(whole.iter().any(|line| line.starts_with("open client example.com")));
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn any_cutting_in_mid_stream_gives_the_same_observations(
        acts in acts(1), mode in mode(), cuts in cuts(), skip in 0_usize..60,
    ) {
        let (mut pieces, _) = encode(&acts, mode);
        let skip = skip.min(pieces[0].bytes.len());
        pieces[0].bytes.drain(..skip);
        let whole = play(Tape::new(), &pieces, &WHOLE, SegmentStart::Middle);
        let cut = play(Tape::new(), &pieces, &cuts, SegmentStart::Middle);
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn a_valid_stream_gives_every_message_and_no_error(acts in acts(0), mode in mode()) {
        let (pieces, payloads) = encode(&acts, mode);
        let mut seen = [Vec::new(), Vec::new()];
        let mut tape = mode.upgraded(Sent);
        for piece in &pieces {
            tape.pass(piece.direction, &piece.bytes);
        }
        for (direction, content, truncated) in contents(&tape.said()) {
            seen[direction.index()].push((content, truncated));
        }
        for (seen, payloads) in seen.iter().zip(&payloads) {
            let window = |it: &Vec<u8>| (it[..it.len().min(65_536)].to_vec(), it.len() > 65_536);
            let windows: Vec<_> = payloads.iter().map(window).collect();
            prop_assert_eq!(seen, &windows);
        }
        tape.close();
        tape.retire();
    }

    #[test]
    fn a_loss_is_counted_exactly_and_never_makes_content_up(
        acts in acts(0),
        mode in mode(),
        size in 1_usize..200,
        lost in proptest::collection::vec(prop::bool::weighted(0.1), 1..60),
        midstream in any::<bool>(),
    ) {
        let (pieces, payloads) = encode(&acts, mode);
        let mut tape = if midstream { Tape::new() } else { mode.upgraded(Sent) };
        let mut lost = lost.iter().cycle();
        let mut missing = 0;
        for piece in &pieces {
            tape.start = SegmentStart::Call;
            for record in piece.bytes.chunks(size.max(piece.bytes.len() / 50)) {
                if *lost.next().unwrap_or(&false) {
                    tape.lose(piece.direction, record);
                    missing += record.len() as u64;
                } else {
                    tape.pass(piece.direction, record);
                }
                tape.start = SegmentStart::Middle;
            }
        }
        tape.close();
        let lines = tape.said();
        prop_assert_eq!(tape.counts.wire, tape.offsets);
        assert_states_chain(&lines);
        let gaps: u64 = lines.iter().filter_map(|line| gap(line)).sum();
        prop_assert_eq!(gaps, missing);
        for (direction, content, truncated) in contents(&lines) {
            let true_to = |payload: &Vec<u8>| {
                payload.starts_with(&content) && (truncated || payload.len() == content.len())
            };
            prop_assert!(payloads[direction.index()].iter().any(true_to), "{}", content.escape_ascii());
        }
        tape.retire();
    }

    #[test]
    fn what_the_kernel_side_leaves_out_changes_no_message(
        acts in acts(0), records in 1_usize..4,
    ) {
        let limits = Limits { window_bytes: 64, ..Limits::default() };
        let (pieces, _) = encode(&acts, Mode::Off);
        let mut whole = Tape::with(limits).upgrade(Sent, "", "");
        let mut walked = Tape::with(limits).upgrade(Sent, "", "");
        for Piece { direction, bytes } in &pieces {
            whole.pass(*direction, bytes);
            let copied = bytes.len().min(14 + 64);
            let (head, rest) = bytes.split_at(copied);
            walked.start = SegmentStart::FrameHeader;
            let mut lens = [head.len() as u64, 0, 0];
            for (i, _) in rest.iter().enumerate() {
                lens[i % records] += 1;
            }
            walked.segment(*direction, head, lens[0], Absent::Skipped);
            walked.start = SegmentStart::Middle;
            for &len in lens[1..].iter().filter(|&&len| len > 0) {
                walked.now_ns -= 10;
                walked.segment(*direction, &[], len, Absent::Skipped);
            }
        }
        prop_assert_eq!(walked.counts.wire, whole.counts.wire);
        let comparable = |tape: &mut Tape| -> Vec<String> {
            let beyond_the_window = |line: &String| {
                line.contains(" skipped ") || line.ends_with("error utf8_text")
            };
            tape.said().into_iter().filter(|line| !beyond_the_window(line)).collect()
        };
        prop_assert_eq!(comparable(&mut walked), comparable(&mut whole));
        for mut tape in [whole, walked] {
            tape.close();
            tape.retire();
        }
    }

    #[test]
    fn no_events_whatever_make_it_panic_or_keep_more_than_its_bounds(
        events in proptest::collection::vec(wild_event(), 1..60),
    ) {
        let limits = Limits {
            window_bytes: 50,
            unfinished_bytes: 100,
            connections: 2,
            inflaters: 2,
            inflated_bytes: 1000,
            head_bytes: 300,
            held_bytes: 200,
            search_bytes: 100,
            ..Limits::default()
        };
        let mut tape = Tape::with(limits);
        for (generation, kind, bytes) in events {
            let conn = ConnId { generation, ..CONN };
            let kind = match kind {
                EventKind::Data(segment) => EventKind::Data(Segment { bytes: &bytes, ..segment }),
                closed => closed,
            };
            let event = Event { conn, target: TargetId(0), tid: 1, at_ns: tape.now_ns, kind };
            tape.tracker.event(&event, &mut |_| {});
            tape.now_ns += 100_000_000;
            tape.tick();
            prop_assert!(tape.tracker.connections() <= 2);
            prop_assert!(tape.tracker.kept_bytes() <= 100);
        }
        tape.finish();
        tape.retire();
    }
}

/// Content of the messages in a transcript of which any was readable.
fn contents(lines: &[String]) -> Vec<(Direction, Vec<u8>, bool)> {
    let message = |line: &String| {
        let (facts, content) = line.split_once(": ")?;
        facts.contains(" message of ").then(|| {
            let direction = if line.starts_with('>') { Sent } else { Received };
            (direction, unescape(content), facts.contains("truncated"))
        })
    };
    lines.iter().filter_map(message).collect()
}

pub(super) fn gap(line: &str) -> Option<u64> {
    let mut words = line.split(' ').skip(1);
    (words.next() == Some("gap")).then(|| words.next()?.parse().ok()).flatten()
}

/// The reverse of `escape_ascii`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (_, true) => match rest.next().unwrap() {
                b'x' => {
                    let hex = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
                }
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                other => other,
            },
            (byte, false) => byte,
        });
    }
    bytes
}

fn wild_event() -> impl Strategy<Value = (u32, EventKind<'static>, Vec<u8>)> {
    let offset = prop_oneof![8 => 0_u64..600, 1 => any::<u64>()];
    let len = prop_oneof![4 => 0_u64..100, 1 => any::<u64>()];
    let bytes = prop_oneof![
        Just(get("Sec-WebSocket-Extensions: permessage-deflate\r\n")),
        Just(switching("Sec-WebSocket-Extensions: permessage-deflate\r\n")),
        proptest::collection::vec(any::<u8>(), 0..200),
        proptest::collection::vec((any::<bool>(), payload(), 0_u8..16), 1..6).prop_map(|frames| {
            let frame = |(mask, payload, opcode): &(bool, Vec<u8>, u8)| {
                frame(FIN | (opcode & 0x4f), mask.then_some([1, 2, 3, 4]), payload)
            };
            frames.iter().flat_map(frame).collect()
        }),
    ];
    let absent =
        prop_oneof![Just(Absent::Skipped), Just(Absent::CopyFailed), Just(Absent::CallTooLarge)];
    let start = prop_oneof![
        Just(SegmentStart::Middle),
        Just(SegmentStart::Call),
        Just(SegmentStart::FrameHeader),
        Just(SegmentStart::StreamFrameHeader),
        Just(SegmentStart::Http2Header)
    ];
    let direction = prop_oneof![Just(Sent), Just(Received)];
    let data = (direction, offset, len, absent, start).prop_map(
        |(direction, offset, len, absent, start)| {
            EventKind::Data(Segment { direction, offset, len, bytes: &[], absent, start })
        },
    );
    let closed = (any::<u64>(), any::<u64>())
        .prop_map(|(sent, received)| EventKind::Closed { sent, received });
    (0_u32..4, prop_oneof![12 => data, 1 => closed], bytes)
}
