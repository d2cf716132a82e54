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
//! | `unwrap` | `sockjs`, `jupyter-v1`, `phoenix-v2`, `mime`, `after-text`: a form that is not JSON around or instead of JSON; `msgpack`, `cbor`, `msgpack-or-cbor`, `etf`, `protobuf`: what binary messages are |
//! | `prefix` | `varint`: several binary messages in one, each behind its length |
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
//! | `id` | path of the id, a string or a number, compared as it is written (but without quotes, where other rules of the protocol find ids by patterns); `$.ids[*]` names several |
//! | `scope` | path of what the id is unique in |
//! | `queue` | instead of an id: a name for requests that are answered in order |
//! | `method` | path of the method, or a list of which the first that is there counts |
//! | `label` | the method where the message names none |
//! | `more` | more answers may follow this one |
//! | `unasked` | the answer may come without a request |
//! | `certain` | no other protocol has this shape: one such message decides |
//! | `common` | other protocols have this shape: to be asked or answered so proves nothing |
//! | `pattern` | instead of paths: a regular expression with groups `id`, `scope`, `method` |
//! | `heartbeat` | the message only says that its sender is there: it is no sign that a feed goes on |
//! | `time` | path of the message's own time: a number of s, ms, us or ns since 1970, or RFC 3339; `{ path = "$.t", unit = "ms" }` where the size of the number does not tell the unit |
//! | `sequence` | path of the message's number, which is `step` more than that of the message before |
//! | `first` | path of the first number, where a message covers several; `sequence` is the last then |
//! | `previous` | path of the number of the message before, where numbers do not follow each other at a known distance |
//! | `channel` | path of what has a sequence of its own, or a list of up to 3 that name it together |
//! | `step` | from one number to the next; 1 unless given |
//! | `reset` | the sequence begins anew with this message: a snapshot |
//!
//! A path has one to three steps, `$.name` or `$[index]`. In a binary encoding it is the same; there a
//! key that is a number is written like a name, bytes count as a string of their hexadecimal digits,
//! and a float that is a whole number as that number. In Erlang's terms (`etf`) an atom is a string, and a
//! tuple an array. In Protocol Buffers an index is the number of a field.
//!
//! A condition is a value, a list of values
//! or one of `{ type = "string" }` (`number`, `bool`, `null`, `object`, `array`),
//! `{ begins_with = "…" }`, `{ ends_with = "…" }` and `{ at_least = 400 }`.
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
//! `compile` reads the language as it is written, checks it, and turns it into a few wanted paths
//! and bit masks. `json` finds the paths in one scan and decides which rule holds; `binary` finds
//! them in MessagePack, CBOR, Erlang's terms and Protocol Buffers; `advice` says what is probably wrong with
//! rules; `pattern` and `codec` do the same for messages that are not JSON. `framing` and `unwrap` come first: they take
//! one WebSocket message apart into application messages. What then becomes of a request and its
//! response is left to the parent module.

mod advice;
mod binary;
mod codec;
mod compile;
mod continuation;
mod examples;
mod feed;
#[cfg(test)]
mod forms;
mod framing;
mod json;
mod kind;
mod pattern;
mod protocol;
mod reading;
mod text;
mod unwrap;

pub(super) use advice::Doubt;
pub(crate) use binary::Encoding;
pub(super) use codec::Memory as CodecMemory;
pub(super) use compile::{Compiled, compile_file};
pub use compile::{RuleError, toml_mistake};
#[cfg(test)]
pub(super) use examples::{Said, conversation};
pub(super) use examples::{bytes as hex_bytes, check as check_examples, described};
pub use feed::{CHANNEL_PARTS, own_time_ns};
pub(super) use feed::{FeedFields, Numbers, SequenceField};
pub(super) use framing::Framing;
pub(super) use json::rules::JsonRules;
pub(super) use json::token::equal;
pub(super) use kind::{Kind, Sender};
pub use pattern::PatternError;
pub(super) use pattern::PatternRule;
pub(super) use protocol::{Protocol, RuleSet, Syntax};
pub(super) use reading::{Extent, More, Proof, Reading, RequestName, RuleTraits, Unasked};
pub(super) use text::{Text, Wholeness};
