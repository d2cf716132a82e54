//! Inflation of permessage-deflate (RFC 7692, section 7.2.2): one window for a direction, or one
//! for each message, with a bound on how many windows there are.
//!
//! Raw DEFLATE has no checksum: an inflater whose history is not exactly that of its peer goes on
//! producing wrong bytes without an error. Whoever holds one must let it go after any hole.

use flate2::{Decompress, FlushDecompress, Status};

/// RFC 7692, section 7.2.2: what the sender took off the end of each message.
pub(in crate::decode) const TRAILER: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The window of DEFLATE at its largest. It decodes what any smaller window produced.
const WINDOW: usize = 32 << 10;

/// Why a message cannot be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::decode) enum Fault {
    /// It is not DEFLATE, or refers to history that is not there.
    #[error("corrupt deflate data")]
    Corrupt,
    /// It inflates to more than the limit.
    #[error("inflates to too many bytes")]
    TooBig,
}

/// The inflater of one direction, or of one message.
#[derive(Debug)]
pub(in crate::decode) struct Inflater {
    raw: Decompress,
    tail: Tail,
}

impl Inflater {
    fn new() -> Self {
        Self { raw: Decompress::new(false), tail: Tail::default() }
    }

    /// One that goes on behind the plaintext `history`, of which the last 32 KiB count; `None` if
    /// that is refused.
    pub(in crate::decode) fn with_history(history: &[u8]) -> Option<Self> {
        let mut inflater = Self::new();
        let history = &history[history.len().saturating_sub(WINDOW)..];
        if !history.is_empty() {
            inflater.raw.set_dictionary(history).ok()?;
            inflater.tail.push(history);
        }
        Some(inflater)
    }

    /// Whether the plaintext so far ends with `bytes`.
    pub(in crate::decode) fn ends_with(&self, bytes: &[u8]) -> bool {
        let count = bytes.len().min(WINDOW);
        bytes.len() <= WINDOW
            && self.tail.last(count).is_some_and(|it| it.eq(bytes.iter().copied()))
    }

    /// The last `count` bytes of plaintext; `None` if fewer are known.
    pub(in crate::decode) fn last(&self, count: usize) -> Option<Vec<u8>> {
        self.tail.last(count).map(Iterator::collect)
    }

    /// Whether the last `size` bytes of plaintext are the same here and there. Where less has
    /// passed, all must be the same.
    pub(in crate::decode) fn has_same_history(&self, other: &Self, size: usize) -> bool {
        let own = self.tail.ring.len().min(size);
        if own != other.tail.ring.len().min(size) {
            return false;
        }
        match (self.tail.last(own), other.tail.last(own)) {
            (Some(mine), Some(theirs)) => mine.eq(theirs),
            _ => false,
        }
    }

    /// Forgets all history.
    fn reset(&mut self) {
        self.raw.reset(false);
        self.tail.clear();
    }

    /// Inflates `input` onto the end of `out`. Whenever `out` is full to its capacity, `spill`
    /// is handed what is in it, and `out` is emptied.
    ///
    /// The last `trailer` bytes of `input` are not the message's own: they are dropped where the
    /// message ended its DEFLATE stream with BFINAL (RFC 7692, section 7.2.3.4).
    pub(in crate::decode) fn inflate(
        &mut self,
        mut input: &[u8],
        trailer: usize,
        out: &mut Vec<u8>,
        spill: &mut dyn FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        loop {
            if out.len() == out.capacity() {
                spill(out)?;
                out.clear();
            }
            let (produced, consumed) = (out.len(), self.raw.total_in());
            let status = self
                .raw
                .decompress_vec(input, out, FlushDecompress::Sync)
                .map_err(|_| Fault::Corrupt)?;
            self.tail.push(&out[produced..]);
            let used = usize::try_from(self.raw.total_in() - consumed).unwrap_or(input.len());
            input = input.get(used..).unwrap_or_default();
            let room = out.len() < out.capacity();
            if status == Status::StreamEnd {
                self.begin_again()?;
                if input.len() <= trailer {
                    return Ok(());
                }
            } else if input.is_empty() && room {
                return Ok(());
            } else if used == 0 && produced == out.len() && room {
                return Err(Fault::Corrupt);
            }
        }
    }

    /// A stream has ended with BFINAL; the next one may refer to the same history.
    fn begin_again(&mut self) -> Result<(), Fault> {
        self.raw.reset(false);
        if self.tail.len == 0 {
            return Ok(());
        }
        self.raw.set_dictionary(self.tail.in_order()).map(drop).map_err(|_| Fault::Corrupt)
    }

    /// Whether the input so far ended at the border of a block. Asking ends the inflater's use:
    /// it must be reset after it.
    pub(in crate::decode) fn ends_at_border(&mut self) -> bool {
        // A last, empty, stored block is only read as one where a block may begin.
        let probe = [0x01, 0x00, 0x00, 0xff, 0xff];
        let (consumed, produced) = (self.raw.total_in(), self.raw.total_out());
        let mut sink = [0; 8];
        let status = self.raw.decompress(&probe, &mut sink, FlushDecompress::Sync);
        matches!(status, Ok(Status::StreamEnd))
            && self.raw.total_in() - consumed == probe.len() as u64
            && self.raw.total_out() == produced
    }
}

