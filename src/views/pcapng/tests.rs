use std::sync::{Arc, Mutex};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::{Block, PcapNgReader};

use super::*;
use crate::event::TargetId;
use crate::observation::{FeedReading, Fidelity, MessageKind, MessageType, Opcode, Outcome};

const CONN: ConnId = ConnId { tgid: 42, generation: 7, handle: 0x7f00, stream: 0 };
const PROCESS: Process<'static> = Process { pid: 42, comm: "py\u{1b}thon" };

/// A file in memory that can be looked at while it is written.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A packet: when, source port, sequence number, payload, comment.
type Seen = (u128, u16, u32, Vec<u8>, String);

/// The packets of `whats`, each 10 ns after the one before.
fn packets(filter: Filter, whats: Vec<What<'_>>) -> Vec<Seen> {
    let out = Shared::default();
    let mut view = Box::new(Pcapng::new(out.clone(), filter, None));
    view.set_wall_offset_ns(1_000);
    for (number, what) in (0..).zip(whats) {
        // An exchange comes with the message that ends it.
        let is_told_with = matches!(what, What::Exchange(_));
        let at_ns = if is_told_with { number - 1 } else { number } * 10;
        let role = Role::Server;
        let target = TargetId(0);
        view.observe(&Observation { at_ns, tid: 43, target, conn: CONN, role, what }, PROCESS);
    }
    view.finish().expect("memory");
    let bytes = out.0.lock().expect("no panic").clone();
    let mut reader = PcapNgReader::new(&bytes[..]).expect("a header");
    let mut seen = Vec::new();
    while let Some(block) = reader.next_block() {
        let Block::EnhancedPacket(packet) = block.expect("a whole block") else { continue };
        seen.push(read(&packet.data, packet.timestamp.as_nanos(), &packet.options));
    }
    seen
}

fn read(data: &[u8], at: u128, options: &[EnhancedPacketOption<'_>]) -> Seen {
    let sliced = SlicedPacket::from_ip(data).expect("a packet");
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else { panic!("IPv4") };
    assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
    let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("TCP") };
    let sum = tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination());
    assert_eq!(tcp.checksum(), sum.expect("it is short enough"));
    let comment = options.iter().find_map(|option| match option {
        EnhancedPacketOption::Comment(text) => Some(text.to_string()),
        _ => None,
    });
    let payload = tcp.payload().to_vec();
    (at, tcp.source_port(), tcp.sequence_number(), payload, comment.unwrap_or_default())
}

fn open() -> What<'static> {
    What::Open(Open { host: Some("example.com:9443"), path: Some("/feed"), ..Open::default() })
}

fn message(direction: Direction, payload: &[u8]) -> What<'_> {
    let length = payload.len() as u64;
    let message = Message {
        direction,
        message_type: MessageType::Text,
        frames: 1,
        wire_length: length,
        length: Some(length),
        compressed: false,
        payload,
        tail: &[],
        truncated: false,
        identical: false,
    };
    let reading = MessageReading {
        protocol: "jsonrpc",
        kind: Some(MessageKind::Response),
        id: Some("7".into()),
        method: None,
        feed: Some(FeedReading::PLAIN),
    };
    What::Message { message, reading }
}

fn exchange(outcome: Outcome, turnaround_ns: Option<u64>) -> What<'static> {
    What::Exchange(Exchange {
        origin: Origin::Remote,
        protocol: "jsonrpc",
        method: "quote.get",
        id: "7".into(),
        outcome,
        turnaround_ns,
    })
}

