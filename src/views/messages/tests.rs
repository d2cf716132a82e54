//! Golden lines: what users and their scripts rely on.

use super::*;
use crate::event::{ConnId, Direction, TargetId};
use crate::observation::*;

const PROCESS: Process<'static> = Process { pid: 4242, comm: "node" };

/// 2024-05-01T12:00:00Z minus an uptime of 1,000 s.
const WALL_OFFSET_NS: i128 = (1_714_564_800 - 1_000) * 1_000_000_000;

fn line(view: MessageView, what: What<'_>) -> String {
    let observation = Observation {
        at_ns: 1_000_123_456_789,
        tid: 4243,
        target: TargetId(0),
        conn: ConnId { tgid: 4242, generation: 17, handle: 0xdead_beef, stream: 0 },
        role: Role::Client,
        what,
    };
    let mut out = Vec::new();
    let view = MessageView { wall_offset_ns: WALL_OFFSET_NS, ..view };
    view.write(&mut out, &observation, PROCESS).expect("a Vec takes everything");
    String::from_utf8(out).expect("lines are UTF-8")
}

fn text(what: What<'_>) -> String {
    line(MessageView { frames: true, ..MessageView::default() }, what)
}

fn json(what: What<'_>) -> String {
    line(MessageView { format: Format::Json, frames: true, ..MessageView::default() }, what)
}

fn request() -> Message<'static> {
    Message {
        direction: Direction::Sent,
        message_type: MessageType::Text,
        frames: 1,
        wire_length: 46,
        length: Some(46),
        compressed: false,
        payload: br#"{"id":7,"method":"eth_call"}"#,
        truncated: false,
        tail: b"",
        identical: false,
    }
}

fn reading() -> MessageReading<'static> {
    MessageReading {
        protocol: "jsonrpc",
        kind: Some(MessageKind::Request),
        id: Some("7".into()),
        method: Some("eth_call"),
        feed: Some(FeedReading::PLAIN),
    }
}

fn read(message: Message<'_>) -> What<'_> {
    What::Message { message, reading: reading() }
}

fn exchange() -> Exchange<'static> {
    Exchange {
        origin: Origin::Local,
        protocol: "jsonrpc",
        method: "eth_call",
        id: "7".into(),
        outcome: Outcome::Matched,
        turnaround_ns: Some(8_123_456),
    }
}

const JSON_HEAD: &str = concat!(
    r#"{"v":1,"ts_ns":1000123456789,"wall":"2024-05-01T12:00:00.123456789Z","pid":4242,"#,
    r#""tid":4243,"comm":"node","conn":"4242-17","role":"client","#
);

fn assert_json(what: What<'_>, rest: &str) {
    assert_eq!(json(what), format!("{JSON_HEAD}{rest}\n"));
}

#[test]
fn a_message_line_has_protocol_kind_method_and_id() {
    assert_eq!(
        text(read(request())),
        "12:00:00.123456Z node     4242-17    > text          46 B  jsonrpc request eth_call id=7\n"
    );
    assert_json(
        read(request()),
        concat!(
            r#""direction":"sent","event":"message","type":"text","frames":1,"wire_length":46,"#,
            r#""length":46,"compressed":false,"protocol":"jsonrpc","id":"7","kind":"request","#,
            r#""method":"eth_call"}"#
        ),
    );
}

#[test]
fn a_compressed_fragmented_message_says_so() {
    let message = Message {
        direction: Direction::Received,
        wire_length: 20,
        compressed: true,
        frames: 3,
        ..request()
    };
    let unread = |message| What::Message { message, reading: MessageReading::UNKNOWN };
    assert_eq!(
        text(unread(message)),
        "12:00:00.123456Z node     4242-17    < text          46 B  unknown (20 B on the wire) (3 frames)\n"
    );
    assert_json(
        unread(Message { length: None, ..message }),
        concat!(
            r#""direction":"received","event":"message","type":"text","frames":3,"#,
            r#""wire_length":20,"length":null,"compressed":true,"protocol":"unknown","id":null,"#,
            r#""kind":null,"method":null}"#
        ),
    );
}

#[test]
fn an_exchange_line_shows_origin_outcome_and_turnaround() {
    assert_eq!(
        text(What::Exchange(exchange())),
        "12:00:00.123456Z node     4242-17    = local      8.123ms  jsonrpc eth_call id=7 matched\n"
    );
    assert_json(
        What::Exchange(exchange()),
        concat!(
            r#""direction":null,"event":"exchange","origin":"local","protocol":"jsonrpc","#,
            r#""method":"eth_call","id":"7","outcome":"matched","turnaround_ns":8123456}"#
        ),
    );
}

#[test]
fn an_unanswered_exchange_has_no_turnaround() {
    let expired =
        || Exchange { outcome: Outcome::Expired, turnaround_ns: None, method: "", ..exchange() };
    assert!(
        text(What::Exchange(expired())).ends_with(" = local            -  jsonrpc id=7 expired\n")
    );
    assert!(json(What::Exchange(expired())).ends_with(
        r#""outcome":"expired","turnaround_ns":null}
"#
    ));
}

