//! Where both sides ask, each with a counter of its own, their numbers get mixed up. Then messages are
//! split by what they say of themselves: some of them ask, and what looks different answers.

use std::collections::BTreeSet;

use super::pairs::Pair;
use crate::learning::messages::classes::{Class, Classes};
use crate::learning::messages::places::PlaceId;

/// What a message that asks has, and one that answers has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::learning) enum Split {
    /// Nothing: each may be either.
    #[default]
    None,
    /// A value at a place.
    Tag(PlaceId, u64),
    /// A key.
    Key(PlaceId),
}

/// Most splits that are tried.
const MAX_SPLITS: usize = 12;

impl Split {
    pub(in crate::learning) fn may_ask(self, class: &Class) -> bool {
        match self {
            Self::None => true,
            Self::Tag(place, value) => class.tag(place) == Some(value),
            Self::Key(place) => class.has(place),
        }
    }

    pub(in crate::learning) fn may_answer(self, class: &Class) -> bool {
        self == Self::None || !self.may_ask(class)
    }
}

/// The splits that may tell those that ask from those that answer.
pub(in crate::learning) fn splits(classes: &Classes, pair: Pair) -> Vec<Split> {
    let asking: Vec<&Class> =
        classes.list.iter().filter(|it| it.side == pair.side && it.has(pair.asked)).collect();
    let mut found = BTreeSet::new();
    for class in &asking {
        found.extend(class.tags.iter().map(|&(place, value)| Split::Tag(place, value)));
        found.extend(class.has.iter().map(|&(place, _)| Split::Key(place)));
    }
    // What all have splits nothing.
    let splits = |split: &Split| asking.iter().any(|class| !split.may_ask(class));
    found.into_iter().filter(splits).take(MAX_SPLITS).collect()
}