#[test]
fn a_connection_is_a_tcp_stream_from_syn_to_fin_whose_bytes_follow_each_other() {
    let left = What::State { from: Some((Role::Server, Fidelity::Full)), to: None };
    let long = vec![b'x'; 150_000];
    let whats =
        vec![open(), message(Direction::Received, b"ask"), message(Direction::Sent, &long), left];
    let packets = packets(Filter::default(), whats);
    let mut next = [0, 0];
    for (_, source, sequence, payload, _) in &packets {
        let own = usize::from(*source == 9443);
        assert_eq!(*sequence, next[own]);
        let counts = payload.len() as u32;
        // The first and the last packet of each end count as a byte.
        next[own] += counts + u32::from(counts == 0 && (*sequence == 0 || next[own] > 100));
    }
    let bytes = |port: u16| -> Vec<u8> {
        packets.iter().filter(|it| it.1 == port).flat_map(|it| it.3.clone()).collect()
    };
    let asked = bytes(50_000);
    assert!(asked.starts_with(b"GET /feed HTTP/1.1\r\nHost: example.com:9443\r\n"));
    assert!(asked.ends_with(b"\x81\x03ask"));
    let answered = bytes(9443);
    assert!(answered.starts_with(b"HTTP/1.1 101 "));
    assert!(answered.ends_with(&[&b"\x81\x7f\0\0\0\0\0\x02\x49\xf0"[..], &long].concat()));
    assert!(packets.iter().all(|it| it.3.len() <= SEGMENT_BYTES));
    assert_eq!(packets[5].0, 1_010, "wall clock");
}

#[test]
fn an_answer_says_what_it_answers_and_what_has_no_answer_gets_a_packet_of_its_own() {
    let whats = vec![
        open(),
        message(Direction::Sent, b"answer"),
        exchange(Outcome::Error, Some(8_123_456)),
        message(Direction::Received, b"ask"),
        exchange(Outcome::Expired, None),
    ];
    let packets = packets(Filter::default(), whats);
    let answer = &packets[5].4;
    for words in [
        "pid=42 comm=py\\u{1b}thon conn=42-7 tid=43",
        "kind=response id=7",
        "answers=quote.get origin=remote outcome=error turnaround=8.123456ms",
    ] {
        assert!(answer.contains(words), "{answer}");
    }
    let ask = &packets[6].4;
    assert!(!ask.contains("outcome"), "{ask}");
    let (_, source, _, payload, expired) = &packets[7];
    assert!(payload.is_empty() && expired.contains("method=quote.get id=7 outcome=expired"));
    assert_eq!(*source, 50_000, "whoever asked");
}

#[test]
fn what_is_not_whole_or_not_seen_from_the_beginning_is_marked() {
    let What::Message { message: whole, reading } = message(Direction::Sent, b"begin") else {
        panic!("a message")
    };
    let cut = Message { truncated: true, length: Some(999), ..whole };
    let unknown = Control {
        direction: Direction::Received,
        opcode: Opcode::Ping,
        length: 130,
        payload: None,
    };
    let packets = packets(
        Filter::default(),
        vec![What::Message { message: cut, reading }, What::Control(unknown)],
    );
    assert!(packets[0].4.contains("met in mid-stream"), "{}", packets[0].4);
    assert!(packets[5].4.contains("kept=5 length=999"), "{}", packets[5].4);
    assert!(packets[6].4.contains("length=130"), "{}", packets[6].4);
}

#[test]
fn a_filter_leaves_whole_streams_and_frames_out() {
    let close = Control {
        direction: Direction::Sent,
        opcode: Opcode::Close,
        length: 2,
        payload: Some(b"\x03\xe8"),
    };
    let whats = || vec![open(), message(Direction::Sent, b"x"), What::Control(close)];
    let other = Filter { connections: vec![(42, 8)], ..Filter::default() };
    assert_eq!(packets(other, whats()).len(), 0);
    let closes = Filter { opcodes: vec![Opcode::Close], ..Filter::default() };
    let packets = packets(closes, whats());
    assert_eq!(packets.last().map(|it| it.3.clone()), Some(b"\x88\x02\x03\xe8".to_vec()));
    assert_eq!(packets.len(), 6);
}

#[test]
fn it_is_closed_once_enough_messages_have_been_written() {
    let mut view = Pcapng::new(io::sink(), Filter::default(), Some(1));
    let see = |view: &mut Pcapng<io::Sink>, what| {
        let (target, role) = (TargetId(0), Role::Client);
        view.observe(&Observation { at_ns: 1, tid: 1, target, conn: CONN, role, what }, PROCESS);
    };
    see(&mut view, open());
    see(&mut view, message(Direction::Sent, b"x"));
    assert!(!view.is_closed(), "what it answers may follow");
    see(&mut view, message(Direction::Sent, b"y"));
    assert!(view.is_closed());
    assert_eq!(view.messages, 1);
}
