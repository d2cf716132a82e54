//! The fields at the end of a JSON text whose middle is missing.
//!
//! Some libraries write the id last. The end of a text is known for certain: the bracket that
//! closes the object at its top. From there the members are read backwards, one by one, as long as
//! each of them is there in full. So what is found is at the top of the document, however deep the
//! missing stretch may go. Of a text that is an array at its top nothing is read, since the
//! positions of its last elements are not known.

use super::field::{End, Sink};
use super::scan::Scan;
use super::token::space_end;
use super::wanted::Wanted;

/// Position of the first byte of what was read backwards; `None` where the text does not reach
/// that far, or is no JSON there.
type Start = Option<usize>;

impl Wanted {
    /// Tells `sink` the wanted members at the end of `tail`, last first. `head` is the beginning
    /// of the same text.
    pub(in crate::matching::rules) fn scan_back<'a>(
        &self,
        head: &[u8],
        tail: &'a [u8],
        sink: &mut impl Sink<'a>,
    ) -> End {
        let is_object = head.get(space_end(head, 0)) == Some(&b'{');
        let close = before_space(tail, tail.len());
        if !is_object || close.and_then(|at| tail.get(at)) != Some(&b'}') {
            return End::Cut;
        }
        let mut end = close;
        while let Some(member) = end.and_then(|end| member_before(tail, end)) {
            let key = &tail[member.key + 1..member.key_end];
            if let Some(entry) = self.root.by_key(key) {
                let mut scan = Scan { text: tail, sink };
                let first = tail[member.value];
                if let Err(End::Stopped(seen)) = scan.value(member.value, first, entry) {
                    return End::Stopped(seen);
                }
            }
            end = member.separator.filter(|&at| tail[at] == b',');
        }
        End::Cut
    }
}

/// A member of an object, by the positions of its parts.
struct Member {
    /// The key's opening and closing quotes.
    key: usize,
    key_end: usize,
    value: usize,
    /// The comma or bracket before it, if that is still there.
    separator: Option<usize>,
}

/// The member that ends before `end`, where a comma or the object's bracket stands.
fn member_before(text: &[u8], end: usize) -> Option<Member> {
    let value = value_start(text, before_space(text, end)?)?;
    let colon = before_space(text, value)?;
    let key_end = before_space(text, (text[colon] == b':').then_some(colon)?)?;
    let key = string_start(text, (text[key_end] == b'"').then_some(key_end)?)?;
    Some(Member { key, key_end, value, separator: before_space(text, key) })
}

/// Position of the last byte before `end` that is no space.
fn before_space(text: &[u8], end: usize) -> Start {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    text[..end].iter().rposition(|byte| !is_space(byte))
}

/// Position of the first byte of the value whose last byte is at `last`.
fn value_start(text: &[u8], last: usize) -> Start {
    match text[last] {
        b'"' => string_start(text, last),
        b'}' | b']' => container_start(text, last),
        _ => {
            let is_part =
                |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
            let before = text[..=last].iter().rposition(|byte| !is_part(byte))?;
            (before < last).then_some(before + 1)
        }
    }
}

/// Position of the opening quote of the string whose closing quote is at `close`: the nearest
/// quote that is not escaped. Where its backslashes reach back to the start of the text, their
/// number is not known.
fn string_start(text: &[u8], close: usize) -> Start {
    let mut end = close;
    loop {
        let quote = memchr::memrchr(b'"', &text[..end])?;
        let before = text[..quote].iter().rposition(|&byte| byte != b'\\')?;
        if (quote - before - 1).is_multiple_of(2) {
            return Some(quote);
        }
        end = quote;
    }
}

