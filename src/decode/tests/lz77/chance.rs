//! Processes whose connections say much the same, in an order that chance makes. Whatever was seen of
//! them and whatever was not, a window that is believed is the right one.

use std::collections::VecDeque;

use super::*;
use crate::decode::lz77::{Search, Ticket};
use crate::event::Stamp;

const TGID: u32 = 5;

/// The longest that a message waits inside of the process, in nanoseconds.
const INSIDE_NS: u64 = 1_500_000;

struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// What a process may do.
#[derive(Clone, Copy, Debug)]
struct Manners {
    connections: usize,
    /// Of so many messages one is never seen,
    loses: usize,
    /// and of so many calls one.
    misses: usize,
    /// Of so many messages one is of the connection's own making.
    says_own: usize,
    /// Messages may wait inside.
    keeps: bool,
    /// The beginning of some connections was seen.
    knows_some: bool,
}

/// One direction of a connection.
struct Way {
    name: char,
    zlib: Zlib,
    /// It waits once it has said something.
    is_known: bool,
    ticket: Option<Ticket>,
    is_ready: bool,
    /// What has passed on the connection.
    passed: Vec<u8>,
    /// What is inside of the process, since when, and whether it will be seen.
    inside: VecDeque<(Vec<u8>, Vec<u8>, u64)>,
    messages: usize,
}

impl Way {
    fn new(index: usize, direction: Direction, is_known: bool) -> Self {
        let name = char::from(b'A' + index as u8);
        let before: Vec<String> = (0..3).map(|number| text(name, number)).collect();
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        let zlib = Zlib::new(direction, 0x1000 * (1 + index as u64), &before);
        let passed = zlib.history.clone();
        let (ticket, inside) = (None, VecDeque::new());
        Self { name, zlib, is_known, ticket, is_ready: false, passed, inside, messages: 3 }
    }
}

/// The same bytes for all when compressed, and other ones when not.
fn text(name: char, number: usize) -> String {
    format!("{{\"jsonrpc\": \"2.0\", \"id\": {number}, \"result\": {{\"of\": \"way {name}\"}}}}")
}

struct World {
    chance: Chance,
    manners: Manners,
    search: Search,
    ways: Vec<Way>,
    direction: Direction,
    now_ns: u64,
    missed: u32,
}

impl World {
    fn new(seed: u64, direction: Direction, manners: Manners) -> Self {
        let mut chance = Chance(seed);
        let known = |chance: &mut Chance| manners.knows_some && chance.one_in(3);
        let ways = (0..manners.connections)
            .map(|it| Way::new(it, direction, known(&mut chance)))
            .collect();
        let search = Search::new(true, 1 << 20);
        Self { chance, manners, search, ways, direction, now_ns: 1_000_000_000, missed: 0 }
    }

    fn pass_time(&mut self, ns: usize) {
        self.now_ns += 1 + self.chance.below(ns) as u64;
    }

    /// zlib is called, if that is seen.
    fn call(&mut self, way: usize, input: &[u8]) {
        if self.chance.one_in(self.manners.misses) {
            self.missed += 1;
            return;
        }
        let shows = !self.chance.one_in(3);
        let way = &mut self.ways[way];
        way.zlib.shows = shows;
        let what = ZlibLook::Raw(way.zlib.look(input));
        let (at_ns, missed, direction) = (self.now_ns, self.missed, self.direction);
        let stream = way.zlib.stream;
        self.search.call(&ZlibCall { tgid: TGID, tid: 7, at_ns, missed, stream, direction, what });
    }

    /// A message passes on the connection, if that is seen.
    fn pass(&mut self, index: usize, text: &[u8], payload: Vec<u8>) {
        let is_lost = self.chance.one_in(self.manners.loses);
        let way = &mut self.ways[index];
        way.passed.extend_from_slice(text);
        if way.is_known || way.is_ready {
            return;
        }
        if is_lost {
            way.ticket.iter().for_each(|ticket| self.search.hole(ticket));
            return;
        }
        let stamp = Stamp { at_ns: self.now_ns, tid: 7 };
        if way.ticket.is_none() {
            way.ticket = self.search.join(TGID, self.direction, false, self.now_ns).ok();
        }
        let Some(ticket) = &way.ticket else { return };
        self.search.message(ticket, payload, stamp);
        if let Some(inflater) = self.search.take(ticket) {
            way.is_ready = true;
            let known = inflater.last(way.passed.len());
            assert_eq!(known.as_deref(), Some(&way.passed[..]), "{}: {:?}", way.name, self.manners);
            way.ticket.take().into_iter().for_each(|ticket| self.search.leave(ticket));
        }
    }

