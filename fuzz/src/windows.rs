//! What zlib shows of itself, distorted in any way, beside messages that are known.

use std::collections::BTreeSet;

use flate2::{Compress, Compression, FlushCompress};
use wstap::event::zlib::{INPUT_BYTES, RawStream, TAIL_BYTES, Window, ZlibCall, ZlibLook};
use wstap::event::{Direction, SegmentStart};

use crate::TAPS;
use crate::Taps;
use crate::input::{self, Input};
use crate::trace::Trace;

/// Messages of one input, at most.
const MESSAGES: usize = 32;

/// What RFC 7692 puts behind a message before it is inflated.
const TRAILER: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// One direction that goes through zlib in the process.
struct Stream {
    raw: Compress,
    history: Vec<u8>,
    compressed: u64,
}

impl Stream {
    fn compress(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 64);
        let done = self.raw.compress_vec(text, &mut out, FlushCompress::Sync);
        done.expect("there is room");
        self.history.extend_from_slice(text);
        self.compressed += out.len() as u64;
        out.truncate(out.len() - TRAILER.len());
        out
    }

    fn message(&mut self, number: usize) -> Message {
        let (text, history) = (text(number).into_bytes(), self.history.clone());
        let compressed = self.compressed;
        let payload = self.compress(&text);
        Message { text, payload, history, compressed }
    }
}

/// Any state of zlib that the process may show, true or not: nothing is read that did not pass.
pub fn windows(data: &[u8]) -> Trace {
    let mut input = Input::new(data);
    let flags = input.byte();
    let direction = Direction::BOTH[usize::from(flags & 1)];
    // So many are read before the first of them is inflated, or deflated before the first is written.
    let burst = usize::from(flags >> 1 & 7) + 1;
    let raw = Compress::new(Compression::default(), false);
    let mut stream = Stream { raw, history: Vec::new(), compressed: 0 };
    stream.compress(text(99).as_bytes());
    let mut said = BTreeSet::new();
    let numbers: Vec<usize> = (0..MESSAGES).collect();
    TAPS.with_borrow_mut(|Taps { whole, .. }| {
        for numbers in numbers.chunks(burst) {
            whole.rest();
            let masked = direction == Direction::Received;
            let messages: Vec<Message> = numbers.iter().map(|&it| stream.message(it)).collect();
            let pass = |tap: &mut crate::tap::Tap| {
                for message in &messages {
                    let frame = input::frame(0xC1, masked, &message.payload);
                    tap.record(direction, &frame, SegmentStart::FrameHeader);
                }
            };
            if masked {
                pass(whole);
            }
            for Message { text, payload, history, compressed } in &messages {
                said.insert(text.clone());
                let fed = [payload, &TRAILER[..]].concat();
                let given = if masked { &fed } else { text };
                for address in 1..=2 {
                    show(whole, &mut input, (direction, address), history, *compressed, given);
                }
            }
            if !masked {
                pass(whole);
            }
        }
        whole.allow_only(said);
        whole.end().trace
    })
}

/// One message, and the state of the stream before it.
struct Message {
    text: Vec<u8>,
    payload: Vec<u8>,
    history: Vec<u8>,
    compressed: u64,
}

/// A message with an id of its own.
fn text(number: usize) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{number},\"method\":\"quick\",\"params\":[]}}")
}

/// Shows a call on the stream at `address`: the true one of it, distorted as the input says.
fn show(
    tap: &mut crate::tap::Tap,
    input: &mut Input<'_>,
    (direction, stream): (Direction, u64),
    history: &[u8],
    compressed: u64,
    given: &[u8],
) {
    let how = input.byte();
    if how & 3 == 3 {
        return;
    }
    let plain = history.len() as u64;
    let (mut total_in, mut total_out) = match direction {
        Direction::Received => (compressed, plain),
        Direction::Sent => (plain, compressed),
    };
    let mut input_len = given.len() as u64;
    let mut history = history.to_vec();
    match how >> 2 & 7 {
        0 => total_in = total_in.wrapping_add(u64::from(input.word()) << (how >> 3)),
        1 => total_out = total_out.wrapping_sub(u64::from(input.word()) << (how >> 3)),
        2 => input_len = u64::from(input.word()) << (how >> 5),
        3 => {
            let at = usize::from(input.word()) % history.len().max(1);
            if let Some(byte) = history.get_mut(at) {
                *byte ^= input.byte();
            }
        }
        4 => history = input.piece().bytes.to_vec(),
        _ => {}
    }
    let tail = &history[history.len().saturating_sub(TAIL_BYTES)..];
    let cut = usize::from(how) % (history.len() + 1);
    let (older, newer) = history.split_at(cut);
    let size = if how & 0x80 == 0 { 32 << 10 } else { usize::from(input.word()) };
    let window = (how & 1 == 0).then_some(Window { size, pieces: [older, newer] });
    let given = &given[..given.len().min(INPUT_BYTES)];
    let look = RawStream { total_in, total_out, input_len, input: given, tail, window };
    let what = ZlibLook::Raw(look);
    tap.zlib(&ZlibCall { tgid: 1, tid: 1, at_ns: 0, missed: 0, stream, direction, what });
}
