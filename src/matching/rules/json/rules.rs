//! Which rule holds for a JSON message: the compiled rules, and their evaluation during one scan.
//!
//! Every condition of every rule is one bit. A field that is found (or found missing) decides the
//! bits of the conditions on it; a rule holds when all of its bits are decided its way. The scan
//! stops at the first field at which a rule holds and has all it wants to know, so rules that
//! could hold for the same message must exclude each other to be read alike in any key order.

use std::borrow::Cow;

use super::field::{End, Field, JsonType, Next, Sink};
use super::found::Found;
use super::scan::elements;
use super::slots::{MAX_SLOTS, Slot, Slots};
use super::token::{equal, has_escape, unescape};
use super::wanted::Wanted;
use crate::matching::rules::binary::Encoding;
use crate::matching::rules::feed::{Asked, FeedRule};
use crate::matching::rules::kind::{From, Sender};
use crate::matching::rules::reading::{MAX_ID_BYTES, Reading, RequestName, RuleTraits};
use crate::matching::rules::text::{Text, Wholeness};

/// The JSON rules of one protocol.
#[derive(Debug, Default)]
pub(in crate::matching) struct JsonRules {
    pub(in crate::matching::rules) wanted: Wanted,
    /// Conditions by slot.
    pub(in crate::matching::rules) conditions: Vec<SlotConditions>,
    /// Slots that have some.
    pub(in crate::matching::rules) conditioned: Slots,
    pub(in crate::matching::rules) rules: Vec<JsonRule>,
    /// Ids lose their quotes, since patterns of the same protocol find them without.
    pub(in crate::matching::rules) bare_ids: bool,
    /// What every rule wants: before it is known, none can be satisfied.
    pub(in crate::matching::rules) wanted_by_all: Slots,
    /// Of rules that are watched, what they found.
    pub(in crate::matching::rules) found: Option<Found>,
}

/// The conditions on one slot.
#[derive(Debug, Default)]
pub(in crate::matching::rules) struct SlotConditions {
    /// All their bits.
    bits: u64,
    /// By type, the bits of those that hold for every value of that type.
    by_type: [u64; JsonType::ALL.len()],
    /// Those that the type alone decides.
    type_tests: Vec<(u64, Test)>,
    /// The others.
    value_tests: Vec<(u64, Test)>,
}

/// A condition on a field that is there. None holds for a field that is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::matching::rules) enum Test {
    /// Any value will do.
    Present,
    /// A string or a number.
    Id,
    /// One of these raw tokens.
    OneOf(Vec<Box<[u8]>>),
    /// A value of this type.
    Type(JsonType),
    /// A string with this beginning.
    BeginsWith(Box<str>),
    /// A string with this end.
    EndsWith(Box<str>),
    /// An integer of at least this.
    AtLeast(i64),
}

/// One compiled rule.
#[derive(Debug)]
pub(in crate::matching::rules) struct JsonRule {
    pub(in crate::matching::rules) from: From,
    /// Bits that must be decided as true.
    pub(in crate::matching::rules) all: u64,
    /// Bits that must be decided as false.
    pub(in crate::matching::rules) none: u64,
    /// Bits that must not be decided as true, once all is read that there is.
    pub(in crate::matching::rules) unless: u64,
    /// Fields to know (or know missing) before the rule's reading is complete.
    pub(in crate::matching::rules) wants: Slots,
    pub(in crate::matching::rules) traits: RuleTraits,
    pub(in crate::matching::rules) id: IdSource,
    pub(in crate::matching::rules) scope: Option<Slot>,
    /// The first of these that is there.
    pub(in crate::matching::rules) method: Vec<Slot>,
    /// The method where none of these is there.
    pub(in crate::matching::rules) label: Option<Box<str>>,
    /// What it says of feeds, if anything.
    pub(in crate::matching::rules) feed: Option<Box<FeedRule>>,
}

/// Where a rule takes the id from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matching::rules) enum IdSource {
    None,
    Field(Slot),
    /// Each element of the array there.
    Elements(Slot),
    Queue(u8),
}

