//! Rules that are regular expressions: for text protocols, positional ones, and a user's own ids.

use std::borrow::Cow;

use regex::bytes::{CaptureLocations, Regex, RegexBuilder};
use thiserror::Error;

use super::continuation::{Continuation, SIZE_LIMIT_BYTES};
use super::kind::{From, Kind};
use super::reading::{MAX_ID_BYTES, Reading, RequestName, RuleTraits};
use super::text::{Text, Wholeness};

/// Only this much of a message is searched.
pub(in crate::matching) const SEARCH_BYTES: usize = 4 << 10;

/// Why a text cannot be a pattern.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    /// Not a regular expression of this dialect, or one that would grow too large.
    #[error("{0}")]
    Regex(String),
    /// The match would not say which request it is about.
    #[error("a pattern needs a group named id, as in (?P<id>[0-9]+)")]
    NoId,
    /// A group that has no meaning here.
    #[error("a group may be named id, scope or method, not {0}")]
    UnknownGroup(String),
    /// A pattern of this kind must not have an id.
    #[error("a message of this kind concerns no request, so its pattern has no group id")]
    IdWithoutRequest,
}

/// A rule whose condition is a regular expression.
#[derive(Debug)]
pub(in crate::matching) struct PatternRule {
    regex: Regex,
    groups: CaptureLocations,
    id: Option<usize>,
    scope: Option<usize>,
    method: Option<usize>,
    from: From,
    traits: RuleTraits,
    label: Option<Box<str>>,
    queue: Option<u8>,
    /// Made when it is first needed; `Some(None)` where the pattern may begin anywhere.
    continuation: Option<Option<Box<Continuation>>>,
}

/// What a rule says besides its pattern.
#[derive(Debug)]
pub(super) struct Besides {
    pub(super) from: From,
    pub(super) traits: RuleTraits,
    /// The method where the pattern finds none.
    pub(super) label: Option<Box<str>>,
    pub(super) queue: Option<u8>,
}

impl PatternRule {
    pub(super) fn compile(pattern: &str, besides: Besides) -> Result<Self, PatternError> {
        let Besides { from, traits, label, queue } = besides;
        let kind = traits.kind;
        let compiled = Self { from, traits, label, queue, ..Self::plain(pattern, kind)? };
        let concerns_request = !matches!(kind, Kind::Notification | Kind::Ping | Kind::Pong);
        match (concerns_request, compiled.id.is_some() || compiled.queue.is_some()) {
            (true, false) => Err(PatternError::NoId),
            (false, true) => Err(PatternError::IdWithoutRequest),
            _ => Ok(compiled),
        }
    }

    pub(super) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// A pattern that the user gave for the ids of messages of `kind`.
    pub(in crate::matching) fn for_ids(pattern: &str, kind: Kind) -> Result<Self, PatternError> {
        let compiled = Self::plain(pattern, kind)?;
        if compiled.id.is_none() { Err(PatternError::NoId) } else { Ok(compiled) }
    }

    fn plain(pattern: &str, kind: Kind) -> Result<Self, PatternError> {
        let regex = RegexBuilder::new(pattern)
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(SIZE_LIMIT_BYTES)
            .dfa_size_limit(SIZE_LIMIT_BYTES)
            .build()
            .map_err(|error| PatternError::Regex(error.to_string()))?;
        let group = |wanted| regex.capture_names().position(|name| name == Some(wanted));
        let (id, scope, method) = (group("id"), group("scope"), group("method"));
        let known = |name: &&str| matches!(*name, "id" | "scope" | "method");
        if let Some(name) = regex.capture_names().flatten().find(|name| !known(name)) {
            return Err(PatternError::UnknownGroup(name.to_owned()));
        }
        Ok(Self {
            groups: regex.capture_locations(),
            regex,
            id,
            scope,
            method,
            from: From::Any,
            traits: RuleTraits::plain(kind),
            label: None,
            queue: None,
            continuation: None,
        })
    }

