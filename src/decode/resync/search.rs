//! Finding frame borders in the midst of a stream: after attaching late, after a hole, after a
//! broken header.
//!
//! Any two bytes may look like a frame header. What proves a border is a chain: the frame's length
//! leads to another valid header, and that one's to the next. Starts of calls count for more,
//! because applications begin to write, and mostly to read, with a frame. A chain is accepted when
//! its evidence reaches `candidate::PROOF`: two frames that both begin a call, a start of a call
//! with three more frames behind it, or a chain of six anywhere. A frame that repeats an earlier one
//! of its chain, and begins no call, is no evidence.
//!
//! What is proven is the border at the end of the chain, and decoding goes on from there: a chain
//! that began with a few accidental headers may run into a true border and be right ever after.
//! A chain whose first frame began a call is taken for true from there on, as far back as bytes are
//! held: accidents do not begin calls. Bytes that are searched and never decoded are counted.
//!
//! The stream is searched byte by byte and the chain that is proven first wins, so that the result
//! does not depend on how the stream was cut. Left out is the payload of a frame that a call began
//! with, or that has others before it: it may be long, and there is hardly a border in it.

use super::candidate::{Candidate, PREFIX, Rules, Verdict};
use super::chains::Chains;
use crate::decode::backlog::Backlog;
use crate::decode::frame::header::HEADER_MAX;
use crate::event::Stamp;

/// Bytes are searched in pieces of this size.
const PIECE: usize = 4096;

/// A proven frame border.
#[derive(Debug)]
pub(in crate::decode) struct Found {
    /// Offset of the border.
    pub(in crate::decode) start: u64,
    /// What passed from there up to the proof.
    pub(in crate::decode) passed: Backlog,
    pub(in crate::decode) masked: bool,
}

/// A search in one direction of one connection.
#[derive(Debug, Default)]
pub(in crate::decode) struct Search {
    chains: Chains,
    /// The start of the last call, if it is behind what was searched.
    call: Option<u64>,
    /// The last bytes that were searched.
    backlog: Backlog,
    /// Offset behind them.
    end: u64,
    scanned: u64,
    /// Bytes that were let go and that nobody has decoded.
    let_go: u64,
}

impl Search {
    /// The stream goes on at `offset`, and a call begins there.
    pub(in crate::decode) fn call_starts(&mut self, offset: u64) {
        self.chains.call_starts(offset);
        self.call = Some(offset);
    }

    /// Bytes are missing from here to `offset`: no chain reaches over them.
    pub(in crate::decode) fn interrupt(&mut self) {
        self.chains = Chains::default();
        self.drop_backlog();
    }

    /// Bytes that were searched and let go since the last call: nobody will decode them.
    pub(in crate::decode) fn take_let_go(&mut self) -> u64 {
        std::mem::take(&mut self.let_go)
    }

    /// Ends the search. Returns how many bytes nobody has decoded.
    pub(in crate::decode) fn abandon(mut self) -> u64 {
        self.drop_backlog();
        self.let_go
    }

    fn drop_backlog(&mut self) {
        self.let_go += std::mem::take(&mut self.backlog).bytes().len() as u64;
    }

    /// Bytes that it takes.
    pub(in crate::decode) fn held_bytes(&self) -> usize {
        self.backlog.held_bytes() + self.chains.held_bytes()
    }

    /// A chain is followed that may well be true.
    pub(in crate::decode) fn is_promising(&self) -> bool {
        self.chains.iter().any(Candidate::is_likely)
    }

    /// So many bytes were searched in vain that only the starts of calls are still tried.
    pub(in crate::decode) fn is_exhausted(&self, rules: &Rules) -> bool {
        self.scanned >= rules.search_bytes
    }

    /// Searches `bytes`, which begin at `offset`, and takes off their front what it has looked at.
    pub(in crate::decode) fn search(
        &mut self,
        bytes: &mut &[u8],
        offset: u64,
        stamp: Stamp,
        rules: &Rules,
    ) -> Option<Found> {
        if offset != self.end {
            self.chains.retain(|it| it.start == offset);
            self.drop_backlog();
            self.end = offset;
        }
        while !bytes.is_empty() {
            if self.is_exhausted(rules) && self.chains.is_empty() {
                self.drop_backlog();
                self.let_go += bytes.len() as u64;
                self.end += bytes.len() as u64;
                *bytes = &[];
                return None;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(PIECE));
            let before = self.end;
            let held = self.backlog.bytes().len() + piece.len();
            self.backlog.push(piece, stamp);
            self.let_go += (held - self.backlog.bytes().len()) as u64;
            let stop = before + piece.len() as u64;
            if let Some((found, end)) = self.piece(before, stop, rules) {
                let used = (end - before) as usize;
                *bytes = &bytes[used..];
                return Some(self.take(found, end, stop));
            }
            *bytes = rest;
            self.end = stop;
            self.trim(rules);
        }
        None
    }

