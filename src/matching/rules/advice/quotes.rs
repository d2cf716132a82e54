//! Ids that can never be equal: those of requests have quotes, and those of answers have none.
//!
//! A path finds a string with its quotes; a pattern finds what its group says. Where a protocol has both,
//! paths leave the quotes out (`bare_ids`), so a group must not take them in.

use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, HirKind};

use super::doubt::{Doubt, Placed};
use crate::matching::rules::compile::source::RuleSource;
use crate::matching::rules::json::field::JsonType;
use crate::matching::rules::json::rules::{IdSource, JsonRule, JsonRules, Test};
use crate::matching::rules::kind::Kind;

/// How ids of a rule begin, where that is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Quoted,
    Bare,
    Either,
}

/// At most one: the first answer whose id cannot be any request's.
pub(super) fn doubt(rules: &Placed<'_>) -> Option<Doubt> {
    let json = rules.json.rules.iter().zip(rules.json_places);
    let json = json.filter_map(|(rule, at)| Some((*at, form_of_path(rules.json, rule)?)));
    let patterns = rules.patterns.iter().zip(rules.pattern_places);
    let patterns = patterns.filter_map(|(rule, at)| Some((*at, form_of_group(rule.pattern())?)));
    let forms: Vec<(usize, Form)> = json.chain(patterns).collect();
    let asks =
        |at: usize| matches!(rules.sources.get(at), Some(RuleSource { kind: Kind::Request, .. }));
    let (requests, others): (Vec<_>, Vec<_>) = forms.into_iter().partition(|(at, _)| asks(*at));
    let (first, form) = requests.first().copied()?;
    let all_alike = requests.iter().all(|(_, other)| *other == form) && form != Form::Either;
    let opposite = if form == Form::Quoted { Form::Bare } else { Form::Quoted };
    let (at, _) = others.into_iter().find(|(_, other)| all_alike && *other == opposite)?;
    let with = if form == Form::Quoted { (first, at) } else { (at, first) };
    let key = if rules.pattern_places.contains(&at) { "pattern" } else { "id" };
    let reason = format!(
        "no id of it can be equal to a request's: rule[{}] takes ids with their quotes, rule[{}] without",
        with.0, with.1
    );
    Some(Doubt::new(format!("rule[{at}].{key}"), reason))
}

fn form_of_path(rules: &JsonRules, rule: &JsonRule) -> Option<Form> {
    let IdSource::Field(slot) = rule.id else { return None };
    if rules.bare_ids {
        return Some(Form::Bare);
    }
    let conditions = rules.conditions.get(slot.index())?;
    let has = |wanted: JsonType| {
        let mut asked = conditions.all().filter(|(bit, _)| rule.all & bit != 0);
        asked.any(|(_, test)| *test == Test::Type(wanted))
    };
    Some(match (has(JsonType::String), has(JsonType::Number)) {
        (true, false) => Form::Quoted,
        (false, true) => Form::Bare,
        _ => Form::Either,
    })
}

/// How what the group `id` finds begins; `None` where there is no such group.
fn form_of_group(pattern: &str) -> Option<Form> {
    let parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
    let hir = { parser }.parse(pattern).ok()?;
    let group = find_group(&hir)?;
    // Of a class, each character.
    let starts = Extractor::new().limit_class(256).limit_total(1_024).extract(group);
    let Some(starts) = starts.literals() else { return Some(Form::Either) };
    let is_quoted =
        |literal: &regex_syntax::hir::literal::Literal| literal.as_bytes().first() == Some(&b'"');
    Some(match starts.iter().filter(|literal| is_quoted(literal)).count() {
        _ if starts.is_empty() => Form::Either,
        0 => Form::Bare,
        quoted if quoted == starts.len() => Form::Quoted,
        _ => Form::Either,
    })
}

/// The group `id`, wherever it is. Patterns are bounded in size, and so is their nesting.
fn find_group(hir: &Hir) -> Option<&Hir> {
    match hir.kind() {
        HirKind::Capture(capture) if capture.name.as_deref() == Some("id") => Some(&capture.sub),
        HirKind::Capture(capture) => find_group(&capture.sub),
        HirKind::Repetition(repetition) => find_group(&repetition.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().find_map(find_group),
        _ => None,
    }
}
