//! Rules that are regular expressions: for text protocols, positional ones, and a user's own ids.

use std::borrow::Cow;

use regex::bytes::{CaptureLocations, Regex, RegexBuilder};
use thiserror::Error;

use super::continuation::{Continuation, SIZE_LIMIT_BYTES};
use super::kind::{From, Kind};
use super::reading::{MAX_ID_BYTES, Reading, RequestName, RuleTraits};
use super::text::{Text, Wholeness};

/// Bytes of a message that are searched first. The rest of what is there is searched only where the
/// pattern may match there: most say with the first bytes that they do not.
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
    /// Messages that it matched.
    pub(super) matched: u64,
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

    pub(super) fn pattern(&self) -> &str {
        self.regex.as_str()
    }

    pub(super) fn from(&self) -> From {
        self.from
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
            matched: 0,
        })
    }

    /// Tells `found` what `text` is if the pattern matches; returns whether it did.
    pub(super) fn read(&mut self, text: Text<'_>, found: &mut dyn FnMut(Reading<'_>)) -> bool {
        if !self.from.admits(text.sender) {
            return false;
        }
        let payload = text.payload;
        let beginning = &payload[..payload.len().min(SEARCH_BYTES)];
        let is_all = beginning.len() == payload.len();
        let searched = match self.regex.captures_read(&mut self.groups, beginning) {
            // What ends where the beginning ends may go on behind it.
            Some(hit) if is_all || hit.end() < beginning.len() => beginning,
            None if is_all || !self.may_go_on(beginning) => return false,
            _ if self.regex.captures_read(&mut self.groups, payload).is_none() => return false,
            _ => payload,
        };
        self.matched += 1;
        self.tell(searched, text.wholeness == Wholeness::Cut, found);
        true
    }

    /// Tells what the groups of the match in `searched` say. Of a text that was cut, a token at the
    /// end is not certain.
    fn tell(&self, searched: &[u8], is_cut: bool, found: &mut dyn FnMut(Reading<'_>)) {
        let group = |index: Option<usize>| {
            let (start, end) = self.groups.get(index?)?;
            let certain = !is_cut || end < searched.len();
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
            feed: None,
        });
    }

    /// Whether a text that did not match might have named a request, had all of it been there.
    pub(super) fn may_match_later(&mut self, text: Text<'_>) -> bool {
        let names_a_request = self.id.is_some() || self.queue.is_some();
        let is_cut = text.wholeness == Wholeness::Cut;
        names_a_request && is_cut && self.from.admits(text.sender) && self.may_go_on(text.payload)
    }

    /// Whether a text that begins with `bytes`, which do not match, may match all the same.
    fn may_go_on(&mut self, bytes: &[u8]) -> bool {
        let compile = || Continuation::compile(self.regex.as_str()).map(Box::new);
        match self.continuation.get_or_insert_with(compile) {
            Some(continuation) => continuation.is_possible(bytes),
            None => true,
        }
    }
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
    fn all_of_a_message_is_searched_where_the_pattern_may_match_there() {
        for before in [SEARCH_BYTES - 4, SEARCH_BYTES - 1, SEARCH_BYTES, 15 * SEARCH_BYTES] {
            let payload = [&vec![b'a'; before][..], b"id=12;"].concat();
            for pattern in ["id=(?P<id>[0-9]+)", "^a*id=(?P<id>[0-9]+)"] {
                let id = id_in(pattern, &payload, Wholeness::Whole);
                assert_eq!(id.as_deref(), Some(&b"12"[..]), "{pattern} behind {before} bytes");
            }
            assert_eq!(id_in("^b*id=(?P<id>[0-9]+)", &payload, Wholeness::Whole), None);
        }
    }

    #[test]
    fn a_pattern_that_could_match_behind_a_cut_is_open() {
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
        for long in [&b"b"[..], &[b'b'; SEARCH_BYTES + 1]] {
            assert!(later(anywhere, long, Wholeness::Cut), "{} bytes", long.len());
            assert!(!later(anywhere, long, Wholeness::Whole), "{} bytes", long.len());
        }
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