impl JsonRules {
    pub(in crate::matching::rules) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Tells `found` what `text` is, if any rule holds.
    pub(in crate::matching::rules) fn read(
        &self,
        text: Text<'_>,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> Held {
        let mut evaluation = Evaluation::new(self, text.sender);
        let (settled_by, is_open) = match self.wanted.scan(text.payload, &mut evaluation) {
            End::Stopped(seen) => (Some(seen), false),
            End::Complete => (None, false),
            End::Cut if text.wholeness == Wholeness::Cut => {
                let end = self.wanted.scan_back(text.payload, text.tail, &mut evaluation);
                (None, !matches!(end, End::Stopped(_)))
            }
            End::Cut | End::Malformed | End::Unreadable => {
                return Held::NoRule { is_open: false };
            }
        };
        evaluation.conclude(settled_by, is_open, text.wholeness, found)
    }

    /// The same for a message in a binary encoding, of which the end is not read by itself. The values
    /// are written into `room`.
    pub(in crate::matching::rules) fn read_binary(
        &self,
        encoding: Encoding,
        text: Text<'_>,
        room: &mut Vec<u8>,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> Held {
        let mut evaluation = Evaluation::new(self, text.sender);
        let end = encoding.scan(&self.wanted, text.payload, text.wholeness, room, &mut evaluation);
        let (settled_by, is_open) = match end {
            End::Stopped(seen) => (Some(seen), false),
            End::Complete => (None, false),
            End::Cut if text.wholeness == Wholeness::Cut => (None, true),
            End::Unreadable => return Held::NoRule { is_open: true },
            End::Cut | End::Malformed => return Held::NoRule { is_open: false },
        };
        evaluation.conclude(settled_by, is_open, text.wholeness, found)
    }
}

impl SlotConditions {
    /// The bit of a condition that is known.
    pub(in crate::matching::rules) fn bit(&self, test: &Test) -> Option<u64> {
        let mut known = self.type_tests.iter().chain(&self.value_tests);
        known.find(|(_, known)| known == test).map(|(bit, _)| *bit)
    }

    /// All conditions with their bits.
    pub(in crate::matching::rules) fn all(&self) -> impl Iterator<Item = (u64, &Test)> {
        self.type_tests.iter().chain(&self.value_tests).map(|(bit, test)| (*bit, test))
    }

    pub(in crate::matching::rules) fn add(&mut self, bit: u64, test: Test) {
        self.bits |= bit;
        if test.needs_value() {
            return self.value_tests.push((bit, test));
        }
        for json_type in JsonType::ALL {
            if test.holds(Field { json_type, raw: b"" }) {
                self.by_type[json_type as usize] |= bit;
            }
        }
        self.type_tests.push((bit, test));
    }

    /// The bits of those that the value of a field decides, and that hold for it.
    #[inline(never)]
    fn holding(&self, field: Field<'_>) -> u64 {
        let holding = self.value_tests.iter().filter(|(_, test)| test.holds(field));
        holding.fold(0, |bits, (bit, _)| bits | bit)
    }
}

/// Whether a rule held for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matching::rules) enum Held {
    NoRule {
        /// The text was cut before it could be decided, or it could not be read.
        is_open: bool,
    },
    Rule {
        /// Bytes from the start of the text that settled it: whatever follows them changes
        /// nothing. `None` where the whole text was looked at.
        settled_by: Option<usize>,
        /// The text was cut, and its rest might have said something else, or more.
        is_open: bool,
    },
}

/// What is known of one message so far.
struct Evaluation<'r, 'a> {
    rules: &'r JsonRules,
    sender: Sender,
    /// Bits decided as true.
    yes: u64,
    /// Bits decided as false.
    no: u64,
    /// Slots known to be there or not.
    resolved: Slots,
    fields: [Option<Field<'a>>; MAX_SLOTS],
    settled: Option<&'r JsonRule>,
}

impl<'a> Sink<'a> for Evaluation<'_, 'a> {
    #[inline(always)]
    fn present(&mut self, slot: Slot, field: Field<'a>) -> Next {
        if self.resolved.contains(slot) {
            return Next::Continue;
        }
        self.resolved |= slot.into();
        self.fields[slot.index()] = Some(field);
        // Most fields that are only read have no conditions.
        if self.rules.conditioned.contains(slot) {
            let conditions = &self.rules.conditions[slot.index()];
            let mut holding = conditions.by_type[field.json_type as usize];
            if !conditions.value_tests.is_empty() {
                holding |= conditions.holding(field);
            }
            self.yes |= holding;
            self.no |= conditions.bits & !holding;
        }
        self.settle()
    }