    /// Looks at the bytes from `from` to `stop` one by one.
    fn piece(&mut self, from: u64, stop: u64, rules: &Rules) -> Option<(Proven, u64)> {
        let base = stop - self.backlog.bytes().len() as u64;
        let mut end = from;
        while end < stop {
            let quiet = self.chains.due().clamp(end + 1, stop);
            let covered = self.chains.covered();
            end = if self.is_exhausted(rules) {
                quiet
            } else if end < covered {
                quiet.min(covered)
            } else {
                self.scan(end, quiet, base, rules)
            };
            if end >= self.chains.due()
                && let Some(proven) = self.advance(end, base, rules)
            {
                return Some((proven, end));
            }
        }
        None
    }

    /// Begins a chain at the first byte between `from` and `to` that a frame may begin with;
    /// returns the offset behind it, or `to`.
    fn scan(&mut self, from: u64, to: u64, base: u64, rules: &Rules) -> u64 {
        let to = to.min(from + (rules.search_bytes - self.scanned));
        let bytes = &self.backlog.bytes()[(from - base) as usize..(to - base) as usize];
        let starts = &STARTS[usize::from(rules.rsv1)];
        let found = bytes.iter().position(|&byte| starts[usize::from(byte)]);
        let end = found.map_or(to, |index| from + index as u64 + 1);
        self.scanned += end - from;
        if found.is_some() && !self.chains.is_full() && self.call != Some(end - 1) {
            self.chains.add(Candidate::new(end - 1));
        }
        end
    }

    /// Lets all candidates look at what is there up to `end`.
    fn advance(&mut self, end: u64, base: u64, rules: &Rules) -> Option<Proven> {
        let bytes = &self.backlog.bytes()[..(end - base) as usize];
        let mut proven = None;
        self.chains.retain_due(end, |candidate| {
            let verdict = candidate.look(bytes, base, end, rules);
            if verdict == Verdict::Proven && proven.is_none() {
                let near = end - candidate.start <= rules.held_bytes as u64;
                let whole = candidate.from_call && near;
                let start = if whole { candidate.start } else { candidate.at };
                proven = Some(Proven { start, at: candidate.at, masked: candidate.masked });
            }
            verdict != Verdict::Refuted
        });
        proven
    }

    /// Ends the search with what passed between the border and the proof.
    fn take(&mut self, proven: Proven, end: u64, stop: u64) -> Found {
        let mut passed = std::mem::take(&mut self.backlog);
        let base = stop - passed.bytes().len() as u64;
        let start = if proven.start >= base { proven.start } else { proven.at };
        self.let_go += start.saturating_sub(base);
        passed.drop_front(start.saturating_sub(base) as usize);
        passed.truncate((end - start) as usize);
        Found { start, passed, masked: proven.masked == Some(true) }
    }

    /// Lets bytes go that no candidate can be replayed from.
    fn trim(&mut self, rules: &Rules) {
        let base = self.end - self.backlog.bytes().len() as u64;
        let oldest = self.chains.oldest().unwrap_or(self.end);
        let held = rules.held_bytes.max(HEADER_MAX + PREFIX as usize) as u64;
        let keep_from = oldest.max(self.end.saturating_sub(held));
        self.let_go += keep_from.saturating_sub(base);
        self.backlog.drop_front(keep_from.saturating_sub(base) as usize);
    }
}

/// A candidate that needs no more proof.
struct Proven {
    start: u64,
    at: u64,
    masked: Option<bool>,
}

/// Bytes that a frame may begin with, without and with compression.
const STARTS: [[bool; 256]; 2] = [starts(false), starts(true)];

