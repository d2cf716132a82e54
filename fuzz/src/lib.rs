//! What hostile input is let loose on, one function for each kind of it.
//!
//! Each takes any bytes, panics if a promise is broken, and returns a [`Trace`] of what came out.
//! Who makes the bytes is left to others: libFuzzer through `fuzz_targets/`, or `mutate`, which
//! needs nothing but a stable compiler.
//!
//! Inputs are parsed leniently, so that every mutation of one means something. Most are a byte of
//! flags and then pieces: a big-endian 16-bit word, of which bit 15 is the direction and bits 0 to
//! 13 are the length, and as many bytes.
#![forbid(unsafe_code)]

mod input;
mod recordings;
mod tap;
mod trace;
mod windows;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;

use wstap::event::{Absent, Direction, EventKind, Segment, SegmentStart};
use wstap_symbols::{Evidence, Options, SitePreference, Work, plan_counted};

use input::{Input, Piece};
pub use recordings::recordings;
use tap::{Ended, Tap};
pub use trace::Trace;
pub use windows::windows;

/// Takes any bytes.
pub type Target = fn(&[u8]) -> Trace;

/// A target by its name: the name of its folder in `corpus/`, too.
pub const TARGETS: [(&str, Target); 9] = [
    ("stream", stream),
    ("upgrade", upgrade),
    ("http2", http2),
    ("inflate", inflate),
    ("windows", windows),
    ("records", records),
    ("recordings", recordings),
    ("rules", rules),
    ("elf", elf),
];

const REQUEST: &str = "GET /rpc HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const DEFLATE: [&str; 4] = [
    "",
    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
     client_no_context_takeover\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9; \
     client_max_window_bits=9\r\n",
];

/// The same taps for every input: a decoder is made for many connections, and to make one is slow.
struct Taps {
    whole: Tap,
    cut: Tap,
    forced: BTreeMap<u8, Tap>,
}

thread_local! {
    static TAPS: RefCell<Taps> = RefCell::new(Taps {
        whole: Tap::new(None),
        cut: Tap::new(None),
        forced: BTreeMap::new(),
    });
}

/// Frames behind a handshake. However calls are cut into records, the same comes out of them;
/// however they are cut into calls, the same comes out up to the first broken rule.
pub fn stream(data: &[u8]) -> Trace {
    let [whole, calls] = played(data, upgraded, as_it_is);
    let [expected, cut] = [&whole, &calls].map(|it| &it.seen[..it.until_error]);
    assert_eq!(cut, expected, "whole and cut into calls");
    whole.trace
}

/// The bytes of both directions from the first on, most of them of HTTP. However calls are cut into
/// records, the same comes out of them. However they are cut into calls, the same comes out for as
/// long as it is known where the next head or frame begins: beyond that, the starts of calls are
/// what is looked at, and more of them may show more.
pub fn upgrade(data: &[u8]) -> Trace {
    same_until_adrift(played(data, |_, _| {}, as_it_is))
}

/// Frames of HTTP/2 behind what both ends begin with; where bit 14 of a piece is not set, its first
/// three bytes are the type, the flags and the stream of the frame that carries the others. The
/// same comes out of them as in [`upgrade`], for as long as borders are known.
pub fn http2(data: &[u8]) -> Trace {
    same_until_adrift(played(data, prefaced, in_a_frame))
}

fn same_until_adrift([whole, calls]: [Ended; 2]) -> Trace {
    let known = whole.until_adrift.into_iter().chain(calls.until_adrift).min();
    let [expected, cut] = [&whole, &calls].map(|it| &it.seen[..known.unwrap_or(it.seen.len())]);
    assert_eq!(cut, expected, "whole and cut into calls");
    whole.trace.and(calls.trace)
}

fn as_it_is<'a>(piece: &Piece<'a>) -> Cow<'a, [u8]> {
    Cow::Borrowed(piece.bytes)
}

fn in_a_frame<'a>(piece: &Piece<'a>) -> Cow<'a, [u8]> {
    match *piece.bytes {
        [kind, flags, stream, ref payload @ ..] if !piece.flag => {
            let length = (payload.len() as u32).to_be_bytes();
            let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
            Cow::Owned([&head[..], payload].concat())
        }
        _ => Cow::Borrowed(piece.bytes),
    }
}

fn prefaced(tap: &mut Tap, flags: u8) {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x08\0\0\0\x01";
    let asking = if flags & 1 == 0 { Direction::Sent } else { Direction::Received };
    tap.call(asking, PREFACE);
    tap.call(asking.opposite(), SETTINGS);
}

/// Plays the pieces as one call each, and as many; that a call comes in many records must change
/// nothing.
fn played(
    data: &[u8],
    begin: impl Fn(&mut Tap, u8),
    wire: for<'a> fn(&Piece<'a>) -> Cow<'a, [u8]>,
) -> [Ended; 2] {
    let mut input = Input::new(data);
    let flags = input.byte();
    let pieces: Vec<Piece<'_>> = input.pieces().collect();
    let play = |tap: &mut Tap, bytes: usize, next: SegmentStart| {
        begin(tap, flags);
        for piece in &pieces {
            let mut start = SegmentStart::Call;
            for record in wire(piece).chunks(bytes) {
                tap.record(piece.direction, record, start);
                start = next;
            }
        }
        tap.end()
    };
    let bytes = input::call_bytes(flags);
    TAPS.with_borrow_mut(|Taps { whole, cut, .. }| {
        let whole = play(whole, usize::MAX, SegmentStart::Call);
        let records = play(cut, bytes, SegmentStart::Middle);
        assert_eq!(records.seen, whole.seen, "whole and cut into records");
        assert_eq!(records.encrypted, whole.encrypted, "whole and cut into records");
        [whole, play(cut, bytes, SegmentStart::Call)]
    })
}

