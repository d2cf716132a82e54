mod chance;
mod several;

use super::*;
use crate::event::zlib::{INPUT_BYTES, RawStream, TAIL_BYTES, Window, ZlibCall, ZlibLook};

const TRAILER: [u8; 4] = [0, 0, 0xff, 0xff];
const SIZE: usize = 32 << 10;

/// The kernel side copies the window with every third call.
const WINDOW_EVERY: usize = 3;

/// Between two messages: a process that has time to rest.
const PAUSE_NS: u64 = 5_000_000;

/// One direction of a connection, whose messages go through zlib in the tapped process.
struct Zlib {
    direction: Direction,
    stream: u64,
    deflater: Deflater,
    history: Vec<u8>,
    compressed: u64,
    /// The window is copied at the next call.
    shows: bool,
    /// Calls so far.
    calls: usize,
}

impl Zlib {
    /// One that has passed some messages before anybody looked.
    fn new(direction: Direction, stream: u64, before: &[&str]) -> Self {
        let (deflater, history) = (Deflater::new(true), Vec::new());
        let mut zlib =
            Self { direction, stream, deflater, history, compressed: 0, shows: true, calls: 0 };
        for message in before {
            zlib.compress(message.as_bytes());
        }
        zlib
    }

    fn compress(&mut self, message: &[u8]) -> Vec<u8> {
        let payload = self.deflater.message(message);
        self.history.extend_from_slice(message);
        self.compressed += (payload.len() + TRAILER.len()) as u64;
        payload
    }

    /// What is seen where zlib is called with `input`.
    fn look<'a>(&'a self, input: &'a [u8]) -> RawStream<'a> {
        let plain = self.history.len() as u64;
        let (total_in, total_out) = match self.direction {
            Received => (self.compressed, plain),
            Sent => (plain, self.compressed),
        };
        let window = &self.history[self.history.len().saturating_sub(SIZE)..];
        let (older, newer) = window.split_at(window.len() / 3);
        RawStream {
            total_in,
            total_out,
            input_len: input.len() as u64,
            input: &input[..input.len().min(INPUT_BYTES)],
            tail: &window[window.len().saturating_sub(TAIL_BYTES)..],
            window: self.shows.then_some(Window { size: SIZE, pieces: [older, newer] }),
        }
    }

    fn call(&self, tape: &mut Tape, input: &[u8]) {
        let what = ZlibLook::Raw(self.look(input));
        tape.call(self.stream, self.direction, what);
    }

    /// A message passes: through zlib, and over the connection.
    fn message(&mut self, tape: &mut Tape, message: &str) {
        self.pass(tape, message, true);
    }

    /// The same, where what passes on the connection may not be seen.
    fn pass(&mut self, tape: &mut Tape, message: &str, is_seen: bool) {
        tape.now_ns += PAUSE_NS;
        let message = message.as_bytes();
        let first = FIN | RSV1 | TEXT;
        if self.direction == Sent {
            self.call(tape, message);
            let payload = self.compress(message);
            if is_seen {
                tape.pass(Sent, &plain(first, &payload));
            }
        } else {
            let before = (self.history.len(), self.compressed);
            let payload = self.compress(message);
            if is_seen {
                tape.pass(Received, &masked(first, &payload));
            }
            let whole = [&payload[..], &TRAILER].concat();
            let after = (std::mem::take(&mut self.history), self.compressed);
            self.history = after.0[..before.0].to_vec();
            self.compressed = before.1;
            self.call(tape, &whole);
            (self.history, self.compressed) = after;
        }
        self.calls += 1;
        self.shows = self.calls.is_multiple_of(WINDOW_EVERY);
    }
}

impl Tape {
    fn call(&mut self, stream: u64, direction: Direction, what: ZlibLook<'_>) {
        self.now_ns += self.tick_ns;
        let (tgid, tid, at_ns) = (CONN.tgid, 7, self.now_ns);
        self.tracker.zlib_call(&ZlibCall { tgid, tid, at_ns, missed: 0, stream, direction, what });
    }

