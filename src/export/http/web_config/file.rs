//! The keys of the web configuration file, and the values that they take. Unknown keys are refused, as
//! by other exporters.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_norway::Value;

use super::pace::Pace;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) tls_server_config: Option<Tls>,
    pub(super) http_server_config: Option<Http>,
    /// Names of users, and the bcrypt hashes of their passwords.
    #[serde(deserialize_with = "unique")]
    pub(super) basic_auth_users: Option<BTreeMap<String, String>>,
    pub(super) rate_limit: Option<Rate>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) cert: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) client_auth_type: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) client_ca_file: Option<String>,
    pub(super) client_allowed_sans: Option<Vec<String>>,
    pub(super) min_version: Option<String>,
    pub(super) max_version: Option<String>,
    pub(super) cipher_suites: Option<Vec<String>>,
    pub(super) curve_preferences: Option<Vec<String>>,
    pub(super) prefer_server_cipher_suites: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    /// Taken and not used: wstap speaks HTTP/1.1.
    http2: Option<bool>,
    #[serde(deserialize_with = "unique")]
    headers: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rate {
    interval: Option<Value>,
    burst: Option<u32>,
}

impl File {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let file = serde_norway::from_str::<Option<Self>>(text);
        file.map(Option::unwrap_or_default).map_err(|error| without_values(&error))
    }
}

/// Of two values of one key only one could be meant.
fn unique<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let pairs = Option::<Pairs>::deserialize(deserializer)?;
    Ok(pairs.map(|Pairs(pairs)| pairs))
}

struct Pairs(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys with text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            if let Some(_other) = pairs.insert(key, value) {
                return Err(A::Error::custom("duplicate key"));
            }
        }
        Ok(Pairs(pairs))
    }
}

/// What is wrong, and where. A value stays out: it may be a password in the wrong place.
fn without_values(error: &serde_norway::Error) -> String {
    let text = error.to_string();
    if text.contains("unknown field") || text.contains("duplicate") {
        return text;
    }
    match error.location() {
        Some(at) => format!(
            "line {}, column {}: this is no YAML, or not the kind of value that its key takes",
            at.line(),
            at.column()
        ),
        None => "this is no YAML, or not the kinds of values that its keys take".into(),
    }
}

/// The headers that may be set, with their values where there is a choice of a few.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

impl Http {
    pub(super) fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
        self.headers.iter().flatten().map(|(name, value)| header(name, value)).collect()
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let Some((_, values)) = HEADERS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = HEADERS.iter().map(|(known, _)| *known).collect();
        return Err(format!("headers: `{name}` cannot be set; it is none of {}", known.join(", ")));
    };
    if !values.is_empty() && !values.contains(&value) {
        return Err(format!("headers: {name} takes one of {}", values.join(", ")));
    }
    let wrong = || format!("headers: the value of {name} is not one that HTTP allows");
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
    Ok((name, HeaderValue::from_str(value).map_err(|_| wrong())?))
}

impl Rate {
    /// Without an interval nothing is limited.
    pub(super) fn pace(&self) -> Result<Option<Pace>, String> {
        let interval = self.interval.as_ref().map_or(Ok(Duration::ZERO), duration)?;
        if interval.is_zero() {
            return Ok(None);
        }
        match self.burst.unwrap_or(0) {
            0 => Err("rate_limit: with a burst of 0 nobody would ever be answered; give burst: 1 \
                      or more"
                .into()),
            burst => Ok(Some(Pace::new(interval, burst))),
        }
    }
}

/// A time as in Go: `1s`, `1m30s`, `100ms`, or a number of nanoseconds.
fn duration(value: &Value) -> Result<Duration, String> {
    let wrong = || String::from("rate_limit: interval takes a time such as 1s or 100ms");
    if let Some(nanoseconds) = value.as_u64() {
        return Ok(Duration::from_nanos(nanoseconds));
    }
    let text = value.as_str().ok_or_else(wrong)?;
    let span = text.parse::<jiff::SignedDuration>().map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}
