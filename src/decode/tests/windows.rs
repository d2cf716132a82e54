//! How much of long messages is asked for.
//!
//! The kernel side is played here: it cuts long messages where, and as soon as, it is told to.

use super::*;
use crate::event::{LONG_BYTES, NARROW_BYTES};
use proptest::prelude::*;

/// Long messages that it takes to learn from.
const ENOUGH: usize = 64;

/// A kernel side that does as it is told, and a decoder that tells it.
struct Played {
    tape: Tape,
    narrow: [bool; 2],
    /// It is told nothing.
    deaf: bool,
}

impl Played {
    fn new() -> Self {
        let tape = Tape::client();
        Self { tape, narrow: [false; 2], deaf: false }
    }

    /// A frame passes in one call.
    fn pass(&mut self, direction: Direction, payload: &[u8]) {
        let frame = if direction == Sent {
            masked(FIN | TEXT, payload)
        } else {
            plain(FIN | TEXT, payload)
        };
        let is_cut = self.narrow[direction.index()] && payload.len() as u64 > LONG_BYTES;
        let header = frame.len() - payload.len();
        let copied = if is_cut { header + NARROW_BYTES } else { frame.len() };
        self.tape.start = SegmentStart::FrameHeader;
        let len = frame.len() as u64;
        self.tape.segment(direction, &frame[..copied], len, Absent::Skipped);
        self.obey();
    }

    fn obey(&mut self) {
        for hint in self.tape.hints() {
            let KernelHint::FrameAt(FrameAt { direction, narrow, .. }) = hint else {
                panic!("{hint:?}")
            };
            self.narrow[direction.index()] = narrow && !self.deaf;
        }
    }

    /// What was said, without frames and what was skipped.
    fn said(&mut self) -> Vec<String> {
        let is_told = |line: &String| !line.contains(" text ") && !line.contains(" skipped ");
        self.tape.said().into_iter().filter(is_told).collect()
    }

    fn misses(&mut self) -> usize {
        self.said().iter().filter(|line| line.contains("WindowMiss")).count()
    }
}

/// Whether the kernel side was told that the beginning of long messages is enough.
fn asks_for_less(tape: &mut Tape) -> bool {
    let is_narrow =
        |hint: &KernelHint| matches!(hint, KernelHint::FrameAt(FrameAt { narrow: true, .. }));
    tape.hints().iter().any(is_narrow)
}

fn padded(text: &str) -> Vec<u8> {
    text.replace("PAD", &"x".repeat(2 * LONG_BYTES as usize)).into_bytes()
}

fn call(id: usize) -> Vec<u8> {
    padded(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"put","params":["PAD"]}}"#))
}

fn answer(id: usize) -> Vec<u8> {
    padded(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"PAD"}}"#))
}