    /// Whether zlib was asked to be looked at, with each change since the last call.
    fn wanted(&mut self) -> Vec<bool> {
        self.tracker.window_requests().map(|request| request.is_wanted).collect()
    }

    /// A server met in mid-stream, whose frames are known, and whose next messages cannot be read.
    fn met(ways: &mut [&mut Zlib]) -> Self {
        let mut tape = Self::new();
        tape.start = SegmentStart::FrameHeader;
        for way in ways {
            way.shows = false;
            let payload = way.compress(id(1).as_bytes());
            let first = FIN | RSV1 | TEXT;
            let frame = if way.direction == Sent {
                plain(first, &payload)
            } else {
                masked(first, &payload)
            };
            tape.pass(way.direction, &frame);
            way.shows = true;
        }
        tape.said();
        tape
    }
}

/// A message with an id of its own, much like the one before.
fn id(number: usize) -> String {
    format!("{{\"jsonrpc\": \"2.0\", \"id\": {number}, \"method\": \"quick\", \"params\": {{}}}}")
}

const BEFORE: [&str; 2] = [
    "{\"jsonrpc\": \"2.0\", \"id\": 98, \"method\": \"quick\", \"params\": {}}",
    "{\"jsonrpc\": \"2.0\", \"id\": 99, \"method\": \"quick\", \"params\": {}}",
];

/// The contents of messages that could be read.
fn contents(said: &[String]) -> Vec<String> {
    let message =
        |line: &String| Some(line.split_once(" message of ")?.1.split_once(": ")?.1.to_owned());
    said.iter()
        .filter_map(message)
        .filter(|it| !it.is_empty())
        .map(|it| it.replace('\\', ""))
        .collect()
}

#[test]
fn a_direction_is_read_after_two_more_looks_at_the_window_of_its_stream() {
    for direction in [Sent, Received] {
        let mut zlib = Zlib::new(direction, 0x1000, &BEFORE);
        let mut tape = Tape::met(&mut [&mut zlib]);
        assert_eq!(tape.wanted(), [true]);
        for number in 2..10 {
            zlib.message(&mut tape, &id(number));
        }
        let said = tape.said();
        let read = contents(&said);
        assert!(read.len() >= 4, "{said:#?}");
        assert_eq!(read.last(), Some(&id(9)));
        let expected: Vec<_> = (10 - read.len()..10).map(id).collect();
        assert_eq!(read, expected);
        assert_eq!(
            tape.counts.windows,
            [(direction, "asked", "none"), (direction, "proven", "none")]
        );
        assert_eq!(tape.wanted(), [false]);
        assert!(
            said.iter().any(|line| line == "state server/no_content -> server/full"),
            "{said:?}"
        );
        tape.close();
        tape.assert_nothing_is_kept();
    }
}

#[test]
fn streams_of_other_connections_are_not_taken_for_it() {
    for direction in [Sent, Received] {
        let mut zlib = Zlib::new(direction, 0x1000, &BEFORE);
        let mut other = Zlib::new(direction, 0x2000, &["what somebody else has said"]);
        let mut tape = Tape::met(&mut [&mut zlib]);
        for number in 2..8 {
            // The other one says the same, from another window.
            other.call(&mut tape, id(number).as_bytes());
            other.compress(id(number).as_bytes());
            zlib.message(&mut tape, &id(number));
        }
        let said = tape.said();
        assert_eq!(contents(&said).last(), Some(&id(7)), "{direction:?} {said:#?}");
    }
}

