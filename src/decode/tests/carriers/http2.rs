//! WebSockets on streams of HTTP/2 (RFC 8441).

mod walked;

use loona_hpack::Encoder;
use proptest::prelude::*;

use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING_FRAME: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION_FRAME: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CONNECT: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":path", "/feed?token=secret"),
    (":authority", "example.com"),
    ("sec-websocket-version", "13"),
];
const OK: [(&str, &str); 1] = [(":status", "200")];

fn h2(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn settings(allows_connect: bool) -> Vec<u8> {
    h2(SETTINGS, 0, 0, &[0, 8, 0, 0, 0, u8::from(allows_connect), 0, 3, 0, 0, 0, 100])
}

fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    h2(DATA, 0, stream, bytes)
}

/// What one end says: its fields are compressed with a table of their own.
#[derive(Default)]
struct End(Encoder<'static>);

impl End {
    fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        self.0.encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    fn head(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
        let block = self.block(fields);
        h2(HEADERS, END_HEADERS | flags, stream, &block)
    }
}

/// A connection with both of its ends; the tapped process is the client.
struct Http2 {
    tape: Tape,
    client: End,
    server: End,
}

impl Http2 {
    /// Behind the prefaces, with or without extended CONNECT.
    fn begun(allows_connect: bool) -> Self {
        let mut tape = Tape::new();
        tape.pass(Sent, &[PREFACE, &settings(false)].concat());
        tape.pass(Received, &settings(allows_connect));
        tape.pass(Received, &h2(SETTINGS, 1, 0, &[]));
        tape.says(&[]);
        Self { tape, client: End::default(), server: End::default() }
    }

    /// With WebSockets on these streams; the transcript begins behind them.
    fn open(streams: &[u32]) -> Self {
        let mut this = Self::begun(true);
        for &stream in streams {
            let request = this.client.head(stream, 0, &CONNECT);
            this.tape.pass(Sent, &request);
            let answer = this.server.head(stream, 0, &OK);
            this.tape.pass(Received, &answer);
        }
        let opened = this.tape.said().iter().filter(|it| it.contains(" open ")).count();
        assert_eq!(opened, streams.len());
        this
    }

    #[track_caller]
    fn end(mut self) -> Vec<String> {
        self.tape.close();
        let lines = self.tape.said();
        assert_eq!(self.tape.counts.wire, self.tape.offsets);
        self.tape.retire();
        lines
    }
}

const OPEN: &str = "#1 open client example.com /feed - []";
const ENTER: &str = "#1 state - -> client/full";
const LEAVE: &str = "#1 state client/full -> -";

#[test]
fn a_stream_of_an_extended_connect_is_a_websocket() {
    let mut it = Http2::begun(true);
    let request = it.client.head(1, 0, &CONNECT);
    it.tape.pass(Sent, &request);
    it.tape.says(&[]);
    let answer = it.server.head(1, 0, &OK);
    it.tape.pass(Received, &answer);
    it.tape.says(&[OPEN, ENTER]);
    it.tape.pass(Sent, &data(1, &masked(FIN | TEXT, b"hi")));
    it.tape.pass(Received, &data(1, &plain(FIN | TEXT, b"ho")));
    it.tape.says(&[
        "#1 > text 2",
        "#1 > text message of 1 frames, 2 wire, 2 bytes: hi",
        "#1 < text plain 2",
        "#1 < text message of 1 frames, 2 wire, 2 bytes: ho",
    ]);
    it.tape.pass(Sent, &h2(DATA, END_STREAM, 1, &masked(FIN | CLOSE, &[3, 232])));
    it.tape.pass(Received, &h2(DATA, END_STREAM, 1, &plain(FIN | CLOSE, &[3, 232])));
    it.tape.says(&["#1 > close 2", "#1 < close plain 2", "#1 close 1000", LEAVE]);
    assert_eq!(it.end(), Vec::<String>::new());
}

#[test]
fn a_connection_without_extended_connect_is_ignored_at_once() {
    for first in [Sent, Received] {
        let mut tape = Tape::new();
        let calls = [(Sent, [PREFACE, &settings(true)].concat()), (Received, settings(false))];
        let turn = usize::from(first == Received);
        for (direction, bytes) in [&calls[turn..], &calls[..turn]].concat() {
            tape.pass(direction, &bytes);
        }
        assert_eq!(tape.hints(), [KernelHint::Ignore { conn: CONN }]);
        tape.pass(Sent, &End::default().head(1, 0, &CONNECT));
        tape.close();
        tape.says(&[]);
        tape.retire();
    }
}

#[test]
fn other_frames_and_requests_between_are_passed_over() {
    let mut it = Http2::open(&[1]);
    let block = it.client.block(&[(":method", "POST"), (":path", "/api"), ("x-a", "b")]);
    let (start, rest) = block.split_at(3);
    let requests = [
        h2(WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0]),
        h2(HEADERS, 0x20, 3, &[&[0, 0, 0, 0, 16], start].concat()),
        h2(CONTINUATION_FRAME, END_HEADERS, 3, rest),
        h2(PING_FRAME, 0, 0, b"12345678"),
        data(3, &masked(FIN | TEXT, b"no WebSocket")),
        h2(0xfa, 0xff, 0, b"unknown"),
    ];
    it.tape.pass(Sent, &requests.concat());
    let promise = it.server.block(&[(":method", "GET"), (":path", "/style.css")]);
    let mut answers =
        vec![h2(PUSH_PROMISE, END_HEADERS, 3, &[&[0, 0, 0, 2], &promise[..]].concat())];
    answers.push(it.server.head(2, 0, &[(":status", "200")]));
    answers.push(h2(DATA, END_STREAM, 2, b"body"));
    answers.push(it.server.head(3, END_STREAM, &[(":status", "404")]));
    it.tape.pass(Received, &answers.concat());
    it.tape.says(&[]);
    let framed = masked(FIN | TEXT, b"hi");
    let padded = [&[5][..], &framed[..4], &[0; 5]].concat();
    it.tape.pass(Sent, &[h2(DATA, PADDED, 1, &padded), data(1, &framed[4..])].concat());
    it.tape.says(&["#1 > text 2", "#1 > text message of 1 frames, 2 wire, 2 bytes: hi"]);
    it.end();
}

