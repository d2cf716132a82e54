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

impl HeadScan {
    /// The stream goes on with `bytes`. If a head begins in them, or began in calls before them,
    /// returns what of it came before.
    pub(in crate::decode) fn look(
        &mut self,
        start: SegmentStart,
        bytes: &[u8],
    ) -> Option<HeadScan> {
        if self.len > 0 {
            let found = self.extend(bytes);
            if found.is_some() || self.len > 0 {
                return found;
            }
        }
        if start == SegmentStart::Call { self.extend(bytes) } else { None }
    }

    /// Bytes are missing: what follows does not belong to what was kept.
    pub(in crate::decode) fn interrupt(&mut self) {
        self.len = 0;
    }

    /// What was kept.
    pub(in crate::decode) fn bytes(&self) -> &[u8] {
        &self.kept[..self.len]
    }

    fn extend(&mut self, bytes: &[u8]) -> Option<HeadScan> {
        match opening_of(self.bytes(), bytes) {
            Opening::Request | Opening::Response => return Some(std::mem::take(self)),
            // What is still undecided is shorter than the longest opening.
            Opening::NeedMore if self.len + bytes.len() <= OPENING_MAX => {
                self.kept[self.len..][..bytes.len()].copy_from_slice(bytes);
                self.len += bytes.len();
            }
            Opening::NeedMore | Opening::Http2(_) | Opening::Neither => self.len = 0,
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(calls: &[(SegmentStart, &[u8])]) -> Option<Vec<u8>> {
        let mut scan = HeadScan::default();
        calls.iter().find_map(|&(start, bytes)| scan.look(start, bytes)).map(|it| it.bytes().into())
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
}
