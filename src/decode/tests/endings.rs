//! A connection whose end never comes leaves the gauge all the same, and comes back if it was not its end.

use super::*;
use crate::decode::endings::SILENCE_NS;

const SECOND: u64 = 1_000_000_000;

fn feed(tape: &mut Tape, generation: u32, kind: EventKind<'_>) {
    let conn = ConnId { generation, ..CONN };
    let event = Event { conn, target: tape.target, tid: 7, at_ns: tape.now_ns, kind };
    let (lines, counts) = (&mut tape.lines, &mut tape.counts);
    tape.tracker.event(&event, &mut |observation| note(lines, counts, observation));
}

fn pass(tape: &mut Tape, generation: u32, direction: Direction, offset: u64, bytes: &[u8]) {
    let (len, absent, start) = (bytes.len() as u64, Absent::Skipped, SegmentStart::Call);
    let segment = Segment { direction, offset, len, bytes, absent, start };
    feed(tape, generation, EventKind::Data(segment));
}

/// A connection of the same handle. Returns how many bytes have passed each way.
fn open(tape: &mut Tape, generation: u32) -> [u64; 2] {
    let (request, answer) = (get(""), switching(""));
    pass(tape, generation, Sent, 0, &request);
    pass(tape, generation, Received, 0, &answer);
    [request.len() as u64, answer.len() as u64]
}

fn later(tape: &mut Tape, ns: u64) {
    tape.now_ns += ns;
    tape.tick();
}

#[test]
fn the_next_connection_of_a_handle_ends_the_one_before() {
    let mut tape = Tape::new();
    open(&mut tape, 1);
    open(&mut tape, 2);
    tape.said();
    later(&mut tape, SECOND / 2);
    tape.says(&[]);
    later(&mut tape, SECOND);
    tape.says(&["close 1006", "state client/full -> -", "end unseen handle_reused"]);
    assert_eq!(tape.tracker.connections(), 1);
}

#[test]
fn an_end_that_only_comes_late_is_the_connection_s_own() {
    let mut tape = Tape::new();
    let [sent, received] = open(&mut tape, 1);
    open(&mut tape, 2);
    tape.said();
    feed(&mut tape, 1, EventKind::Closed { sent, received });
    later(&mut tape, 2 * SECOND);
    let said = tape.said();
    assert!(!said.iter().any(|line| line.starts_with("end unseen")), "{said:?}");
}

#[test]
fn an_end_that_comes_when_nobody_expects_it_any_more_counts_no_byte_twice() {
    let mut tape = Tape::new();
    let [sent, received] = open(&mut tape, 1);
    open(&mut tape, 2);
    later(&mut tape, 2 * SECOND);
    tape.said();
    let before = tape.counts.wire;
    feed(&mut tape, 1, EventKind::Closed { sent: sent + 5, received });
    tape.says(&["> gap 5 ring_full"]);
    assert_eq!(tape.counts.wire, [before[0] + 5, before[1]]);
}

#[test]
fn silence_ends_as_many_connections_as_ends_were_lost() {
    let mut tape = Tape::new();
    for handle in 1..=3 {
        let (request, answer) = (get(""), switching(""));
        for (direction, bytes) in [(Sent, &request), (Received, &answer)] {
            let (len, absent, start) = (bytes.len() as u64, Absent::Skipped, SegmentStart::Call);
            let segment = Segment { direction, offset: 0, len, bytes, absent, start };
            let conn = ConnId { handle, ..CONN };
            let kind = EventKind::Data(segment);
            let event = Event { conn, target: tape.target, tid: 7, at_ns: tape.now_ns, kind };
            tape.tracker.event(&event, &mut |_| {});
        }
        tape.now_ns += SECOND;
    }
    later(&mut tape, 2 * SILENCE_NS);
    tape.says(&[]);
    tape.tracker.ends_lost(2);
    later(&mut tape, 20 * SECOND);
    let ended = ["close 1006", "state client/full -> -", "end unseen silent"];
    tape.says(&[ended, ended].concat());
    assert_eq!(tape.tracker.connections(), 1, "the one that was heard last");
    later(&mut tape, 20 * SECOND);
    tape.says(&[]);
}

#[test]
fn connections_that_a_process_leaves_open_are_told_from_those_that_it_closes() {
    let mut tape = Tape::client();
    let at_ns = tape.now_ns;
    let (lines, counts) = (&mut tape.lines, &mut tape.counts);
    tape.tracker.exited(CONN.tgid, at_ns, &mut |it| note(lines, counts, it));
    assert_eq!(tape.said().last().map(String::as_str), Some("end unseen process_ended"));
    let mut tape = Tape::client();
    tape.close();
    assert!(!tape.said().iter().any(|line| line.starts_with("end unseen")));
}
