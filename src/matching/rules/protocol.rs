//! A protocol: how its connections are recognised, and how its messages are read.

use super::framing::Framing;
use super::json::rules::{Held, JsonRules};
use super::mqtt;
use super::pattern::PatternRule;
use super::reading::{Extent, Reading};
use super::text::Text;

/// A compiled protocol.
#[derive(Debug)]
pub(in crate::matching) struct Protocol {
    /// The value of the label `protocol`.
    pub(in crate::matching) name: Box<str>,
    /// What its messages look like, in a line for people; may be empty.
    pub(in crate::matching) about: Box<str>,
    /// Subprotocol tokens that stand for it in `Sec-WebSocket-Protocol`.
    pub(in crate::matching) subprotocols: Vec<Box<str>>,
    /// Pieces of the request target that make it likely.
    pub(in crate::matching) paths: Vec<Box<str>>,
    /// How its messages are read.
    pub(in crate::matching) syntax: Syntax,
}

/// How a protocol's messages are read.
#[derive(Debug)]
pub(in crate::matching) enum Syntax {
    /// By rules.
    Rules(RuleSet),
    /// By the MQTT decoder.
    Mqtt,
}

/// The rules of one protocol.
#[derive(Debug)]
pub(in crate::matching) struct RuleSet {
    pub(in crate::matching) framing: Framing,
    pub(in crate::matching) json: JsonRules,
    pub(in crate::matching) patterns: Vec<PatternRule>,
    /// Names of the queues of requests that are answered in order, without an id.
    pub(in crate::matching) queues: Vec<Box<str>>,
}

impl Protocol {
    /// Tells `found` what is in a message, in the order it stands there. `scratch` is memory to
    /// unwrap into; `mqtt` is what the MQTT decoder keeps from message to message.
    ///
    /// Returns how much of the message it took. Only one JSON text is ever settled by its
    /// beginning: not several in one message, not patterns, not a decoder with a memory.
    pub(in crate::matching) fn read(
        &mut self,
        text: Text<'_>,
        scratch: &mut Vec<u8>,
        mqtt: &mut mqtt::Stream,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> Extent {
        match &mut self.syntax {
            Syntax::Rules(rules) => rules.read(text, scratch, found),
            Syntax::Mqtt => Extent { settled_by: None, missed: !mqtt.read(text, found) },
        }
    }
}

impl RuleSet {
    fn read(
        &mut self,
        mut text: Text<'_>,
        scratch: &mut Vec<u8>,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> Extent {
        let Self { framing, json, patterns, .. } = self;
        let is_single = framing.is_single(text);
        if !is_single {
            // The end of several messages is not the end of the first.
            text.tail = b"";
        }
        let mut extent = Extent { settled_by: None, missed: framing.hides_more(text) };
        framing.each(text, scratch, &mut |part| {
            let held = if json.is_empty() {
                Held::NoRule { is_open: false }
            } else {
                json.read(part, found)
            };
            match held {
                Held::Rule { settled_by, is_open } => {
                    extent.settled_by = settled_by;
                    extent.missed |= is_open;
                    return;
                }
                Held::NoRule { is_open } => extent.missed |= is_open,
            }
            for rule in patterns.iter_mut() {
                if rule.read(part, found) {
                    return;
                }
                extent.missed |= rule.may_match_later(part);
            }
        });
        extent.settled_by = extent.settled_by.filter(|_| is_single);
        extent
    }
}
