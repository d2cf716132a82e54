//! Finds an HTTP head at the start of a call, even if that call carries only its first byte.
//!
//! Used while a connection is no proven WebSocket. Parsing the head is left to `reader`.

use super::head::Opening;
use super::reader::{OPENING_MAX, opening_of};
use crate::event::SegmentStart;

/// The first bytes of one direction's call, while a head may still begin with them.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::decode) struct HeadScan {
    kept: [u8; OPENING_MAX],
    len: usize,
}

/// What the bytes that passed are.
#[derive(Clone, Copy, Debug)]
pub(in crate::decode) enum Scanned {
    /// A head begins in them, or began in calls before them: what of it came before.
    Head(HeadScan),
    /// A head may begin with them: they are kept. What was kept before is no head, unless it is
    /// still kept.
    Undecided(HeadScan),
    /// No head begins in them, nor did in what was kept.
    Neither(HeadScan),
}

impl HeadScan {
    /// The stream goes on with `bytes`.
    pub(in crate::decode) fn look(&mut self, start: SegmentStart, bytes: &[u8]) -> Scanned {
        let before = *self;
        if self.len > 0 {
            match self.extend(bytes) {
                Scanned::Neither(_) => {}
                // All of it is still kept.
                Scanned::Undecided(_) => return Scanned::Undecided(HeadScan::default()),
                head @ Scanned::Head(_) => return head,
            }
        }
        if start != SegmentStart::Call {
            return Scanned::Neither(before);
        }
        match self.extend(bytes) {
            Scanned::Undecided(_) => Scanned::Undecided(before),
            Scanned::Neither(_) => Scanned::Neither(before),
            head @ Scanned::Head(_) => head,
        }
    }

    /// What was kept.
    pub(in crate::decode) fn bytes(&self) -> &[u8] {
        &self.kept[..self.len]
    }

    /// Nothing is kept.
    pub(in crate::decode) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn extend(&mut self, bytes: &[u8]) -> Scanned {
        match opening_of(self.bytes(), bytes) {
            Opening::Request | Opening::Response => Scanned::Head(std::mem::take(self)),
            // What is still undecided is shorter than the longest opening.
            Opening::NeedMore if self.len + bytes.len() <= OPENING_MAX => {
                self.kept[self.len..][..bytes.len()].copy_from_slice(bytes);
                self.len += bytes.len();
                Scanned::Undecided(HeadScan::default())
            }
            Opening::NeedMore | Opening::Http2(_) | Opening::Neither => {
                Scanned::Neither(std::mem::take(self))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(calls: &[(SegmentStart, &[u8])]) -> Option<Vec<u8>> {
        let mut scan = HeadScan::default();
        calls.iter().find_map(|&(start, bytes)| match scan.look(start, bytes) {
            Scanned::Head(begun) => Some(begun.bytes().into()),
            Scanned::Undecided(_) | Scanned::Neither(_) => None,
        })
    }

    const CALL: SegmentStart = SegmentStart::Call;
    const MIDDLE: SegmentStart = SegmentStart::Middle;

    #[test]
    fn a_head_is_found_at_the_start_of_a_call_however_it_is_cut() {
        assert_eq!(found(&[(CALL, b"HTTP/1.1 101 ")]), Some(vec![]));
        assert_eq!(found(&[(MIDDLE, b"HTTP/1.1 101 ")]), None);
        for size in 1..7 {
            let pieces = b"HTTP/1.1 101 ".chunks(size);
            let calls: Vec<_> = pieces.clone().map(|piece| (CALL, piece)).collect();
            let kept = 6 / size * size;
            assert_eq!(found(&calls), Some(b"HTTP/1.1"[..kept].to_vec()), "{size} bytes a call");
            let records: Vec<_> = pieces
                .enumerate()
                .map(|(i, it)| (if i == 0 { CALL } else { MIDDLE }, it))
                .collect();
            assert_eq!(found(&records), Some(b"HTTP/1.1"[..kept].to_vec()));
        }
    }

    #[test]
    fn what_turns_out_to_be_no_head_does_not_hide_the_next() {
        assert_eq!(found(&[(CALL, b"GE"), (CALL, b"GET / ")]), Some(vec![]));
        assert_eq!(found(&[(CALL, b"GE"), (MIDDLE, b"GET / ")]), None);
    }

    #[test]
    fn each_byte_that_is_no_head_comes_back_once() {
        let calls = [(CALL, "GE"), (MIDDLE, "TA"), (CALL, "G"), (CALL, "PO"), (CALL, "x")];
        let (mut scan, mut passed) = (HeadScan::default(), String::new());
        for (start, bytes) in calls {
            let (kept, rest) = match scan.look(start, bytes.as_bytes()) {
                Scanned::Head(_) => panic!("there is no head"),
                Scanned::Undecided(kept) => (kept, ""),
                Scanned::Neither(kept) => (kept, bytes),
            };
            passed += str::from_utf8(kept.bytes()).expect("text");
            passed += rest;
        }
        assert_eq!(passed, "GETAGPOx");
    }
}
