//! Finding the border of an HTTP/2 frame: after a hole, or on a connection met in mid-stream.
//!
//! Applications write, and mostly read, from one frame border to another, so only the starts of
//! calls are tried. What begins there is a border if frame follows frame. A frame of a stream that
//! is known settles it alone: that many bits are no accident.

use super::frame::{HEADER_BYTES, Header};
use crate::decode::backlog::Backlog;
use crate::event::{SegmentStart, Stamp};

/// Evidence at which a border is believed.
const PROOF: u32 = 3;

/// A search in one direction.
#[derive(Debug, Default)]
pub(super) struct BorderSearch {
    /// What passed since a call began that may begin with a border.
    held: Backlog,
    /// Bytes that nobody will decode, and that were not taken yet.
    let_go: u64,
}

/// What a stretch of bytes is by its frame headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    Proven,
    Open,
    Refuted,
}

impl BorderSearch {
    /// The direction goes on with `bytes`. Returns all that passed since a border if one is found:
    /// `bytes` are the end of it. At most `limit` bytes are held.
    pub(super) fn look(
        &mut self,
        bytes: &[u8],
        start: SegmentStart,
        stamp: Stamp,
        limit: usize,
        is_known: impl Fn(u32) -> bool,
    ) -> Option<Backlog> {
        if !self.held.bytes().is_empty() {
            match self.extend(bytes, stamp, limit, &is_known) {
                Chain::Proven => return Some(std::mem::take(&mut self.held)),
                Chain::Open => return None,
                Chain::Refuted => self.drop_held(bytes.len()),
            }
        }
        if start == SegmentStart::Call {
            match self.extend(bytes, stamp, limit, &is_known) {
                Chain::Proven => return Some(std::mem::take(&mut self.held)),
                Chain::Open => return None,
                Chain::Refuted => self.drop_held(bytes.len()),
            }
        }
        self.let_go += bytes.len() as u64;
        None
    }

    fn extend(
        &mut self,
        bytes: &[u8],
        stamp: Stamp,
        limit: usize,
        is_known: &impl Fn(u32) -> bool,
    ) -> Chain {
        let whole = self.held.bytes().len() + bytes.len();
        self.held.push(bytes, stamp);
        // Very many tiny calls push the first ones out.
        if self.held.bytes().len() < whole {
            self.let_go += (whole - self.held.bytes().len()) as u64;
            return Chain::Refuted;
        }
        match chain(self.held.bytes(), is_known) {
            Chain::Open if whole > limit => Chain::Refuted,
            chain => chain,
        }
    }

    /// Lets go of what is held, but for the last `n` bytes: those are looked at once more.
    fn drop_held(&mut self, n: usize) {
        self.let_go += self.held.bytes().len().saturating_sub(n) as u64;
        self.held = Backlog::default();
    }

    /// Bytes are missing behind what was seen, or it must be given up.
    pub(super) fn interrupt(&mut self) {
        self.drop_held(0);
    }

    /// Bytes that were dropped undecoded since the last call.
    pub(super) fn take_let_go(&mut self) -> u64 {
        std::mem::take(&mut self.let_go)
    }

    /// Bytes that it takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.held_bytes()
    }
}

/// Follows the frames that `bytes` begin with.
fn chain(bytes: &[u8], is_known: &impl Fn(u32) -> bool) -> Chain {
    let mut evidence = 0;
    let mut rest = Some(bytes);
    while let Some(header) = rest.and_then(Header::parse) {
        if !header.is_likely() {
            return Chain::Refuted;
        }
        evidence += if is_known(header.stream) { PROOF } else { header.evidence() };
        if evidence >= PROOF {
            return Chain::Proven;
        }
        rest = rest.and_then(|rest| rest.get(HEADER_BYTES + header.length as usize..));
    }
    Chain::Open
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_UPDATE: &[u8] = b"\0\0\x04\x08\0\0\0\0\0\0\0\x10\0";
    const DATA: &[u8] = b"\0\0\x04\0\0\0\0\0\x07abcd";

    fn found(calls: &[&[u8]], known: &[u32]) -> Option<Vec<u8>> {
        let mut search = BorderSearch::default();
        let stamp = Stamp::default();
        calls.iter().find_map(|call| {
            let is_known = |stream| known.contains(&stream);
            let found = search.look(call, SegmentStart::Call, stamp, 1000, is_known)?;
            Some(found.bytes().to_vec())
        })
    }

    #[test]
    fn a_chain_of_frames_or_a_known_stream_is_a_border() {
        assert_eq!(found(&[b"abc", DATA], &[7]).as_deref(), Some(DATA));
        assert_eq!(found(&[b"abc", DATA], &[9]), None);
        let chain = [DATA, WINDOW_UPDATE].concat();
        assert_eq!(found(&[b"text", &chain], &[]), Some(chain.clone()));
        assert_eq!(found(&[DATA, WINDOW_UPDATE], &[]), Some(chain));
    }

    #[test]
    fn text_zeros_and_noise_are_no_border() {
        let noise: Vec<u8> =
            (0..9000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for bytes in [vec![b' '; 4000], vec![0; 4000], noise] {
            for at in 0..100 {
                assert_eq!(found(&[&bytes[at..]], &[]), None);
            }
        }
    }
}
