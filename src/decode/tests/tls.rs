//! TLS where frames are looked for: left alone early, and no WebSocket taken for it.

use proptest::prelude::*;

use super::*;

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Bytes that look random, the same for each seed (splitmix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Lengths of pieces.
    fn cuts(&mut self) -> Vec<usize> {
        let largest = [1, 20, 3_000, 20_000][self.below(4)];
        (0..1 + self.below(6)).map(|_| 1 + self.below(largest)).collect()
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8)).flat_map(|_| self.next().to_be_bytes()).take(len).collect()
    }
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 3, 3];
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

fn hello() -> Vec<u8> {
    record(HANDSHAKE, &[&[1, 0, 0, 60, 3, 3], &Noise(7).bytes(58)[..]].concat())
}

/// Records with bodies of at most `largest` bytes, and where each begins.
fn tls(noise: &mut Noise, records: usize, largest: usize) -> (Vec<u8>, Vec<usize>) {
    let (mut stream, mut starts) = (Vec::new(), Vec::new());
    for _ in 0..records {
        starts.push(stream.len());
        let body = 17 + noise.below(largest - 16);
        stream.extend(record(APPLICATION_DATA, &noise.bytes(body)));
    }
    (stream, starts)
}

/// Passes `stream` in pieces of the lengths that `cuts` says in turn, up to the hint to ignore it,
/// before which nothing is said. Returns the offset behind the piece that brought the hint about,
/// and the length of that piece.
fn ignored_at(cuts: &[usize], stream: &[u8], start: SegmentStart) -> (usize, usize) {
    let mut tape = Tape::new();
    tape.start = start;
    let mut rest = stream;
    for &cut in cuts.iter().cycle() {
        let (piece, tail) = rest.split_at(cut.min(rest.len()));
        assert!(!piece.is_empty(), "it is never left alone");
        rest = tail;
        tape.pass(Received, piece);
        match tape.hints()[..] {
            [] => {}
            [KernelHint::Ignore { .. }] => {
                assert!(tape.is_tls());
                tape.close();
                tape.says(&[]);
                tape.retire();
                return (stream.len() - rest.len(), piece.len());
            }
            ref others => panic!("{others:?}"),
        }
    }
    unreachable!("the cuts go on for ever")
}

fn is_ignored(tape: &mut Tape) -> bool {
    tape.hints().iter().any(|hint| matches!(hint, KernelHint::Ignore { .. }))
}

/// The limits of a search that never ends.
fn patient() -> Limits {
    Limits { search_bytes: 1 << 40, ..Limits::default() }
}