/// The last [`WINDOW`] bytes of output: zlib does not hand its own window out.
#[derive(Debug, Default)]
struct Tail {
    ring: Vec<u8>,
    /// Where the next byte goes.
    next: usize,
    len: usize,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(WINDOW)..];
        if self.ring.len() < WINDOW {
            let grow = bytes.len().min(WINDOW - self.ring.len());
            let wanted = (self.ring.len() + grow).next_power_of_two();
            self.ring.reserve_exact(wanted - self.ring.len());
            self.ring.extend_from_slice(&bytes[..grow]);
            self.next = self.ring.len() % WINDOW;
            self.len = self.ring.len();
            return self.wrap(&bytes[grow..]);
        }
        self.wrap(bytes);
    }

    /// Writes over the oldest bytes of a full ring.
    fn wrap(&mut self, bytes: &[u8]) {
        let first = bytes.len().min(WINDOW - self.next);
        let (head, rest) = bytes.split_at(first);
        self.ring[self.next..self.next + first].copy_from_slice(head);
        self.ring[..rest.len()].copy_from_slice(rest);
        if !bytes.is_empty() {
            self.next = (self.next + bytes.len()) % WINDOW;
        }
    }

    /// The last `count` bytes, oldest first; `None` if there are fewer.
    fn last(&self, count: usize) -> Option<impl Iterator<Item = u8> + '_> {
        let surplus = self.ring.len().checked_sub(count)?;
        let next = self.next.min(self.ring.len());
        let (newer, older) = self.ring.split_at(next);
        Some(older.iter().chain(newer).skip(surplus).copied())
    }

    fn in_order(&mut self) -> &[u8] {
        if self.ring.len() == WINDOW {
            self.ring.rotate_left(self.next);
            self.next = 0;
        }
        &self.ring
    }

    fn clear(&mut self) {
        self.ring.clear();
        self.next = 0;
        self.len = 0;
    }
}

/// The right to use one inflater, until it is released or evicted.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::decode) struct Lease {
    slot: usize,
    serial: u64,
}

/// All inflaters, at most so many as the limit says.
#[derive(Debug)]
pub(in crate::decode) struct Inflaters {
    slots: Vec<Slot>,
    /// Slots that nobody holds; those at the end have an inflater ready.
    free: Vec<usize>,
    limit: usize,
    serial: u64,
    clock: u64,
}

#[derive(Debug, Default)]
struct Slot {
    /// Of the lease that holds it; `None` while it is free.
    holder: Option<u64>,
    used: u64,
    inflater: Option<Box<Inflater>>,
}

/// Free inflaters that are kept for the next message.
const SPARE_MAX: usize = 4;

