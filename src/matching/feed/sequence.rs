//! The numbers of one channel, one after the other: which are missing, and which came before.
//!
//! A number that lies ahead leaves a hole. One that lies behind is late, unless it lies so far behind
//! that no network delays for so long: then the sender has begun anew.

use crate::matching::rules::Numbers;
use crate::observation::{SequenceStep, Unchecked};

/// A hole of more numbers than this is no hole: the sender counts from elsewhere.
const MOST_MISSING: i128 = 1 << 24;

/// A number that lies further behind than this is not late: the sender counts from elsewhere.
const MOST_BEHIND: i128 = 1_024;

/// So many numbers behind the last one that follow each other are not late either.
const LATE_IN_A_ROW: u8 = 16;

/// What is known of a channel: the highest number, and how its last late ones went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    last: i64,
    /// The last late number, and how many late ones before it followed each other.
    late: i64,
    late_in_a_row: u8,
}

impl Run {
    /// Begins with these.
    pub(super) fn new(numbers: Numbers) -> Self {
        Self { last: numbers.last, late: numbers.last, late_in_a_row: 0 }
    }

    /// Goes on with `numbers`. `has_lost` says that messages between may not have been seen.
    #[inline]
    pub(super) fn step(&mut self, numbers: Numbers, has_lost: bool) -> SequenceStep {
        // Most follow the one before them.
        let follows = self.last.checked_add(numbers.step.into()) == Some(numbers.first);
        if follows && numbers.previous.is_none() && !has_lost && !numbers.resets {
            *self = Self::new(numbers);
            return SequenceStep::InOrder;
        }
        self.odd_step(numbers, has_lost)
    }

    #[inline(never)]
    fn odd_step(&mut self, numbers: Numbers, has_lost: bool) -> SequenceStep {
        let step = if numbers.resets {
            SequenceStep::Reset
        } else if has_lost {
            SequenceStep::Unchecked(Unchecked::AfterGap)
        } else {
            match numbers.previous {
                Some(previous) => self.chained(numbers, previous),
                None => self.counted(numbers),
            }
        };
        match step {
            SequenceStep::Backward => {
                self.late_in_a_row =
                    if self.goes_on_late(numbers) { self.late_in_a_row + 1 } else { 0 };
                self.late = numbers.last;
                if self.late_in_a_row < LATE_IN_A_ROW {
                    return step;
                }
                *self = Self::new(numbers);
                SequenceStep::Reset
            }
            SequenceStep::Repeated => step,
            _ => {
                *self = Self::new(numbers);
                step
            }
        }
    }

    /// Numbers that follow each other at a known distance.
    fn counted(&self, numbers: Numbers) -> SequenceStep {
        let [last, from, to] = [self.last, numbers.first, numbers.last].map(i128::from);
        let step = i128::from(numbers.step);
        let missing = (from - last - 1).div_euclid(step);
        if missing > MOST_MISSING {
            SequenceStep::Reset
        } else if missing > 0 {
            SequenceStep::Missing(missing.unsigned_abs() as u64)
        } else if to > last {
            SequenceStep::InOrder
        } else if to == last {
            SequenceStep::Repeated
        } else if from <= step || last - to > MOST_BEHIND * step {
            SequenceStep::Reset
        } else {
            SequenceStep::Backward
        }
    }

    /// Numbers at any distance, each with the one before it.
    fn chained(&self, numbers: Numbers, previous: i64) -> SequenceStep {
        if previous == self.last {
            SequenceStep::InOrder
        } else if numbers.last == self.last {
            SequenceStep::Repeated
        } else if previous <= 0 {
            // There is none before it.
            SequenceStep::Reset
        } else if numbers.last < self.last {
            SequenceStep::Backward
        } else if previous < self.last {
            SequenceStep::InOrder
        } else {
            SequenceStep::Missing(1)
        }
    }

    /// A late number follows the late one before it.
    fn goes_on_late(&self, numbers: Numbers) -> bool {
        match numbers.previous {
            Some(previous) => previous == self.late,
            None => self.late.checked_add(numbers.step.into()) == Some(numbers.first),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Small numbers near each other, and the ends of what a number can be.
    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![-3_i64..40, Just(i64::MIN), Just(i64::MAX), any::<i64>()]
    }

    fn numbers() -> impl Strategy<Value = Numbers> {
        let previous = prop::option::of(number());
        (number(), number(), previous, prop_oneof![1_u32..4, Just(u32::MAX)], any::<bool>())
            .prop_map(|(one, other, previous, step, resets)| {
                let (first, last) = (one.min(other), one.max(other));
                Numbers { first, last, previous, step, resets }
            })
    }

    proptest! {
        /// Any numbers in any order are told apart, and what comes next is known again.
        #[test]
        fn any_numbers_have_a_meaning(all in prop::collection::vec((numbers(), any::<bool>()), 1..50)) {
            let mut run = Run::new(all[0].0);
            for (numbers, has_lost) in all {
                let step = run.step(numbers, has_lost);
                if let SequenceStep::Missing(missing) = step {
                    prop_assert!(missing > 0 && i128::from(missing) <= MOST_MISSING);
                }
                let Some(first) = run.last.checked_add(numbers.step.into()) else { continue };
                let next = Numbers { first, last: first, previous: None, resets: false, ..numbers };
                prop_assert_eq!(run.clone().step(next, false), SequenceStep::InOrder);
            }
        }

        /// So many numbers left out are so many missing, whatever the step.
        #[test]
        fn what_is_left_out_is_missing(
            last in -1_000_i64..1_000_000,
            step in 1_u32..1_000,
            left_out in 0_u64..10_000,
        ) {
            let at = |number: i64| Numbers {
                first: number, last: number, previous: None, step, resets: false,
            };
            let mut run = Run::new(at(last));
            let next = last + (i64::try_from(left_out).unwrap() + 1) * i64::from(step);
            let expected = match left_out {
                0 => SequenceStep::InOrder,
                _ => SequenceStep::Missing(left_out),
            };
            prop_assert_eq!(run.step(at(next), false), expected);
        }
    }
}
