//! The scan against a full parser, and against itself on every prefix.

use proptest::prelude::*;
use serde_json::Value;

use super::field::{End, Field, JsonType, Next, Sink};
use super::path::{Path, Step};
use super::scan::elements;
use super::slots::{Slot, Slots};
use super::wanted::{Need, Wanted};
use crate::matching::rules::text::Wholeness;

pub(in crate::matching::rules) const PATHS: [&str; 9] =
    ["$.id", "$.method", "$.d", "$.d.id", "$.d.d.id", "$[0]", "$[1]", "$[1].id", "$.d[1]"];

/// Collects everything, and stops at nothing.
#[derive(Debug, Default, PartialEq)]
pub(in crate::matching::rules) struct Everything {
    /// What was told for each path: a value's text, or that it is missing.
    pub(in crate::matching::rules) found: [Option<Told>; PATHS.len()],
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::matching::rules) enum Told {
    Scalar(String),
    Container(JsonType),
    Missing,
}

impl<'a> Sink<'a> for Everything {
    fn present(&mut self, slot: Slot, field: Field<'a>) -> Next {
        let told = match field.json_type {
            JsonType::Object | JsonType::Array => Told::Container(field.json_type),
            _ => Told::Scalar(String::from_utf8_lossy(field.raw).into_owned()),
        };
        self.found[slot.index()].get_or_insert(told);
        Next::Continue
    }

    fn absent(&mut self, slots: Slots) -> Next {
        for index in slots.indexes() {
            self.found[index].get_or_insert(Told::Missing);
        }
        Next::Continue
    }
}

pub(in crate::matching::rules) fn wanted() -> Wanted {
    let mut wanted = Wanted::default();
    for path in PATHS {
        wanted.slot(&Path::parse(path).unwrap(), Need::Value).unwrap();
    }
    wanted
}

fn scanned(text: &[u8]) -> (End, Everything) {
    let mut everything = Everything::default();
    let end = wanted().scan(text, &mut everything);
    (end, everything)
}

/// What a full parser finds at a path.
pub(in crate::matching::rules) fn parsed(value: &Value, path: &str) -> Told {
    let found = Path::parse(path).unwrap().steps.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.as_object()?.get(&**key),
        Step::Index(index) => value.as_array()?.get(*index as usize),
    });
    match found {
        None => Told::Missing,
        Some(Value::Object(_)) => Told::Container(JsonType::Object),
        Some(Value::Array(_)) => Told::Container(JsonType::Array),
        Some(scalar) => Told::Scalar(serde_json::to_string(scalar).unwrap()),
    }
}

pub(in crate::matching::rules) fn json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("id".to_owned()),
        Just(r#"{"id":1}"#.to_owned()),
        Just("\\\"".to_owned()),
        "[ -~]{0,6}",
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let key = prop::sample::select(vec!["id", "method", "d", "x", "a\"b", "é"]);
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|members| {
                Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
            }),
        ]
    })
}

fn written(value: &Value, pretty: bool) -> String {
    if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) }.unwrap()
}

proptest! {
    #[test]
    fn it_finds_what_a_full_parser_finds(value in json(), pretty: bool) {
        prop_assume!(value.is_object() || value.is_array());
        let text = written(&value, pretty);
        let (end, everything) = scanned(text.as_bytes());
        prop_assert_eq!(end, End::Complete);
        for (index, path) in PATHS.iter().enumerate() {
            prop_assert_eq!(&everything.found[index], &Some(parsed(&value, path)), "{}", path);
        }
    }

    #[test]
    fn what_is_found_in_a_prefix_is_found_in_the_whole(value in json(), pretty: bool) {
        prop_assume!(value.is_object() || value.is_array());
        let text = written(&value, pretty);
        let (_, whole) = scanned(text.as_bytes());
        for cut in 0..text.len() {
            let (end, prefix) = scanned(&text.as_bytes()[..cut]);
            prop_assert_eq!(end, End::Cut);
            for (told, all) in prefix.found.iter().zip(&whole.found) {
                prop_assert!(told.is_none() || told == all, "{:?} in {}", told, &text);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(text in prop::collection::vec(
        prop_oneof![
            prop::sample::select(br#"{}[]":,\tfn1-. eid"#.to_vec()),
            any::<u8>(),
        ],
        0..200,
    )) {
        let (_, _) = scanned(&text);
        let _ = elements(&text).count();
    }
}

#[test]
fn a_key_that_is_spelled_with_escapes_is_the_same_key() {
    let (_, everything) = scanned(br#"{"\u0069d":7,"x":1}"#);
    assert_eq!(everything.found[0], Some(Told::Scalar("7".to_owned())));
}

#[test]
fn the_first_of_two_equal_keys_counts() {
    let (_, everything) = scanned(br#"{"id":1,"id":2}"#);
    assert_eq!(everything.found[0], Some(Told::Scalar("1".to_owned())));
}

#[test]
fn presence_is_told_where_the_value_begins() {
    let mut wanted = Wanted::default();
    wanted.slot(&Path::parse("$.id").unwrap(), Need::Presence).unwrap();
    let mut sink = FirstField::default();
    assert_eq!(wanted.scan(br#"{"id":"abc"#, &mut sink), End::Cut);
    assert_eq!(sink.json_type, Some(JsonType::String));
}

#[derive(Default)]
struct FirstField {
    json_type: Option<JsonType>,
}

impl<'a> Sink<'a> for FirstField {
    fn present(&mut self, _: Slot, field: Field<'a>) -> Next {
        self.json_type = Some(field.json_type);
        Next::Continue
    }

    fn absent(&mut self, _: Slots) -> Next {
        Next::Continue
    }
}

#[test]
fn the_elements_of_an_array_are_whole_but_for_a_cut_one() {
    let found = |text: &'static str| -> Vec<(&str, Wholeness)> {
        elements(text.as_bytes()).map(|(e, w)| (std::str::from_utf8(e).unwrap(), w)).collect()
    };
    use Wholeness::{Cut, Whole};
    assert_eq!(
        found(r#"[1, {"a":[2]} ,"x,y"]"#),
        [("1", Whole), (r#"{"a":[2]}"#, Whole), (r#""x,y""#, Whole)]
    );
    assert_eq!(found("[]"), []);
    assert_eq!(found("{}"), []);
    assert_eq!(found(r#"[{"a":1},{"b""#), [(r#"{"a":1}"#, Whole), (r#"{"b""#, Cut)]);
}