#[test]
fn compression_and_subprotocol_are_agreed_as_over_http_1() {
    let mut it = Http2::begun(true);
    let mut request = CONNECT.to_vec();
    request.push(("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"));
    request.push(("sec-websocket-protocol", "graphql-ws, secret"));
    let request = it.client.head(1, 0, &request);
    it.tape.pass(Sent, &request);
    let answer = [
        (":status", "200"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("sec-websocket-protocol", "graphql-ws"),
    ];
    let answer = it.server.head(1, 0, &answer);
    it.tape.pass(Received, &answer);
    it.tape.says(&["#1 open client example.com /feed graphql-ws [permessage-deflate]", ENTER]);
    let message = Deflater::new(true).message(b"hello");
    it.tape.pass(Received, &data(1, &plain(FIN | RSV1 | TEXT, &message)));
    assert!(it.tape.said()[1].ends_with("compressed: hello"));
    it.end();
}

#[test]
fn an_answer_that_comes_before_its_request_waits_for_it() {
    let mut it = Http2::begun(true);
    let answer = it.server.head(1, 0, &OK);
    it.tape.pass(Received, &[answer, data(1, &plain(FIN | TEXT, b"ho"))].concat());
    it.tape.says(&[]);
    let request = it.client.head(1, 0, &CONNECT);
    it.tape.pass(Sent, &request);
    let lines = it.tape.said();
    assert_eq!(lines[..2], [OPEN, ENTER]);
    assert!(lines[3].ends_with(": ho"));
    let other = it.server.head(3, 0, &OK);
    it.tape.pass(Received, &[other, data(3, b"body")].concat());
    let request = it.client.head(3, END_STREAM, &[(":method", "GET"), (":path", "/")]);
    it.tape.pass(Sent, &request);
    it.tape.says(&[]);
    assert_eq!(it.end(), ["#1 close 1006", LEAVE]);
}

#[test]
fn a_refused_stream_and_one_that_is_reset_are_told() {
    let mut it = Http2::open(&[1]);
    let request = it.client.head(3, 0, &CONNECT);
    it.tape.pass(Sent, &request);
    let answer = it.server.head(3, END_STREAM, &[(":status", "403")]);
    it.tape.pass(Received, &answer);
    it.tape.says(&["#3 refused 403"]);
    it.tape.pass(Sent, &h2(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
    it.tape.says(&["#1 close 1006", LEAVE]);
    it.end();
}

#[test]
fn a_hole_in_a_head_makes_later_heads_unreadable_and_nothing_else() {
    let mut it = Http2::open(&[1]);
    let lost = it.client.head(3, 0, &CONNECT);
    it.tape.pass(Sent, &lost[..12]);
    it.tape.lose(Sent, &lost[12..]);
    it.tape.pass(Sent, &data(1, &masked(FIN | TEXT, b"hi")));
    it.tape.says(&[
        &format!("> gap {} ring_full", lost.len() - 12),
        "> error heads_unreadable",
        "#1 > text 2",
        "#1 > text message of 1 frames, 2 wire, 2 bytes: hi",
    ]);
    // Whether a stream is a WebSocket, its frames tell from now on.
    let request = it.client.head(5, 0, &CONNECT);
    it.tape.pass(Sent, &request);
    for text in [&b"one"[..], b"two"] {
        it.tape.pass(Sent, &data(5, &masked(FIN | TEXT, text)));
    }
    let lines = it.tape.said();
    assert!(lines.contains(&"#5 open client - - - [] mid-stream".to_owned()), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("#5") && line.ends_with(": one")));
    it.end();
}

#[test]
fn a_hole_in_data_is_a_hole_of_its_stream() {
    let mut it = Http2::open(&[1, 3]);
    let message = masked(FIN | TEXT, &[b'x'; 500]);
    let frame = data(1, &message);
    it.tape.pass(Received, &data(1, &plain(FIN | PING, b"")));
    it.tape.pass(Sent, &frame[..100]);
    it.tape.lose(Sent, &frame[100..200]);
    it.tape.pass(Sent, &frame[200..]);
    it.tape.pass(Sent, &data(3, &masked(FIN | TEXT, b"hi")));
    let lines = it.tape.said();
    assert!(lines.iter().any(|it| it.contains("500 bytes, truncated")), "{lines:#?}");
    assert_eq!(lines.last().unwrap(), "#3 > text message of 1 frames, 2 wire, 2 bytes: hi");
    it.end();
}

#[test]
fn behind_a_hole_of_unknown_frames_a_call_with_a_known_stream_goes_on() {
    let mut it = Http2::open(&[1, 3]);
    it.tape.lose(Sent, &[0; 1000]);
    for text in [&b"one"[..], b"two", b"three"] {
        it.tape.pass(Sent, &data(1, &masked(FIN | TEXT, text)));
    }
    let lines = it.tape.said();
    let errors = lines.iter().filter(|line| line.contains("error")).collect::<Vec<_>>();
    assert_eq!(errors, ["> error heads_unreadable"]);
    assert!(lines.iter().any(|line| line.ends_with(": one")), "{lines:#?}");
    assert!(lines.last().unwrap().ends_with(": three"), "{lines:#?}");
    it.end();
}

#[test]
fn in_mid_stream_frames_of_http2_and_of_websockets_are_found_again() {
    let mut tape = Tape::new();
    let (mut client, mut server) = (End::default(), End::default());
    let ordinary = client.head(7, 0, &[(":method", "POST"), (":path", "/")]);
    tape.pass(Sent, &[ordinary, data(7, b"body"), h2(WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0])].concat());
    let answer = server.head(7, 0, &OK);
    tape.pass(Received, &[answer, data(7, b"body"), data(7, b"more")].concat());
    tape.says(&[]);
    for n in 0..4 {
        tape.pass(Sent, &data(5, &masked(FIN | TEXT, format!("ask {n}").as_bytes())));
        tape.pass(Received, &data(5, &plain(FIN | TEXT, format!("answer {n}").as_bytes())));
    }
    let lines = tape.said();
    assert_eq!(lines[0], "#5 open client - - - [] mid-stream", "{lines:#?}");
    for n in 0..4 {
        for text in [format!(": ask {n}"), format!(": answer {n}")] {
            assert!(lines.iter().any(|line| line.ends_with(&text)), "{text} in {lines:#?}");
        }
    }
    tape.close();
    tape.says(&["#5 close 1006", "#5 state client/full -> -"]);
    tape.retire();
}

#[test]
fn an_ordinary_connection_that_was_met_in_mid_stream_is_given_up() {
    let mut tape = Tape::new();
    let mut sent = 0;
    while tape.hints().is_empty() {
        let body = vec![b'{'; 16_000];
        let calls = [h2(WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0]), data(9, &body), data(9, &body)];
        tape.pass(Received, &calls.concat());
        sent += 32_000;
        assert!(sent < 1 << 20);
    }
    tape.close();
    tape.says(&[]);
    tape.retire();
}

