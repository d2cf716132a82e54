//! A protocol as it is written in TOML, before any of it is checked.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::framing::{Split, Unwrap};
use super::{From, Kind, Sender};

/// A file: one protocol at the top, or several under `[[protocol]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ManySource {
    pub(super) protocol: Vec<ProtocolSource>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProtocolSource {
    /// The label value: `a-z`, `0-9`, `-` and `_`.
    pub(super) name: String,
    /// What its messages look like, in a line for people.
    #[serde(default)]
    pub(super) about: String,
    /// Subprotocol tokens that stand for it.
    #[serde(default)]
    pub(super) subprotocols: Vec<String>,
    /// Pieces of the request target (path and query) that make it likely.
    #[serde(default)]
    pub(super) paths: Vec<String>,
    #[serde(default)]
    pub(super) unwrap: Unwrap,
    #[serde(default)]
    pub(super) split: Split,
    /// A decoder in code instead of rules.
    pub(super) codec: Option<Codec>,
    #[serde(default)]
    pub(super) rule: Vec<RuleSource>,
    /// Messages and what the rules must say of them; checked when the file is loaded.
    #[serde(default)]
    pub(super) example: Vec<ExampleSource>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Codec {
    Mqtt,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleSource {
    pub(super) kind: Kind,
    /// Only messages of this end of the connection.
    #[serde(default)]
    pub(super) from: From,
    /// More answers may follow this one.
    #[serde(default)]
    pub(super) more: bool,
    /// No other protocol has this shape: one such message decides which protocol it is.
    #[serde(default)]
    pub(super) certain: bool,
    /// Paths that must be there, whatever their value.
    #[serde(default)]
    pub(super) has: Vec<String>,
    /// Paths that must not be there. Of a message that was cut this is not known, so the rule does
    /// not hold.
    #[serde(default)]
    pub(super) lacks: Vec<String>,
    /// Paths and what they must be: a value, a list of values, or a test.
    #[serde(default)]
    pub(super) when: BTreeMap<String, toml::Value>,
    /// Paths and what they must not be. One that is not there passes, and so does one that did not
    /// come before the cut.
    #[serde(default)]
    pub(super) unless: BTreeMap<String, toml::Value>,
    /// A regular expression with the groups `id`, `scope` and `method`, instead of paths.
    pub(super) pattern: Option<String>,
    /// Path of the id.
    pub(super) id: Option<String>,
    /// Path of what makes the id unique together with it.
    pub(super) scope: Option<String>,
    /// Path of the method, or several of which the first that is there counts.
    #[serde(default)]
    pub(super) method: Paths,
    /// The method of messages that do not name it, or not with a path of `method`.
    pub(super) label: Option<String>,
    /// An answer that may come without a request, and is no orphan then.
    #[serde(default)]
    pub(super) unasked: bool,
    /// Instead of an id: a queue of requests that are answered in order.
    pub(super) queue: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a path, or a list of paths")]
pub(super) enum Paths {
    One(String),
    Several(Vec<String>),
}

impl Default for Paths {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Paths {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExampleSource {
    /// Who sends it.
    #[serde(default = "unknown_sender")]
    pub(super) from: Sender,
    /// The message, if it is a text message.
    pub(super) text: Option<String>,
    /// The message in hexadecimal digits, if it is a binary message.
    pub(super) hex: Option<String>,
    /// What its application messages are, in order.
    #[serde(default)]
    pub(super) is: Vec<ExpectedSource>,
}

fn unknown_sender() -> Sender {
    Sender::Unknown
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedSource {
    pub(super) kind: Kind,
    pub(super) id: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) method: Option<String>,
    pub(super) queue: Option<String>,
    #[serde(default)]
    pub(super) more: bool,
    #[serde(default)]
    pub(super) unasked: bool,
}
