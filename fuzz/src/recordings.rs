//! The reader of recordings.

use std::io::Write;

use flate2::Compression;
use flate2::Crc;
use flate2::write::DeflateEncoder;
use wstap::decode::decoder::{Decoder, Limits};
use wstap::event::EventKind;
use wstap::matching::{MatchLimits, Matching, Protocols};
use wstap::views::recording::{Ending, Reader, Record};

use crate::trace::Trace;

const MAGIC: &[u8] = b"wstap recording 1\n";
const HEADER: &[u8] = br#"{"wstap":"0","session":"a","part":1,"wall_offset_ns":0,"targets":[],
"settings":{"window_bytes":65536,"narrows":false,"connections":16,"timeout_ns":1000000}}"#;

/// Bytes that a record takes at least: what is read cannot be more than what is there.
const RECORD_BYTES_MIN: usize = 2;

/// A recording: as the bytes stand, and as blocks of records whose checksum is right, so that more
/// than the checksum is tried: two bytes say where the first one ends. Whatever a record says, a decoder takes it.
pub fn recordings(data: &[u8]) -> Trace {
    let mut trace = Trace::default();
    let (file, _) = read(data, &mut trace);
    assert!(file <= data.len(), "more records than bytes");
    let (border, records) = match data {
        [high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        rest => (0, rest),
    };
    let (first, second) = records.split_at(border % (records.len() + 1));
    let mut whole = begun();
    for block in [first, second] {
        block_of(&mut whole, block);
    }
    let (records, ending) = read(&whole, &mut trace);
    assert!(records * RECORD_BYTES_MIN <= data.len() + RECORD_BYTES_MIN, "{records} records");
    // What is cut off changes nothing before the cut.
    if !data.is_empty() {
        let (cut, ending_of_cut) = read(&whole[..whole.len() - 1], &mut trace);
        assert!(cut <= records);
        let is_cut = matches!(ending_of_cut, Some(Ending::Cut { .. } | Ending::NoEnd));
        assert!(is_cut || ending_of_cut == ending, "{ending_of_cut:?}, and whole {ending:?}");
    }
    trace
}

/// What comes before the blocks.
fn begun() -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    frame(&mut file, HEADER, HEADER.len());
    file
}

fn block_of(file: &mut Vec<u8>, records: &[u8]) {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(records).expect("a Vec takes everything");
    frame(file, &packed.finish().expect("a Vec takes everything"), records.len());
}

fn frame(file: &mut Vec<u8>, stored: &[u8], unpacked: usize) {
    let mut crc = Crc::new();
    crc.update(stored);
    file.extend((stored.len() as u32).to_le_bytes());
    file.extend((unpacked as u32).to_le_bytes());
    file.extend(crc.sum().to_le_bytes());
    file.extend(stored);
}

/// How many records there are, and how the file ended; `None` where it is not read at all.
fn read(file: &[u8], trace: &mut Trace) -> (usize, Option<Ending>) {
    let Ok(mut reader) = Reader::new(file) else { return (0, None) };
    let limits = Limits { connections: 16, ..Limits::default() };
    let matching = Matching::new(Protocols::builtin(), MatchLimits::default());
    let mut decoder = Decoder::new(limits, matching);
    let (mut count, mut last_ns) = (0, None);
    loop {
        let next_ns = reader.next_ns().expect("memory");
        let Some(record) = reader.record().expect("memory") else { break };
        count += 1;
        assert_eq!(next_ns, Some(record.at_ns().or(last_ns).unwrap_or(0)), "announced and read");
        last_ns = record.at_ns().or(last_ns);
        trace.add(&std::mem::discriminant(&record));
        match record {
            Record::Event(event) => {
                if let EventKind::Data(segment) = event.kind {
                    assert!(segment.len >= segment.bytes.len() as u64);
                    assert!(segment.offset.checked_add(segment.len).is_some());
                }
                decoder.event(&event, &mut |seen| trace.add(&std::mem::discriminant(&seen.what)));
            }
            Record::Tick { at_ns } => decoder.tick(at_ns, &mut |_| {}),
            Record::Exited { tgid, at_ns } => decoder.exited(tgid, at_ns, &mut |_| {}),
            Record::Finish { at_ns } => decoder.finish(at_ns, &mut |_| {}),
            _ => {}
        }
    }
    let ending = reader.ending().clone();
    assert_ne!(ending, Ending::Open, "it was read to its end");
    trace.add(&std::mem::discriminant(&ending));
    (count, Some(ending))
}
