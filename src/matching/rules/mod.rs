//! The rule language: what a message of an application protocol is, told by its shape.
//!
//! A protocol is a name and a list of rules. A rule says which messages it is for and where in
//! them the id and the method stand:
//!
//! ```toml
//! name = "orders"
//! rule = [
//!     { kind = "request", has = ["$.cmd"], id = "$.seq", method = "$.cmd" },
//!     { kind = "response", has = ["$.ok"], id = "$.seq" },
//! ]
//! ```
//!
//! # A protocol
//!
//! | key | meaning |
//! |---|---|
//! | `name` | the value of the label `protocol`: `a-z`, `0-9`, `-`, `_` |
//! | `about` | what its messages look like, for `wstap protocols` |
//! | `subprotocols` | tokens in the 101 that stand for it |
//! | `paths` | pieces of the request target that make it likely; one fitting message then decides |
//! | `unwrap` | `sockjs`, `jupyter-v1`, `phoenix-v2`: a form that is not JSON around or instead of JSON |
//! | `split` | `record-separator`, `newline`, `array`: several messages in one |
//! | `rule`, `example` | see below |
//!
//! Several protocols in one file stand under `[[protocol]]`.
//!
//! # A rule
//!
//! | key | meaning |
//! |---|---|
//! | `kind` | `request`, `response`, `error`, `end`, `progress`, `cancel`, `notification`, `ping`, `pong` (see [`Kind`]) |
//! | `from` | `client` or `server`: only messages of this end |
//! | `has`, `lacks` | paths that must, or must not, be there |
//! | `when`, `unless` | paths and what they must, or must not, be |
//! | `id` | path of the id, a string or a number, compared as it is written; `$.ids[*]` names several |
//! | `scope` | path of what the id is unique in |
//! | `queue` | instead of an id: a name for requests that are answered in order |
//! | `method` | path of the method, or a list of which the first that is there counts |
//! | `label` | the method where the message names none |
//! | `more` | more answers may follow this one |
//! | `unasked` | the answer may come without a request |
//! | `certain` | no other protocol has this shape: one such message decides |
//! | `pattern` | instead of paths: a regular expression with groups `id`, `scope`, `method` |
//!
//! A path has one to three steps, `$.name` or `$[index]`. A condition is a value, a list of values
//! or one of `{ type = "string" }` (`number`, `bool`, `null`, `object`, `array`),
//! `{ ends_with = "…" }` and `{ at_least = 400 }`.
//!
//! Rules are tried on a message while it is read, and the first that is satisfied counts. Rules
//! that could hold for one message must therefore exclude each other, by `lacks` or `unless`; of
//! a message that was cut, what it `lacks` is not known and `unless` asks about what came before
//! the cut. Paths go first, patterns where no path rule holds.
//!
//! An `[[example]]` is a message (`text`, or `hex`), its sender (`from`) and what it `is`: a list
//! of `kind`, `id`, `scope`, `queue`, `method`, `more`, `unasked`. It is checked when the file is
//! loaded.
//!
//! # Inside
//!
//! `source` is the language as written, `compile` checks it and turns it into a few wanted paths
//! and bit masks, `json` finds the paths in one scan, `reading` says what the message is. What
//! then becomes of a request and its response is left to the parent module.

mod compile;
mod condition;
mod examples;
mod framing;
pub(super) mod json;
mod path;
pub(super) mod pattern;
pub(super) mod reading;
mod source;
mod token;
mod unwrap;
mod wanted;

use serde::Deserialize;

pub use compile::RuleError;
pub(super) use compile::compile_file;
pub(super) use examples::check as check_examples;
pub(super) use framing::Framing;
pub(super) use json::Wholeness;
pub(super) use reading::{JsonRules, Reading};
pub(super) use token::equal;

use reading::Held;

use super::super::event::Direction;
use super::super::observation::MessageType;
use super::mqtt;

