//! From rules as written to rules as evaluated, with every mistake named.

mod condition;
mod feed;
mod mistake;
pub(super) mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use thiserror::Error;
use toml::Value;

use condition::test;
pub use mistake::toml_mistake;
use source::{Codec, ManySource, ProtocolSource, RuleSource};

use super::advice::{Advice, Placed, Watch, doubts};
use super::framing::{Framing, Prefix};
use super::json::field::JsonType;
use super::json::path::Path;
use super::json::rules::{IdSource, JsonRule, JsonRules, SlotConditions, Test};
use super::json::slots::{MAX_SLOTS, Slot, Slots};
use super::json::wanted::Need;
use super::kind::Kind;
use super::pattern::{Besides, PatternRule};
use super::protocol::{Protocol, RuleSet, Syntax};
use super::reading::{More, Proof, RuleTraits, Unasked};

/// Longest protocol name; it becomes a label value.
const MAX_NAME_BYTES: usize = 32;

/// Most different conditions that the rules of one protocol may have.
const MAX_CONDITIONS: u32 = 64;

/// Most queues of one protocol. Their numbers stay below any byte that a token begins with.
const MAX_QUEUES: u8 = 32;

/// Names that have a meaning of their own as values of the label `protocol`.
const RESERVED_NAMES: [&str; 3] = ["unknown", "__other__", "auto"];

