//! What decoding costs on one core: `cargo bench --bench decode`.
//!
//! Every benchmark decodes the same number of messages per iteration, half of them requests and
//! half their answers, through the whole pipeline including the matching of ids. Items are
//! messages.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use flate2::{Compress, Compression, FlushCompress};
use wstap::decode::decoder::{Decoder, Limits};
use wstap::event::{Absent, ConnId, Direction, Event, EventKind, Segment, SegmentStart, TargetId};
use wstap::matching::{MatchLimits, Matching, Protocols};

fn main() {
    divan::main();
}

const MESSAGES: usize = 10_000;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deflate {
    Off,
    Takeover,
    NoTakeover,
}

/// The stream of one connection: every entry is one call.
struct Traffic {
    deflate: Deflate,
    calls: Vec<(Direction, Vec<u8>)>,
}

impl Traffic {
    /// JSON-RPC requests of a client and their answers, of some 140 bytes each.
    fn json_rpc(deflate: Deflate) -> Self {
        let mut compressors = [(); 2].map(|()| Compress::new(Compression::default(), false));
        let calls = (0..MESSAGES).map(|n| {
            let id = n / 2;
            let (direction, text) = if n % 2 == 0 {
                (Direction::Sent, request(id))
            } else {
                (Direction::Received, answer(id))
            };
            let compress = &mut compressors[direction.index()];
            (direction, frame(direction, text.as_bytes(), deflate, compress))
        });
        Self { deflate, calls: calls.collect() }
    }

    /// A connection that has agreed to it.
    fn upgraded(&self) -> Tap {
        let extensions = match self.deflate {
            Deflate::Off => "",
            Deflate::Takeover => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            Deflate::NoTakeover => {
                "Sec-WebSocket-Extensions: permessage-deflate; \
                 client_no_context_takeover; server_no_context_takeover\r\n"
            }
        };
        Tap::upgraded(Direction::Sent, extensions)
    }

    fn bytes(&self) -> usize {
        self.calls.iter().map(|(_, call)| call.len()).sum()
    }
}

struct Tap {
    tracker: Decoder,
    offsets: [u64; 2],
    at_ns: u64,
    observations: u64,
}

impl Tap {
    fn pass(&mut self, direction: Direction, bytes: &[u8]) {
        let offset = &mut self.offsets[direction.index()];
        let len = bytes.len() as u64;
        let segment = Segment {
            direction,
            offset: *offset,
            len,
            bytes,
            absent: Absent::Skipped,
            start: SegmentStart::Call,
        };
        *offset += len;
        self.at_ns += 10_000;
        let event = Event {
            conn: ConnId { tgid: 1, generation: 1, handle: 0x1000, stream: 0 },
            target: TargetId(0),
            tid: 1,
            at_ns: self.at_ns,
            kind: EventKind::Data(segment),
        };
        self.tracker.event(&event, &mut |observation| {
            self.observations += 1;
            divan::black_box(observation);
        });
    }
}

impl Tap {
    fn new() -> Self {
        let matching = Matching::new(Protocols::builtin(), MatchLimits::default());
        let tracker = Decoder::new(Limits::default(), matching);
        Self { tracker, offsets: [0; 2], at_ns: 0, observations: 0 }
    }

    /// Behind the handshake of a client that asked in `asking`.
    fn upgraded(asking: Direction, extensions: &str) -> Self {
        let mut tap = Self::new();
        tap.pass(asking, REQUEST.as_bytes());
        tap.pass(asking.opposite(), format!("{ANSWER}{extensions}\r\n").as_bytes());
        tap
    }
}

fn request(id: usize) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_getBalance","params":["0x{:040x}","latest"],"trace":"{:024}"}}"#,
        id * 7_919,
        id
    )
}

fn answer(id: usize) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"balance":"0x{:032x}","block":"0x{:08x}","hash":"0x{:032x}"}}}}"#,
        id * 104_729,
        id,
        id * 15_485_863
    )
}