    /// A connection says something.
    fn say(&mut self, index: usize) {
        let is_own = self.chance.one_in(self.manners.says_own);
        let own = "own ".repeat(1 + self.chance.below(9));
        let way = &mut self.ways[index];
        way.messages += 1;
        let mut said = text(way.name, way.messages);
        if is_own {
            said.push_str(&own);
        }
        let said = said.into_bytes();
        if self.direction == Sent {
            self.call(index, &said);
            let payload = self.ways[index].zlib.compress(&said);
            self.ways[index].inside.push_back((said, payload, self.now_ns));
        } else {
            // It is inflated later, when it leaves the inside.
            let way = &mut self.ways[index];
            let payload = way.zlib.deflater.message(&said);
            self.pass(index, &said, payload.clone());
            self.ways[index].inside.push_back((said, payload, self.now_ns));
        }
    }

    /// A message that was inside goes on.
    fn release(&mut self, index: usize) {
        let Some((said, payload, _)) = self.ways[index].inside.pop_front() else { return };
        self.pass_time(50_000);
        if self.direction == Sent {
            return self.pass(index, &said, payload);
        }
        let whole = [&payload[..], &TRAILER].concat();
        self.call(index, &whole);
        let zlib = &mut self.ways[index].zlib;
        zlib.history.extend_from_slice(&said);
        zlib.compressed += whole.len() as u64;
    }

    fn release_all(&mut self) {
        while let Some(index) = self.ways.iter().position(|it| !it.inside.is_empty()) {
            self.release(index);
        }
    }

    fn step(&mut self) {
        let count = self.ways.len();
        let index = self.chance.below(count);
        self.say(index);
        let oldest = self.ways.iter().filter_map(|it| Some(it.inside.front()?.2)).min();
        let is_late = oldest.is_some_and(|since_ns| self.now_ns - since_ns > INSIDE_NS);
        if !self.manners.keeps || is_late {
            self.release_all();
        } else if self.chance.one_in(2) {
            let index = self.chance.below(count);
            self.release(index);
        }
        self.pass_time(100_000);
        if self.chance.one_in(3) {
            self.release_all();
            self.now_ns += PAUSE_NS;
        }
    }
}

const MANNERS: Manners = Manners {
    connections: 4,
    loses: usize::MAX,
    misses: usize::MAX,
    says_own: 5,
    keeps: false,
    knows_some: false,
};

#[test]
fn no_window_is_wrong_whatever_is_missed() {
    // In the last three the first call after a rest is missed, or a stream that belongs to no
    // direction that waits is called in its stead.
    for seed in (0..240).chain([2633, 6270, 6277]) {
        let mut chance = Chance(seed);
        let manners = Manners {
            connections: 2 + chance.below(6),
            loses: [usize::MAX, 30, 8][chance.below(3)],
            misses: [usize::MAX, 40, 6, 2][chance.below(4)],
            says_own: [usize::MAX, 20, 4][chance.below(3)],
            keeps: chance.one_in(2),
            knows_some: chance.one_in(2),
        };
        for direction in [Sent, Received] {
            let mut world = World::new(seed, direction, manners);
            (0..60 * manners.connections).for_each(|_| world.step());
        }
    }
}

/// They say the same for some messages in a row, and then something of their own.
#[test]
fn connections_that_differ_now_and_then_are_all_read_soon() {
    for seed in 0..40 {
        for direction in [Sent, Received] {
            for connections in [1, 4, 12] {
                let mut world = World::new(seed, direction, Manners { connections, ..MANNERS });
                (0..24 * connections).for_each(|_| world.step());
                let left = world.ways.iter().filter(|it| !it.is_ready).count();
                assert!(left * 20 <= connections, "{seed}: {left} of {connections} {direction:?}");
            }
        }
    }
}