    /// Tells `found` what `text` is if the pattern matches; returns whether it did.
    pub(super) fn read(&mut self, text: Text<'_>, found: &mut dyn FnMut(Reading<'_>)) -> bool {
        if !self.from.admits(text.sender) {
            return false;
        }
        let searched = searched(text);
        if self.regex.captures_read(&mut self.groups, searched).is_none() {
            return false;
        }
        let cut = is_cut(text);
        let group = |index: Option<usize>| {
            let (start, end) = self.groups.get(index?)?;
            // A token that ends where the searched bytes end may go on behind them.
            let certain = !cut || end < searched.len();
            certain.then(|| &searched[start..end])
        };
        let id = group(self.id).filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES);
        let scope = group(self.scope).unwrap_or_default();
        let queue = self.queue.map(RequestName::Queue);
        let label = || self.label.as_deref().map(str::as_bytes);
        found(Reading {
            traits: self.traits,
            name: id.map(|id| RequestName::Id { id, scope }).or(queue),
            method: group(self.method).or_else(label).map(Cow::Borrowed),
        });
        true
    }

    /// Whether a text that did not match might have named a request, had all of it been searched.
    pub(super) fn may_match_later(&mut self, text: Text<'_>) -> bool {
        let names_a_request = self.id.is_some() || self.queue.is_some();
        if !names_a_request || !is_cut(text) || !self.from.admits(text.sender) {
            return false;
        }
        let compile = || Continuation::compile(self.regex.as_str()).map(Box::new);
        match self.continuation.get_or_insert_with(compile) {
            Some(continuation) => continuation.is_possible(searched(text)),
            None => true,
        }
    }
}

fn searched(text: Text<'_>) -> &[u8] {
    &text.payload[..text.payload.len().min(SEARCH_BYTES)]
}

/// More of the text passed than is searched.
fn is_cut(text: Text<'_>) -> bool {
    text.wholeness == Wholeness::Cut || text.payload.len() > SEARCH_BYTES
}

#[cfg(test)]
mod tests {
    use super::super::kind::Sender;
    use super::*;
    use crate::event::Direction;
    use crate::observation::MessageType;

    fn id_in(pattern: &str, payload: &[u8], wholeness: Wholeness) -> Option<Vec<u8>> {
        let mut rule = PatternRule::for_ids(pattern, Kind::Request).unwrap();
        let mut id = None;
        let text = Text {
            direction: Direction::Sent,
            sender: Sender::Unknown,
            message_type: MessageType::Text,
            payload,
            tail: b"",
            wholeness,
        };
        rule.read(text, &mut |reading| {
            if let Some(RequestName::Id { id: found, .. }) = reading.name {
                id = Some(found.to_vec());
            }
        });
        id
    }

    #[test]
    fn an_id_at_the_cut_is_not_believed() {
        let pattern = "id=(?P<id>[0-9]+)";
        assert_eq!(id_in(pattern, b"id=12", Wholeness::Whole).as_deref(), Some(&b"12"[..]));
        assert_eq!(id_in(pattern, b"id=12", Wholeness::Cut), None);
        assert_eq!(id_in(pattern, b"id=12;", Wholeness::Cut).as_deref(), Some(&b"12"[..]));
    }

    #[test]
    fn only_the_head_of_a_message_is_searched() {
        let mut payload = vec![b' '; SEARCH_BYTES];
        payload.extend_from_slice(b"id=12;");
        assert_eq!(id_in("id=(?P<id>[0-9]+)", &payload, Wholeness::Whole), None);
    }

    #[test]
    fn a_pattern_that_could_match_behind_what_is_searched_is_open() {
        let later = |pattern: &str, payload: &[u8], wholeness| {
            let mut rule = PatternRule::for_ids(pattern, Kind::Request).unwrap();
            let text = Text {
                direction: Direction::Sent,
                sender: Sender::Unknown,
                message_type: MessageType::Text,
                payload,
                tail: b"",
                wholeness,
            };
            rule.may_match_later(text)
        };
        let (anchored, anywhere) = ("^a*id=(?P<id>[0-9]+);", "id=(?P<id>[0-9]+)");
        assert!(later(anchored, b"aaa", Wholeness::Cut));
        assert!(
            !later(anchored, b"aab", Wholeness::Cut) && !later(anchored, b"a", Wholeness::Whole)
        );
        assert!(later(anchored, &[b'a'; SEARCH_BYTES + 1], Wholeness::Whole));
        assert!(later(anywhere, b"b", Wholeness::Cut) && !later(anywhere, b"b", Wholeness::Whole));
    }

    #[test]
    fn an_unusable_pattern_is_refused_with_a_reason() {
        let error = |pattern| PatternRule::for_ids(pattern, Kind::Request).unwrap_err();
        assert_eq!(error("id=[0-9]+"), PatternError::NoId);
        assert_eq!(error("(?P<id>a)(?P<key>b)"), PatternError::UnknownGroup("key".to_owned()));
        assert!(matches!(error("("), PatternError::Regex(_)));
        assert!(matches!(error("(?P<id>a{1000}{1000})"), PatternError::Regex(_)));
    }
}
