use super::*;
use crate::event::{Absent, ConnId, Direction, Event, EventKind, Segment, SegmentStart, TargetId};

const CONN: ConnId = ConnId { tgid: 42, generation: 7, handle: 0x7f00_1234_5678, stream: 0 };

fn data(direction: Direction, offset: u64, bytes: &[u8], start: SegmentStart) -> Event<'_> {
    let len = bytes.len() as u64;
    let segment = Segment { direction, offset, len, bytes, absent: Absent::Skipped, start };
    let kind = EventKind::Data(segment);
    Event {
        conn: CONN,
        target: TargetId(1),
        tid: 43,
        at_ns: 1_000_000_u64.saturating_add(offset),
        kind,
    }
}

fn header() -> Header {
    let targets = vec![TargetName { name: "feed".into(), protocol: None }];
    Header { session: "a".into(), part: 1, wall_offset_ns: -5, targets, ..Header::default() }
}

fn samples() -> Vec<Record<'static>> {
    let closed = EventKind::Closed { sent: 11, received: 1 << 40 };
    let event = data(Direction::Sent, 0, b"GET / HTTP/1.1\r\n", SegmentStart::Call);
    vec![
        Record::Process { pid: 42, comm: "pyth\u{f6}n" },
        Record::Facts("{\"targets\":[]}"),
        Record::Event(event),
        Record::Event(data(Direction::Received, 9, b"", SegmentStart::Middle)),
        Record::Tick { at_ns: 999 },
        Record::Event(Event { kind: closed, ..event }),
        Record::Exited { tgid: 42, at_ns: 2_000_000 },
        Record::Lost { reason: "ring_full", records: 3, bytes: 4_000 },
        Record::Missed { events: 1, bytes: 2 },
        Record::Finish { at_ns: 3_000_000 },
        Record::End { why: "it was stopped" },
    ]
}

/// A file with one block for each group of records, and where each block ends.
fn file(groups: &[Vec<Record<'_>>]) -> (Vec<u8>, Vec<usize>) {
    let mut writer = FileWriter::new(Vec::new(), &header()).expect("memory");
    let (mut encoder, mut ends) = (Encoder::default(), Vec::new());
    for group in groups {
        group.iter().for_each(|record| encoder.push(record));
        let block = encoder.take().expect("records").pack().expect("memory");
        writer.block(&block).expect("memory");
        ends.push(usize::try_from(writer.written()).expect("small"));
    }
    (writer.into_inner(), ends)
}

/// How many records there are, and how the file ended.
fn read(bytes: &[u8]) -> Option<(usize, Ending)> {
    let mut reader = Reader::new(bytes).ok()?;
    let mut count = 0;
    while reader.record().expect("memory").is_some() {
        count += 1;
    }
    Some((count, reader.ending().clone()))
}

#[test]
fn what_is_read_is_what_was_written() {
    let samples = samples();
    let (bytes, _) = file(&[samples[..4].to_vec(), samples[4..].to_vec()]);
    let mut reader = Reader::new(&bytes[..]).expect("a recording");
    assert_eq!(*reader.header(), header());
    for sample in &samples {
        assert_eq!(reader.record().expect("memory").as_ref(), Some(sample));
    }
    assert_eq!(reader.record().expect("memory"), None);
    assert_eq!(*reader.ending(), Ending::Whole("it was stopped".into()));
}

#[test]
fn a_file_that_is_cut_at_any_byte_is_read_up_to_the_last_whole_block() {
    let groups: Vec<_> = samples().chunks(2).map(<[_]>::to_vec).collect();
    let (bytes, ends) = file(&groups);
    let header = file(&[vec![Record::Tick { at_ns: 1 }]]).1[0];
    assert!(header < bytes.len());
    for length in 0..bytes.len() {
        let whole = ends.iter().filter(|end| **end <= length).count();
        let records: usize = groups[..whole].iter().map(Vec::len).sum();
        match read(&bytes[..length]) {
            Some((count, ending)) => {
                assert_eq!(count, records, "cut at {length}");
                let is_border = ends.contains(&length) || matches!(ending, Ending::NoEnd);
                let is_cut = matches!(ending, Ending::Cut { .. });
                assert!(is_border != is_cut, "cut at {length}: {ending:?}");
            }
            None => assert_eq!(records, 0, "cut at {length}"),
        }
    }
}

/// What a random number generator would say, without one.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(&mut next).take(length).collect()
}

