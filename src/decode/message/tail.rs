//! The last bytes of a message that is longer than its window: some libraries write the id last.

use crate::event::TAIL_BYTES;

/// The end, so far, of what is not kept of a message. It takes at most twice [`TAIL_BYTES`].
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    /// The message goes on with `bytes`.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let needed = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        if self.bytes.len() + needed.len() > 2 * TAIL_BYTES {
            let excess = self.bytes.len() + needed.len() - TAIL_BYTES;
            self.bytes.drain(..excess.min(self.bytes.len()));
        }
        self.bytes.extend_from_slice(needed);
    }

    /// Bytes of the message are missing here.
    pub(super) fn interrupt(&mut self) {
        self.bytes.clear();
    }

    /// At most [`TAIL_BYTES`] bytes, without a hole in them.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.bytes.len().saturating_sub(TAIL_BYTES)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_the_same_in_any_cutting_and_bounded() {
        let stream: Vec<u8> = (0..5_000_u32).map(|n| (n % 251) as u8).collect();
        for size in [1, 7, 100, TAIL_BYTES - 1, TAIL_BYTES, TAIL_BYTES + 1, 2000, 5000] {
            let mut tail = Tail::default();
            for piece in stream.chunks(size) {
                tail.push(piece);
                assert!(tail.bytes.len() <= 2 * TAIL_BYTES);
            }
            assert_eq!(tail.bytes(), &stream[stream.len() - TAIL_BYTES..], "{size}");
        }
    }
}