/// A mistake in a file of rules.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RuleError {
    /// Not TOML, or a key or a value that the language does not have; the reason says where.
    #[error("{file}: {reason}")]
    Syntax {
        /// The file, as it was named by the caller.
        file: String,
        /// What the TOML parser says, and where.
        reason: String,
    },
    /// A value that makes no sense where it stands.
    #[error("{file}: {key}: {reason}")]
    Rule {
        /// The file, as it was named by the caller.
        file: String,
        /// The key, for example `orders.rule[1].id`; rules count from 0.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A mistake at a key; the file is added on the way up.
#[derive(Debug)]
pub(super) struct Mistake {
    key: String,
    reason: String,
}

impl Mistake {
    pub(super) fn new(key: impl Into<String>, reason: impl ToString) -> Self {
        Self { key: key.into(), reason: reason.to_string() }
    }

    fn under(self, parent: &str) -> Self {
        Self { key: format!("{parent}.{}", self.key), ..self }
    }
}

/// Compiles the protocols of one file. `file` is only used to name it in errors.
pub(in crate::matching) fn compile_file(
    file: &str,
    text: &str,
) -> Result<Vec<Compiled>, RuleError> {
    let syntax = |error: toml::de::Error| RuleError::Syntax {
        file: file.to_owned(),
        reason: toml_mistake(text, &error),
    };
    let table: toml::Table = text.parse().map_err(syntax)?;
    let sources = if table.contains_key("protocol") {
        toml::from_str::<ManySource>(text).map_err(syntax)?.protocol
    } else {
        vec![toml::from_str::<ProtocolSource>(text).map_err(syntax)?]
    };
    sources
        .into_iter()
        .map(|source| {
            compile(source).map_err(|mistake| RuleError::Rule {
                file: file.to_owned(),
                key: mistake.key,
                reason: mistake.reason,
            })
        })
        .collect()
}

/// A protocol and the examples that it must read as they say.
#[derive(Debug)]
pub(in crate::matching) struct Compiled {
    pub(in crate::matching) protocol: Protocol,
    pub(super) examples: Vec<source::ExampleSource>,
    /// `None` where there are no rules.
    pub(in crate::matching) advice: Option<Advice>,
}

fn compile(source: ProtocolSource) -> Result<Compiled, Mistake> {
    check_name(&source.name)?;
    let under = |mistake: Mistake| mistake.under(&source.name);
    let (syntax, advice) = match (source.codec, source.rule.is_empty()) {
        (Some(Codec::Mqtt), true) => (Syntax::Mqtt, None),
        (Some(Codec::Amqp), true) => (Syntax::Amqp, None),
        (Some(_), false) => {
            return Err(under(Mistake::new("rule", "a protocol with a codec has no rules")));
        }
        (None, true) => {
            return Err(under(Mistake::new("rule", "a protocol needs at least one rule")));
        }
        (None, false) => {
            let (rules, advice) = compile_rules(&source).map_err(under)?;
            (Syntax::Rules(Box::new(rules)), Some(advice))
        }
    };
    Ok(Compiled {
        protocol: Protocol {
            name: source.name.into(),
            about: source.about.into(),
            subprotocols: source.subprotocols.into_iter().map(Into::into).collect(),
            paths: source.paths.into_iter().map(Into::into).collect(),
            syntax,
        },
        examples: source.example,
        advice,
    })
}

fn check_name(name: &str) -> Result<(), Mistake> {
    let allowed = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(allowed) {
        let reason = format!("a name is 1 to {MAX_NAME_BYTES} of a-z, 0-9, - and _: {name:?}");
        return Err(Mistake::new("name", reason));
    }
    if RESERVED_NAMES.contains(&name) {
        return Err(Mistake::new("name", format!("{name} is reserved")));
    }
    Ok(())
}

fn compile_rules(source: &ProtocolSource) -> Result<(RuleSet, Advice), Mistake> {
    check_encoding(source)?;
    let mut compiler = Compiler::default();
    let mut patterns = Vec::new();
    let (mut json_places, mut pattern_places) = (Vec::new(), Vec::new());
    for (index, rule) in source.rule.iter().enumerate() {
        let key = format!("rule[{index}]");
        let result = check_combination(rule).and_then(|()| match &rule.pattern {
            Some(pattern) => {
                pattern_places.push(index);
                compiler.pattern(pattern, rule).map(|rule| patterns.push(rule))
            }
            None => {
                json_places.push(index);
                compiler.json(rule)
            }
        });
        result.map_err(|mistake| mistake.under(&key))?;
    }
    compiler.check_queues(&source.rule)?;
    let wants = compiler.json.rules.iter().map(|rule| rule.wants);
    compiler.json.wanted_by_all = wants.reduce(|all, wants| all & wants).unwrap_or_default();
    compiler.json.bare_ids = compiler.has_path_ids() && patterns.iter().any(PatternRule::has_id);
    let placed = Placed {
        sources: &source.rule,
        json: &compiler.json,
        patterns: &patterns,
        json_places: &json_places,
        pattern_places: &pattern_places,
    };
    let advice = Advice { doubts: doubts(&placed), watch: Watch::new(&placed) };
    let rules = RuleSet {
        watch: None,
        framing: Framing { unwrap: source.unwrap, split: source.split, prefix: source.prefix },
        json: compiler.json,
        patterns,
        queues: compiler.queues,
    };
    Ok((rules, advice))
}

/// What a binary encoding does not have.
fn check_encoding(source: &ProtocolSource) -> Result<(), Mistake> {
    let encodings = source.unwrap.encodings();
    if encodings.is_empty() && source.prefix != Prefix::None {
        return Err(Mistake::new("prefix", "it stands in front of messages in a binary encoding"));
    }
    for (index, rule) in source.rule.iter().enumerate() {
        let id = rule.id.as_deref().unwrap_or_default();
        if !encodings.is_empty() && id.ends_with("[*]") {
            let reason = "of a binary encoding, an array of ids is not read";
            return Err(Mistake::new(format!("rule[{index}].id"), reason));
        }
    }
    Ok(())
}

/// What may not stand together in one rule.
fn check_combination(rule: &RuleSource) -> Result<(), Mistake> {
    let mistake = |key: &str, reason: &str| Err(Mistake::new(key, reason));
    let answers = matches!(rule.kind, Kind::Response | Kind::Error | Kind::End);
    let concerns_request =
        answers || matches!(rule.kind, Kind::Request | Kind::Progress | Kind::Cancel);
    if rule.more && !matches!(rule.kind, Kind::Response | Kind::Error) {
        return mistake("more", "only a response or an error can be followed by more");
    }
    if rule.more && rule.queue.is_some() {
        return mistake("more", "a request in a queue has one answer");
    }
    if rule.certain && rule.common {
        return mistake("common", "what is certain to be of this protocol is not common");
    }
    if rule.unasked && !answers {
        return mistake("unasked", "only an answer can come without a request");
    }
    if !concerns_request && (rule.id.is_some() || rule.scope.is_some() || rule.queue.is_some()) {
        return mistake("id", "a message of this kind concerns no request, so it has no id");
    }
    if concerns_request && rule.pattern.is_none() && rule.id.is_some() == rule.queue.is_some() {
        return mistake("id", "give either id (a path) or queue (a name)");
    }
    if rule.scope.is_some() && rule.id.is_none() {
        return mistake("scope", "a scope belongs to an id");
    }
    let has_method = !rule.method.as_slice().is_empty() || rule.label.is_some();
    if has_method && !matches!(rule.kind, Kind::Request | Kind::Notification) {
        return mistake("method", "the method is taken from requests and notifications only");
    }
    feed::check(rule)?;
    if rule.pattern.is_some() && has_paths(rule) {
        return mistake("pattern", "a rule has either a pattern or paths");
    }
    if rule.pattern.is_none() && rule.has.is_empty() && rule.when.is_empty() && rule.id.is_none() {
        return mistake("when", "a rule needs a condition: has, when, id or pattern");
    }
    Ok(())
}

fn has_paths(rule: &RuleSource) -> bool {
    let conditions = !rule.has.is_empty()
        || !rule.lacks.is_empty()
        || !rule.when.is_empty()
        || !rule.unless.is_empty();
    conditions || rule.id.is_some() || rule.scope.is_some() || !rule.method.as_slice().is_empty()
}

/// What grows from rule to rule.
#[derive(Default)]
struct Compiler {
    json: JsonRules,
    conditions: u32,
    queues: Vec<Box<str>>,
}

impl Compiler {
    fn json(&mut self, rule: &RuleSource) -> Result<(), Mistake> {
        let mut all = 0;
        let mut none = 0;
        for path in &rule.has {
            all |= self.condition("has", path, Test::Present)?;
        }
        for path in &rule.lacks {
            none |= self.condition("lacks", path, Test::Present)?;
        }
        all |= self.conditions("when", &rule.when)?;
        let unless = self.conditions("unless", &rule.unless)?;
        let mut wants = Slots::default();
        let id = self.id_source(rule, &mut all, &mut wants)?;
        let scope = match &rule.scope {
            Some(path) => Some(self.slot("scope", path, Need::Value)?),
            None => None,
        };
        wants |= scope.map(Slots::from).unwrap_or_default();
        let mut method = Vec::new();
        for path in rule.method.as_slice() {
            let slot = self.slot("method", path, Need::Value)?;
            wants |= slot.into();
            method.push(slot);
        }
        let feed = feed::compile(self, rule, &mut wants)?;
        self.json.rules.push(JsonRule {
            from: rule.from,
            all,
            none,
            unless,
            wants,
            traits: traits(rule),
            id,
            scope,
            method,
            label: label(rule),
            feed,
        });
        Ok(())
    }

    fn pattern(&mut self, pattern: &str, rule: &RuleSource) -> Result<PatternRule, Mistake> {
        let queue = match &rule.queue {
            Some(name) => Some(self.queue(name)?),
            None => None,
        };
        let besides = Besides { from: rule.from, traits: traits(rule), label: label(rule), queue };
        PatternRule::compile(pattern, besides).map_err(|reason| Mistake::new("pattern", reason))
    }

    fn id_source(
        &mut self,
        rule: &RuleSource,
        all: &mut u64,
        wants: &mut Slots,
    ) -> Result<IdSource, Mistake> {
        if let Some(name) = &rule.queue {
            return Ok(IdSource::Queue(self.queue(name)?));
        }
        let Some(text) = &rule.id else { return Ok(IdSource::None) };
        let path = Path::parse(text).map_err(|error| Mistake::new("id", error))?;
        let test = if path.each { Test::Type(JsonType::Array) } else { Test::Id };
        let slot = self.slot_of("id", &path, Need::Value)?;
        *all |= self.bit("id", slot, test)?;
        *wants |= slot.into();
        Ok(if path.each { IdSource::Elements(slot) } else { IdSource::Field(slot) })
    }

    fn queue(&mut self, name: &str) -> Result<u8, Mistake> {
        let index = self.queues.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.queues.push(name.into());
            self.queues.len() - 1
        });
        let number = u8::try_from(index).ok().filter(|&number| number < MAX_QUEUES);
        number.ok_or_else(|| Mistake::new("queue", format!("more than {MAX_QUEUES} queues")))
    }

    fn conditions(
        &mut self,
        key: &str,
        conditions: &BTreeMap<String, Value>,
    ) -> Result<u64, Mistake> {
        let mut bits = 0;
        for (path, value) in conditions {
            let at = format!("{key}.\"{path}\"");
            let test = test(value).map_err(|reason| Mistake::new(&at, reason))?;
            bits |= self.condition(&at, path, test)?;
        }
        Ok(bits)
    }

    fn condition(&mut self, key: &str, path: &str, test: Test) -> Result<u64, Mistake> {
        let by_start = matches!(test, Test::Present | Test::Type(_));
        let need = if by_start { Need::Presence } else { Need::Value };
        let slot = self.slot(key, path, need)?;
        self.bit(key, slot, test)
    }

    fn slot(&mut self, key: &str, text: &str, need: Need) -> Result<Slot, Mistake> {
        let path = Path::parse(text).map_err(|error| Mistake::new(key, error))?;
        if path.each {
            return Err(Mistake::new(key, "[*] is for an id only"));
        }
        self.slot_of(key, &path, need)
    }

    fn slot_of(&mut self, key: &str, path: &Path, need: Need) -> Result<Slot, Mistake> {
        let too_many = || Mistake::new(key, format!("more than {MAX_SLOTS} different paths"));
        let slot = self.json.wanted.slot(path, need).ok_or_else(too_many)?;
        let needed = self.json.conditions.len().max(slot.index() + 1);
        self.json.conditions.resize_with(needed, SlotConditions::default);
        Ok(slot)
    }

    /// The bit of a condition, the same for the same condition.
    fn bit(&mut self, key: &str, slot: Slot, test: Test) -> Result<u64, Mistake> {
        let conditions = &mut self.json.conditions[slot.index()];
        if let Some(bit) = conditions.bit(&test) {
            return Ok(bit);
        }
        let bit = 1_u64
            .checked_shl(self.conditions)
            .ok_or_else(|| Mistake::new(key, format!("more than {MAX_CONDITIONS} conditions")))?;
        self.conditions += 1;
        conditions.add(bit, test);
        self.json.conditioned |= slot.into();
        Ok(bit)
    }

    fn has_path_ids(&self) -> bool {
        let takes_id =
            |rule: &JsonRule| matches!(rule.id, IdSource::Field(_) | IdSource::Elements(_));
        self.json.rules.iter().any(takes_id)
    }

    /// A queue that nothing is put into cannot be answered.
    fn check_queues(&self, rules: &[RuleSource]) -> Result<(), Mistake> {
        for (index, rule) in rules.iter().enumerate() {
            let Some(queue) = &rule.queue else { continue };
            let asked = |other: &RuleSource| {
                other.kind == Kind::Request && other.queue.as_ref() == Some(queue)
            };
            if !rules.iter().any(asked) {
                let key = format!("rule[{index}].queue");
                return Err(Mistake::new(key, format!("no request goes into queue {queue:?}")));
            }
        }
        Ok(())
    }
}

/// The method of messages that do not name it: the stated label, or the queue's name.
fn label(rule: &RuleSource) -> Option<Box<str>> {
    let queue = rule.queue.as_ref().filter(|_| rule.kind == Kind::Request);
    rule.label.as_ref().or(queue).map(|label| label.as_str().into())
}

/// What the rule says of every message that it holds for.
fn traits(rule: &RuleSource) -> RuleTraits {
    RuleTraits {
        kind: rule.kind,
        more: if rule.more { More::Follows } else { More::Last },
        unasked: if rule.unasked { Unasked::Expected } else { Unasked::Orphan },
        proof: match (rule.certain, rule.common) {
            (true, _) => Proof::Certain,
            (false, true) => Proof::None,
            (false, false) => Proof::Likely,
        },
        is_heartbeat: rule.heartbeat || matches!(rule.kind, Kind::Ping | Kind::Pong),
    }
}