#[test]
fn two_streams_that_say_the_same_bytes_yield_nothing_that_did_not_pass() {
    // Nothing of what was before is referred to, so each explains what passes.
    let before = ["one thing that was said before: 0123456789", "another thing: abcdefghijklm"];
    let mut zlib = Zlib::new(Received, 0x1000, &[before[0]]);
    let mut other = Zlib::new(Received, 0x2000, &[before[1]]);
    let mut tape = Tape::met(&mut [&mut zlib]);
    other.compress(id(1).as_bytes());
    // The same bytes, one after the other, and the totals of the other one made equal.
    other.compressed = zlib.compressed;
    let mut same = 0;
    for number in 2..12 {
        let text = id(number);
        let history = other.history.len();
        zlib.message(&mut tape, &text);
        let payload = other.compress(text.as_bytes());
        let whole = [&payload[..], &TRAILER].concat();
        let after = std::mem::take(&mut other.history);
        other.history = after[..history].to_vec();
        other.compressed -= (payload.len() + TRAILER.len()) as u64;
        other.call(&mut tape, &whole);
        other.compressed += (payload.len() + TRAILER.len()) as u64;
        other.history = after;
        other.shows = false;
        same += usize::from(other.compressed == zlib.compressed);
    }
    assert_eq!(same, 10, "the two say the same bytes");
    // The looks may prove it before the other one has shown as much. What was read was right all the
    // same.
    let read = contents(&tape.said());
    assert!(read.iter().all(|it| (2..12).any(|number| *it == id(number))), "{read:?}");
}

/// With ids that count up, every tenth message has the same compressed bytes.
#[test]
fn messages_are_not_put_beside_calls_of_a_while_ago_that_look_the_same() {
    for direction in [Sent, Received] {
        let mut other = Zlib::new(direction.opposite(), 0x9000, &BEFORE);
        let mut tape = Tape::met(&mut [&mut other]);
        let mut zlib = Zlib::new(direction, 0x1000, &[]);
        (0..20).for_each(|number| drop(zlib.compress(id(number).as_bytes())));
        for number in 20..70 {
            zlib.shows = number % 8 == 4;
            // zlib is looked at for the other direction before anything passes in this one.
            zlib.pass(&mut tape, &id(number), number >= 30);
        }
        let read = contents(&tape.said());
        let expected: Vec<_> = (70 - read.len()..70).map(id).collect();
        assert_eq!(read, expected);
        assert!(read.len() >= 20, "{direction:?}: {read:?}");
    }
}

/// Messages may wait inside of the process, and look like each other.
#[test]
fn nothing_is_read_while_calls_and_messages_follow_each_other_without_a_rest() {
    for direction in [Sent, Received] {
        let mut zlib = Zlib::new(direction, 0x1000, &BEFORE);
        let mut tape = Tape::met(&mut [&mut zlib]);
        tape.now_ns += PAUSE_NS;
        for number in 2..20 {
            tape.now_ns -= PAUSE_NS;
            zlib.message(&mut tape, &id(number));
        }
        assert_eq!(contents(&tape.said()), Vec::<String>::new());
        for number in 20..30 {
            zlib.shows = number % WINDOW_EVERY == 0;
            zlib.message(&mut tape, &id(number));
        }
        assert_eq!(contents(&tape.said()).last(), Some(&id(29)));
    }
}

/// Several are read at once and then inflated one by one, or deflated and then written at once.
#[test]
fn messages_that_come_in_bursts_are_read_after_some_bursts() {
    for direction in [Sent, Received] {
        let mut zlib = Zlib::new(direction, 0x1000, &BEFORE);
        let mut tape = Tape::met(&mut [&mut zlib]);
        let numbers: Vec<usize> = (2..58).collect();
        for burst in numbers.chunks(8) {
            tape.now_ns += PAUSE_NS;
            let before = zlib.compressed;
            let texts: Vec<_> = burst.iter().map(|&number| id(number)).collect();
            let start = zlib.history.len();
            let payloads: Vec<_> = texts.iter().map(|it| zlib.compress(it.as_bytes())).collect();
            let after = (zlib.history.clone(), zlib.compressed);
            let frame = |payload: &Vec<u8>| match direction {
                Sent => plain(FIN | RSV1 | TEXT, payload),
                Received => masked(FIN | RSV1 | TEXT, payload),
            };
            let pass = |tape: &mut Tape| {
                payloads.iter().for_each(|payload| tape.pass(direction, &frame(payload)));
            };
            if direction == Received {
                pass(&mut tape);
            }
            zlib.history.truncate(start);
            zlib.compressed = before;
            for (text, payload) in texts.iter().zip(&payloads) {
                let whole = [&payload[..], &TRAILER].concat();
                let input = if direction == Sent { text.as_bytes() } else { &whole };
                zlib.shows = zlib.calls.is_multiple_of(WINDOW_EVERY);
                zlib.call(&mut tape, input);
                zlib.calls += 1;
                zlib.history.extend_from_slice(text.as_bytes());
                zlib.compressed += whole.len() as u64;
            }
            if direction == Sent {
                pass(&mut tape);
            }
            (zlib.history, zlib.compressed) = after;
        }
        let read = contents(&tape.said());
        let expected: Vec<_> = (58 - read.len()..58).map(id).collect();
        assert_eq!(read, expected);
        assert!(read.len() >= 16, "{direction:?}: {read:?}");
    }
}

