//! A protocol's own examples: messages in its file, and what the rules must say of them.

use std::fmt;

use super::codec::Memory;
use super::compile::source::{ExampleSource, ExpectedSource};
use super::compile::{Compiled, RuleError};
use super::kind::Kind;
#[cfg(test)]
use super::kind::Sender;
use super::protocol::Protocol;
use super::reading::{More, Reading, RequestName, Unasked};
use super::text::{Text, Wholeness};
use crate::event::Direction;
use crate::observation::MessageType;

/// Reads every example of `compiled`, and names the first that is read otherwise than it says.
pub(in crate::matching) fn check(file: &str, compiled: &mut Compiled) -> Result<(), RuleError> {
    let Compiled { protocol, examples, .. } = compiled;
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
        tail: b"",
        wholeness: Wholeness::Whole,
    };
    let read = summaries(protocol, text, &mut Memory::default());
    if read == expected {
        return Ok(());
    }
    Err(format!("expected {}, read {}", Listed(&expected), Listed(&read)))
}

/// What each application message in `text` is, in words.
pub(in crate::matching) fn described(
    protocol: &mut Protocol,
    text: Text<'_>,
    memory: &mut Memory,
) -> Vec<String> {
    summaries(protocol, text, memory).iter().map(ToString::to_string).collect()
}

fn summaries(protocol: &mut Protocol, text: Text<'_>, memory: &mut Memory) -> Vec<Summary> {
    let queues = protocol.queues();
    let mut read = Vec::new();
    protocol.read(text, &mut Vec::new(), memory, &mut |reading| {
        read.push(Summary::read(&reading, &queues));
    });
    read
}

/// Bytes from hexadecimal digits, with spaces between them.
pub(in crate::matching) fn bytes(digits: &str) -> Result<Vec<u8>, String> {
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

/// An example as a message of a conversation.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(in crate::matching) struct Said {
    pub(in crate::matching) by_client: bool,
    pub(in crate::matching) message_type: MessageType,
    pub(in crate::matching) payload: Vec<u8>,
}

