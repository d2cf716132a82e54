//! A protocol as it is written in TOML, before any of it is checked.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::matching::rules::feed::time::TimeUnit;
use crate::matching::rules::framing::{Prefix, Split, Unwrap};
use crate::matching::rules::kind::{From, Kind, Sender};

/// A file: one protocol at the top, or several under `[[protocol]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::matching::rules) struct ManySource {
    pub(in crate::matching::rules) protocol: Vec<ProtocolSource>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::matching::rules) struct ProtocolSource {
    /// The label value: `a-z`, `0-9`, `-` and `_`.
    pub(in crate::matching::rules) name: String,
    /// What its messages look like, in a line for people.
    #[serde(default)]
    pub(in crate::matching::rules) about: String,
    /// Subprotocol tokens that stand for it.
    #[serde(default)]
    pub(in crate::matching::rules) subprotocols: Vec<String>,
    /// Pieces of the request target (path and query) that make it likely.
    #[serde(default)]
    pub(in crate::matching::rules) paths: Vec<String>,
    #[serde(default)]
    pub(in crate::matching::rules) unwrap: Unwrap,
    #[serde(default)]
    pub(in crate::matching::rules) split: Split,
    #[serde(default)]
    pub(in crate::matching::rules) prefix: Prefix,
    /// A decoder in code instead of rules.
    pub(in crate::matching::rules) codec: Option<Codec>,
    #[serde(default)]
    pub(in crate::matching::rules) rule: Vec<RuleSource>,
    /// Messages and what the rules must say of them; checked when the file is loaded.
    #[serde(default)]
    pub(in crate::matching::rules) example: Vec<ExampleSource>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::matching::rules) enum Codec {
    Mqtt,
    Amqp,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::matching::rules) struct RuleSource {
    pub(in crate::matching::rules) kind: Kind,
    /// Only messages of this end of the connection.
    #[serde(default)]
    pub(in crate::matching::rules) from: From,
    /// More answers may follow this one.
    #[serde(default)]
    pub(in crate::matching::rules) more: bool,
    /// No other protocol has this shape: one such message decides which protocol it is.
    #[serde(default)]
    pub(in crate::matching::rules) certain: bool,
    /// Many protocols have this shape: it proves nothing.
    #[serde(default)]
    pub(in crate::matching::rules) common: bool,
    /// Paths that must be there, whatever their value.
    #[serde(default)]
    pub(in crate::matching::rules) has: Vec<String>,
    /// Paths that must not be there. Of a message that was cut this is not known, so the rule does
    /// not hold.
    #[serde(default)]
    pub(in crate::matching::rules) lacks: Vec<String>,
    /// Paths and what they must be: a value, a list of values, or a test.
    #[serde(default)]
    pub(in crate::matching::rules) when: BTreeMap<String, toml::Value>,
    /// Paths and what they must not be. One that is not there passes, and so does one that did not
    /// come before the cut.
    #[serde(default)]
    pub(in crate::matching::rules) unless: BTreeMap<String, toml::Value>,
    /// A regular expression with the groups `id`, `scope` and `method`, instead of paths.
    pub(in crate::matching::rules) pattern: Option<String>,
    /// Path of the id.
    pub(in crate::matching::rules) id: Option<String>,
    /// Path of what makes the id unique together with it.
    pub(in crate::matching::rules) scope: Option<String>,
    /// Path of the method, or several of which the first that is there counts.
    #[serde(default)]
    pub(in crate::matching::rules) method: Paths,
    /// The method of messages that do not name it, or not with a path of `method`.
    pub(in crate::matching::rules) label: Option<String>,
    /// An answer that may come without a request, and is no orphan then.
    #[serde(default)]
    pub(in crate::matching::rules) unasked: bool,
    /// Instead of an id: a queue of requests that are answered in order.
    pub(in crate::matching::rules) queue: Option<String>,
    /// It only says that its sender is there.
    #[serde(default)]
    pub(in crate::matching::rules) heartbeat: bool,
    /// Path of its own time.
    pub(in crate::matching::rules) time: Option<TimeSource>,
    /// Path of its number, or of the last of several.
    pub(in crate::matching::rules) sequence: Option<String>,
    /// Path of the first of several numbers.
    pub(in crate::matching::rules) first: Option<String>,
    /// Path of the number of the message before it.
    pub(in crate::matching::rules) previous: Option<String>,
    /// Path of what has a sequence of its own, or several that name it together.
    #[serde(default)]
    pub(in crate::matching::rules) channel: Paths,
    /// From one number to the next.
    pub(in crate::matching::rules) step: Option<u32>,
    /// The sequence begins anew with this message.
    #[serde(default)]
    pub(in crate::matching::rules) reset: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a path, or { path = …, unit = s, ms, us, ns or rfc3339 }")]
pub(in crate::matching::rules) enum TimeSource {
    Path(String),
    WithUnit { path: String, unit: TimeUnit },
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a path, or a list of paths")]
pub(in crate::matching::rules) enum Paths {
    One(String),
    Several(Vec<String>),
}

impl Default for Paths {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Paths {
    pub(in crate::matching::rules) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::matching::rules) struct ExampleSource {
    /// Who sends it.
    #[serde(default = "unknown_sender")]
    pub(in crate::matching::rules) from: Sender,
    /// The message, if it is a text message.
    pub(in crate::matching::rules) text: Option<String>,
    /// The message in hexadecimal digits, if it is a binary message.
    pub(in crate::matching::rules) hex: Option<String>,
    /// What its application messages are, in order.
    #[serde(default)]
    pub(in crate::matching::rules) is: Vec<ExpectedSource>,
}

fn unknown_sender() -> Sender {
    Sender::Unknown
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::matching::rules) struct ExpectedSource {
    pub(in crate::matching::rules) kind: Kind,
    pub(in crate::matching::rules) id: Option<String>,
    pub(in crate::matching::rules) scope: Option<String>,
    pub(in crate::matching::rules) method: Option<String>,
    pub(in crate::matching::rules) queue: Option<String>,
    #[serde(default)]
    pub(in crate::matching::rules) more: bool,
    #[serde(default)]
    pub(in crate::matching::rules) unasked: bool,
}
