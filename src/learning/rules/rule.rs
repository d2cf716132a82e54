//! One rule, as the rule language writes it.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::learning::feeds::Numbers;
use crate::learning::messages::json::Kind;
use crate::learning::messages::places::{PlaceId, Side, Table};
use crate::learning::rules::conditions::Condition;
use crate::learning::rules::quoting::quoted;

/// A rule with paths.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) kind: &'static str,
    pub(super) from: Side,
    pub(super) id: Option<PlaceId>,
    pub(super) conditions: Vec<Condition>,
    pub(super) method: Option<PlaceId>,
    pub(super) more: bool,
    pub(super) time: Option<PlaceId>,
    pub(super) numbers: Option<Numbers>,
}

impl Rule {
    /// It says nothing yet.
    pub(super) fn new(kind: &'static str, from: Side) -> Self {
        Self {
            kind,
            from,
            id: None,
            conditions: Vec::new(),
            method: None,
            more: false,
            time: None,
            numbers: None,
        }
    }

    pub(super) fn write(&self, table: &Table, out: &mut String) {
        let mut keys = vec![format!("kind = \"{}\"", self.kind)];
        if table.sides_known {
            keys.push(format!("from = \"{}\"", self.from.as_str()));
        }
        let path = |place: PlaceId| quoted(&table.place(place).path);
        let mut has = Vec::new();
        let mut lacks = Vec::new();
        let mut when: BTreeMap<String, String> = BTreeMap::new();
        let mut unless: BTreeMap<String, String> = BTreeMap::new();
        for condition in &self.conditions {
            match condition {
                Condition::Has(place) => has.push(path(*place)),
                Condition::Lacks(place) => lacks.push(path(*place)),
                Condition::When(place, values) => {
                    when.insert(path(*place), self.values(table, *place, values));
                }
                Condition::Unless(place, values) => {
                    unless.insert(path(*place), self.values(table, *place, values));
                }
                Condition::WhenValue(place) => {
                    when.insert(path(*place), self.type_of(table, *place));
                }
                Condition::UnlessValue(place) => {
                    unless.insert(path(*place), self.type_of(table, *place));
                }
            }
        }
        for (key, list) in [("has", has), ("lacks", lacks)] {
            if !list.is_empty() {
                keys.push(format!("{key} = [{}]", list.join(", ")));
            }
        }
        for (key, conditions) in [("when", when), ("unless", unless)] {
            if !conditions.is_empty() {
                let conditions: Vec<String> =
                    conditions.iter().map(|(path, test)| format!("{path} = {test}")).collect();
                keys.push(format!("{key} = {{ {} }}", conditions.join(", ")));
            }
        }
        keys.extend(self.id.map(|place| format!("id = {}", path(place))));
        keys.extend(self.method.map(|place| format!("method = {}", path(place))));
        keys.extend(self.more.then(|| "more = true".to_owned()));
        keys.extend(self.time.map(|place| format!("time = {}", path(place))));
        if let Some(numbers) = &self.numbers {
            keys.extend(sequence(numbers, &path));
        }
        let _ = writeln!(out, "    {{ {} }},", keys.join(", "));
    }

    fn type_of(&self, table: &Table, place: PlaceId) -> String {
        let kind = table.only_kind_but_null(place, self.from).unwrap_or(Kind::Object);
        format!("{{ type = \"{}\" }}", kind.as_str())
    }

    /// The values as a list, or the one there is.
    fn values(&self, table: &Table, place: PlaceId, values: &[u64]) -> String {
        let place = table.place(place);
        let texts = &place.values[self.from as usize];
        let is_text = place.kinds[self.from as usize].contains(&Kind::Text);
        let mut texts: Vec<String> = values
            .iter()
            .filter_map(|value| texts.get(value))
            .map(|text| if is_text { quoted(text) } else { text.clone() })
            .collect();
        texts.sort();
        match &*texts {
            [one] => one.clone(),
            _ => format!("[{}]", texts.join(", ")),
        }
    }
}

/// The keys of a sequence.
fn sequence(numbers: &Numbers, path: &dyn Fn(PlaceId) -> String) -> Vec<String> {
    let mut keys = vec![format!("sequence = {}", path(numbers.number))];
    keys.extend(numbers.first.map(|place| format!("first = {}", path(place))));
    keys.extend(numbers.previous.map(|place| format!("previous = {}", path(place))));
    let parts: Vec<String> = numbers.channel.iter().map(|&place| path(place)).collect();
    match &*parts {
        [] => {}
        [one] => keys.push(format!("channel = {one}")),
        parts => keys.push(format!("channel = [{}]", parts.join(", "))),
    }
    if numbers.previous.is_none() && numbers.step != 1 {
        keys.push(format!("step = {}", numbers.step));
    }
    keys
}