fn upgraded(tap: &mut Tap, flags: u8) {
    let asking = if flags & 1 == 0 { Direction::Sent } else { Direction::Received };
    tap.call(asking, REQUEST.as_bytes());
    let deflate = DEFLATE[usize::from(flags >> 1 & 3)];
    tap.call(asking.opposite(), format!("{ANSWER}{deflate}\r\n").as_bytes());
}

/// Valid frames with any DEFLATE data in them; bit 14 of a piece says that it ends its message.
pub fn inflate(data: &[u8]) -> Trace {
    let mut input = Input::new(data);
    let flags = input.byte();
    // Compression is always on here.
    let flags = if flags & 6 == 0 { flags | 2 } else { flags };
    let mut open = [false; 2];
    TAPS.with_borrow_mut(|Taps { whole, .. }| {
        upgraded(whole, flags);
        for piece in input.pieces() {
            let within = &mut open[piece.direction.index()];
            let opcode = if *within { 0 } else { 0x41 + (flags >> 7) };
            *within = !piece.flag;
            let sent_by_client = (piece.direction == Direction::Sent) == (flags & 1 == 0);
            let first = opcode | if piece.flag { 0x80 } else { 0 };
            whole.call(piece.direction, &input::frame(first, sent_by_client, piece.bytes));
        }
        whole.end().trace
    })
}

/// Any segments of four connections: holes, repetitions, what is not from the beginning, ends.
pub fn records(data: &[u8]) -> Trace {
    let mut input = Input::new(data);
    TAPS.with_borrow_mut(|Taps { whole, .. }| {
        while !input.is_empty() {
            let (what, how) = (input.byte(), input.byte());
            let conn = u32::from(what & 3);
            if what & 0xFC == 0xFC {
                let [sent, received] = [input.word(), input.word()].map(u64::from);
                whole.event(conn, EventKind::Closed { sent, received });
                continue;
            }
            let direction = Direction::BOTH[usize::from(what >> 2 & 1)];
            // Mostly where the last one ended; else near it, or anywhere.
            let offset = match what >> 3 & 7 {
                0..=4 => whole.offset(conn, direction),
                5 => whole.offset(conn, direction).saturating_add(input.word().into()),
                6 => whole.offset(conn, direction).saturating_sub(input.word().into()),
                _ => u64::from(input.word()) << ((what >> 6) * 16),
            };
            let bytes = input.piece().bytes;
            let absent =
                if how & 1 == 0 { 0 } else { u64::from(input.word()) << ((how >> 6) * 16) };
            let segment = Segment {
                direction,
                offset,
                len: (bytes.len() as u64).saturating_add(absent),
                bytes,
                absent: [Absent::Skipped, Absent::CopyFailed, Absent::CallTooLarge]
                    [usize::from(how >> 1 & 3).min(2)],
                start: [
                    SegmentStart::Call,
                    SegmentStart::Middle,
                    SegmentStart::FrameHeader,
                    SegmentStart::StreamFrameHeader,
                    SegmentStart::Http2Header,
                ][usize::from(how >> 3 & 7).min(4)],
            };
            whole.event(conn, EventKind::Data(segment));
        }
        whole.end().trace
    })
}

/// Messages of one protocol's own rules, or of the detection; bit 14 of a piece says binary.
pub fn rules(data: &[u8]) -> Trace {
    let mut input = Input::new(data);
    let flags = input.byte();
    let protocol = input.byte();
    TAPS.with_borrow_mut(|Taps { forced, .. }| {
        let tap = forced.entry(protocol % 64).or_insert_with_key(|it| Tap::new(Some(*it)));
        upgraded(tap, flags & 1);
        for piece in input.pieces() {
            let sent_by_client = (piece.direction == Direction::Sent) == (flags & 1 == 0);
            let first = if piece.flag { 0x82 } else { 0x81 };
            tap.call(piece.direction, &input::frame(first, sent_by_client, piece.bytes));
        }
        tap.end().trace
    })
}

/// Any file as an executable or a library: a probe, if any, is inside it, and the work is bounded.
pub fn elf(data: &[u8]) -> Trace {
    let mut trace = Trace::default();
    for site in [SitePreference::default(), SitePreference::Symbol] {
        let (planned, work) = plan_counted(data, Evidence::default(), &Options { site });
        assert!(work.is_within(&Work::bound(data.len() as u64)), "{work:?}");
        if let Err(error) = &planned {
            trace.add(&error.is_refusal());
        }
        let Ok(plan) = planned else { continue };
        for library in &plan.libraries {
            trace.add(&(&library.stack, &library.verdict, &library.symbols, library.linkage));
            for probe in &library.probes {
                assert!(probe.offset < data.len() as u64, "{probe:?} in {} bytes", data.len());
            }
        }
    }
    trace
}
