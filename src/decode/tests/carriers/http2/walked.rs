//! Where the kernel side walks the frames of HTTP/2, and of the WebSockets in them.

use super::*;

/// Records of one call: what each begins with, its bytes, and how many behind them were skipped.
fn records(tape: &mut Tape, direction: Direction, records: &[(SegmentStart, &[u8], u64)]) {
    for &(start, bytes, skipped) in records {
        tape.start = start;
        tape.segment(direction, bytes, bytes.len() as u64 + skipped, Absent::Skipped);
    }
    tape.start = SegmentStart::Call;
}

fn at(direction: Direction, offset: u64) -> KernelHint {
    KernelHint::Http2At { conn: CONN, direction, offset, asks: direction == Sent }
}

#[test]
fn the_kernel_side_is_told_where_frames_begin_until_it_walks_them() {
    let mut it = Http2::begun(true);
    let [sent, received] = it.tape.offsets;
    let settings = received - 9;
    assert_eq!(it.tape.hints(), [at(Received, settings), at(Sent, sent), at(Received, received)]);
    let request = it.client.head(1, 0, &CONNECT);
    let (begun, rest) = request.split_at(5);
    it.tape.pass(Sent, begun);
    assert_eq!(it.tape.hints(), [], "the header has begun already");
    it.tape.pass(Sent, rest);
    assert_eq!(it.tape.hints(), [at(Sent, it.tape.offsets[0])]);
    let long = data(1, &masked(FIN | TEXT, &[b'x'; 300]));
    it.tape.pass(Sent, &long[..100]);
    let next = it.tape.offsets[0] + long.len() as u64 - 100;
    assert_eq!(it.tape.hints(), [at(Sent, next)]);
    it.tape.pass(Sent, &long[100..]);
    records(&mut it.tape, Sent, &[(SegmentStart::Http2Header, &h2(PING_FRAME, 0, 0, &[0; 8]), 0)]);
    assert_eq!(it.tape.hints(), []);
    // It has lost its way, and says nothing any more.
    it.tape.pass(Sent, &h2(PING_FRAME, 0, 0, &[0; 8]));
    assert_eq!(it.tape.hints(), [at(Sent, it.tape.offsets[0])]);
    it.end();
}

#[test]
fn content_that_is_left_out_is_passed_over() {
    let mut it = Http2::open(&[1]);
    let page = data(3, &[0; 2000]);
    let message = masked(FIN | TEXT, &[b'x'; 400]);
    let frame = data(1, &message);
    records(
        &mut it.tape,
        Sent,
        &[
            (SegmentStart::Http2Header, &page[..9], 2000),
            (SegmentStart::Http2Header, &frame[..9], 0),
            (SegmentStart::StreamFrameHeader, &message[..8 + 100], 300),
            (SegmentStart::Http2Header, &data(1, &masked(FIN | TEXT, b"hi")), 0),
        ],
    );
    let lines = it.tape.said();
    assert!(lines.iter().any(|line| line.contains("400 wire, 400 bytes")), "{lines:#?}");
    assert!(lines.last().unwrap().ends_with("2 bytes: hi"), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("error")), "{lines:#?}");
    it.end();
}

/// No border is searched: the first record behind the loss says where one is.
#[test]
fn behind_a_loss_frames_are_found_where_the_kernel_side_has_walked_to() {
    let mut it = Http2::open(&[1, 3]);
    it.tape.lose(Sent, &[0; 1000]);
    let rest = [0; 10];
    let frame = data(1, &[&rest[..], &masked(FIN | TEXT, b"hi")].concat());
    let (header, hi) = frame.split_at(9 + rest.len());
    let other = data(3, &masked(FIN | TEXT, b"ho"));
    records(
        &mut it.tape,
        Sent,
        &[
            (SegmentStart::Http2Header, header, 0),
            (SegmentStart::StreamFrameHeader, hi, 0),
            (SegmentStart::Http2Header, &other[..9], 0),
            (SegmentStart::StreamFrameHeader, &other[9..], 0),
        ],
    );
    let lines = it.tape.said();
    let errors = lines.iter().filter(|line| line.contains("error")).collect::<Vec<_>>();
    assert_eq!(errors, ["> error heads_unreadable"]);
    for line in ["#1 > text message of 1 frames, 2 wire, 2 bytes: hi", "#3 > text 2"] {
        assert!(lines.iter().any(|it| it == line), "{line} in {lines:#?}");
    }
    assert_eq!(it.tape.counts.unsynced, [rest.len() as u64, 0]);
    it.end();
}

/// The kernel side follows each stream of which it does not know that it is none.
#[test]
fn no_stream_is_taken_for_a_websocket_because_the_kernel_side_has_walked_it() {
    let mut it = Http2::open(&[1]);
    it.tape.lose(Sent, &[0; 1000]);
    let body = data(3, b"what a request with a method that is not known carries");
    records(
        &mut it.tape,
        Sent,
        &[
            (SegmentStart::Http2Header, &body[..9], 0),
            (SegmentStart::StreamFrameHeader, &body[9..], 0),
        ],
    );
    assert!(!it.tape.said().iter().any(|line| line.starts_with("#3")));
    it.end();
}

/// The preface was lost, but the kernel side has seen it.
#[test]
fn a_connection_whose_beginning_was_lost_is_known_by_the_frames_that_were_walked() {
    let mut tape = Tape::new();
    tape.lose(Sent, PREFACE);
    let long = data(1, &masked(FIN | TEXT, &[b'x'; 300]));
    tape.pass(Sent, &long[..50]);
    tape.lose(Sent, &long[50..]);
    for text in [&b"one"[..], b"two", b"three"] {
        let frame = data(1, &masked(FIN | TEXT, text));
        let (header, content) = frame.split_at(9);
        let both =
            [(SegmentStart::Http2Header, header, 0), (SegmentStart::StreamFrameHeader, content, 0)];
        records(&mut tape, Sent, &both);
    }
    let lines = tape.said();
    for text in [": one", ": two", ": three"] {
        assert!(lines.iter().any(|it| it.starts_with("#1") && it.ends_with(text)), "{lines:#?}");
    }
    tape.close();
    tape.retire();
}