proptest! {
    #[test]
    fn a_websocket_is_never_taken_for_tls(
        seed in any::<u64>(), masked in any::<bool>(), calls in any::<bool>(),
    ) {
        let mut noise = Noise(seed);
        let mut stream = Vec::new();
        while stream.len() < 200_000 {
            let len = [30, 300, 70_000][noise.below(3)];
            let len = noise.below(len);
            let (first, payload) = match noise.below(3) {
                0 => (TEXT, noise.bytes(len).iter().map(|byte| byte & 0x7f).collect()),
                1 => (BINARY, vec![0; len]),
                _ => (BINARY, noise.bytes(len)),
            };
            let key = (noise.next() as u32).to_be_bytes();
            stream.extend(frame(FIN | first, masked.then_some(key), &payload));
        }
        let skip = noise.below(70_000);
        let mut tape = Tape::with(patient());
        tape.start = if calls { SegmentStart::Call } else { SegmentStart::Middle };
        let mut rest = &stream[skip..];
        for cut in noise.cuts().into_iter().cycle() {
            let (piece, tail) = rest.split_at(cut.min(rest.len()));
            tape.pass(Received, piece);
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(!is_ignored(&mut tape));
        tape.close();
        tape.retire();
    }

    /// A tunnel: whatever it has read of the TLS, up to 64 KiB, is a message.
    #[test]
    fn a_websocket_that_carries_tls_is_never_taken_for_it(
        seed in any::<u64>(), masked in any::<bool>(), largest in 17_usize..16_401,
    ) {
        let mut noise = Noise(seed);
        let (stream, _) = tls(&mut noise, 8 + 300_000 / largest, largest);
        let mut rest = &stream[noise.below(largest)..];
        let mut tape = Tape::with(patient());
        while !rest.is_empty() {
            let (read, tail) = rest.split_at((1 + noise.below(65_536)).min(rest.len()));
            rest = tail;
            let key = (noise.next() as u32).to_be_bytes();
            tape.pass(Received, &frame(FIN | BINARY, masked.then_some(key), read));
        }
        prop_assert!(!is_ignored(&mut tape));
        prop_assert!(tape.said().iter().any(|line| line.starts_with("open")));
        tape.close();
        tape.retire();
    }
}

/// Calls of an ordinary length: where a few bytes are a call, many of a random stream look as if a
/// frame began them.
#[test]
fn tls_is_left_alone_wherever_it_is_met_and_however_it_is_cut() {
    let mut at_once = 0;
    for seed in 0..300 {
        let mut noise = Noise(seed);
        let largest = [100, 1_400, 16_401][noise.below(3)];
        let (stream, starts) = tls(&mut noise, 12 + 600_000 / largest, largest);
        let skip = noise.below(starts[3]);
        let stream = &stream[skip..];
        let mut headers = starts.iter().filter_map(|start| start.checked_sub(skip));
        let fourth = headers.nth(3).unwrap() + 5 + 8;

        let (exact, _) = ignored_at(&[1], stream, SegmentStart::Middle);
        // What may be a frame gets its chance, and hardly one is longer than 64 KiB.
        assert!((fourth..fourth + 2 * (65_536 + largest)).contains(&exact), "{exact}, {fourth}");
        at_once += u32::from(exact == fourth);

        let (end, piece) = ignored_at(&noise.cuts(), stream, SegmentStart::Middle);
        assert!((end - piece..end).contains(&(exact - 1)), "{exact} in {end}");

        let calls = [(); 3].map(|()| 1_000 + noise.below(19_000));
        let (end, _) = ignored_at(&calls, stream, SegmentStart::Call);
        assert!((fourth..exact + 2 * (65_536 + largest)).contains(&end), "{end}, {exact}");
    }
    assert!(at_once >= 270, "{at_once} of 300 are left alone at the fourth record");
}

#[test]
fn a_hello_is_proof_however_it_is_cut() {
    for size in [1, 2, 3, 4, 5, 6, 7, 100] {
        for start in [SegmentStart::Call, SegmentStart::Middle] {
            let (end, piece) = ignored_at(&[size], &hello(), start);
            assert!((end - piece..end).contains(&5), "{end} in pieces of {size}");
        }
    }
}

#[test]
fn a_hello_is_one_at_the_beginning_only() {
    let mut tape = Tape::new();
    tape.pass(Received, b"S");
    tape.pass(Received, &hello());
    tape.lose(Sent, b"S");
    tape.pass(Sent, &hello());
    assert_eq!(tape.hints(), []);
}

#[test]
fn a_hole_inside_of_a_record_does_not_hide_the_next() {
    let (stream, starts) = tls(&mut Noise(1), 5, 500);
    for absent in [Absent::Skipped, Absent::CopyFailed] {
        let mut tape = Tape::new();
        for record in starts.windows(2) {
            assert_eq!(tape.hints(), []);
            let len = record[1] - record[0];
            tape.segment(Received, &stream[record[0]..][..13], len as u64, absent);
        }
        assert_eq!(tape.hints(), [KernelHint::Ignore { conn: CONN }]);
        assert!(tape.is_tls());
    }
}

#[test]
fn a_hole_over_a_header_begins_the_count_anew() {
    let (stream, starts) = tls(&mut Noise(1), 8, 500);
    let mut tape = Tape::new();
    tape.pass(Received, &stream[..starts[3] + 2]);
    tape.lose(Received, &stream[starts[3] + 2..starts[3] + 6]);
    tape.pass(Received, &stream[starts[3] + 6..starts[7] + 12]);
    assert_eq!(tape.hints(), []);
    tape.pass(Received, &stream[starts[7] + 12..starts[7] + 13]);
    assert_eq!(tape.hints(), [KernelHint::Ignore { conn: CONN }]);
    assert!(tape.is_tls());
}

#[test]
fn what_is_not_encrypted_is_passed_over_in_a_chain() {
    let mut stream = record(CHANGE_CIPHER_SPEC, &[1]).repeat(50);
    let mut noise = Noise(3);
    for _ in 0..3 {
        stream.extend(record(APPLICATION_DATA, &noise.bytes(40)));
        stream.extend(record(CHANGE_CIPHER_SPEC, &[1]));
    }
    let mut tape = Tape::new();
    tape.pass(Received, &stream);
    assert_eq!(tape.hints(), []);
    tape.pass(Received, &record(APPLICATION_DATA, &noise.bytes(40)));
    assert_eq!(tape.hints(), [KernelHint::Ignore { conn: CONN }]);
    assert!(tape.is_tls());
}

/// As many zeroes are "records" of 35 bytes under this mask.
#[test]
fn zeroes_under_a_mask_are_no_records() {
    for turn in 0..4 {
        let mut key = [APPLICATION_DATA, 3, 3, 0];
        key.rotate_left(turn);
        let mut tape = Tape::with(patient());
        tape.start = SegmentStart::Middle;
        tape.pass(Sent, &frame(FIN | BINARY, Some(key), &[0; 100_000])[turn..]);
        assert_eq!(tape.hints(), []);
    }
}

#[test]
fn frames_that_are_proven_first_win() {
    let (tls, _) = tls(&mut Noise(5), 10, 100);
    let mut tape = Tape::new();
    tape.pass(Received, &plain(FIN | TEXT, b"one"));
    tape.pass(Received, &plain(FIN | TEXT, b"two"));
    tape.pass(Received, &frame(FIN | BINARY, None, &tls));
    assert!(!is_ignored(&mut tape));
    assert_eq!(tape.said().len(), 8);
}