/// Position of the bracket that opens what the one at `close` closes. As in the forward scan,
/// only brackets of its own kind are counted.
fn container_start(text: &[u8], close: usize) -> Start {
    let (open, close_byte) = if text[close] == b'}' { (b'{', b'}') } else { (b'[', b']') };
    let mut depth = 1_usize;
    let mut end = close;
    loop {
        let at = memchr::memrchr3(b'"', open, close_byte, &text[..end])?;
        end = match text[at] {
            b'"' => string_start(text, at)?,
            byte => {
                depth = if byte == close_byte { depth + 1 } else { depth - 1 };
                at
            }
        };
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::matching::rules::json::field::{Field, JsonType, Next};
    use crate::matching::rules::json::path::Path;
    use crate::matching::rules::json::slots::{Slot, Slots};
    use crate::matching::rules::json::wanted::Need;

    const PATHS: [&str; 5] = ["$.id", "$.method", "$.d.id", "$.d[1]", "$.error"];

    #[derive(Default)]
    struct Found([Option<String>; PATHS.len()]);

    impl<'a> Sink<'a> for Found {
        fn present(&mut self, slot: Slot, field: Field<'a>) -> Next {
            let text = match field.json_type {
                JsonType::Object => "{".to_owned(),
                JsonType::Array => "[".to_owned(),
                _ => String::from_utf8_lossy(field.raw).into_owned(),
            };
            self.0[slot.index()].get_or_insert(text);
            Next::Continue
        }

        fn absent(&mut self, _: Slots) -> Next {
            Next::Continue
        }
    }

    fn wanted() -> Wanted {
        let mut wanted = Wanted::default();
        for path in PATHS {
            wanted.slot(&Path::parse(path).unwrap(), Need::Value).unwrap();
        }
        wanted
    }

    fn found_in(tail: &str) -> Vec<Option<String>> {
        let mut found = Found::default();
        wanted().scan_back(b"{", tail.as_bytes(), &mut found);
        found.0.into()
    }

    fn first(tail: &str) -> Option<String> {
        found_in(tail)[0].clone()
    }

    #[test]
    fn the_last_members_are_found_and_none_that_is_deeper() {
        assert_eq!(first(r#"xx","id":7}"#).as_deref(), Some("7"));
        assert_eq!(first("xx\", \"id\" : \"a\\\"}\" }\n").as_deref(), Some("\"a\\\"}\""));
        assert_eq!(first(r#"xx"],"id":7,"params":{"id":8}}"#).as_deref(), Some("7"));
        assert_eq!(first(r#""id":7},"method":"m"}"#), None, "of an object that ended before");
        assert_eq!(first(r#"{"id":7}}"#), None);
        assert_eq!(first("7}"), None, "a number that may have begun before");
        assert_eq!(first(r#"\"id":7}"#), None, "the key's quote may be escaped");
        assert_eq!(first(r#""id":7}"#), None, "a backslash may stand before it");
        assert_eq!(first(r#"xx","id":7"#), None, "not the end");
        assert_eq!(found_in(r#"x,"d":{"id":3}}"#)[2].as_deref(), Some("3"));
    }

    fn value() -> impl Strategy<Value = Value> {
        let text =
            prop::sample::select(vec!["", "id", "a\"b", "\\", "}]", ",\"id\":1", "\u{e9}\n"]);
        let leaf = prop_oneof![
            any::<i32>().prop_map(Value::from),
            Just(Value::Null),
            Just(Value::from(true)),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let key = prop::sample::select(vec!["id", "d", "method", "x\"y", "error"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..4).prop_map(|members| {
                    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
                }),
            ]
        })
    }

    proptest! {
        /// Whatever is found from the end is what a full parser finds at that path.
        #[test]
        fn nothing_is_found_that_is_not_there(
            members in prop::collection::vec(
                (prop::sample::select(vec!["id", "d", "method", "z", "error"]), value()), 0..5
            ),
            pretty in any::<bool>(),
        ) {
            let document: serde_json::Map<String, Value> =
                members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            let document = Value::Object(document);
            let text = if pretty {
                serde_json::to_string_pretty(&document)
            } else {
                serde_json::to_string(&document)
            };
            let text = text.unwrap();
            for start in 0..text.len() {
                let Some(tail) = text.get(start..) else { continue };
                for (path, found) in PATHS.iter().zip(found_in(tail)) {
                    let Some(found) = found else { continue };
                    let pointer = path[1..].replace(['.', '['], "/").replace(']', "");
                    let expected = match document.pointer(&pointer) {
                        Some(Value::Object(_)) => "{".to_owned(),
                        Some(Value::Array(_)) => "[".to_owned(),
                        Some(value) => value.to_string(),
                        None => panic!("{path} is not in {text}, but {found} was found in {tail}"),
                    };
                    prop_assert_eq!(&found, &expected, "{} in {}", path, tail);
                }
            }
        }
    }
}
