//! A protocol: how its connections are recognised, and how its messages are read.

use super::advice::{Advice, Doubt, Watch};
use super::binary::Encoding;
use super::codec::{Memory, amqp, mqtt};
use super::framing::Framing;
use super::json::found::Found;
use super::json::rules::{Held, JsonRules};
use super::pattern::PatternRule;
use super::reading::{Extent, Reading};
use super::text::Text;
use crate::observation::MessageType;

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
    Rules(Box<RuleSet>),
    /// By the MQTT decoder.
    Mqtt,
    /// By the AMQP decoder.
    Amqp,
}

/// The rules of one protocol.
#[derive(Debug, Default)]
pub(in crate::matching) struct RuleSet {
    pub(in crate::matching) framing: Framing,
    pub(in crate::matching) json: JsonRules,
    pub(in crate::matching) patterns: Vec<PatternRule>,
    /// Names of the queues of requests that are answered in order, without an id.
    pub(in crate::matching) queues: Vec<Box<str>>,
    /// Of rules from a file, what they found so far.
    pub(in crate::matching) watch: Option<Box<Watch>>,
}

impl Protocol {
    /// Tells `found` what is in a message, in the order it stands there. `scratch` is memory to
    /// unwrap into; `memory` is what the decoders keep from message to message.
    ///
    /// Returns how much of the message it took. Only one JSON text is ever settled by its
    /// beginning: not several in one message, not patterns, not a decoder with a memory.
    pub(in crate::matching) fn read(
        &mut self,
        text: Text<'_>,
        scratch: &mut Vec<u8>,
        memory: &mut Memory,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> Extent {
        match &mut self.syntax {
            Syntax::Rules(rules) => rules.read(text, scratch, found),
            // A decoder reads binary messages only.
            Syntax::Mqtt | Syntax::Amqp if text.message_type != MessageType::Binary => {
                Extent::default()
            }
            Syntax::Mqtt => Extent { settled_by: None, missed: !memory.mqtt().read(text, found) },
            Syntax::Amqp => Extent { settled_by: None, missed: !memory.amqp().read(text, found) },
        }
    }
}

impl Protocol {
    /// Watches what its rules find from now on, and says what is probably wrong with them already.
    pub(in crate::matching) fn watch(&mut self, advice: Advice) -> Vec<Doubt> {
        let Syntax::Rules(rules) = &mut self.syntax else { return Vec::new() };
        rules.json.found = Some(Found::nothing(rules.json.rules.len()));
        rules.watch = Some(Box::new(advice.watch));
        advice.doubts
    }

    /// Watches no longer.
    pub(in crate::matching) fn unwatch(&mut self) {
        let Syntax::Rules(rules) = &mut self.syntax else { return };
        (rules.watch, rules.json.found) = (None, None);
    }

    /// What is probably wrong with its rules, by the messages that they have read.
    pub(in crate::matching) fn doubts(&self) -> Vec<Doubt> {
        let Syntax::Rules(rules) = &self.syntax else { return Vec::new() };
        let doubts = rules.watch.as_ref().map(|watch| watch.doubts(rules.json.found.as_ref()));
        doubts.unwrap_or_default()
    }

    /// How often each of its rules held, by its number in the file; empty where they are not watched.
    pub(in crate::matching) fn held(&self) -> Vec<(usize, u64)> {
        let Syntax::Rules(rules) = &self.syntax else { return Vec::new() };
        let held = rules.watch.as_ref().map(|watch| watch.held(&rules.json, &rules.patterns));
        held.unwrap_or_default()
    }

    /// Names of the queues of requests without an id.
    pub(in crate::matching) fn queues(&self) -> Vec<Box<str>> {
        match &self.syntax {
            Syntax::Rules(rules) => rules.queues.clone(),
            Syntax::Amqp => amqp::QUEUES.iter().map(|&name| name.into()).collect(),
            Syntax::Mqtt => mqtt::QUEUES.iter().map(|&name| name.into()).collect(),
        }
    }
}

impl RuleSet {
    fn read(
        &mut self,
        text: Text<'_>,
        scratch: &mut Vec<u8>,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> Extent {
        if self.watch.is_none() {
            return self.read_any(text, scratch, found);
        }
        let Some(mut watch) = self.watch.take() else { return Extent::default() };
        let extent = self.read_any(text, scratch, &mut |reading| {
            watch.reading(&reading);
            found(reading);
        });
        self.watch = Some(watch);
        extent
    }

    fn read_any(
        &mut self,
        mut text: Text<'_>,
        scratch: &mut Vec<u8>,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> Extent {
        let encodings = self.framing.encodings(text);
        if !encodings.is_empty() {
            return self.read_binary(encodings, text, scratch, found);
        }
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

    /// Reads a binary message. The first of the encodings counts in which a rule holds.
    fn read_binary(
        &self,
        encodings: &[Encoding],
        text: Text<'_>,
        scratch: &mut Vec<u8>,
        found: &mut dyn FnMut(Reading<'_>),
    ) -> Extent {
        let mut extent = Extent { settled_by: None, missed: self.framing.hides_more(text) };
        self.framing.each_encoded(text, &mut |part| {
            let mut may_hold = false;
            for (index, encoding) in encodings.iter().enumerate() {
                match self.json.read_binary(*encoding, part, scratch, found) {
                    Held::Rule { settled_by, is_open } => {
                        // For another encoding, all of the message was looked at.
                        extent.settled_by = settled_by.filter(|_| index == 0);
                        extent.missed |= is_open;
                        return;
                    }
                    Held::NoRule { is_open } => may_hold |= is_open,
                }
            }
            extent.missed |= may_hold;
        });
        extent.settled_by = extent.settled_by.filter(|_| self.framing.is_single(text));
        extent
    }
}