#[test]
fn a_frame_line_shows_the_header() {
    let frame = Frame {
        direction: Direction::Sent,
        opcode: Opcode::Continuation,
        fin: true,
        rsv1: false,
        masked: true,
        length: 125,
    };
    assert_eq!(
        text(What::Frame(frame)),
        "12:00:00.123456Z node     4242-17    > frame        125 B  continuation fin masked\n"
    );
    assert_json(
        What::Frame(frame),
        concat!(
            r#""direction":"sent","event":"frame","opcode":"continuation","fin":true,"#,
            r#""rsv1":false,"masked":true,"length":125}"#
        ),
    );
}

#[test]
fn frames_are_shown_only_on_request() {
    let frame = Frame {
        direction: Direction::Sent,
        opcode: Opcode::Ping,
        fin: true,
        rsv1: false,
        masked: true,
        length: 0,
    };
    assert_eq!(line(MessageView::default(), What::Frame(frame)), "");
}

#[test]
fn opening_and_closing_have_lines() {
    let open = || Open {
        host: Some("example.com"),
        path: Some("/ws"),
        subprotocol: Some("graphql-ws"),
        extensions: Some("permessage-deflate"),
        mid_stream: false,
    };
    assert_eq!(
        text(What::Open(open())),
        "12:00:00.123456Z node     4242-17    + open        client  example.com/ws (graphql-ws) (permessage-deflate)\n"
    );
    assert_json(
        What::Open(open()),
        concat!(
            r#""direction":null,"event":"open","host":"example.com","path":"/ws","#,
            r#""subprotocol":"graphql-ws","extensions":"permessage-deflate","mid_stream":false,"transport":"tls","http":"1.1"}"#
        ),
    );
    assert_eq!(
        text(What::Open(Open { mid_stream: true, ..Open::default() })),
        "12:00:00.123456Z node     4242-17    + open        client  mid-stream\n"
    );
    assert_eq!(
        text(What::Close { code: 1000 }),
        "12:00:00.123456Z node     4242-17    - close         1000\n"
    );
    assert_json(What::Close { code: 1000 }, r#""direction":null,"event":"close","code":1000}"#);
}

#[test]
fn a_gap_has_a_line() {
    let gap =
        || What::Gap { direction: Direction::Received, bytes: 4096, reason: GapReason::RingFull };
    assert_eq!(
        text(gap()),
        "12:00:00.123456Z node     4242-17    ! lost        4096 B  received ring_full\n"
    );
    assert_json(
        gap(),
        r#""direction":"received","event":"gap","bytes":4096,"reason":"ring_full"}"#,
    );
}

#[test]
fn kinds_without_a_line_write_nothing() {
    assert_eq!(text(What::Wire { direction: Direction::Sent, bytes: 1 }), "");
    assert_eq!(json(What::Evicted(Table::Pending)), "");
}

fn with_payload(format: Format, payload: usize, message: Message<'_>) -> String {
    line(MessageView { format, payload, ..MessageView::default() }, read(message))
}

#[test]
fn payload_is_shown_as_far_as_asked_for_and_no_further() {
    let lines = with_payload(Format::Text, 8, request());
    assert!(lines.ends_with("id=7\n    {\"id\":7,...\n"), "{lines}");
    let lines = with_payload(Format::Json, 1000, request());
    assert!(
        lines.ends_with(
            r#""payload":"{\"id\":7,\"method\":\"eth_call\"}","payload_complete":true}
"#
        ),
        "{lines}"
    );
    assert!(!json(read(request())).contains("payload"));
}

#[test]
fn binary_payload_is_hex_for_people_and_base64_for_programs() {
    let binary =
        || Message { message_type: MessageType::Binary, payload: b"\x00\xffA", ..request() };
    assert!(with_payload(Format::Text, 9, binary()).ends_with("\n    00ff 41\n"));
    let line = with_payload(Format::Json, 9, binary());
    assert!(line.ends_with(
        r#""payload_base64":"AP9B","payload_complete":true}
"#
    ));
}

#[test]
fn text_cut_inside_a_character_is_shown_up_to_it() {
    let message = || Message { payload: "ab\u{20ac}".as_bytes(), ..request() };
    let line = with_payload(Format::Json, 4, message());
    assert!(line.ends_with(
        r#""payload":"ab","payload_complete":false}
"#
    ));
}

#[test]
fn text_that_is_not_utf8_is_base64() {
    let message = Message { payload: b"a\xffb", ..request() };
    assert!(with_payload(Format::Json, 9, message).contains(r#""payload_base64":"Yf9i""#));
}

#[test]
fn nothing_from_the_wire_reaches_the_terminal_raw() {
    let evil = "\u{1b}[2J\r\n\u{7}\u{9b}\u{202e}\u{200b}\0\u{7f}";
    let message = Message { payload: evil.as_bytes(), ..request() };
    let reading =
        MessageReading { id: Some(evil.into()), method: Some(evil), protocol: evil, ..reading() };
    let view = MessageView { payload: 100, ..MessageView::default() };
    let lines = line(view, What::Message { message, reading })
        + &text(What::Exchange(Exchange {
            id: evil.into(),
            method: evil,
            protocol: evil,
            ..exchange()
        }))
        + &text(What::Open(Open {
            host: Some(evil),
            path: Some(evil),
            subprotocol: Some(evil),
            extensions: Some(evil),
            mid_stream: false,
        }));
    assert_eq!(lines.lines().count(), 4);
    let raw = |c: &char| c.is_control() && *c != '\n' || evil.contains(*c) && !c.is_ascii();
    assert_eq!(lines.chars().find(raw), None, "{lines:?}");
}

#[test]
fn a_name_without_end_is_cut_short_in_text_and_whole_in_json() {
    let id = "9".repeat(10_000);
    let message = || named(&id);
    assert!(text(message()).ends_with(&format!("id={}...\n", "9".repeat(64))));
    assert!(json(message()).contains(&id));
}

fn named(id: &str) -> What<'_> {
    let reading = MessageReading { id: Some(id.into()), ..reading() };
    What::Message { message: request(), reading }
}

#[test]
fn every_json_line_is_one_object() {
    let evil = "\"\\\n\u{1}";
    let lines =
        [json(named(evil)), json(What::Exchange(Exchange { id: evil.into(), ..exchange() }))];
    for line in lines {
        let value: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
        assert_eq!(value["id"], evil);
        assert_eq!(line.matches('\n').count(), 1);
    }
}

#[test]
fn a_time_that_cannot_be_written_is_clamped() {
    let view =
        MessageView { wall_offset_ns: i128::MAX, format: Format::Json, ..MessageView::default() };
    assert_eq!(view.wall(u64::MAX), jiff::Timestamp::MAX);
}

#[test]
fn the_header_stands_over_its_columns() {
    let mut header = Vec::new();
    MessageView::default().write_header(&mut header).expect("a Vec takes everything");
    let header = String::from_utf8(header).expect("text");
    let shown = text(What::Exchange(exchange()));
    for (name, value) in
        [("TIME", "12:00"), ("COMMAND", "node"), ("CONNECTION", "4242-17"), ("EVENT", "= local")]
    {
        assert_eq!(header.find(name), shown.find(value), "{header}{shown}");
    }
    let end = |line: &str, word: &str| line.find(word).map(|at| at + word.len());
    assert_eq!(end(&header, "SIZE/TIME"), end(&shown, "8.123ms"), "{header}{shown}");
    assert_eq!(header.find("DETAILS"), shown.find("jsonrpc"), "{header}{shown}");
    let mut none = Vec::new();
    let json = MessageView { format: Format::Json, ..MessageView::default() };
    json.write_header(&mut none).expect("a Vec takes everything");
    assert!(none.is_empty());
}

#[test]
fn colours_end_with_the_line_and_change_no_word() {
    let view = || MessageView { color: true, payload: 100, frames: true, ..MessageView::default() };
    let plain = || MessageView { color: false, ..view() };
    let gap = What::Gap { direction: Direction::Sent, bytes: 1, reason: GapReason::RingFull };
    let failed = What::Exchange(Exchange { outcome: Outcome::Error, ..exchange() });
    for what in [read(request()), gap, failed, What::Close { code: 1000 }] {
        let colored = line(view(), what.clone());
        let first = colored.lines().next().expect("a line");
        assert!(first.ends_with("\u{1b}[0m"), "{first:?}");
        let mut words = String::new();
        for part in colored.split('\u{1b}') {
            words += part.split_once('m').filter(|_| part.starts_with('[')).map_or(part, |it| it.1);
        }
        assert_eq!(words, line(plain(), what));
    }
}

#[test]
fn a_message_of_a_feed_says_how_old_it_is_and_what_is_missing() {
    let at = |sequence, lag_ns: i64| {
        // 2024-05-01T12:00:00.123456789Z
        let time = OwnTime::At(1_714_564_800_123_456_789 - lag_ns);
        let feed = Some(FeedReading { since_ns: Some(7), time, sequence });
        What::Message { message: request(), reading: MessageReading { feed, ..reading() } }
    };
    let ends = |what: What<'_>, end: &str| {
        let line = text(what);
        assert!(line.ends_with(&format!("{end}\n")), "{line}");
    };
    ends(at(None, 1_500_000), "id=7 lag=1.500ms");
    ends(at(Some(SequenceStep::InOrder), -2_000_000_000), "id=7 lag=-2.000s");
    ends(at(Some(SequenceStep::Missing(3)), 0), "lag=0.000ns missing=3");
    ends(at(Some(SequenceStep::Repeated), 0), " repeated");
    ends(at(Some(SequenceStep::Unchecked(Unchecked::AfterGap)), 0), " unchecked=after_gap");
    let line = json(at(Some(SequenceStep::Missing(3)), -1_500));
    let end =
        r#""method":"eth_call","since_ns":7,"lag_ns":-1500,"sequence":"missing","missing":3}"#;
    assert!(line.ends_with(&format!("{end}\n")), "{line}");
    let beat =
        What::Message { message: request(), reading: MessageReading { feed: None, ..reading() } };
    assert!(json(beat).ends_with(",\"heartbeat\":true}\n"));
}
