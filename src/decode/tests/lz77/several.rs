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
    ticket: Ticket,
    /// Its window is known.
    is_ready: bool,
}

impl Busy {
    fn new() -> Self {
        Self { search: Search::new(true, 1 << 20), now_ns: 1_000_000_000 }
    }

    /// A connection that was there before.
    fn way(&mut self, stream: u64, before: &str) -> Way {
        let zlib = Zlib::new(Sent, stream, &[before]);
        let ticket = self.search.join(TGID, Sent, false, self.now_ns).expect("a ticket");
        Way { zlib, ticket, is_ready: false }
    }

    /// zlib is called, and what came of that passes a while later.
    fn call(&mut self, way: &mut Way, message: &str) -> Vec<u8> {
        self.now_ns += PAUSE_NS;
        let (input, stream) = (message.as_bytes(), way.zlib.stream);
        let what = ZlibLook::Raw(way.zlib.look(input));
        let (tgid, tid, at_ns) = (TGID, TID, self.now_ns);
        self.search.call(&ZlibCall { tgid, tid, at_ns, stream, direction: Sent, what });
        let payload = way.zlib.compress(input);
        way.zlib.calls += 1;
        way.zlib.shows = way.zlib.calls.is_multiple_of(WINDOW_EVERY);
        payload
    }

    fn pass(&mut self, way: &mut Way, payload: Vec<u8>) {
        self.now_ns += 1_000;
        if !way.is_ready {
            self.search.message(&way.ticket, payload, Stamp { at_ns: self.now_ns, tid: TID });
            way.is_ready = self.search.take(&way.ticket).is_some();
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
    assert!(ways.iter().all(|way| way.is_ready));
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
            busy.search.hole(&ways[left].ticket);
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
        assert!(ways[left].is_ready, "{left}");
    }
}
