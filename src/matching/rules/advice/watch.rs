//! What a user's rules found in messages so far, and what they never found.
//!
//! Only rules that were read from a file are watched. What it costs is a few additions for each message
//! that they read.

use std::cell::Cell;
use std::collections::VecDeque;

use super::doubt::{Doubt, Placed};
use crate::matching::rules::compile::source::RuleSource;
use crate::matching::rules::json::found::Found;
use crate::matching::rules::json::path::Path;
use crate::matching::rules::json::rules::JsonRules;
use crate::matching::rules::json::slots::Slot;
use crate::matching::rules::kind::Kind;
use crate::matching::rules::pattern::PatternRule;
use crate::matching::rules::reading::{Reading, RequestName};

/// Before so many messages were read, nothing is said of what was not in them.
const ENOUGH_MESSAGES: u64 = 20;

/// Ids of the last requests that answers are compared with.
const MAX_ASKED: usize = 64;

/// See the module.
#[derive(Debug)]
pub(in crate::matching) struct Watch {
    /// Where a path stands that a rule needs or takes something from.
    paths: Vec<(Slot, String)>,
    places: Vec<usize>,
    pattern_places: Vec<usize>,
    readings: u64,
    /// Ids of requests, without quotes, and whether they had some.
    asked: VecDeque<(Box<[u8]>, bool)>,
    /// An answer differed from a request by its quotes alone.
    differs_by_quotes: bool,
}

impl Watch {
    pub(in crate::matching::rules) fn new(rules: &Placed<'_>) -> Self {
        let wanted = &rules.json.wanted;
        let slots = rules.sources.iter().enumerate().flat_map(|(at, rule)| {
            let keys = needed(rule).map(move |(key, path)| (format!("rule[{at}].{key}"), path));
            keys.filter_map(|(key, path)| Some((wanted.known(&Path::parse(path).ok()?)?, key)))
        });
        Self {
            paths: slots.collect(),
            places: rules.json_places.to_vec(),
            pattern_places: rules.pattern_places.to_vec(),
            readings: 0,
            asked: VecDeque::new(),
            differs_by_quotes: false,
        }
    }

    pub(in crate::matching::rules) fn reading(&mut self, reading: &Reading<'_>) {
        self.readings += 1;
        let Some(RequestName::Id { id, .. }) = reading.name else { return };
        let inside = id.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        let (bare, is_quoted) = (inside.unwrap_or(id), inside.is_some());
        if reading.traits.kind == Kind::Request {
            if self.asked.len() == MAX_ASKED {
                self.asked.pop_front();
            }
            self.asked.push_back((bare.into(), is_quoted));
        } else if !self.differs_by_quotes {
            let mut alike = self.asked.iter().filter(|(asked, _)| **asked == *bare).peekable();
            self.differs_by_quotes =
                alike.peek().is_some() && alike.all(|(_, quoted)| *quoted != is_quoted);
        }
    }

    /// How often each rule held, by its number in the file.
    pub(in crate::matching::rules) fn held(
        &self,
        json: &JsonRules,
        patterns: &[PatternRule],
    ) -> Vec<(usize, u64)> {
        let json = json.found.iter().flat_map(|found| found.held.iter().map(Cell::get));
        let json = self.places.iter().copied().zip(json);
        let matched = patterns.iter().map(|pattern| pattern.matched);
        let mut held: Vec<_> =
            json.chain(self.pattern_places.iter().copied().zip(matched)).collect();
        held.sort_unstable();
        held
    }

    /// What is probably wrong, by the messages so far. Where there were too few, nothing.
    pub(in crate::matching::rules) fn doubts(&self, found: Option<&Found>) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        if self.differs_by_quotes {
            let reason =
                "an answer has the id of a request but for its quotes, so they are not equal";
            doubts.push(Doubt::new("rule".to_owned(), reason.to_owned()));
        }
        let seen = found.map(|found| found.slots.get()).unwrap_or_default();
        let mut told = seen;
        for (slot, key) in self.paths.iter().filter(|_| self.readings >= ENOUGH_MESSAGES) {
            if !told.contains(*slot) {
                told |= (*slot).into();
                let reason = format!("this path was in none of {} messages", self.readings);
                doubts.push(Doubt::new(key.clone(), reason));
            }
        }
        doubts
    }
}

/// The keys of a rule whose paths should be in some message, and the paths.
fn needed(rule: &RuleSource) -> impl Iterator<Item = (String, &str)> {
    let has = rule.has.iter().map(|path| ("has".to_owned(), path.as_str()));
    let when = rule.when.keys().map(|path| (format!("when.\"{path}\""), path.as_str()));
    let id = rule.id.iter().map(|path| ("id".to_owned(), path.as_str()));
    let scope = rule.scope.iter().map(|path| ("scope".to_owned(), path.as_str()));
    // Of several paths to a method, the first that is there counts.
    let method = match rule.method.as_slice() {
        [path] if rule.label.is_none() => Some(("method".to_owned(), path.as_str())),
        _ => None,
    };
    has.chain(when).chain(id).chain(scope).chain(method)
}
