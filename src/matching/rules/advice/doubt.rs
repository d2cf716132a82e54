//! What is looked at, and what is said of it.

use crate::matching::rules::compile::source::RuleSource;
use crate::matching::rules::json::rules::JsonRules;
use crate::matching::rules::pattern::PatternRule;

/// Something that is probably wrong, at a key such as `rule[1].id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::matching) struct Doubt {
    pub(in crate::matching) key: String,
    pub(in crate::matching) reason: String,
}

impl Doubt {
    pub(super) fn new(key: String, reason: String) -> Self {
        Self { key, reason }
    }
}

/// The rules of a protocol as they were compiled, with where they stand in its file.
#[derive(Debug)]
pub(in crate::matching::rules) struct Placed<'a> {
    pub(in crate::matching::rules) sources: &'a [RuleSource],
    pub(in crate::matching::rules) json: &'a JsonRules,
    pub(in crate::matching::rules) patterns: &'a [PatternRule],
    /// For each rule with paths, its number among all rules.
    pub(in crate::matching::rules) json_places: &'a [usize],
    /// The same for each pattern.
    pub(in crate::matching::rules) pattern_places: &'a [usize],
}
