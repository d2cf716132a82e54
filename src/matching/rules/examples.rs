//! A protocol's own examples: messages in its file, and what the rules must say of them.

use std::fmt;

use super::compile::source::{ExampleSource, ExpectedSource};
use super::compile::{Compiled, RuleError};
use super::kind::Kind;
use super::mqtt;
use super::protocol::{Protocol, Syntax};
use super::reading::{More, Reading, RequestName, Unasked};
use super::text::{Text, Wholeness};
use crate::event::Direction;
use crate::observation::MessageType;

/// Reads every example of `compiled`, and names the first that is read otherwise than it says.
pub(in crate::matching) fn check(file: &str, compiled: &mut Compiled) -> Result<(), RuleError> {
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
            kind: reading.traits.kind,
            id,
            scope,
            queue,
            method: reading.method.as_deref().map(text),
            more: reading.traits.more == More::Follows,
            unasked: reading.traits.unasked == Unasked::Expected,
        }
    }
}

impl fmt::Display for Summary {
    /// As in `response id="7" method=add more`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{:?}", self.kind).to_lowercase())?;
        let texts = [
            ("id", &self.id),
            ("scope", &self.scope),
            ("queue", &self.queue),
            ("method", &self.method),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                write!(f, " {name}={text}")?;
            }
        }
        let flags = [("more", self.more), ("unasked", self.unasked)];
        for (name, _) in flags.into_iter().filter(|(_, set)| *set) {
            write!(f, " {name}")?;
        }
        Ok(())
    }
}

/// Several readings for a message to people.
struct Listed<'a>(&'a [Summary]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (index, traits) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{traits}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::protocols::BUILTIN;
    use crate::matching::rules::compile_file;

    /// Calls `test` with each built-in protocol and each of its examples that is text.
    fn each_text_example(mut test: impl FnMut(&mut Protocol, &ExampleSource, &str)) {
        for (file, text) in BUILTIN {
            for compiled in compile_file(file, text).unwrap() {
                let Compiled { mut protocol, examples } = compiled;
                assert!(examples.len() >= 3, "{file} has examples");
                for example in &examples {
                    if let Some(text) = &example.text {
                        test(&mut protocol, example, text);
                    }
                }
            }
        }
    }

    fn permutations(items: &[String]) -> Vec<Vec<String>> {
        if items.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let rest = [&items[..index], &items[index + 1..]].concat();
            for mut permutation in permutations(&rest) {
                permutation.push(item.clone());
                all.push(permutation);
            }
        }
        all
    }

    /// The rules of a protocol exclude each other: no order of keys makes another one hold first.
    #[test]
    fn every_order_of_keys_is_read_alike() {
        let mut orders = 0;
        each_text_example(|protocol, example, text| {
            let Ok(serde_json::Value::Object(members)) = serde_json::from_str(text) else { return };
            let members: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{}:{value}", serde_json::json!(key)))
                .collect();
            if members.len() > 6 {
                return;
            }
            for members in permutations(&members) {
                let text = format!("{{{}}}", members.join(", "));
                let example = ExampleSource { text: Some(text.clone()), ..example.clone() };
                check_one(protocol, &example)
                    .unwrap_or_else(|error| panic!("{}: {text}: {error}", protocol.name));
                orders += 1;
            }
        });
        assert!(orders > 1_000, "{orders}");
    }

    /// What is read in a message that was cut is read in the whole message too.
    #[test]
    fn no_cut_makes_up_an_id() {
        each_text_example(|protocol, example, text| {
            for cut in 0..text.len() {
                let text = beginning(example, &text.as_bytes()[..cut]);
                let (mut scratch, mut mqtt) = (Vec::new(), mqtt::Stream::default());
                protocol.read(text, &mut scratch, &mut mqtt, &mut |reading| {
                    let Some(RequestName::Id { id, scope }) = reading.name else { return };
                    let token = |token: &[u8]| Some(String::from_utf8_lossy(token).into_owned());
                    let known = example.is.iter().any(|expected| {
                        expected.id == token(id)
                            && expected.scope.clone().unwrap_or_default() == token(scope).unwrap()
                    });
                    assert!(known, "{}: {}", payload(text), String::from_utf8_lossy(id));
                });
            }
        });
    }

    /// Where a beginning settles what a message is, whatever follows it is read no differently.
    #[test]
    fn a_beginning_that_settles_is_all_that_is_read() {
        let mut settled = 0;
        each_text_example(|protocol, example, text| {
            for cut in 0..text.len() {
                let beginning = beginning(example, &text.as_bytes()[..cut]);
                let (read, settled_by) = readings(protocol, beginning);
                let Some(settled_by) = settled_by else { continue };
                assert!(settled_by <= cut, "{}", payload(beginning));
                settled += 1;
                assert_eq!(read.len(), 1, "{}", payload(beginning));
                let (whole, other) = (text.to_owned(), format!("{}\u{1}\"}}]", payload(beginning)));
                for text in [whole, other] {
                    let whole =
                        Text { payload: text.as_bytes(), wholeness: Wholeness::Whole, ..beginning };
                    assert_eq!(
                        readings(protocol, whole),
                        (read.clone(), Some(settled_by)),
                        "{text}"
                    );
                }
            }
        });
        assert!(settled > 1_000, "{settled}");
    }

    /// The first bytes of an example's text.
    fn beginning<'a>(example: &ExampleSource, payload: &'a [u8]) -> Text<'a> {
        Text {
            direction: Direction::Sent,
            sender: example.from,
            message_type: MessageType::Text,
            payload,
            wholeness: Wholeness::Cut,
        }
    }

    /// What is read in a text, to be compared, and how much of the text settled it.
    fn readings(protocol: &mut Protocol, text: Text<'_>) -> (Vec<String>, Option<usize>) {
        let (mut scratch, mut mqtt) = (Vec::new(), mqtt::Stream::default());
        let mut read = Vec::new();
        let settled_by = protocol.read(text, &mut scratch, &mut mqtt, &mut |reading| {
            read.push(format!("{reading:?}"));
        });
        (read, settled_by)
    }

    fn payload(text: Text<'_>) -> String {
        String::from_utf8_lossy(text.payload).into_owned()
    }
}
