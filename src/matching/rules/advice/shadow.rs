//! Rules that never hold, because another one holds for every message that they are for.

use super::doubt::{Doubt, Placed};
use crate::matching::rules::json::field::JsonType;
use crate::matching::rules::json::rules::{JsonRule, JsonRules, Test};
use crate::matching::rules::kind::From;

/// One for each such rule.
pub(super) fn doubts(rules: &Placed<'_>) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    let tests = Tests::of(rules.json);
    let mut say = |later: usize, earlier: usize| {
        let reason = format!("rule[{earlier}] holds for every message that this one is for");
        doubts.push(Doubt::new(format!("rule[{later}]"), reason));
    };
    for (at, later) in rules.json.rules.iter().enumerate() {
        let hides = |earlier: &&JsonRule| tests.hides(earlier, later);
        let before = rules.json.rules[..at].iter().position(|earlier| hides(&earlier));
        if let Some(before) = before {
            say(rules.json_places[at], rules.json_places[before]);
        }
    }
    for (at, later) in rules.patterns.iter().enumerate() {
        let before = rules.patterns[..at].iter().position(|earlier| {
            covers(earlier.from(), later.from()) && earlier.pattern() == later.pattern()
        });
        if let Some(before) = before {
            say(rules.pattern_places[at], rules.pattern_places[before]);
        }
    }
    doubts
}

/// Whether every message that may come from `of` may come from `one`.
fn covers(one: From, of: From) -> bool {
    one == From::Any || one == of
}

/// The conditions of a protocol by their bits: the slot, and what is asked there.
struct Tests<'a>(Vec<(u64, usize, &'a Test)>);

impl<'a> Tests<'a> {
    fn of(rules: &'a JsonRules) -> Self {
        let of_slot = rules.conditions.iter().enumerate();
        Self(
            of_slot
                .flat_map(|(slot, it)| it.all().map(move |(bit, test)| (bit, slot, test)))
                .collect(),
        )
    }

    fn among(&self, bits: u64) -> impl Iterator<Item = (usize, &'a Test)> {
        self.0.iter().filter(move |(bit, ..)| bits & bit != 0).map(|(_, slot, test)| (*slot, *test))
    }

    /// Whether `one` holds wherever `other` holds, as far as conditions on the same path can tell.
    fn hides(&self, one: &JsonRule, other: &JsonRule) -> bool {
        let is_implied = |(slot, test): (usize, &Test)| {
            self.among(other.all).any(|(at, known)| at == slot && implies(known, test))
        };
        let cannot_be = |(slot, test): (usize, &Test)| {
            self.among(other.all).any(|(at, known)| at == slot && excludes(known, test))
        };
        let open = one.unless & !(other.unless | other.none);
        covers(one.from, other.from)
            && self.among(one.all).all(is_implied)
            && one.none & !other.none == 0
            && self.among(open).all(cannot_be)
    }
}

/// Whether every value for which `known` holds is one for which `test` holds.
fn implies(known: &Test, test: &Test) -> bool {
    match (known, test) {
        (known, test) if known == test => true,
        (_, Test::Present) => true,
        (Test::OneOf(values), Test::OneOf(others)) => values.iter().all(|it| others.contains(it)),
        (Test::OneOf(values), Test::Type(wanted)) => values.iter().all(|it| type_of(it) == *wanted),
        (Test::OneOf(values), Test::Id) => values.iter().all(|it| is_id(type_of(it))),
        (Test::Type(known), Test::Id) => is_id(*known),
        (Test::BeginsWith(_) | Test::EndsWith(_), Test::Id | Test::Type(JsonType::String)) => true,
        (Test::AtLeast(_), Test::Id | Test::Type(JsonType::Number)) => true,
        (Test::AtLeast(known), Test::AtLeast(least)) => known >= least,
        (Test::BeginsWith(known), Test::BeginsWith(start)) => known.starts_with(&**start),
        (Test::EndsWith(known), Test::EndsWith(end)) => known.ends_with(&**end),
        _ => false,
    }
}

/// Whether no value for which `known` holds is one for which `test` holds.
fn excludes(known: &Test, test: &Test) -> bool {
    match (known, test) {
        (Test::OneOf(values), Test::OneOf(others)) => !values.iter().any(|it| others.contains(it)),
        (Test::OneOf(values), Test::Type(unwanted)) => {
            values.iter().all(|it| type_of(it) != *unwanted)
        }
        (Test::Type(known), Test::OneOf(others)) => others.iter().all(|it| type_of(it) != *known),
        (Test::Type(known), Test::Type(unwanted)) => known != unwanted,
        (Test::Id, Test::Type(unwanted)) => !is_id(*unwanted),
        _ => false,
    }
}

fn is_id(json_type: JsonType) -> bool {
    matches!(json_type, JsonType::String | JsonType::Number)
}

/// The type of a value as a rule writes it.
fn type_of(token: &[u8]) -> JsonType {
    match token.first() {
        Some(b'"') => JsonType::String,
        Some(b't' | b'f') => JsonType::Bool,
        _ => JsonType::Number,
    }
}