fn late_answer(id: usize) -> Vec<u8> {
    padded(&format!(r#"{{"jsonrpc":"2.0","result":"PAD","id":{id}}}"#))
}

#[test]
fn ids_in_front_are_read_from_the_beginning_of_long_messages() {
    let mut played = Played::new();
    for id in 0..ENOUGH {
        played.pass(Sent, &call(id));
        assert_eq!(played.narrow, [id + 1 == ENOUGH, false]);
        played.pass(Received, &answer(id));
    }
    assert_eq!(played.narrow, [true, true]);
    played.said();
    for id in ENOUGH..2 * ENOUGH {
        played.pass(Sent, &call(id));
        played.pass(Received, &answer(id));
    }
    let said = played.said();
    let matched = said.iter().filter(|line| line.contains("outcome: Matched")).count();
    assert_eq!((matched, played.misses()), (ENOUGH, 0), "{said:#?}");
    assert_eq!(played.narrow, [true, true]);
}

#[test]
fn an_id_behind_the_beginning_is_missed_once() {
    let mut played = Played::new();
    for id in 0..ENOUGH {
        played.pass(Sent, &call(id));
        played.pass(Received, &answer(id));
    }
    played.said();
    for id in ENOUGH..ENOUGH + 10 {
        played.pass(Sent, &call(id));
        played.pass(Received, &late_answer(id));
    }
    let said = played.said();
    let matched = said.iter().filter(|line| line.contains("outcome: Matched")).count();
    assert_eq!(matched, 9, "{said:#?}");
    assert!(said.iter().any(|line| line.contains("reason: Content")), "{said:#?}");
    assert_eq!(played.narrow, [false; 2]);
}

#[test]
fn each_miss_is_counted_until_the_kernel_side_has_heard() {
    let mut played = Played::new();
    for id in 0..ENOUGH {
        played.pass(Received, &answer(id));
    }
    assert_eq!(played.narrow, [false, true]);
    played.said();
    for id in 0..5 {
        played.pass(Received, &late_answer(id));
        // The word was written over by another connection's.
        played.narrow = [false, id < 3];
    }
    assert_eq!(played.misses(), 4);
    assert_eq!(played.narrow, [false; 2]);
}

#[test]
fn what_is_longer_than_any_window_is_counted_and_changes_no_window() {
    let mut played = Played::new();
    for id in 0..ENOUGH {
        played.pass(Received, &answer(id));
    }
    played.pass(Received, &late_answer(0));
    assert_eq!((played.misses(), played.narrow), (1, [false; 2]));
    // Neither its beginning nor its last bytes have the id.
    let padding = "x".repeat(100 * LONG_BYTES as usize);
    let long = format!(r#"{{"jsonrpc":"2.0","result":"{padding}","id":1,"and":"{padding}"}}"#);
    played.pass(Received, long.as_bytes());
    assert_eq!((played.misses(), played.narrow), (1, [false; 2]));
    // Its last bytes have it.
    let long = format!(r#"{{"jsonrpc":"2.0","result":"{padding}","id":2}}"#);
    played.pass(Received, long.as_bytes());
    assert_eq!(played.misses(), 0);
}

#[test]
fn what_says_nothing_in_front_is_asked_for_whole() {
    let notification =
        |n: usize| padded(&format!(r#"{{"jsonrpc":"2.0","method":"tick{n}","params":["PAD"]}}"#));
    let batch = |n: usize| [b"[".to_vec(), call(n), b"]".to_vec()].concat();
    for message in [&late_answer as &dyn Fn(usize) -> Vec<u8>, &notification, &batch] {
        let mut played = Played::new();
        for n in 0..4 * ENOUGH {
            played.pass(Received, &message(n));
        }
        assert_eq!(played.narrow, [false; 2]);
        assert_eq!(played.misses(), 0);
    }
}

#[test]
fn what_no_protocol_knows_is_asked_for_in_part() {
    let mut played = Played::new();
    for n in 0..2 * ENOUGH {
        played.pass(Sent, &padded(&format!("line {n}: PAD")));
    }
    assert_eq!(played.narrow, [true, false]);
    assert_eq!(played.misses(), 0);
}

#[test]
fn short_messages_are_compared_whole_whatever_the_window() {
    let mut played = Played::new();
    for n in 0..2 * ENOUGH {
        played.pass(Sent, &padded(&format!("line {n}: PAD")));
    }
    let short = vec![b'y'; LONG_BYTES as usize];
    played.pass(Sent, &short);
    played.pass(Received, &short);
    let lines = played.tape.said();
    assert!(lines.iter().any(|line| line.contains("1024 bytes, identical")), "{lines:?}");
}

#[test]
fn long_messages_that_come_back_are_asked_for_whole() {
    let mut played = Played::new();
    for n in 0..4 * ENOUGH {
        played.pass(Sent, &padded(&format!("line {n}: PAD")));
        played.pass(Received, &padded(&format!("line {n}: PAD")));
    }
    assert_eq!(played.narrow, [false; 2]);
    let identical = played.tape.said().iter().filter(|line| line.contains("identical")).count();
    assert_eq!(identical, 4 * ENOUGH);
}

#[test]
fn the_first_that_comes_back_is_missed() {
    let mut played = Played::new();
    let line = |n: usize| padded(&format!("line {n}: PAD"));
    for n in 0..2 * ENOUGH {
        played.pass(Sent, &line(n));
    }
    // Of the same length, but begins otherwise.
    played.pass(Received, &padded("list 127: PAD"));
    assert_eq!((played.misses(), played.narrow), (0, [true, false]));
    played.pass(Received, &line(127));
    let said = played.said();
    assert!(said.iter().any(|line| line.contains("reason: Comparison")), "{said:#?}");
    assert_eq!(played.narrow, [false; 2]);
    played.pass(Sent, &line(128));
    played.pass(Received, &line(128));
    assert!(played.tape.said().iter().any(|line| line.contains("identical")));
}

#[test]
fn compressed_messages_are_left_out_of_it() {
    let mut tape = Tape::deflate("; client_no_context_takeover; server_no_context_takeover");
    let mut deflater = Deflater::new(false);
    for id in 0..2 * ENOUGH {
        let noise: Vec<u8> =
            (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let text = [call(id), noise].concat();
        tape.pass(Sent, &masked(FIN | RSV1 | BINARY, &deflater.message(&text)));
    }
    assert!(!asks_for_less(&mut tape));
}

#[test]
fn nothing_is_asked_for_in_part_where_that_is_off() {
    let limits = Limits { narrows: false, ..Limits::default() };
    let mut tape = Tape::with(limits).upgrade(Sent, "", "");
    for id in 0..2 * ENOUGH {
        tape.pass(Sent, &masked(FIN | TEXT, &call(id)));
    }
    assert!(!asks_for_less(&mut tape));
}

/// A message of a conversation.
#[derive(Clone, Debug)]
struct Line {
    direction: Direction,
    kind: u8,
    id: usize,
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let line = (any::<bool>(), 0_u8..100, 0_usize..40).prop_map(|(sent, kind, id)| Line {
        direction: if sent { Sent } else { Received },
        kind,
        id,
    });
    proptest::collection::vec(line, 150..500)
}

impl Line {
    /// Mostly long and with the id in front, as it takes to have them cut.
    fn payload(&self) -> Vec<u8> {
        match (self.kind, self.direction) {
            (0, _) => late_answer(self.id),
            (1, _) => padded(r#"{"jsonrpc":"2.0","method":"tick","params":["PAD"]}"#),
            (2, _) => padded(&format!("echo {}: PAD", self.id)),
            (3..20, _) => {
                format!(r#"{{"jsonrpc":"2.0","id":{},"result":1}}"#, self.id).into_bytes()
            }
            (_, Sent) => call(self.id),
            (_, Received) => answer(self.id),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is read of cut messages is what is read of whole ones, and what is not is a miss.
    #[test]
    fn only_misses_tell_that_messages_were_cut(lines in lines()) {
        let mut cut = Played::new();
        let mut whole = Played::new();
        whole.deaf = true;
        let mut misses = 0;
        for line in lines {
            cut.pass(line.direction, &line.payload());
            whole.pass(line.direction, &line.payload());
            let [cut, whole] = [&mut cut, &mut whole].map(|it| {
                let mut lines = it.tape.said();
                lines.retain(|line| !line.contains(" skipped "));
                lines
            });
            let missed = cut.iter().any(|line| line.contains("WindowMiss"));
            misses += usize::from(missed);
            if missed {
                // What a miss keeps from being read may be told of later messages, too.
                break;
            }
            let told = |lines: Vec<String>| -> Vec<String> {
                let payload = |line: String| match line.split_once(": ") {
                    Some((told, _)) if line.contains(" message of ") => told.replace(", truncated", ""),
                    _ => line,
                };
                lines.into_iter().map(payload).collect()
            };
            prop_assert_eq!(told(cut), told(whole));
        }
        prop_assert!(misses <= 1);
    }
}