impl Inflaters {
    pub(in crate::decode) fn new(limit: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), limit: limit.max(1), serial: 0, clock: 0 }
    }

    /// Lends an inflater without history; true if another holder lost its own for it.
    pub(in crate::decode) fn lend(&mut self) -> (Lease, bool) {
        self.serial += 1;
        self.clock += 1;
        let serial = self.serial;
        let (slot, evicted) = match self.free.pop() {
            Some(slot) => (slot, false),
            None if self.slots.len() < self.limit => {
                self.slots.push(Slot::default());
                (self.slots.len() - 1, false)
            }
            None => (self.longest_unused(), true),
        };
        if let Some(entry) = self.slots.get_mut(slot) {
            match &mut entry.inflater {
                Some(inflater) => inflater.reset(),
                none => *none = Some(Box::new(Inflater::new())),
            }
            entry.holder = Some(serial);
            entry.used = self.clock;
        }
        (Lease { slot, serial }, evicted)
    }

    /// Lends out an inflater with a history that it has from elsewhere; true if another holder lost
    /// its own for it.
    pub(in crate::decode) fn lend_ready(&mut self, inflater: Box<Inflater>) -> (Lease, bool) {
        let (lease, evicted) = self.lend();
        if let Some(entry) = self.slots.get_mut(lease.slot) {
            entry.inflater = Some(inflater);
        }
        (lease, evicted)
    }

    fn longest_unused(&self) -> usize {
        let oldest = self.slots.iter().enumerate().min_by_key(|(_, slot)| slot.used);
        oldest.map_or(0, |(slot, _)| slot)
    }

    /// The inflater of a lease; `None` if it was evicted.
    pub(in crate::decode) fn get(&mut self, lease: &Lease) -> Option<&mut Inflater> {
        self.clock += 1;
        let slot = self.slots.get_mut(lease.slot)?;
        if slot.holder != Some(lease.serial) {
            return None;
        }
        slot.used = self.clock;
        slot.inflater.as_deref_mut()
    }

    /// Takes an inflater back.
    pub(in crate::decode) fn release(&mut self, lease: Lease) {
        let Some(slot) = self.slots.get_mut(lease.slot) else { return };
        if slot.holder != Some(lease.serial) {
            return;
        }
        slot.holder = None;
        self.free.push(lease.slot);
        if self.free.len() > SPARE_MAX {
            let surplus = self.free[self.free.len() - SPARE_MAX - 1];
            self.slots[surplus].inflater = None;
        }
    }

    /// How many are in use.
    #[cfg(test)]
    pub(in crate::decode) fn lent(&self) -> usize {
        self.slots.iter().filter(|slot| slot.holder.is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    fn inflate(inflater: &mut Inflater, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::with_capacity(16);
        let mut whole = Vec::new();
        let input = [message, &TRAILER].concat();
        inflater.inflate(&input, TRAILER.len(), &mut out, &mut |piece| {
            whole.extend_from_slice(piece);
            Ok(())
        })?;
        whole.extend_from_slice(&out);
        Ok(whole)
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    fn deflate(compress: &mut Compress, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(message.len() * 2 + 64);
        compress.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - TRAILER.len());
        out
    }

    #[test]
    fn the_examples_of_rfc_7692_section_7_2_3_inflate() {
        let mut inflater = Inflater::new();
        for message in [
            "f248cdc9c90700",
            "f200110000",
            "000500faff48656c6c6f00",
            "f348cdc9c9070000",
            "f248050000 00ffffcac9c90700",
        ] {
            assert_eq!(inflate(&mut inflater, &hex(&message.replace(' ', ""))).unwrap(), b"Hello");
        }
        assert_eq!(inflate(&mut inflater, &[0]).unwrap(), b"");
    }

    #[test]
    fn history_survives_a_message_that_ends_its_stream() {
        let mut inflater = Inflater::new();
        assert_eq!(inflate(&mut inflater, &hex("f348cdc9c9070000")).unwrap(), b"Hello");
        assert_eq!(inflate(&mut inflater, &hex("f200110000")).unwrap(), b"Hello");
        // Without the padding block behind BFINAL.
        assert_eq!(inflate(&mut inflater, &hex("f348cdc9c90700")).unwrap(), b"Hello");
        assert_eq!(inflate(&mut inflater, &hex("f200110000")).unwrap(), b"Hello");
    }

    #[test]
    fn a_full_window_of_history_survives_the_end_of_a_stream() {
        let history: Vec<u8> = (0..90_000_u64).map(|i| ((i * i) >> 7) as u8).collect();
        let mut compress = Compress::new(Compression::default(), false);
        let first = deflate(&mut compress, &history);
        let again = deflate(&mut compress, &history[history.len() - 20_000..]);
        let mut inflater = Inflater::new();
        assert_eq!(inflate(&mut inflater, &first).unwrap(), history);
        inflater.begin_again().unwrap();
        assert!(again.len() < 1000, "it refers to history");
        assert_eq!(inflate(&mut inflater, &again).unwrap(), &history[history.len() - 20_000..]);
    }

    #[test]
    fn a_reference_to_history_is_an_error_after_a_reset() {
        let mut compress = Compress::new(Compression::default(), false);
        let first = deflate(&mut compress, b"a message that will be seen again");
        let again = deflate(&mut compress, b"a message that will be seen again");
        let mut inflater = Inflater::new();
        inflate(&mut inflater, &first).unwrap();
        inflater.reset();
        assert_eq!(inflate(&mut inflater, &again), Err(Fault::Corrupt));
    }

    #[test]
    fn only_a_message_that_ends_at_a_block_border_is_proven() {
        let mut inflater = Inflater::new();
        inflate(&mut inflater, &hex("f248cdc9c90700")).unwrap();
        assert!(inflater.ends_at_border());
        inflater.reset();
        // Cut in the midst of a block.
        inflate(&mut inflater, &hex("f248cdc9")).unwrap();
        assert!(!inflater.ends_at_border());
    }

    #[test]
    fn the_inflater_unused_for_longest_is_evicted() {
        let mut inflaters = Inflaters::new(2);
        let (first, _) = inflaters.lend();
        let (second, evicted) = inflaters.lend();
        assert!(!evicted);
        assert!(inflaters.get(&first).is_some());
        let (third, evicted) = inflaters.lend();
        assert!(evicted);
        assert!(inflaters.get(&second).is_none());
        inflaters.release(second);
        assert!(inflaters.get(&first).is_some() && inflaters.get(&third).is_some());
    }

    #[test]
    fn few_inflaters_are_kept_for_later() {
        let mut inflaters = Inflaters::new(100);
        for _ in 0..2 {
            let leases: Vec<_> = (0..20).map(|_| inflaters.lend().0).collect();
            leases.into_iter().for_each(|lease| inflaters.release(lease));
            let ready = inflaters.slots.iter().filter(|slot| slot.inflater.is_some()).count();
            assert_eq!((inflaters.slots.len(), ready), (20, SPARE_MAX));
        }
    }

    #[test]
    fn any_bytes_inflate_or_fail_without_a_stall() {
        let mut seed = 1_u32;
        for _ in 0..2000 {
            let message: Vec<u8> = (0..40)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 24) as u8
                })
                .collect();
            let mut inflater = Inflater::new();
            if inflate(&mut inflater, &message).is_ok() {
                assert!(inflater.raw.total_in() <= message.len() as u64 + 4);
            }
        }
    }
}
