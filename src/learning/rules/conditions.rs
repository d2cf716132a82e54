//! What tells messages of some classes from those of others, in the words of the rule language.

use std::collections::BTreeSet;

use crate::learning::messages::classes::{Class, ClassId, Classes, is_telling};
use crate::learning::messages::places::{PlaceId, Table};

/// A condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::learning) enum Condition {
    Has(PlaceId),
    Lacks(PlaceId),
    /// The place has one of these values.
    When(PlaceId, Vec<u64>),
    /// It has none of them.
    Unless(PlaceId, Vec<u64>),
    /// It has a value that is not null.
    WhenValue(PlaceId),
    UnlessValue(PlaceId),
}

impl Condition {
    /// What holds exactly where this one does not.
    pub(in crate::learning) fn negated(&self) -> Self {
        match self.clone() {
            Self::Has(place) => Self::Lacks(place),
            Self::Lacks(place) => Self::Has(place),
            Self::When(place, values) => Self::Unless(place, values),
            Self::Unless(place, values) => Self::When(place, values),
            Self::WhenValue(place) => Self::UnlessValue(place),
            Self::UnlessValue(place) => Self::WhenValue(place),
        }
    }

    fn holds(&self, class: &Class) -> bool {
        let is_one = |place, values: &Vec<u64>| {
            class.tag(place).is_some_and(|value| values.contains(&value))
        };
        match self {
            Self::Has(place) => class.has(*place),
            Self::Lacks(place) => !class.has(*place),
            Self::When(place, values) => is_one(*place, values),
            Self::Unless(place, values) => !is_one(*place, values),
            Self::WhenValue(place) => class.has_value(*place),
            Self::UnlessValue(place) => !class.has_value(*place),
        }
    }
}

/// Values that a condition on a type may list where a key would do as well.
const FEW: usize = 3;

/// Values that a condition may list at most.
const MANY: usize = 16;

/// Conditions of which all must hold for `wanted`, and not all for any of `others`: few and general
/// ones where there are some. `None` where nothing tells them apart.
pub(in crate::learning) fn between(
    table: &Table,
    classes: &Classes,
    wanted: &BTreeSet<ClassId>,
    others: &BTreeSet<ClassId>,
) -> Option<Vec<Condition>> {
    let search = Search {
        table,
        wanted: wanted.iter().map(|id| classes.get(*id)).collect(),
        others: others.iter().map(|id| classes.get(*id)).collect(),
    };
    search.conditions()
}

struct Search<'a> {
    table: &'a Table,
    wanted: Vec<&'a Class>,
    others: Vec<&'a Class>,
}

impl Search<'_> {
    fn conditions(&self) -> Option<Vec<Condition>> {
        let mut found = Vec::new();
        let mut left: Vec<&Class> = self.others.clone();
        while !left.is_empty() {
            // Three conditions that each leave something over say little.
            if found.len() == 3 {
                return None;
            }
            let best = self.all().into_iter().map(|(cost, condition)| {
                let stays = left.iter().filter(|class| condition.holds(class)).count();
                (stays, cost, condition)
            });
            let (stays, _, condition) = best.min_by_key(|(stays, cost, _)| (*stays, *cost))?;
            if stays == left.len() {
                return None;
            }
            left.retain(|class| condition.holds(class));
            found.push(condition);
        }
        Some(found)
    }

    /// Every condition that all wanted classes fulfil, and what it costs: the cheaper ones say more
    /// about messages that were not seen.
    fn all(&self) -> Vec<(usize, Condition)> {
        let mut found = Vec::new();
        for place in self.places() {
            let depth = self.table.place(place).depth * 10;
            if self.wanted.iter().all(|class| class.has(place)) {
                found.push((20 + depth, Condition::Has(place)));
            }
            if self.may_be_null(place) {
                found.push((25 + depth, Condition::WhenValue(place)));
                found.push((26 + depth, Condition::UnlessValue(place)));
            }
            if self.wanted.iter().all(|class| !class.has(place)) {
                found.push((22 + depth, Condition::Lacks(place)));
            }
            self.values(place, depth, &mut found);
        }
        found.retain(|(_, condition)| self.wanted.iter().all(|class| condition.holds(class)));
        found
    }

    fn values(&self, place: PlaceId, depth: usize, found: &mut Vec<(usize, Condition)>) {
        let of = |classes: &[&Class]| -> BTreeSet<u64> {
            classes.iter().filter_map(|class| class.tag(place)).collect()
        };
        let (wanted, others) = (of(&self.wanted), of(&self.others));
        let is_name = is_telling(&self.table.place(place).name) || self.is_index(place);
        let doubt = if is_name { 0 } else { 40 };
        let is_everywhere =
            self.wanted.iter().chain(&self.others).all(|it| it.tag(place).is_some());
        if !wanted.is_empty() && wanted.len() <= MANY {
            let cost = if is_everywhere && wanted.len() <= FEW { 5 } else { 30 + wanted.len() };
            let values = wanted.iter().copied().collect();
            found.push((cost + depth + doubt, Condition::When(place, values)));
        }
        if !others.is_empty() && others.len() <= MANY && others.is_disjoint(&wanted) {
            let cost = if others.len() <= FEW { 24 } else { 35 + others.len() };
            let values = others.iter().copied().collect();
            found.push((cost + depth + doubt, Condition::Unless(place, values)));
        }
    }

    fn may_be_null(&self, place: PlaceId) -> bool {
        let side = self.wanted.first().map(|class| class.side);
        side.is_some_and(|side| self.table.only_kind_but_null(place, side).is_some())
    }

    fn is_index(&self, place: PlaceId) -> bool {
        self.table.place(place).name.is_empty()
    }

    /// Every place that some class has.
    fn places(&self) -> BTreeSet<PlaceId> {
        let classes = self.wanted.iter().chain(&self.others);
        let places = classes.flat_map(|class| {
            class
                .has
                .iter()
                .map(|(place, _)| *place)
                .chain(class.tags.iter().map(|(place, _)| *place))
        });
        places.collect()
    }
}