#[test]
fn streams_are_bounded_and_the_one_that_was_silent_for_longest_is_let_go() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let mut it = Http2 { tape: Tape::with(limits), client: End::default(), server: End::default() };
    it.tape.pass(Sent, &[PREFACE, &settings(false)].concat());
    it.tape.pass(Received, &settings(true));
    for stream in [1, 3, 5] {
        let request = it.client.head(stream, 0, &CONNECT);
        it.tape.pass(Sent, &request);
        let answer = it.server.head(stream, 0, &OK);
        it.tape.pass(Received, &answer);
    }
    let lines = it.tape.said();
    assert!(lines.contains(&"evicted connections".to_owned()), "{lines:#?}");
    assert!(lines.contains(&LEAVE.to_owned()), "{lines:#?}");
    it.end();
}

/// What the ends of a connection say, in which order.
#[derive(Clone, Debug)]
enum Say {
    Ask { stream: u32, websocket: bool },
    Answer { stream: u32, status: &'static str },
    Message { direction: Direction, stream: u32, text: String, cut: usize, pad: u8 },
    Other { direction: Direction, kind: u8 },
    End { direction: Direction, stream: u32 },
    Reset { direction: Direction, stream: u32 },
}

fn say() -> impl Strategy<Value = Say> {
    let stream = || (0_u32..5).prop_map(|n| 2 * n + 1);
    let direction = || prop_oneof![Just(Sent), Just(Received)];
    prop_oneof![
        3 => (stream(), prop::bool::weighted(0.8))
            .prop_map(|(stream, websocket)| Say::Ask { stream, websocket }),
        3 => (stream(), prop::sample::select(vec!["200", "200", "200", "404", "103"]))
            .prop_map(|(stream, status)| Say::Answer { stream, status }),
        12 => (direction(), stream(), "[a-z]{0,40}", 0_usize..50, 0_u8..4).prop_map(
            |(direction, stream, text, cut, pad)| Say::Message { direction, stream, text, cut, pad }
        ),
        2 => (direction(), prop::sample::select(vec![WINDOW_UPDATE, PING_FRAME, 0xfa]))
            .prop_map(|(direction, kind)| Say::Other { direction, kind }),
        1 => (direction(), stream()).prop_map(|(direction, stream)| Say::End { direction, stream }),
        1 => (direction(), stream())
            .prop_map(|(direction, stream)| Say::Reset { direction, stream }),
    ]
}

/// The bytes of what is said, in calls.
fn spoken(script: &[Say]) -> Vec<(Direction, Vec<u8>)> {
    let (mut client, mut server) = (End::default(), End::default());
    let mut calls = vec![(Sent, [PREFACE, &settings(false)].concat()), (Received, settings(true))];
    for said in script {
        calls.push(match said {
            Say::Ask { stream, websocket } => {
                let fields = if *websocket { &CONNECT[..] } else { &CONNECT[2..] };
                let block = client.block(fields);
                let (start, rest) = block.split_at(block.len() / 2);
                let head = h2(HEADERS, 0, *stream, start);
                (Sent, [head, h2(CONTINUATION_FRAME, END_HEADERS, *stream, rest)].concat())
            }
            Say::Answer { stream, status } => {
                (Received, server.head(*stream, 0, &[(":status", status), ("x-a", "b")]))
            }
            Say::Message { direction, stream, text, cut, pad } => {
                let mask = if *direction == Sent { KEY } else { None };
                let framed = frame(FIN | TEXT, mask, text.as_bytes());
                let (start, rest) = framed.split_at((*cut).min(framed.len()));
                let padding = vec![0; usize::from(*pad)];
                let padded = [&[*pad][..], start, &padding].concat();
                (*direction, [h2(DATA, PADDED, *stream, &padded), data(*stream, rest)].concat())
            }
            Say::Other { direction, kind } => {
                let payload = if *kind == PING_FRAME { vec![1; 8] } else { vec![1; 4] };
                (*direction, h2(*kind, 0, 0, &payload))
            }
            Say::End { direction, stream } => (*direction, h2(DATA, END_STREAM, *stream, b"")),
            Say::Reset { direction, stream } => {
                (*direction, h2(RST_STREAM, 0, *stream, &[0, 0, 0, 8]))
            }
        });
    }
    calls
}

fn observed(calls: &[(Direction, Vec<u8>)], cuts: &[usize]) -> Vec<String> {
    let mut tape = Tape::new();
    tape.tick_ns = 0;
    let mut cuts = cuts.iter().copied().cycle();
    for (direction, bytes) in calls {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (call, tail) = rest.split_at(cuts.next().unwrap_or(usize::MAX).min(rest.len()));
            tape.pass(*direction, call);
            rest = tail;
        }
    }
    tape.close();
    assert_eq!(tape.counts.wire, tape.offsets);
    let lines = tape.said();
    tape.retire();
    lines
}