/// The examples of `compiled` as a conversation. Where an example does not say who sends it, a
/// client asks and a server does all else.
#[cfg(test)]
pub(in crate::matching) fn conversation(compiled: &Compiled) -> Vec<Said> {
    let said = |example: &ExampleSource| {
        let asks = |expected: &ExpectedSource| {
            matches!(expected.kind, Kind::Request | Kind::Cancel | Kind::Ping)
        };
        let by_client = match example.from {
            Sender::Client => true,
            Sender::Server => false,
            Sender::Unknown => example.is.first().is_some_and(asks),
        };
        match (&example.text, &example.hex) {
            (Some(text), _) => Said {
                by_client,
                message_type: MessageType::Text,
                payload: text.clone().into_bytes(),
            },
            (None, digits) => Said {
                by_client,
                message_type: MessageType::Binary,
                payload: bytes(digits.as_deref().unwrap_or_default()).expect("checked"),
            },
        }
    };
    compiled.examples.iter().map(said).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::matching::protocols::builtin_files;
    use crate::matching::rules::compile_file;
    use crate::matching::rules::forms::Form;
    use crate::matching::rules::protocol::Syntax;
    use crate::matching::rules::reading::Extent;

    /// Calls `test` with each built-in protocol and each of its examples that is text.
    fn each_text_example(mut test: impl FnMut(&mut Protocol, &ExampleSource, &str)) {
        for (file, text) in builtin_files() {
            for compiled in compile_file(file, &text).unwrap() {
                let Compiled { mut protocol, examples, .. } = compiled;
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
                let (mut scratch, mut memory) = (Vec::new(), Memory::default());
                protocol.read(text, &mut scratch, &mut memory, &mut |reading| {
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

    /// So it is in messages of a binary encoding; and what settles one settles it for any rest.
    #[test]
    fn no_cut_of_a_binary_message_makes_up_an_id() {
        let (mut messages, mut settled) = (0, 0);
        for (file, text) in builtin_files() {
            let Compiled { mut protocol, examples, .. } =
                compile_file(file, &text).unwrap().remove(0);
            for example in examples.iter().filter(|example| example.hex.is_some()) {
                let payload = bytes(example.hex.as_deref().unwrap()).unwrap();
                let whole = binary(example, &payload, Wholeness::Whole);
                let Syntax::Rules(rules) = &protocol.syntax else { continue };
                if rules.framing.encodings(whole).is_empty() {
                    continue;
                }
                messages += 1;
                let known = ids(&mut protocol, whole);
                for cut in 0..payload.len() {
                    let part = binary(example, &payload[..cut], Wholeness::Cut);
                    check(&mut protocol, &known, part);
                    let (read, extent) = readings(&mut protocol, part);
                    let Some(settled_by) = extent.settled_by else { continue };
                    assert!(settled_by <= cut);
                    settled += 1;
                    let other = [&payload[..cut], b"\xc1\xff"].concat();
                    let other = readings(&mut protocol, binary(example, &other, Wholeness::Whole));
                    assert_eq!(other, (read, extent), "{file}: {payload:02x?} cut at {cut}");
                }
            }
        }
        assert!(messages >= 20 && settled > 0, "{messages} {settled}");
    }

    /// Where a beginning settles what a message is, whatever follows it is read no differently.
    #[test]
    fn a_beginning_that_settles_is_all_that_is_read() {
        let mut settled = 0;
        each_text_example(|protocol, example, text| {
            for cut in 0..text.len() {
                let beginning = beginning(example, &text.as_bytes()[..cut]);
                let (read, extent) = readings(protocol, beginning);
                let Some(settled_by) = extent.settled_by else { continue };
                assert!(settled_by <= cut, "{}", payload(beginning));
                settled += 1;
                assert_eq!(read.len(), 1, "{}", payload(beginning));
                let (whole, other) = (text.to_owned(), format!("{}\u{1}\"}}]", payload(beginning)));
                for text in [whole, other] {
                    let whole =
                        Text { payload: text.as_bytes(), wholeness: Wholeness::Whole, ..beginning };
                    assert_eq!(readings(protocol, whole), (read.clone(), extent), "{text}");
                }
            }
        });
        assert!(settled > 1_000, "{settled}");
    }

    /// What of a long message is copied: its beginning, and its last bytes.
    const TAIL_BYTES: usize = 512;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// Whatever stands before, between and behind the fields of a message, and in which order
        /// they stand: its ids are read as in its short form, or it is counted as not read. That
        /// holds whether all of it was copied or only its beginning and its end.
        #[test]
        fn an_id_is_found_or_counted_as_missed(
            paddings in prop::collection::vec(
                prop::sample::select(vec![0, 0, 10, 300, 5_000, 70_000, 300_000]), 3
            ),
            rotation in 0..6_usize,
            reversed in any::<bool>(),
            window in prop::sample::select(vec![256, 4_096, 65_536]),
        ) {
            let form = Form { paddings, rotation, reversed };
            let (mut read_from_the_end, mut forms) = (0, 0);
            each_text_example(|protocol, example, text| {
                let Some(long) = form.of(text) else { return };
                forms += 1;
                let known = ids(protocol, whole(example, text.as_bytes()));
                let whole = whole(example, &long);
                check(protocol, &known, whole);
                if long.len() <= window {
                    return;
                }
                let tail = &long[long.len().saturating_sub(TAIL_BYTES).max(window)..];
                let cut = Text { tail, ..beginning(example, &long[..window]) };
                let is_found = check(protocol, &known, cut);
                read_from_the_end += usize::from(is_found && text.starts_with('{'));
            });
            // Objects, arrays, header lines, XML, and arrays with something in front.
            prop_assert!(forms > 200, "{forms}");
            // With nothing long behind them, some ids stand in the last bytes.
            let paddings = &form.paddings;
            let is_cut = paddings[1..].iter().sum::<usize>() > window + 1_000;
            prop_assert!(!is_cut || paddings[0] > 0 || read_from_the_end > 0);
        }
    }

    /// No id is made up, and none is missed in silence. Returns whether all were found, for certain.
    fn check(protocol: &mut Protocol, known: &[String], text: Text<'_>) -> bool {
        let read = ids(protocol, text);
        let (_, extent) = readings(protocol, text);
        let shown = || {
            let (start, end) = (&text.payload[..text.payload.len().min(200)], text.tail);
            format!("{}...{}", start.escape_ascii(), end.escape_ascii())
        };
        let name = &protocol.name;
        assert!(read == known || extent.missed, "{name}: {read:?} for {known:?} in {}", shown());
        assert!(read.iter().all(|id| known.contains(id)), "{name}: {read:?} {known:?} {}", shown());
        read == known && !extent.missed
    }

    fn binary<'a>(example: &ExampleSource, payload: &'a [u8], wholeness: Wholeness) -> Text<'a> {
        let message_type = MessageType::Binary;
        Text { message_type, wholeness, ..beginning(example, payload) }
    }

    /// An example's text in full.
    fn whole<'a>(example: &ExampleSource, payload: &'a [u8]) -> Text<'a> {
        Text { wholeness: Wholeness::Whole, ..beginning(example, payload) }
    }

    fn ids(protocol: &mut Protocol, text: Text<'_>) -> Vec<String> {
        let (mut scratch, mut memory) = (Vec::new(), Memory::default());
        let mut ids = Vec::new();
        protocol.read(text, &mut scratch, &mut memory, &mut |reading| {
            ids.extend(reading.name.map(|name| format!("{name:?}")));
        });
        ids
    }

    /// The first bytes of an example's text.
    fn beginning<'a>(example: &ExampleSource, payload: &'a [u8]) -> Text<'a> {
        Text {
            direction: Direction::Sent,
            sender: example.from,
            message_type: MessageType::Text,
            payload,
            tail: b"",
            wholeness: Wholeness::Cut,
        }
    }

    /// What is read in a text, to be compared, and how much of the text settled it.
    fn readings(protocol: &mut Protocol, text: Text<'_>) -> (Vec<String>, Extent) {
        let (mut scratch, mut memory) = (Vec::new(), Memory::default());
        let mut read = Vec::new();
        let extent = protocol.read(text, &mut scratch, &mut memory, &mut |reading| {
            read.push(format!("{reading:?}"));
        });
        (read, extent)
    }

    fn payload(text: Text<'_>) -> String {
        String::from_utf8_lossy(text.payload).into_owned()
    }
}