const fn starts(rsv1: bool) -> [bool; 256] {
    let mut starts = [false; 256];
    let mut first = 0;
    while first < starts.len() {
        let (fin, rsv, opcode) = (first & 0x80 != 0, first & 0x70, first & 0x0f);
        starts[first] = match opcode {
            0x0 => rsv == 0,
            0x1 | 0x2 => rsv == 0 || (rsv1 && rsv == 0x40),
            0x8..=0xa => rsv == 0 && fin,
            _ => false,
        };
        first += 1;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules { masked: None, rsv1: true, search_bytes: 1 << 20, held_bytes: 1 << 14 }
    }

    fn text(payload: &str) -> Vec<u8> {
        [&[0x81, payload.len() as u8], payload.as_bytes()].concat()
    }

    fn found(stream: &[u8], chunk: usize) -> Option<(u64, usize)> {
        let mut search = Search::default();
        for (i, piece) in stream.chunks(chunk).enumerate() {
            let (mut rest, offset) = (piece, (i * chunk) as u64);
            if let Some(found) = search.search(&mut rest, offset, Stamp::default(), &rules()) {
                return Some((found.start, found.passed.bytes().len()));
            }
        }
        None
    }

    #[test]
    fn a_chain_of_six_frames_is_proven_at_the_same_place_in_any_cutting() {
        let mut stream = b"lo world, this is the end of a message".to_vec();
        let border = stream.len() as u64;
        let message = |number: usize| text(&format!("message {number}"));
        stream.extend((0..7).flat_map(message));
        let whole = found(&stream, stream.len()).unwrap();
        let length = message(0).len();
        assert_eq!(whole, (border + 5 * length as u64, length));
        for chunk in 1..40 {
            assert_eq!(found(&stream, chunk), Some(whole), "chunks of {chunk}");
        }
    }

    #[test]
    fn two_calls_that_both_begin_with_a_frame_are_proof() {
        let mut search = Search::default();
        let (first, second) = (text("{\"id\":1}"), text("{\"id\":2}"));
        search.call_starts(0);
        assert!(search.search(&mut &first[..], 0, Stamp::default(), &rules()).is_none());
        search.call_starts(first.len() as u64);
        let found = search.search(&mut &second[..], first.len() as u64, Stamp::default(), &rules());
        assert_eq!(found.map(|found| found.start), Some(0));
    }

    /// Sixty zeroes under a mask that has a header in it.
    #[test]
    fn payload_that_repeats_itself_proves_nothing() {
        for period in [&b"\x82\x02ab"[..], b"\x82\x02ab\x81\x04abcd", b"\x81\x00\x82\x02ab"] {
            let stream = period.repeat(1000);
            assert_eq!(found(&stream, 1000), None, "{period:?}");
            let mut search = Search::default();
            for (call, offset) in
                stream.chunks(10 * period.len()).zip((0..).step_by(10 * period.len()))
            {
                search.call_starts(offset);
                let found = search.search(&mut &call[..], offset, Stamp::default(), &rules());
                assert!(found.is_none(), "{period:?} with calls");
            }
        }
    }

    #[test]
    fn a_message_that_is_said_again_with_each_call_is_proof() {
        let mut search = Search::default();
        let tick = text("tick");
        search.call_starts(0);
        assert!(search.search(&mut &tick[..], 0, Stamp::default(), &rules()).is_none());
        search.call_starts(tick.len() as u64);
        let again = search.search(&mut &tick[..], tick.len() as u64, Stamp::default(), &rules());
        assert_eq!(again.map(|found| found.start), Some(0));
    }

    /// Whatever a call begins with may look like a frame; the next call tells.
    #[test]
    fn a_frame_that_is_none_hides_no_border_for_longer_than_it_says() {
        let mut search = Search::default();
        let mut stream = [&b"\x82\x7e\x00\x82"[..], &[0xff; 80]].concat();
        let border = stream.len() as u64;
        stream.extend((0..20).flat_map(|number| text(&format!("message {number:02}"))));
        search.call_starts(0);
        let found = search.search(&mut &stream[..], 0, Stamp::default(), &rules());
        let length = text("message 00").len() as u64;
        let hidden = (134 - border).div_ceil(length);
        assert_eq!(found.map(|found| found.start), Some(border + (hidden + 5) * length));
    }

    #[test]
    fn zeroes_and_plain_text_prove_nothing() {
        assert_eq!(found(&[0; 10_000], 10_000), None);
        let text = b"GET / HTTP/1.1\r\nHost: example.com\r\nAccept: ABBA, BABA\r\n\r\n".repeat(50);
        assert_eq!(found(&text, 1000), None);
    }

    #[test]
    fn a_search_in_vain_ends_and_keeps_nothing() {
        let limited = Rules { search_bytes: 100, ..rules() };
        let mut search = Search::default();
        let noise = [0xff; 5000];
        search.search(&mut &noise[..], 0, Stamp::default(), &limited);
        assert!(search.is_exhausted(&limited));
        assert!(search.backlog.bytes().is_empty());
    }
}