/// What a message is to a request.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Asks; its answer repeats its id.
    Request,
    /// Answers.
    Response,
    /// Answers, with an error.
    Error,
    /// Says that no more answers follow; an answer itself only if there was none.
    End,
    /// Concerns a request, but is not its answer: an acknowledgement, a status, an event.
    Progress,
    /// Withdraws a request of the same side.
    Cancel,
    /// Stands alone.
    Notification,
    /// The application's own heartbeat, without an id.
    Ping,
    /// Answers a `Ping`.
    Pong,
    /// Answers if something with its id was asked, else asks.
    #[serde(skip)]
    Either,
}

/// Which end of the connection may send a message.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum From {
    /// The end that sent the upgrade request.
    Client,
    /// The end that answered it.
    Server,
    /// Either.
    #[default]
    Any,
}

/// Which end sent a message, as far as it is known.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Sender {
    Client,
    Server,
    Unknown,
}

impl From {
    /// Whether a message of `sender` may come from here. One whose sender is not known passes
    /// only where it does not matter.
    fn admits(self, sender: Sender) -> bool {
        match self {
            Self::Any => true,
            Self::Client => sender == Sender::Client,
            Self::Server => sender == Sender::Server,
        }
    }
}

/// A compiled protocol.
#[derive(Debug)]
pub(super) struct Protocol {
    /// The value of the label `protocol`.
    pub(super) name: Box<str>,
    /// What its messages look like, in a line for people; may be empty.
    pub(super) about: Box<str>,
    /// Subprotocol tokens that stand for it in `Sec-WebSocket-Protocol`.
    pub(super) subprotocols: Vec<Box<str>>,
    /// Pieces of the request target that make it likely.
    pub(super) paths: Vec<Box<str>>,
    /// How its messages are read.
    pub(super) syntax: Syntax,
}

/// How a protocol's messages are read.
#[derive(Debug)]
pub(super) enum Syntax {
    /// By rules.
    Rules(RuleSet),
    /// By the MQTT decoder.
    Mqtt,
}

/// The rules of one protocol.
#[derive(Debug)]
pub(super) struct RuleSet {
    pub(super) framing: Framing,
    pub(super) json: JsonRules,
    pub(super) patterns: Vec<pattern::PatternRule>,
    /// Names of the queues of requests that are answered in order, without an id.
    pub(super) queues: Vec<Box<str>>,
}

/// One message, or a prefix of one, as the rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a> {
    pub(super) direction: Direction,
    pub(super) sender: Sender,
    pub(super) message_type: MessageType,
    pub(super) payload: &'a [u8],
    pub(super) wholeness: Wholeness,
}

impl Protocol {
    /// Tells `found` what is in a message, in the order it stands there. `scratch` is memory to
    /// unwrap into; `mqtt` is what the MQTT decoder keeps from message to message.
    ///
    /// Returns how many bytes from the start of the message settled that: whatever follows them
    /// changes nothing. `None` where the whole message was looked at, or more than one JSON text
    /// (several in one message, patterns, a decoder with a memory).
    pub(super) fn read(
        &mut self,
        text: Text<'_>,
        scratch: &mut Vec<u8>,
        mqtt: &mut mqtt::Stream,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> Option<usize> {
        match &mut self.syntax {
            Syntax::Rules(rules) => rules.read(text, scratch, found),
            Syntax::Mqtt => {
                mqtt.read(text, found);
                None
            }
        }
    }
}

impl RuleSet {
    fn read(
        &mut self,
        text: Text<'_>,
        scratch: &mut Vec<u8>,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> Option<usize> {
        let Self { framing, json, patterns, .. } = self;
        let mut settled = None;
        framing.each(text, scratch, &mut |part| {
            if !json.is_empty()
                && let Held::Rule { settled_by } = json.read(part, found)
            {
                settled = settled_by;
                return;
            }
            for rule in patterns.iter_mut() {
                if rule.read(part, found) {
                    return;
                }
            }
        });
        settled.filter(|_| framing.is_single(text))
    }
}