#[test]
fn a_window_that_is_not_the_right_one_is_never_believed() {
    for direction in [Sent, Received] {
        let mut zlib = Zlib::new(direction, 0x1000, &BEFORE);
        let mut tape = Tape::met(&mut [&mut zlib]);
        for number in 2..20 {
            let message = id(number);
            let before = zlib.history.clone();
            // The state lies: what it shows is not what the stream refers to.
            let at = zlib.history.len() - 40;
            zlib.history[at] ^= 1;
            zlib.shows = true;
            zlib.message(&mut tape, &message);
            zlib.history = [&before[..], message.as_bytes()].concat();
        }
        assert_eq!(contents(&tape.said()), Vec::<String>::new());
    }
}

#[test]
fn a_hole_ends_what_was_found_so_far_and_the_next_window_begins_anew() {
    for direction in [Sent, Received] {
        let mut zlib = Zlib::new(direction, 0x1000, &BEFORE);
        let mut tape = Tape::met(&mut [&mut zlib]);
        for number in 2..4 {
            zlib.message(&mut tape, &id(number));
        }
        // Of one message nothing is seen.
        let payload = zlib.compress(id(4).as_bytes());
        let frame = match direction {
            Sent => plain(FIN | RSV1 | TEXT, &payload),
            Received => masked(FIN | RSV1 | TEXT, &payload),
        };
        tape.lose(direction, &frame);
        zlib.shows = true;
        for number in 5..12 {
            zlib.message(&mut tape, &id(number));
        }
        let read = contents(&tape.said());
        assert_eq!(read.last(), Some(&id(11)));
        assert!(read.iter().all(|it| (2..12).any(|number| *it == id(number))), "{read:?}");
    }
}

#[test]
fn a_direction_that_has_lost_its_window_is_read_again() {
    let mut tape = Tape::deflate("");
    let mut zlib = Zlib::new(Received, 0x1000, &[]);
    let pass = |tape: &mut Tape, number: usize, zlib: &mut Zlib| {
        let history = zlib.history.clone();
        let compressed = zlib.compressed;
        tape.now_ns += PAUSE_NS;
        let payload = zlib.compress(id(number).as_bytes());
        tape.pass(Received, &plain(FIN | RSV1 | TEXT, &payload));
        let whole = [&payload[..], &TRAILER].concat();
        let after = (std::mem::replace(&mut zlib.history, history), zlib.compressed);
        zlib.compressed = compressed;
        zlib.call(tape, &whole);
        (zlib.history, zlib.compressed) = after;
    };
    pass(&mut tape, 0, &mut zlib);
    assert_eq!(contents(&tape.said()), [id(0)]);
    let payload = zlib.compress(id(1).as_bytes());
    tape.lose(Received, &plain(FIN | RSV1 | TEXT, &payload));
    tape.start = SegmentStart::FrameHeader;
    for number in 2..10 {
        pass(&mut tape, number, &mut zlib);
    }
    assert_eq!(contents(&tape.said()).last(), Some(&id(9)));
}

