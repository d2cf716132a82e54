//! A protocol's own examples: messages in its file, and what the rules must say of them.

use std::fmt;

use super::compile::{Compiled, RuleError};
use super::json::Wholeness;
use super::reading::{More, Reading, RequestName, Unasked};
use super::source::{ExampleSource, ExpectedSource};
use super::{Kind, Protocol, Syntax, Text};
use crate::decode::event::Direction;
use crate::decode::matching::mqtt;
use crate::decode::observation::MessageType;

/// Reads every example of `compiled`, and names the first that is read otherwise than it says.
pub(in crate::decode::matching) fn check(
    file: &str,
    compiled: &mut Compiled,
) -> Result<(), RuleError> {
    let Compiled { protocol, examples } = compiled;
    for (index, example) in examples.iter().enumerate() {
        check_one(protocol, example).map_err(|reason| RuleError::Rule {
            file: file.to_owned(),
            key: format!("{}.example[{index}]", protocol.name),
            reason,
        })?;
    }
    Ok(())
}

fn check_one(protocol: &mut Protocol, example: &ExampleSource) -> Result<(), String> {
    let (message_type, payload) = match (&example.text, &example.hex) {
        (Some(text), None) => (MessageType::Text, text.clone().into_bytes()),
        (None, Some(digits)) => (MessageType::Binary, bytes(digits)?),
        _ => return Err("an example has either text or hex".to_owned()),
    };
    let expected: Vec<_> = example.is.iter().map(Summary::expected).collect();
    let text = Text {
        direction: Direction::Sent,
        sender: example.from,
        message_type,
        payload: &payload,
        wholeness: Wholeness::Whole,
    };
    let queues = match &protocol.syntax {
        Syntax::Rules(rules) => rules.queues.clone(),
        Syntax::Mqtt => mqtt::QUEUES.iter().map(|&name| name.into()).collect(),
    };
    let mut read = Vec::new();
    protocol.read(text, &mut Vec::new(), &mut mqtt::Stream::default(), &mut |reading| {
        read.push(Summary::read(&reading, &queues));
    });
    if read == expected {
        return Ok(());
    }
    Err(format!("expected {}, read {}", Listed(&expected), Listed(&read)))
}

fn bytes(digits: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    bytes.ok_or_else(|| "hex is pairs of hexadecimal digits".to_owned())
}

/// What an example states of a reading.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    kind: Kind,
    id: Option<String>,
    scope: Option<String>,
    queue: Option<String>,
    method: Option<String>,
    more: bool,
    unasked: bool,
}

impl Summary {
    fn expected(source: &ExpectedSource) -> Self {
        Self {
            kind: source.kind,
            id: source.id.clone(),
            scope: source.scope.clone(),
            queue: source.queue.clone(),
            // A queue's name is the method of what goes into it, unless another is stated.
            method: source
                .method
                .clone()
                .or_else(|| source.queue.clone().filter(|_| source.kind == Kind::Request)),
            more: source.more,
            unasked: source.unasked,
        }
    }

    fn read(reading: &Reading<'_>, queues: &[Box<str>]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (id, scope, queue) = match reading.name {
            None => (None, None, None),
            Some(RequestName::Id { id, scope }) => {
                (Some(text(id)), (!scope.is_empty()).then(|| text(scope)), None)
            }
            Some(RequestName::Queue(index)) => {
                (None, None, queues.get(usize::from(index)).map(ToString::to_string))
            }
        };
        Self {
            kind: reading.gist.kind,
            id,
            scope,
            queue,
            method: reading.method.as_deref().map(text),
            more: reading.gist.more == More::Follows,
            unasked: reading.gist.unasked == Unasked::Expected,
        }
    }
}

/// Several readings for a message to people.
struct Listed<'a>(&'a [Summary]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (index, gist) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{gist:?}")?;
        }
        Ok(())
    }
}