#[test]
fn whatever_of_its_last_64_kib_is_missing_every_record_of_a_whole_block_is_read() {
    const LAST: usize = 64 << 10;
    let noise = noise(8 << 10);
    let event = |number: u64| {
        let bytes = &noise[..(number as usize * 709) % noise.len()];
        Record::Event(data(Direction::Sent, number << 20, bytes, SegmentStart::Call))
    };
    let groups: Vec<Vec<_>> =
        (0..24).map(|block| (block * 3..block * 3 + 2).map(event).collect()).collect();
    let (bytes, ends) = file(&groups);
    assert!(bytes.len() > LAST, "{}", bytes.len());
    let header = ends[0] - block_bytes(&groups[0]);
    for length in bytes.len() - LAST..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= length).count();
        // No block needs another one: of the whole ones the last two are enough to show it.
        let left_out = ends[..whole].len().saturating_sub(2);
        let from = if left_out == 0 { header } else { ends[left_out - 1] };
        let cut = [&bytes[..header], &bytes[from..length]].concat();
        let (count, ending) = read(&cut).expect("its header is whole");
        assert_eq!(count, 2 * (whole - left_out), "cut at {length}");
        assert_eq!(matches!(ending, Ending::NoEnd), ends.contains(&length), "{length}: {ending:?}");
    }
}

/// What a block of these records takes in a file.
fn block_bytes(records: &[Record<'_>]) -> usize {
    let mut encoder = Encoder::default();
    records.iter().for_each(|record| encoder.push(record));
    let packed = encoder.take().expect("records").pack().expect("memory");
    usize::try_from(packed.bytes()).expect("small")
}

#[test]
fn the_next_time_is_that_of_the_record_before_also_in_the_next_block() {
    let named = Record::Process { pid: 42, comm: "python" };
    let (bytes, _) = file(&[
        vec![named.clone(), Record::Tick { at_ns: 70 }],
        vec![named, Record::Tick { at_ns: 90 }],
    ]);
    let mut reader = Reader::new(&bytes[..]).expect("a recording");
    for expected in [0, 70, 70, 90] {
        assert_eq!(reader.next_ns().expect("memory"), Some(expected));
        assert!(reader.record().expect("memory").is_some());
    }
    assert_eq!(reader.next_ns().expect("memory"), None);
}

#[test]
fn a_damaged_byte_ends_the_reading_before_its_block_and_never_later() {
    let groups: Vec<_> = samples().chunks(2).map(<[_]>::to_vec).collect();
    let (bytes, ends) = file(&groups);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        let whole = ends.iter().filter(|end| **end <= at).count();
        let records: usize = groups[..whole].iter().map(Vec::len).sum();
        if let Some((count, _)) = read(&damaged) {
            assert!(count == records, "byte {at}: {count} of {records}");
        }
    }
}

#[test]
fn a_block_that_announces_more_than_a_block_holds_is_not_believed() {
    let (mut bytes, ends) = file(&[vec![Record::Tick { at_ns: 1 }]]);
    bytes.extend([0xff; 12]);
    let (count, ending) = read(&bytes).expect("a recording");
    assert_eq!((count, ending), (1, Ending::Damaged { offset: ends[0] as u64 }));
}

#[test]
fn times_and_places_that_cannot_be_are_refused() {
    let event = data(Direction::Sent, u64::MAX - 3, b"abcdef", SegmentStart::Call);
    let late = Record::Tick { at_ns: u64::MAX };
    for record in [Record::Event(Event { at_ns: 1, ..event }), late] {
        let (bytes, _) = file(&[vec![record]]);
        let (count, ending) = read(&bytes).expect("a recording");
        assert!(count == 0 && matches!(ending, Ending::Damaged { .. }), "{count} {ending:?}");
    }
}

