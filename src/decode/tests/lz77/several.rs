//! Directions of several connections of one process.

use super::*;
use crate::decode::lz77::{Search, Ticket};
use crate::event::Stamp;

const TGID: u32 = 5;
const TID: u32 = 7;

/// A process whose connections send.
struct Busy {
    search: Search,
    now_ns: u64,
}

/// One of its connections.
struct Way {
    zlib: Zlib,
    /// `None` where what passes can be read.
    ticket: Option<Ticket>,
    /// Its window is known.
    is_ready: bool,
    /// That window is the right one.
    is_right: bool,
}

impl Busy {
    fn new() -> Self {
        Self { search: Search::new(true, 1 << 20), now_ns: 1_000_000_000 }
    }

    /// A connection that was there before.
    fn way(&mut self, stream: u64, before: &str) -> Way {
        let zlib = Zlib::new(Sent, stream, &[before]);
        let ticket = self.search.join(TGID, Sent, false, self.now_ns).ok();
        assert!(ticket.is_some());
        Way { zlib, ticket, is_ready: false, is_right: false }
    }

    /// One whose beginning was seen.
    fn read(stream: u64, before: &str) -> Way {
        let zlib = Zlib::new(Sent, stream, &[before]);
        Way { zlib, ticket: None, is_ready: true, is_right: true }
    }

    /// zlib is called, and what came of that passes a while later.
    fn call(&mut self, way: &mut Way, message: &str) -> Vec<u8> {
        self.now_ns += PAUSE_NS;
        let (input, stream) = (message.as_bytes(), way.zlib.stream);
        let what = ZlibLook::Raw(way.zlib.look(input));
        let (tgid, tid, at_ns) = (TGID, TID, self.now_ns);
        self.search.call(&ZlibCall { tgid, tid, at_ns, missed: 0, stream, direction: Sent, what });
        let payload = way.zlib.compress(input);
        way.zlib.calls += 1;
        way.zlib.shows = way.zlib.calls.is_multiple_of(WINDOW_EVERY);
        payload
    }

    fn pass(&mut self, way: &mut Way, payload: Vec<u8>) {
        self.now_ns += 1_000;
        if let Some(ticket) = way.ticket.as_ref().filter(|_| !way.is_ready) {
            self.search.message(ticket, payload, Stamp { at_ns: self.now_ns, tid: TID });
            if let Some(inflater) = self.search.take(ticket) {
                let known = inflater.last(way.zlib.history.len());
                (way.is_ready, way.is_right) = (true, known.as_deref() == Some(&way.zlib.history));
            }
        }
    }
}

/// Both say something before either passes it on, so that the order tells nothing.
fn talk(busy: &mut Busy, ways: &mut [Way; 2], messages: [String; 2]) {
    let said = ways.iter_mut().zip(messages);
    let payloads: Vec<_> = said.map(|(way, message)| busy.call(way, &message)).collect();
    for (way, payload) in ways.iter_mut().zip(payloads) {
        busy.now_ns += PAUSE_NS;
        busy.pass(way, payload);
    }
}

#[test]
fn one_misleading_sign_does_not_outweigh_a_long_proof() {
    let mut busy = Busy::new();
    let mut ways = [busy.way(0x1000, "what one has said"), busy.way(0x2000, "and the other one")];
    // The call for the second one's message was not seen: it seems to have been the first one's.
    let unseen = ways[1].zlib.compress(id(1).as_bytes());
    let [first, second] = &mut ways;
    let payload = busy.call(first, &id(1));
    busy.pass(second, unseen);
    busy.pass(first, payload);
    for number in 2..30 {
        talk(&mut busy, &mut ways, [id(number), id(number * 1000)]);
    }
    assert!(ways.iter().all(|way| way.is_ready && way.is_right));
}

/// Which of two streams in the same state is taken for a direction makes no difference to it, but to the
/// other direction, whose own it may have been.
#[test]
fn a_direction_whose_stream_was_taken_for_another_one_is_read_later() {
    // Whichever of them calls zlib first.
    for (left, other) in [(0, 1), (1, 0)] {
        let mut busy = Busy::new();
        let mut ways = [0x1000, 0x2000].map(|stream| busy.way(stream, "both have said the same"));
        for number in 1..40 {
            if ways[other].is_ready {
                break;
            }
            talk(&mut busy, &mut ways, [id(number), id(number)]);
            busy.search.hole(ways[left].ticket.as_ref().expect("it waits"));
        }
        assert!(ways[other].is_ready && !ways[left].is_ready);
        for number in 40..120 {
            // From here on each says something of its own.
            let [first, second] = &mut ways;
            for (way, name) in [(first, "first"), (second, "second")] {
                let payload = busy.call(way, &id(number).replace("quick", name));
                busy.pass(way, payload);
            }
        }
        assert!(ways.iter().all(|way| way.is_ready && way.is_right), "{left}");
    }
}

/// The compressed bytes are the same on both connections, which differ in what they refer to.
#[test]
fn a_stream_that_is_not_known_well_yet_is_not_overlooked_for_another_one() {
    let mut busy = Busy::new();
    let mut way = busy.way(0x1000, "said by one: 0");
    let mut other = Busy::read(0x2000, "said by one: 1");
    for number in 0..60 {
        let theirs = busy.call(&mut other, "said by one: again");
        // This window is seen late.
        way.zlib.shows &= number > 5;
        let payload = busy.call(&mut way, "said by one: again");
        assert_eq!(theirs, payload);
        busy.pass(&mut way, payload);
    }
    assert!(!way.is_ready || way.is_right);
    for number in 0..30 {
        busy.call(&mut other, "said by one: something else");
        let payload = busy.call(&mut way, &id(number));
        busy.pass(&mut way, payload);
    }
    assert!(way.is_ready && way.is_right);
}
