//! Which lines are shown, and where they end.

use std::time::Duration;

use super::*;
use crate::event::{ConnId, TargetId};
use crate::observation::{FeedReading, MessageKind, MessageType, Opcode, Origin, Outcome, Role};
use crate::views::View;

const PROCESS: Process<'static> = Process { pid: 4242, comm: "node" };

fn observation(generation: u32, what: What<'_>) -> Observation<'_> {
    Observation {
        at_ns: 1,
        tid: 1,
        target: TargetId(0),
        conn: ConnId { tgid: 4242, generation, handle: 1, stream: 0 },
        role: Role::Client,
        what,
    }
}

fn message(message_type: MessageType, direction: Direction) -> What<'static> {
    let message = Message {
        direction,
        message_type,
        frames: 1,
        wire_length: 2,
        length: Some(2),
        compressed: false,
        payload: b"{}",
        truncated: false,
        tail: b"",
        identical: false,
    };
    let kind = Some(MessageKind::Request);
    let reading = MessageReading {
        protocol: "jsonrpc",
        kind,
        id: Some("7".into()),
        method: Some("ask"),
        feed: Some(FeedReading::PLAIN),
    };
    What::Message { message, reading }
}

fn frame(opcode: Opcode, direction: Direction) -> What<'static> {
    What::Frame(Frame { direction, opcode, fin: true, rsv1: false, masked: true, length: 0 })
}

fn exchange(method: &str, outcome: Outcome, millis: Option<u64>) -> What<'_> {
    let turnaround_ns = millis.map(|millis| millis * 1_000_000);
    let (origin, protocol, id) = (Origin::Local, "jsonrpc", "7".into());
    What::Exchange(Exchange { origin, protocol, method, id, outcome, turnaround_ns })
}

/// One of each kind of line, by a name.
fn everything() -> Vec<(&'static str, What<'static>)> {
    use Direction::{Received, Sent};
    vec![
        ("open", What::Open(Open::default())),
        ("text", message(MessageType::Text, Sent)),
        ("binary", message(MessageType::Binary, Received)),
        ("ping", frame(Opcode::Ping, Sent)),
        ("text frame", frame(Opcode::Text, Sent)),
        ("fast", exchange("ask", Outcome::Matched, Some(1))),
        ("slow", exchange("tell", Outcome::Matched, Some(100))),
        ("failed", exchange("tell", Outcome::Error, Some(2))),
        ("expired", exchange("ask", Outcome::Expired, None)),
        ("cancelled", exchange("ask", Outcome::Cancelled, None)),
        ("gap", What::Gap { direction: Received, bytes: 9, reason: GapReason::RingFull }),
        ("good end", What::Close { code: 1000 }),
        ("bad end", What::Close { code: 1006 }),
    ]
}

/// What of everything a filter shows.
fn shown(filter: Filter) -> Vec<&'static str> {
    let view = MessageView { filter, ..MessageView::default() };
    let of = |what: &What<'_>| {
        let mut out = Vec::new();
        view.write(&mut out, &observation(17, what.clone()), PROCESS).expect("a Vec");
        !out.is_empty()
    };
    everything().into_iter().filter(|(_, what)| of(what)).map(|(name, _)| name).collect()
}

#[test]
fn without_a_filter_everything_but_frames_is_shown() {
    let names = shown(Filter::default());
    assert_eq!(names.len(), everything().len() - 2, "{names:?}");
}

#[test]
fn a_method_is_one_of_messages_and_of_exchanges() {
    let methods = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let of = |names: &[&str]| shown(Filter { methods: methods(names), ..Filter::default() });
    assert_eq!(of(&["tell"]), ["slow", "failed"]);
    assert_eq!(of(&["ask"]), ["text", "binary", "fast", "expired", "cancelled"]);
    assert_eq!(of(&["tell", "ask"]).len(), 7);
    assert!(of(&["as"]).is_empty(), "the whole name");
}

#[test]
fn slow_is_what_took_so_long_or_never_came() {
    let slow = |millis| Some(Duration::from_millis(millis));
    assert_eq!(shown(Filter { slow: slow(100), ..Filter::default() }), ["slow", "expired"]);
    assert_eq!(shown(Filter { slow: slow(101), ..Filter::default() }), ["expired"]);
}

#[test]
fn errors_are_failed_exchanges_bad_ends_and_losses() {
    let errors = Filter { errors: true, ..Filter::default() };
    assert_eq!(shown(errors), ["failed", "expired", "gap", "bad end"]);
}

#[test]
fn an_opcode_is_one_of_messages_and_an_asked_for_control_frame_needs_no_other_flag() {
    let of = |opcodes: &[Opcode]| shown(Filter { opcodes: opcodes.into(), ..Filter::default() });
    assert_eq!(of(&[Opcode::Binary]), ["binary"]);
    assert_eq!(of(&[Opcode::Ping, Opcode::Text]), ["text", "ping"]);
    assert_eq!(of(&[Opcode::Close]), ["good end", "bad end"]);
}

#[test]
fn a_direction_is_that_of_a_message_and_of_an_exchanges_request() {
    let of = |direction| shown(Filter { direction: Some(direction), ..Filter::default() });
    assert_eq!(of(Direction::Received), ["binary", "gap"]);
    assert_eq!(of(Direction::Sent), ["text", "fast", "slow", "failed", "expired", "cancelled"]);
}

#[test]
fn a_connection_has_all_its_lines_and_others_have_none() {
    let of = |conn| shown(Filter { connections: vec![conn], ..Filter::default() }).len();
    assert_eq!(of((4242, 17)), shown(Filter::default()).len());
    assert_eq!(of((4242, 1)), 0);
    assert_eq!(of((424, 17)), 0);
}

#[test]
fn filters_narrow_each_other() {
    let filter = Filter { methods: vec!["tell".into()], errors: true, ..Filter::default() };
    assert_eq!(shown(filter), ["failed"]);
}

#[test]
fn a_printer_is_closed_after_its_last_line_and_shows_what_it_has() {
    let filter = Filter { errors: true, ..Filter::default() };
    let view = MessageView { filter, payload: 100, ..MessageView::default() };
    let mut out = Vec::new();
    let mut printer = Printer::new(view, &mut out, Some(2));
    for (_, what) in everything() {
        printer.observe(&observation(17, what), PROCESS);
    }
    assert!(!printer.is_closed() && printer.holds_back(), "an earlier line may come");
    let later_ns = observation(17, What::Close { code: 1000 }).at_ns + 1_000_000_000;
    printer.tick(later_ns);
    assert!(!printer.is_closed(), "something was observed since the last tick");
    printer.tick(later_ns);
    assert!(printer.is_closed(), "it has written two errors");
    Box::new(printer).finish().expect("a Vec takes everything");
    let text = String::from_utf8(out).expect("text");
    assert_eq!(text.lines().count(), 3, "a header and two lines: {text}");
    assert!(text.starts_with("TIME"), "{text}");
}

#[test]
fn a_reader_that_has_gone_ends_the_lines_and_is_no_error() {
    struct Broken(io::ErrorKind);
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (kind, is_error) in [(io::ErrorKind::BrokenPipe, false), (io::ErrorKind::StorageFull, true)]
    {
        let mut printer = Printer::new(MessageView::default(), Broken(kind), None);
        assert!(!printer.is_closed());
        // The header is written at once.
        printer.observe(&observation(17, What::Close { code: 1000 }), PROCESS);
        assert!(printer.is_closed());
        assert_eq!(Box::new(printer).finish().is_err(), is_error, "{kind:?}");
    }
}
