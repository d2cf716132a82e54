//! Which answers say that something went wrong, as far as their names and values tell.

use std::collections::BTreeSet;

use crate::learning::messages::classes::{Class, ClassId, Classes, is_about_errors, is_wrong};
use crate::learning::messages::json::Kind;
use crate::learning::messages::places::{Place, PlaceId, Side, Table};
use crate::learning::rules::conditions::Condition;

/// Names of truth values of which the false one says it.
const SUCCESS: [&str; 5] = ["ok", "success", "succeeded", "successful", "result"];

/// Names of numbers of which 0 says that all is well.
const CODES: [&str; 6] = ["code", "retCode", "ret_code", "errno", "errcode", "sCode"];

/// Names of numbers that are like those of HTTP.
const STATUSES: [&str; 4] = ["code", "status", "statusCode", "status_code"];

/// The classes among `answers` that are errors, each with a condition that says so.
pub(in crate::learning) fn among(
    table: &Table,
    classes: &Classes,
    side: Side,
    answers: &BTreeSet<ClassId>,
) -> Vec<(Condition, BTreeSet<ClassId>)> {
    let mut left = answers.clone();
    let mut found: Vec<(Condition, BTreeSet<ClassId>)> = Vec::new();
    for condition in conditions(table, side) {
        let holds = |id: &ClassId| says(&condition, classes.get(*id));
        // What some do not say at all cannot be asked for by what it is not.
        let is_said = |id: &ClassId| match &condition {
            Condition::Unless(place, _) => classes.get(*id).tag(*place).is_some(),
            _ => true,
        };
        let errors: BTreeSet<ClassId> = left.iter().copied().filter(|id| holds(id)).collect();
        // What every answer has says nothing.
        let is_telling = !errors.is_empty() && errors.len() < left.len();
        if is_telling && answers.iter().all(is_said) {
            left.retain(|id| !errors.contains(id));
            found.push((condition, errors));
        }
    }
    found
}

fn says(condition: &Condition, class: &Class) -> bool {
    match condition {
        Condition::Has(place) => class.has(*place),
        Condition::WhenValue(place) => class.has_value(*place),
        Condition::When(place, values) => {
            class.tag(*place).is_some_and(|value| values.contains(&value))
        }
        Condition::Unless(place, values) => {
            class.tag(*place).is_some_and(|value| !values.contains(&value))
        }
        _ => false,
    }
}

/// Conditions that could say it, the clearest first.
fn conditions(table: &Table, side: Side) -> Vec<Condition> {
    let places = || (0..).zip(&table.places).filter(|(_, it)| it.rows[side as usize] > 0);
    let of_names = places()
        .filter(|(_, place)| is_about_errors(&place.name))
        .filter_map(|(id, _)| is_there(table, id, side));
    let of_truths = places().filter_map(|(id, place)| {
        when(place, id, side, &|text| {
            (SUCCESS.contains(&&*place.name) && text == "false")
                || (is_about_errors(&place.name) && text == "true")
        })
    });
    let of_codes = places().filter_map(|(id, place)| {
        let values = place.values[side as usize].iter();
        let zero: Vec<u64> = values.filter(|(_, text)| *text == "0").map(|(it, _)| *it).collect();
        let is_code = CODES.contains(&&*place.name) && !zero.is_empty();
        is_code.then_some(Condition::Unless(id, zero))
    });
    let of_values = places().filter_map(|(id, place)| {
        when(place, id, side, &|text| {
            let is_failure = |code: i64| !(0..400).contains(&code);
            (STATUSES.contains(&&*place.name) && text.parse().is_ok_and(is_failure))
                || is_wrong(text)
        })
    });
    of_names.chain(of_truths).chain(of_codes).chain(of_values).collect()
}

/// The place is there, and not null.
fn is_there(table: &Table, id: PlaceId, side: Side) -> Option<Condition> {
    let kinds = &table.place(id).kinds[side as usize];
    if !kinds.contains(&Kind::Null) {
        // A truth value says it by what it is.
        return (!kinds.contains(&Kind::Bool)).then_some(Condition::Has(id));
    }
    table.only_kind_but_null(id, side).map(|_| Condition::WhenValue(id))
}

/// The place has one of its values that say it.
fn when(place: &Place, id: PlaceId, side: Side, says: &dyn Fn(&str) -> bool) -> Option<Condition> {
    let values = place.values[side as usize].iter();
    let values: Vec<u64> = values.filter(|(_, text)| says(text)).map(|(value, _)| *value).collect();
    let is_few = !place.overflows[side as usize] && (1..=8).contains(&values.len());
    is_few.then_some(Condition::When(id, values))
}

/// Whether some of these are codes like those of HTTP that say so, and some that say that all is well.
pub(super) fn are_codes<'a>(texts: impl Iterator<Item = &'a str>) -> bool {
    let is_code = |text: &&str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    let (wrong, right): (Vec<&str>, Vec<&str>) =
        texts.filter(is_code).partition(|text| matches!(text.as_bytes(), [b'4'..=b'6', ..]));
    !wrong.is_empty() && right.iter().any(|text| matches!(text.as_bytes(), [b'1'..=b'3', ..]))
}