proptest! {
    #[test]
    fn any_cutting_into_calls_gives_the_same_observations(
        script in prop::collection::vec(say(), 1..40),
        cuts in prop::collection::vec(1_usize..40, 1..6),
    ) {
        let calls = spoken(&script);
        prop_assert_eq!(observed(&calls, &cuts), observed(&calls, &[usize::MAX]));
    }

    #[test]
    fn no_loss_makes_content_up_and_each_is_counted(
        script in prop::collection::vec(say(), 1..40),
        size in 1_usize..60,
        lost in prop::collection::vec(prop::bool::weighted(0.1), 1..60),
    ) {
        let mut tape = Tape::new();
        let (mut lost, mut missing) = (lost.iter().cycle(), 0);
        for (direction, bytes) in spoken(&script) {
            tape.start = SegmentStart::Call;
            for record in bytes.chunks(size) {
                if *lost.next().unwrap_or(&false) {
                    tape.lose(direction, record);
                    missing += record.len() as u64;
                } else {
                    tape.pass(direction, record);
                }
                tape.start = SegmentStart::Middle;
            }
        }
        tape.close();
        prop_assert_eq!(tape.counts.wire, tape.offsets);
        let lines = tape.said();
        let gaps: u64 = lines.iter().filter_map(|line| properties::gap(line)).sum();
        prop_assert_eq!(gaps, missing);
        for line in lines.iter().filter(|line| line.contains(" message of ")) {
            let (facts, text) = line.split_once(": ").unwrap();
            let is_true = |said: &Say| matches!(said, Say::Message { text: whole, .. }
                if whole.starts_with(text) && (facts.contains("truncated") || whole == text));
            prop_assert!(script.iter().any(is_true), "{}", line);
        }
        tape.retire();
    }
}

/// What such a connection goes on with is not looked at, however it is cut.
#[test]
fn behind_settings_that_allow_no_websocket_nothing_is_an_error() {
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    let impossible = b"\xff\x3c\x03\x03\0\x01\x02\x03\x04";
    for bytes in [1, 3, 9, 18] {
        let mut tape = Tape::new();
        tape.pass_in(Sent, &[&settings[..], impossible].concat(), bytes);
        tape.close();
        tape.says(&[]);
    }
}