    fn absent(&mut self, slots: Slots) -> Next {
        let missing = slots.without(self.resolved);
        if missing == Slots::default() {
            return Next::Continue;
        }
        self.resolved |= missing;
        for index in missing.indexes().take(self.rules.conditions.len()) {
            self.no |= self.rules.conditions[index].bits;
        }
        self.settle()
    }
}

impl<'r, 'a> Evaluation<'r, 'a> {
    fn new(rules: &'r JsonRules, sender: Sender) -> Self {
        Self {
            rules,
            sender,
            yes: 0,
            no: 0,
            resolved: Slots::default(),
            fields: [None; MAX_SLOTS],
            settled: None,
        }
    }

    #[inline]
    fn settle(&mut self) -> Next {
        if !self.resolved.contains_all(self.rules.wanted_by_all) {
            return Next::Continue;
        }
        self.settle_one()
    }

    #[inline(never)]
    fn settle_one(&mut self) -> Next {
        let (resolved, no) = (self.resolved, self.no);
        let is_settled =
            |rule: &&JsonRule| resolved.contains_all(rule.wants) && rule.unless & !no == 0;
        self.settled = self.holding().find(is_settled);
        if self.settled.is_some() { Next::Stop } else { Next::Continue }
    }

    /// The rules that hold by what is known.
    fn holding(&self) -> impl Iterator<Item = &'r JsonRule> + use<'r, 'a> {
        let (yes, no, sender) = (self.yes, self.no, self.sender);
        self.rules.rules.iter().filter(move |rule| {
            rule.all & !yes == 0
                && rule.none & !no == 0
                && rule.unless & yes == 0
                && rule.from.admits(sender)
        })
    }

    /// Tells `found` what the rule says that holds, if one does.
    fn conclude(
        &self,
        settled_by: Option<usize>,
        is_open: bool,
        wholeness: Wholeness,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> Held {
        let Some(rule) = self.verdict() else { return Held::NoRule { is_open } };
        if let Some(found) = &self.rules.found {
            self.count(rule, found);
        }
        self.tell(rule, found);
        // An array of ids is known before its end is.
        let reads_on = matches!(rule.id, IdSource::Elements(_));
        let settled_by = settled_by.filter(|_| !reads_on);
        let is_open = is_open || (reads_on && wholeness == Wholeness::Cut);
        Held::Rule { settled_by, is_open }
    }

    fn count(&self, rule: &JsonRule, found: &Found) {
        let place = self.rules.rules.iter().position(|it| std::ptr::eq(it, rule));
        let there = (0..MAX_SLOTS).filter(|&index| self.fields[index].is_some());
        let slots = there.filter_map(Slot::at).fold(Slots::default(), |all, it| all | it.into());
        found.count(place.unwrap_or(usize::MAX), slots);
    }

    fn verdict(&self) -> Option<&'r JsonRule> {
        self.settled.or_else(|| self.holding().next())
    }

