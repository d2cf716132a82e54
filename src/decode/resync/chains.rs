//! The chains of frames that one search follows, in the order in which they began.
//!
//! Most bytes concern no chain. So the offset that each chain waits for is kept in a list of its own,
//! which is quick to look through.

use super::candidate::Candidate;

/// Chains that are followed at a time.
const CHAINS_MAX: usize = 64;

#[derive(Debug)]
pub(in crate::decode) struct Chains {
    order: Vec<Waiting>,
    slots: Vec<Candidate>,
    /// Slots that are in no place.
    free: Vec<u8>,
    /// No chain needs a look before the stream reaches this offset.
    due: u64,
    /// End of the likely frame's payload.
    covered: u64,
}

/// Where a chain is.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Its [`Candidate::need`].
    need: u64,
    slot: u8,
}

impl Default for Chains {
    fn default() -> Self {
        Self { order: Vec::new(), slots: Vec::new(), free: Vec::new(), due: u64::MAX, covered: 0 }
    }
}

impl Chains {
    pub(in crate::decode) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(in crate::decode) fn is_full(&self) -> bool {
        self.order.len() >= CHAINS_MAX
    }

    /// No chain needs a look before the stream reaches this offset.
    pub(in crate::decode) fn due(&self) -> u64 {
        self.due
    }

    /// End of the likely frame's payload. No other frame begins before it.
    pub(in crate::decode) fn covered(&self) -> u64 {
        self.covered
    }

    /// Bytes that they take.
    pub(in crate::decode) fn held_bytes(&self) -> usize {
        self.slots.len() * size_of::<Candidate>()
    }

    /// Where the oldest one begins.
    pub(in crate::decode) fn oldest(&self) -> Option<u64> {
        self.iter().map(|it| it.start).min()
    }

    pub(in crate::decode) fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.order.iter().map(|place| &self.slots[usize::from(place.slot)])
    }

    /// A call begins at `offset`, which one chain or another may have expected. One that begins there
    /// is followed from now on, if need be instead of the last one that has little to say for it.
    pub(in crate::decode) fn call_starts(&mut self, offset: u64) {
        let mut known = false;
        for place in &self.order {
            let candidate = &mut self.slots[usize::from(place.slot)];
            if candidate.at == offset {
                candidate.call_starts();
                known |= candidate.start == offset;
            }
        }
        if known {
            return;
        }
        if self.is_full() {
            let slots = &self.slots;
            let is_poor = |place: &Waiting| !slots[usize::from(place.slot)].is_likely();
            let last = self.order.iter().rposition(is_poor).unwrap_or(CHAINS_MAX - 1);
            self.free.push(self.order.remove(last).slot);
        }
        let mut candidate = Candidate::new(offset);
        candidate.call_starts();
        self.add(candidate);
    }

    /// Follows one more. To be called while they are not full.
    pub(in crate::decode) fn add(&mut self, candidate: Candidate) {
        let need = candidate.need;
        let slot = self.free.pop().unwrap_or(self.slots.len() as u8);
        match self.slots.get_mut(usize::from(slot)) {
            Some(free) => *free = candidate,
            None => self.slots.push(candidate),
        }
        self.order.push(Waiting { need, slot });
        self.due = self.due.min(need);
    }

    /// Keeps those that `is_kept` says of.
    pub(in crate::decode) fn retain(&mut self, mut is_kept: impl FnMut(&Candidate) -> bool) {
        self.retain_due(u64::MAX, |candidate| is_kept(candidate));
    }

    /// Asks those that were waiting for `end`, or for less, whether they are kept.
    pub(in crate::decode) fn retain_due(
        &mut self,
        end: u64,
        mut is_kept: impl FnMut(&mut Candidate) -> bool,
    ) {
        let (mut due, mut at) = (u64::MAX, 0);
        while let Some(place) = self.order.get_mut(at) {
            if place.need <= end {
                let candidate = &mut self.slots[usize::from(place.slot)];
                if !is_kept(candidate) {
                    self.free.push(place.slot);
                    self.order.remove(at);
                    continue;
                }
                place.need = candidate.need;
                if candidate.is_likely() {
                    self.covered = self.covered.max(candidate.at);
                }
            }
            due = due.min(place.need);
            at += 1;
        }
        self.due = due;
    }
}

#[cfg(test)]
mod tests {
    use super::super::candidate::{Rules, Verdict};
    use super::*;

    fn starts(chains: &Chains) -> Vec<u64> {
        chains.iter().map(|it| it.start).collect()
    }

    #[test]
    fn only_those_that_are_due_are_asked_and_they_stay_in_order() {
        let mut chains = Chains::default();
        (0..5).for_each(|start| chains.add(Candidate::new(start * 10)));
        assert_eq!(chains.due(), 2);
        let mut asked = Vec::new();
        chains.retain_due(22, |candidate| {
            asked.push(candidate.start);
            candidate.need = 100;
            candidate.start != 10
        });
        assert_eq!(asked, [0, 10, 20]);
        assert_eq!((starts(&chains), chains.due()), (vec![0, 20, 30, 40], 32));
        chains.add(Candidate::new(50));
        assert_eq!((starts(&chains), chains.due()), (vec![0, 20, 30, 40, 50], 32));
        assert_eq!(chains.slots.len(), 5, "the free slot is taken");
    }

    #[test]
    fn a_call_takes_the_place_of_the_last_one_where_there_are_too_many() {
        let mut chains = Chains::default();
        (0..CHAINS_MAX as u64).for_each(|start| chains.add(Candidate::new(start)));
        assert!(chains.is_full());
        chains.call_starts(1_000);
        chains.call_starts(1_000);
        assert_eq!(chains.order.len(), CHAINS_MAX);
        assert_eq!(starts(&chains)[CHAINS_MAX - 2..], [CHAINS_MAX as u64 - 2, 1_000]);
        chains.retain_due(1_006, |candidate| {
            let rules = Rules { rsv1: false, ..Rules::default() };
            candidate.start < 1_000
                || candidate.look(b"\x81\x04tick", 1_000, 1_006, &rules) == Verdict::Possible
        });
        chains.call_starts(2_000);
        assert_eq!(starts(&chains)[CHAINS_MAX - 2..], [1_000, 2_000]);
        assert_eq!(chains.slots.len(), CHAINS_MAX);
    }
}