#[test]
fn zlib_is_left_alone_where_it_compresses_other_things() {
    let mut zlib = Zlib::new(Sent, 0x1000, &BEFORE);
    let mut tape = Tape::met(&mut [&mut zlib]);
    assert_eq!(tape.wanted(), [true]);
    for _ in 0..300 {
        tape.call(0x5000, Sent, ZlibLook::Other);
    }
    assert_eq!(tape.wanted(), [false]);
    // It is looked at again, later.
    tape.now_ns += 11_000_000_000;
    tape.pass(Sent, &plain(FIN | RSV1 | TEXT, &zlib.compress(id(2).as_bytes())));
    assert_eq!(tape.wanted(), [true]);
    zlib.shows = true;
    for number in 3..10 {
        zlib.message(&mut tape, &id(number));
    }
    assert_eq!(contents(&tape.said()).last(), Some(&id(9)));
}

#[test]
fn waiting_in_vain_ends_with_a_reason() {
    for (what, reason) in [(None, "no_call"), (Some(ZlibLook::UnknownLayout), "unknown_layout")] {
        let mut zlib = Zlib::new(Sent, 0x1000, &BEFORE);
        let mut tape = Tape::met(&mut [&mut zlib]);
        for number in 2..80 {
            tape.now_ns += 1_000_000_000;
            if let Some(what) = what {
                tape.call(0x1000, Sent, what);
            }
            tape.pass(Sent, &plain(FIN | RSV1 | TEXT, &zlib.compress(id(number).as_bytes())));
        }
        assert_eq!(tape.counts.windows, [(Sent, "asked", "none"), (Sent, "refused", reason)]);
        assert_eq!(contents(&tape.said()), Vec::<String>::new());
        assert_eq!(tape.wanted(), [true, false]);
    }
}

#[test]
fn nobody_is_asked_where_windows_are_not_to_be_looked_for() {
    let mut zlib = Zlib::new(Sent, 0x1000, &BEFORE);
    let mut tape = Tape::with(Limits { finds_windows: false, ..Limits::default() });
    tape.start = SegmentStart::FrameHeader;
    for number in 1..5 {
        tape.pass(Sent, &plain(FIN | RSV1 | TEXT, &zlib.compress(id(number).as_bytes())));
    }
    assert_eq!(tape.wanted(), Vec::<bool>::new());
    assert!(tape.counts.windows.is_empty());
}

#[test]
fn any_state_neither_panics_nor_yields_an_id_that_did_not_pass() {
    let mut seed = 7_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    for round in 0..300 {
        let direction = if round % 2 == 0 { Sent } else { Received };
        let mut zlib = Zlib::new(direction, 0x1000, &BEFORE);
        let mut tape = Tape::met(&mut [&mut zlib]);
        for number in 2..14 {
            zlib.shows = next() % 3 == 0;
            let message = id(number);
            // In between, calls whose state is like the true one, but not quite.
            for _ in 0..next() % 3 {
                let input = message.clone().into_bytes();
                let mut look = zlib.look(&input);
                let mut window =
                    [look.window.map_or(&[][..], |it| it.pieces[0]).to_vec(), Vec::new()];
                match next() % 5 {
                    0 => look.total_in = next() as u64,
                    1 => look.total_out = u64::MAX - next() as u64,
                    2 => look.input_len = next() as u64,
                    3 => window[next() % 2] = vec![next() as u8; next() % 70_000],
                    _ => look.tail = &input[next() % input.len()..],
                }
                let size = next();
                let [older, newer] = &window;
                look.window = Some(Window { size, pieces: [older, newer] });
                let stream = 0x1000 * (1 + next() as u64 % 2);
                tape.call(stream, direction, ZlibLook::Raw(look));
            }
            zlib.message(&mut tape, &message);
        }
        for content in contents(&tape.said()) {
            assert!((1..14).any(|number| content == id(number)), "{content}");
        }
        tape.close();
        tape.assert_nothing_is_kept();
    }
}
