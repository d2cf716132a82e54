//! Conditions on a field, from what a rule says.

use toml::Value;

use crate::matching::rules::json::field::JsonType;
use crate::matching::rules::json::rules::Test;

/// A condition as written: a value, a list of values, or a table with one test.
pub(super) fn test(value: &Value) -> Result<Test, String> {
    match value {
        Value::Array(values) if values.is_empty() => Err("a list of no values".to_owned()),
        Value::Array(values) => values.iter().map(token).collect::<Result<_, _>>().map(Test::OneOf),
        Value::Table(table) => named_test(table),
        value => Ok(Test::OneOf(vec![token(value)?])),
    }
}

fn named_test(table: &toml::Table) -> Result<Test, String> {
    let expected = || {
        "expected one of { type = … }, { begins_with = … }, { ends_with = … }, { at_least = … }"
            .to_owned()
    };
    let mut entries = table.iter();
    let (Some((name, value)), None) = (entries.next(), entries.next()) else {
        return Err(expected());
    };
    match (name.as_str(), value) {
        ("type", Value::String(name)) => json_type(name).map(Test::Type),
        ("begins_with", Value::String(start)) => Ok(Test::BeginsWith(start.as_str().into())),
        ("ends_with", Value::String(end)) => Ok(Test::EndsWith(end.as_str().into())),
        ("at_least", Value::Integer(least)) => Ok(Test::AtLeast(*least)),
        _ => Err(expected()),
    }
}

fn json_type(name: &str) -> Result<JsonType, String> {
    Ok(match name {
        "string" => JsonType::String,
        "number" => JsonType::Number,
        "bool" => JsonType::Bool,
        "null" => JsonType::Null,
        "object" => JsonType::Object,
        "array" => JsonType::Array,
        _ => return Err("a type is string, number, bool, null, object or array".to_owned()),
    })
}

/// A value as its JSON token.
fn token(value: &Value) -> Result<Box<[u8]>, String> {
    let token = match value {
        Value::String(text) => serde_json::to_string(text).map_err(|error| error.to_string())?,
        Value::Integer(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        _ => return Err("a value is a string, an integer, true or false".to_owned()),
    };
    Ok(token.into_bytes().into())
}