fn frame(direction: Direction, text: &[u8], deflate: Deflate, compress: &mut Compress) -> Vec<u8> {
    let mut payload = text.to_vec();
    let mut first = 0x81;
    if deflate != Deflate::Off {
        first |= 0x40;
        let mut out = Vec::with_capacity(2 * payload.len() + 64);
        compress.compress_vec(&payload, &mut out, FlushCompress::Sync).expect("in-memory deflate");
        out.truncate(out.len() - 4);
        payload = out;
        if deflate == Deflate::NoTakeover {
            compress.reset();
        }
    }
    let masked = direction == Direction::Sent;
    let mut frame = vec![first];
    let mask = if masked { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..=125 => frame.push(mask | len as u8),
        len => {
            frame.push(mask | 126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    if masked {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        frame.extend(key);
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    }
    frame.extend(payload);
    frame
}

/// Masked frames of 1 MiB that are read in calls of 16 KiB.
#[divan::bench]
fn large_messages(bencher: Bencher<'_, '_>) {
    let mut frame = vec![0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4];
    frame.extend((0..1 << 20).map(|n: u32| n as u8));
    let calls: Vec<_> = frame.chunks(16 << 10).collect();
    let messages = 16;
    bencher
        .with_inputs(|| Tap::upgraded(Direction::Received, ""))
        .counter(BytesCount::new(messages * frame.len()))
        .bench_local_values(|mut tap| {
            for call in calls.iter().cycle().take(messages * calls.len()) {
                tap.pass(Direction::Received, call);
            }
            tap
        });
}

/// What is not a WebSocket and was met in mid-stream, until it is given up.
#[divan::bench(args = ["text", "noise", "masked spaces"])]
fn search_in_vain(bencher: Bencher<'_, '_>, kind: &str) {
    let mut seed = 1_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    let stream: Vec<u8> = match kind {
        "text" => (0..256 << 10).map(|_| b' ' + noise() % 95).collect(),
        "noise" => (0..256 << 10).map(|_| noise()).collect(),
        // Four KiB under each key.
        _ => (0..64).flat_map(|_| [(); 4].map(|()| noise()).repeat(1 << 10)).collect(),
    };
    bencher.with_inputs(Tap::new).counter(BytesCount::new(stream.len())).bench_local_values(
        |mut tap| {
            stream.chunks(4 << 10).for_each(|call| tap.pass(Direction::Received, call));
            tap
        },
    );
}

#[divan::bench(args = [Deflate::Off, Deflate::Takeover, Deflate::NoTakeover])]
fn json_rpc(bencher: Bencher<'_, '_>, deflate: Deflate) {
    let traffic = Traffic::json_rpc(deflate);
    bencher
        .with_inputs(|| traffic.upgraded())
        .counter(ItemsCount::new(MESSAGES))
        .counter(BytesCount::new(traffic.bytes()))
        .bench_local_values(|mut tap| {
            traffic.calls.iter().for_each(|(direction, call)| tap.pass(*direction, call));
            tap
        });
}

/// How the messages of a protocol with two encodings are written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Encoding {
    Json,
    MessagePack,
}

/// Requests of OBS Studio and their answers, of some 140 bytes each.
#[divan::bench(args = [Encoding::Json, Encoding::MessagePack])]
fn obs(bencher: Bencher<'_, '_>, encoding: Encoding) {
    let mut compress = Compress::new(Compression::default(), false);
    let calls: Vec<_> = (0..MESSAGES)
        .map(|n| {
            let direction = if n % 2 == 0 { Direction::Sent } else { Direction::Received };
            let payload = obs_message(n % 2 == 0, n / 2, encoding);
            let mut call = frame(direction, &payload, Deflate::Off, &mut compress);
            call[0] += u8::from(encoding == Encoding::MessagePack);
            (direction, call)
        })
        .collect();
    let name = if encoding == Encoding::Json { "json" } else { "msgpack" };
    let subprotocol = format!("Sec-WebSocket-Protocol: obswebsocket.{name}\r\n");
    bencher
        .with_inputs(|| Tap::upgraded(Direction::Sent, &subprotocol))
        .counter(ItemsCount::new(MESSAGES))
        .bench_local_values(|mut tap| {
            calls.iter().for_each(|(direction, call)| tap.pass(*direction, call));
            tap
        });
}

fn obs_message(is_request: bool, id: usize, encoding: Encoding) -> Vec<u8> {
    let id = format!("{id:08}-7bd4-4d4a-9d0c-0123456789ab");
    match (encoding, is_request) {
        (Encoding::Json, true) => format!(
            r#"{{"op":6,"d":{{"requestType":"GetSceneItemList","requestId":"{id}","requestData":{{"sceneName":"the first of the scenes"}}}}}}"#
        )
        .into(),
        (Encoding::Json, false) => format!(
            r#"{{"op":7,"d":{{"requestType":"GetSceneItemList","requestId":"{id}","requestStatus":{{"result":true,"code":100}}}}}}"#
        )
        .into(),
        (Encoding::MessagePack, true) => [
            &b"\x82\xa2op\x06\xa1d\x83\xabrequestType\xb0GetSceneItemList\xa9requestId\xd9\x24"[..],
            id.as_bytes(),
            b"\xabrequestData\x81\xa9sceneName\xb7the first of the scenes",
        ]
        .concat(),
        (Encoding::MessagePack, false) => [
            &b"\x82\xa2op\x07\xa1d\x83\xabrequestType\xb0GetSceneItemList\xa9requestId\xd9\x24"[..],
            id.as_bytes(),
            b"\xadrequestStatus\x82\xa6result\xc3\xa4code\x64",
        ]
        .concat(),
    }
}

/// What the rules of a feed ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Keys {
    /// Only which messages are its.
    None,
    /// Their own time, their number and its channel as well.
    TimeAndSequence,
}

/// Ticks of ten channels, as an exchange sends them, of some 140 bytes each.
#[divan::bench(args = [Keys::None, Keys::TimeAndSequence])]
fn feed(bencher: Bencher<'_, '_>, keys: Keys) {
    let with_keys = "time = \"$.E\"\nsequence = \"$.a\"\nchannel = \"$.s\"";
    let rules = format!(
        "name = \"ticks\"\n[[rule]]\nkind = \"notification\"\nwhen = {{ \"$.e\" = \"aggTrade\" }}\n\
         has = [\"$.m\"]\nmethod = \"$.e\"\n{}",
        if keys == Keys::None { "" } else { with_keys }
    );
    let mut compress = Compress::new(Compression::default(), false);
    let calls: Vec<Vec<u8>> = (0..MESSAGES)
        .map(|n| frame(Direction::Received, tick(n).as_bytes(), Deflate::Off, &mut compress))
        .collect();
    bencher
        .with_inputs(|| {
            let mut protocols = Protocols::builtin();
            protocols.add_toml("ticks", &rules).expect("rules");
            protocols.force("ticks").expect("known");
            let matching = Matching::new(protocols, MatchLimits::default());
            let mut tap = Tap::new();
            tap.tracker = Decoder::new(Limits::default(), matching);
            tap.pass(Direction::Sent, REQUEST.as_bytes());
            tap.pass(Direction::Received, format!("{ANSWER}\r\n").as_bytes());
            tap
        })
        .counter(ItemsCount::new(MESSAGES))
        .bench_local_values(|mut tap| {
            calls.iter().for_each(|call| tap.pass(Direction::Received, call));
            tap
        });
}

fn tick(n: usize) -> String {
    let (channel, number) = (n % 10, 1_000_000 + n / 10);
    format!(
        r#"{{"e":"aggTrade","E":{},"s":"SYM{channel}USDT","a":{number},"p":"0.00{n:05}","q":"100.25","f":{n},"l":{n},"T":{},"m":true,"M":true}}"#,
        1_672_515_782_136_u64 + n as u64,
        1_672_515_782_130_u64 + n as u64
    )
}
