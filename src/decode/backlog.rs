//! Stream bytes that cannot be decoded yet, with the time and the thread of each.
//!
//! They are decoded later with the time at which they passed.

use std::collections::VecDeque;

use crate::event::Stamp;

/// Calls whose bytes are kept apart. Beyond it the oldest bytes are dropped.
const PIECES_MAX: usize = 1024;

/// Consecutive bytes of one direction. The owner bounds their number.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// The lengths sum up to `bytes.len()`.
    pieces: VecDeque<(usize, Stamp)>,
}

impl Backlog {
    /// Appends what a call passed.
    pub(super) fn push(&mut self, bytes: &[u8], stamp: Stamp) {
        if bytes.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        match self.pieces.back_mut() {
            Some((len, last)) if *last == stamp => *len += bytes.len(),
            _ => self.pieces.push_back((bytes.len(), stamp)),
        }
        if self.pieces.len() > PIECES_MAX {
            let oldest = self.pieces[0].0;
            self.drop_front(oldest);
        }
    }

    /// Lets the first `n` bytes go.
    pub(super) fn drop_front(&mut self, n: usize) {
        let n = n.min(self.bytes.len());
        self.bytes.drain(..n);
        let mut left = n;
        while left > 0
            && let Some((len, _)) = self.pieces.front_mut()
        {
            let take = left.min(*len);
            *len -= take;
            left -= take;
            if *len == 0 {
                self.pieces.pop_front();
            }
        }
    }

    /// Keeps the first `n` bytes only.
    pub(super) fn truncate(&mut self, n: usize) {
        let mut excess = self.bytes.len().saturating_sub(n);
        self.bytes.truncate(n);
        while excess > 0
            && let Some((len, _)) = self.pieces.back_mut()
        {
            let take = excess.min(*len);
            *len -= take;
            excess -= take;
            if *len == 0 {
                self.pieces.pop_back();
            }
        }
    }

    /// Bytes that it takes.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.len() + self.pieces.len() * size_of::<(usize, Stamp)>()
    }

    /// All bytes, oldest first.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes call by call, oldest first.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (&[u8], Stamp)> {
        let mut rest = &self.bytes[..];
        self.pieces.iter().map(move |&(len, stamp)| {
            let (piece, tail) = rest.split_at(len.min(rest.len()));
            rest = tail;
            (piece, stamp)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(at_ns: u64) -> Stamp {
        Stamp { at_ns, tid: 1 }
    }

    #[test]
    fn pieces_keep_their_times_when_either_end_is_cut() {
        let mut backlog = Backlog::default();
        backlog.push(b"abc", stamp(1));
        backlog.push(b"de", stamp(1));
        backlog.push(b"fgh", stamp(2));
        backlog.drop_front(2);
        backlog.truncate(4);
        assert_eq!(backlog.bytes(), b"cdef");
        let pieces: Vec<_> = backlog.pieces().collect();
        assert_eq!(pieces, [(&b"cde"[..], stamp(1)), (&b"f"[..], stamp(2))]);
    }

    #[test]
    fn many_tiny_pieces_push_the_oldest_out() {
        let mut backlog = Backlog::default();
        for at_ns in 0..PIECES_MAX as u64 + 5 {
            backlog.push(b"x", stamp(at_ns));
        }
        assert_eq!(backlog.bytes().len(), PIECES_MAX);
        assert_eq!(backlog.pieces().next().map(|(_, stamp)| stamp.at_ns), Some(5));
    }
}