    fn tell(&self, rule: &JsonRule, found: &mut dyn FnMut(Reading<'_>)) {
        let method = rule
            .method
            .iter()
            .find_map(|slot| self.method(*slot))
            .or_else(|| rule.label.as_deref().map(|label| Cow::Borrowed(label.as_bytes())));
        let traits = rule.traits;
        let fields = rule.feed.as_ref().map(|feed| feed.read(|slot| self.asked(slot)));
        let mut feed = fields.as_ref();
        match rule.id {
            IdSource::None => found(Reading { traits, name: None, method, feed }),
            IdSource::Queue(queue) => {
                found(Reading { traits, name: Some(RequestName::Queue(queue)), method, feed });
            }
            IdSource::Field(slot) => {
                if let Some(field) = self.field(slot) {
                    found(Reading { traits, name: self.name(rule, field.raw), method, feed });
                }
            }
            IdSource::Elements(slot) => {
                let array = self.field(slot).map_or(&[][..], |field| field.raw);
                for (id, wholeness) in elements(array) {
                    if wholeness == Wholeness::Whole && is_id_token(id) {
                        let (method, feed) = (method.clone(), feed.take());
                        found(Reading { traits, name: self.name(rule, id), method, feed });
                    }
                }
            }
        }
    }

    /// An id without the scope that it is to be understood in names nothing: in a message that
    /// was cut before the scope could be seen, there is no name.
    fn name(&self, rule: &JsonRule, id: &'a [u8]) -> Option<RequestName<'a>> {
        let scope = match rule.scope {
            None => &[],
            Some(slot) if self.resolved.contains(slot) => self.token(slot).unwrap_or_default(),
            Some(_) => return None,
        };
        let id = if self.rules.bare_ids { inside(id).unwrap_or(id) } else { id };
        let fits = id.len() <= MAX_ID_BYTES && scope.len() <= MAX_ID_BYTES;
        fits.then_some(RequestName::Id { id, scope })
    }

    fn method(&self, slot: Slot) -> Option<Cow<'a, [u8]>> {
        let field = self.field(slot)?;
        match field.json_type {
            JsonType::String => string(field.raw),
            JsonType::Number => Some(Cow::Borrowed(field.raw)),
            _ => None,
        }
    }

    /// A string or a number as it is written.
    fn token(&self, slot: Slot) -> Option<&'a [u8]> {
        let field = self.field(slot)?;
        matches!(field.json_type, JsonType::String | JsonType::Number).then_some(field.raw)
    }

    #[inline]
    fn asked(&self, slot: Slot) -> Asked<'a> {
        match &self.fields[slot.index()] {
            Some(Field { json_type: JsonType::String | JsonType::Number, raw }) => {
                Asked::Token(raw)
            }
            Some(Field { json_type: JsonType::Null, .. }) => Asked::Absent,
            None if self.resolved.contains(slot) => Asked::Absent,
            _ => Asked::Unreadable,
        }
    }

    fn field(&self, slot: Slot) -> Option<Field<'a>> {
        self.fields[slot.index()]
    }
}

impl Test {
    /// The type of a value does not decide it.
    fn needs_value(&self) -> bool {
        !matches!(self, Self::Present | Self::Id | Self::Type(_))
    }

    fn holds(&self, field: Field<'_>) -> bool {
        match self {
            Self::Present => true,
            Self::Id => matches!(field.json_type, JsonType::String | JsonType::Number),
            Self::OneOf(tokens) => is_one_of(tokens, field),
            Self::Type(json_type) => field.json_type == *json_type,
            Self::BeginsWith(start) => {
                field.json_type == JsonType::String
                    && inside(field.raw).is_some_and(|text| text.starts_with(start.as_bytes()))
            }
            Self::EndsWith(end) => {
                field.json_type == JsonType::String
                    && inside(field.raw).is_some_and(|text| text.ends_with(end.as_bytes()))
            }
            Self::AtLeast(least) => std::str::from_utf8(field.raw)
                .is_ok_and(|token| token.parse::<i64>().is_ok_and(|number| number >= *least)),
        }
    }
}

fn is_one_of(tokens: &[Box<[u8]>], field: Field<'_>) -> bool {
    if tokens.iter().any(|token| equal(token, field.raw)) {
        return true;
    }
    if field.json_type != JsonType::String || !has_escape(field.raw) {
        return false;
    }
    let text = string(field.raw);
    text.is_some() && tokens.iter().any(|token| string(token) == text)
}

fn is_id_token(token: &[u8]) -> bool {
    matches!(token.first(), Some(b'"' | b'-' | b'0'..=b'9'))
}

fn inside(token: &[u8]) -> Option<&[u8]> {
    token.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// The text of a JSON string token, copied only where it has escapes.
fn string(token: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inside = inside(token)?;
    if !has_escape(inside) {
        return Some(Cow::Borrowed(inside));
    }
    unescape(inside).map(|text| Cow::Owned(text.into_bytes()))
}