/// What is left of `text` when it comes in pieces of `size` bytes.
fn redacted(text: &str, size: usize, rules: Redaction) -> String {
    let mut redactor = Redactor::new(rules);
    let (mut hidden, mut offset) = (Vec::new(), 0);
    for piece in text.as_bytes().chunks(size) {
        let event = redactor.event(data(Direction::Sent, offset, piece, SegmentStart::Call));
        let EventKind::Data(segment) = event.kind else { panic!("data") };
        hidden.extend_from_slice(segment.bytes);
        offset += piece.len() as u64;
    }
    assert_eq!(hidden.len(), text.len(), "offsets stay");
    String::from_utf8(hidden).expect("text")
}

const HEAD: &str = "GET /feed?vsn=2.0.0&user=bob&s3cret HTTP/1.1\r\nHost: a\r\n\
    authorization: Basic hunter\r\n\tmore hunter\r\nCOOKIE:a=hunter\r\nX-Api-Key: hunter\r\n\
    Referer: https://a/b?c=hunter\r\nX-Mine: hunter2\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn secrets_are_hidden_and_what_is_needed_stays_however_a_head_is_cut() {
    let rules = || Redaction {
        names: vec![regex::bytes::Regex::new("^x-mine$").expect("a pattern")],
        parameters: vec!["vsn=2.0.0".into()],
        keeps_http2: false,
    };
    let expected = "GET /feed?vsn=2.0.0&user=xxx&xxxxxx HTTP/1.1\r\nHost: a\r\n\
        authorization:xxxxxxxxxxxxx\r\nxxxxxxxxxxxx\r\nCOOKIE:xxxxxxxx\r\nX-Api-Key:xxxxxxx\r\n\
        Referer: https://a/b?c=xxxxxx\r\nX-Mine:xxxxxxxx\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let whole = redacted(HEAD, HEAD.len(), rules());
    // Of the folded line the first space or tab decides, and stays.
    assert_eq!(whole.replace('\t', "x"), expected.replace('\t', "x"));
    for size in 1..HEAD.len() {
        let cut = redacted(HEAD, size, rules());
        for secret in ["hunter", "bob", "s3cret"] {
            assert!(!cut.contains(secret), "{size} bytes a call: {cut}");
        }
        for needed in ["Host: a\r\n", "dGhlIHNhbXBsZSBub25jZQ==", " HTTP/1.1\r\n"] {
            assert!(cut.contains(needed), "{size} bytes a call: {cut}");
        }
    }
}

#[test]
fn the_name_of_a_field_may_come_in_pieces() {
    for size in 1..20 {
        let cut =
            redacted("GET / HTTP/1.1\r\nAuthorization: hunter\r\n\r\n", size, Default::default());
        assert!(!cut.contains("hunter"), "{size} bytes a call: {cut}");
    }
}

#[test]
fn frames_stay_as_they_are_also_in_the_call_that_brings_the_101() {
    let text = "HTTP/1.1 101 Switching Protocols\r\nset-cookie: a\r\n\r\n\nAuthorization: b\r\n";
    let hidden = redacted(text, text.len(), Redaction::default());
    assert!(hidden.contains("set-cookie:xx\r\n"), "{hidden}");
    assert!(hidden.ends_with("\nAuthorization: b\r\n"), "{hidden}");
}

#[test]
fn what_is_said_on_a_connection_that_is_known_to_have_frames_stays() {
    let mut redactor = Redactor::new(Redaction::default());
    let text = b"\ncookie: a";
    redactor.event(data(Direction::Sent, 0, b"\x81\x05", SegmentStart::Call));
    redactor.has_frames(CONN);
    let event = data(Direction::Sent, 2, text, SegmentStart::Call);
    assert_eq!(redactor.event(event), event);
}

#[test]
fn of_http2_only_the_preface_is_kept_unless_all_of_it_was_asked_for() {
    let text = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nsecret";
    let hidden = redacted(text, text.len(), Redaction::default());
    assert!(hidden.starts_with("PRI * HTTP/2.0\r\nxx") && hidden.ends_with("xxxxxx"), "{hidden}");
    let asked = Redaction { keeps_http2: true, ..Redaction::default() };
    for size in 1..text.len() {
        assert_eq!(redacted(text, size, asked.clone()), text, "{size} bytes a call");
    }
}
