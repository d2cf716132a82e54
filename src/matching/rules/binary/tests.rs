//! Binary encodings against a full parser of the same document in JSON, and against themselves on every
//! prefix.

use proptest::prelude::*;
use serde_json::Value;

use super::Encoding;
use crate::matching::rules::json::field::End;
use crate::matching::rules::json::tests::{Everything, PATHS, Told, json, parsed, wanted};
use crate::matching::rules::text::Wholeness;

const WALKED: [Encoding; 3] = [Encoding::MessagePack, Encoding::Cbor, Encoding::Etf];

/// How a value is written where the encoding leaves a choice.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Short,
    Long,
    /// As few write it: CBOR without lengths and with a tag in front, Erlang's terms as a list that is a
    /// string, as atoms and as digits.
    Open,
}

fn choice() -> impl Strategy<Value = Choice> {
    prop::sample::select(vec![Choice::Short, Choice::Long, Choice::Open])
}

fn written(encoding: Encoding, value: &Value, choice: Choice) -> Vec<u8> {
    let mut bytes = Vec::new();
    match encoding {
        Encoding::MessagePack => msgpack(value, choice, &mut bytes),
        Encoding::Etf => {
            bytes.push(131);
            etf(value, choice, &mut bytes);
        }
        _ => cbor(value, choice, &mut bytes),
    }
    bytes
}

fn msgpack(value: &Value, choice: Choice, out: &mut Vec<u8>) {
    let is_short = matches!(choice, Choice::Short);
    let mut head = |short: u8, long: u8, length: usize, most: usize| {
        if is_short && length < most {
            out.push(short | length as u8);
        } else {
            out.push(long);
            out.extend((length as u32).to_be_bytes());
        }
    };
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(truth) => out.push(0xc2 + u8::from(*truth)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(small @ -32..128), _) if is_short => out.push(small as u8),
            (Some(signed), _) => {
                out.push(0xd3);
                out.extend(signed.to_be_bytes());
            }
            (None, Some(unsigned)) => {
                out.push(0xcf);
                out.extend(unsigned.to_be_bytes());
            }
            (None, None) => {
                out.push(0xcb);
                out.extend(number.as_f64().unwrap().to_be_bytes());
            }
        },
        Value::String(text) => {
            head(0xa0, 0xdb, text.len(), 32);
            out.extend(text.as_bytes());
        }
        Value::Array(elements) => {
            head(0x90, 0xdd, elements.len(), 16);
            elements.iter().for_each(|element| msgpack(element, choice, out));
        }
        Value::Object(members) => {
            head(0x80, 0xdf, members.len(), 16);
            for (key, value) in members {
                msgpack(&Value::from(key.as_str()), choice, out);
                msgpack(value, choice, out);
            }
        }
    }
}

fn cbor(value: &Value, choice: Choice, out: &mut Vec<u8>) {
    let is_open = matches!(choice, Choice::Open);
    let head = |major: u8, number: u64, out: &mut Vec<u8>| {
        if matches!(choice, Choice::Short) && number < 24 {
            out.push(major << 5 | number as u8);
        } else {
            out.push(major << 5 | 27);
            out.extend(number.to_be_bytes());
        }
    };
    let begin = |major: u8, length: usize, out: &mut Vec<u8>| {
        if is_open {
            // A tag says nothing that counts here.
            out.extend([0xd8, 0x40, major << 5 | 0x1f]);
        } else {
            head(major, length as u64, out);
        }
    };
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(truth) => out.push(0xf4 + u8::from(*truth)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (_, Some(unsigned)) => head(0, unsigned, out),
            (Some(signed), None) => head(1, (-1 - signed).cast_unsigned(), out),
            (None, None) => {
                out.push(0xfb);
                out.extend(number.as_f64().unwrap().to_be_bytes());
            }
        },
        Value::String(text) => {
            let (one, other) = text.as_bytes().split_at(text.len() / 2);
            begin(3, text.len(), out);
            for piece in [one, other] {
                if is_open {
                    head(3, piece.len() as u64, out);
                }
                out.extend(piece);
            }
        }
        Value::Array(elements) => {
            begin(4, elements.len(), out);
            elements.iter().for_each(|element| cbor(element, choice, out));
        }
        Value::Object(members) => {
            begin(5, members.len(), out);
            for (key, value) in members {
                // Keys that come in pieces are not read.
                let choice = if is_open { Choice::Long } else { choice };
                cbor(&Value::from(key.as_str()), choice, out);
                cbor(value, if is_open { Choice::Open } else { choice }, out);
            }
        }
    }
    if is_open && matches!(value, Value::String(_) | Value::Array(_) | Value::Object(_)) {
        out.push(0xff);
    }
}

fn etf(value: &Value, choice: Choice, out: &mut Vec<u8>) {
    let with_length = |tag: u8, length: usize, out: &mut Vec<u8>| {
        out.push(tag);
        out.extend((length as u32).to_be_bytes());
    };
    let atom = |name: &str, out: &mut Vec<u8>| match choice {
        Choice::Short => out.extend([&[119, name.len() as u8], name.as_bytes()].concat()),
        _ => out.extend([&[118, 0, name.len() as u8], name.as_bytes()].concat()),
    };
    match value {
        Value::Null => atom("nil", out),
        Value::Bool(truth) => atom(if *truth { "true" } else { "false" }, out),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), choice) {
            (Some(small @ 0..256), _, Choice::Short) => out.extend([97, small as u8]),
            (Some(signed), _, Choice::Short) if i32::try_from(signed).is_ok() => {
                out.push(98);
                out.extend((signed as i32).to_be_bytes());
            }
            (Some(signed), _, Choice::Open) => {
                out.extend([111, 0, 0, 0, 8, u8::from(signed < 0)]);
                out.extend(signed.unsigned_abs().to_le_bytes());
            }
            (Some(signed), ..) => {
                out.extend([110, 8, u8::from(signed < 0)]);
                out.extend(signed.unsigned_abs().to_le_bytes());
            }
            (None, Some(unsigned), _) => {
                out.extend([110, 8, 0]);
                out.extend(unsigned.to_le_bytes());
            }
            (None, None, Choice::Open) => {
                let digits = format!("{:.20e}", number.as_f64().unwrap());
                out.push(99);
                out.extend(digits.as_bytes().iter().copied().chain([0; 31]).take(31));
            }
            (None, None, _) => {
                out.push(70);
                out.extend(number.as_f64().unwrap().to_be_bytes());
            }
        },
        Value::String(text) => {
            with_length(109, text.len(), out);
            out.extend(text.as_bytes());
        }
        Value::Array(elements) => {
            let octets: Option<Vec<u8>> = elements
                .iter()
                .map(|element| element.as_u64().and_then(|number| u8::try_from(number).ok()))
                .collect();
            match (octets, choice) {
                (_, Choice::Short) if elements.is_empty() => return out.push(106),
                (Some(octets), Choice::Open) => {
                    out.extend([107, 0, octets.len() as u8]);
                    return out.extend(octets);
                }
                (_, Choice::Open) => out.extend([104, elements.len() as u8]),
                _ => with_length(108, elements.len(), out),
            }
            elements.iter().for_each(|element| etf(element, choice, out));
            if !matches!(choice, Choice::Open) {
                out.push(106);
            }
        }
        Value::Object(members) => {
            with_length(116, members.len(), out);
            for (key, value) in members {
                match choice {
                    Choice::Long => etf(&Value::from(key.as_str()), choice, out),
                    _ => atom(key, out),
                }
                etf(value, choice, out);
            }
        }
    }
}

fn scanned(encoding: Encoding, bytes: &[u8]) -> (End, Everything) {
    let (mut everything, mut room) = (Everything::default(), Vec::new());
    let end = encoding.scan(&wanted(), bytes, Wholeness::Whole, &mut room, &mut everything);
    (end, everything)
}

/// A float that is a whole number counts as that, and the last digit of one is not read exactly.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            let [one, other] = [one, other].map(|number| number.as_f64().unwrap());
            (one - other).abs() <= one.abs() * 1e-14
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let is_there = |(key, value): (&String, &Value)| {
                other.get(key).is_some_and(|other| same(value, other))
            };
            one.len() == other.len() && one.iter().all(is_there)
        }
        _ => one == other,
    }
}

/// What was told, with numbers and escapes as another writer would write them.
fn canonical(told: Option<&Told>) -> Option<(String, Option<f64>)> {
    match told? {
        Told::Scalar(token) => {
            let value: Value = serde_json::from_str(token).unwrap();
            Some(match value.as_f64() {
                Some(number) => (String::new(), Some(number)),
                None => (value.to_string(), None),
            })
        }
        other => Some((format!("{other:?}"), None)),
    }
}

proptest! {
    #[test]
    fn it_finds_what_a_full_parser_finds(value in json(), choice in choice()) {
        prop_assume!(value.is_object() || value.is_array());
        for encoding in WALKED {
            let bytes = written(encoding, &value, choice);
            let (end, everything) = scanned(encoding, &bytes);
            prop_assert_eq!(end, End::Complete);
            for (index, path) in PATHS.iter().enumerate() {
                let expected = canonical(Some(&parsed(&value, path)));
                let found = canonical(everything.found[index].as_ref());
                prop_assert_eq!(found, expected, "{} in {:?}", path, encoding);
            }
        }
    }

    #[test]
    fn as_json_it_is_the_same_and_no_part_of_it_is_a_whole(value in json(), choice in choice()) {
        prop_assume!(value.is_object() || value.is_array());
        for encoding in WALKED {
            let bytes = written(encoding, &value, choice);
            let text = encoding.as_json(&bytes).unwrap();
            prop_assert!(same(&serde_json::from_slice(&text).unwrap(), &value), "{:?}", encoding);
            prop_assert_eq!(encoding.as_json(&bytes[..bytes.len() - 1]), None);
            prop_assert_eq!(encoding.as_json(&[&bytes[..], b"\0"].concat()), None);
        }
    }

    #[test]
    fn what_is_found_in_a_prefix_is_found_in_the_whole(value in json(), choice in choice()) {
        prop_assume!(value.is_object() || value.is_array());
        for encoding in WALKED {
            let bytes = written(encoding, &value, choice);
            let (_, whole) = scanned(encoding, &bytes);
            for cut in 0..bytes.len() {
                let (end, prefix) = scanned(encoding, &bytes[..cut]);
                prop_assert_eq!(end, End::Cut);
                for (told, all) in prefix.found.iter().zip(&whole.found) {
                    prop_assert!(told.is_none() || told == all, "{:?}", told);
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(
        prop_oneof![
            any::<u8>(),
            // Heads of containers and of texts, with and without lengths, tags and breaks.
            prop::sample::select(b"\x81\x91\x9f\xbf\x7f\x5f\xdc\xdd\xde\xdf\xff\xd8\xc0\xc1\xc7\x0a\x62id\x83\x68\x6a\x6b\x6c\x6d\x6e\x6f\x74\x77".to_vec()),
        ],
        0..200,
    )) {
        for encoding in WALKED.into_iter().chain([Encoding::Protobuf]) {
            let _ = (scanned(encoding, &bytes), encoding.as_json(&bytes));
        }
        let etf = [b"\x83", &bytes[..]].concat();
        let _ = (scanned(Encoding::Etf, &etf), Encoding::Etf.as_json(&etf));
    }
}

/// Values inside of values, as many as there are bytes, and lengths that no message has.
#[test]
fn neither_depth_nor_length_is_more_than_the_bytes_that_say_so() {
    let deep = |front: &[u8], open: &[u8]| [front, &open.repeat(500_000)].concat();
    let [msgpack, cbor, etf] = WALKED;
    for (encoding, bytes, end) in [
        (msgpack, deep(b"", b"\x91"), End::Cut),
        (msgpack, deep(b"\x81\xa1z", b"\x81\xa1d"), End::Cut),
        (msgpack, deep(b"\x92\xc0", b"\xdd\xff\xff\xff\xff"), End::Malformed),
        (cbor, deep(b"\x81", b"\x81"), End::Cut),
        (cbor, deep(b"\x81", b"\xc1"), End::Cut),
        (cbor, deep(b"\x9f\x00\x01\x02", b"\x9f"), End::Malformed),
        (cbor, deep(b"\xa1\x61z", b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff"), End::Malformed),
        (etf, deep(b"\x83", b"\x68\x01"), End::Cut),
        (etf, deep(b"\x83\x68\x01", b"\x6c\0\0\0\x01"), End::Cut),
        (etf, deep(b"\x83\x68\x01", b"\x6c\xff\xff\xff\xff"), End::Cut),
        (etf, deep(b"\x83\x68\x02\x6a", b"\x74\xff\xff\xff\xff"), End::Cut),
        (etf, b"\x83\x68\x01\x6f\xff\xff\xff\xff\0".to_vec(), End::Cut),
        (cbor, b"\x81\x7b\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), End::Cut),
    ] {
        let (found, _) = scanned(encoding, &bytes);
        let first = &bytes[..bytes.len().min(12)];
        assert!(found == end || found == End::Cut, "{encoding:?} {first:02x?}: {found:?}");
        assert_eq!(encoding.as_json(&bytes), None);
    }
}

fn first(encoding: Encoding, bytes: &[u8]) -> Option<Told> {
    scanned(encoding, bytes).1.found[0].clone()
}

#[test]
fn the_same_id_is_the_same_token_however_it_is_written() {
    let told = |token: &str| Some(Told::Scalar(token.to_owned()));
    for number in
        [&b"\x07"[..], b"\xcc\x07", b"\xd3\0\0\0\0\0\0\0\x07", b"\xcb\x40\x1c\0\0\0\0\0\0"]
    {
        let bytes = [b"\x81\xa2id", number].concat();
        assert_eq!(first(Encoding::MessagePack, &bytes), told("7"), "{number:02x?}");
    }
    for number in [&b"\x07"[..], b"\x18\x07", b"\xf9\x47\0", b"\xfa\x40\xe0\0\0", b"\xc1\x07"] {
        let bytes = [b"\xa1\x62id", number].concat();
        assert_eq!(first(Encoding::Cbor, &bytes), told("7"), "{number:02x?}");
    }
    assert_eq!(first(Encoding::MessagePack, b"\x81\xa2id\xa17"), told("\"7\""));
    assert_eq!(first(Encoding::MessagePack, b"\x81\xa2id\xc4\x02\x0a\xff"), told("\"0aff\""));
    assert_eq!(first(Encoding::Cbor, b"\xa1\x62id\x42\x0a\xff"), told("\"0aff\""));
}

#[test]
fn what_erlang_writes_in_several_ways_is_the_same() {
    let told = |token: &str| Some(Told::Scalar(token.to_owned()));
    let id = |value: &[u8]| {
        [&b"\x77\x02id"[..], b"\x64\0\x02id", b"\x73\x02id", b"\x6d\0\0\0\x02id"]
            .map(|key| first(Encoding::Etf, &[b"\x83\x74\0\0\0\x01", key, value].concat()))
    };
    for (value, token) in [
        (&b"\x61\x07"[..], "7"),
        (b"\x62\0\0\0\x07", "7"),
        (b"\x6e\x01\0\x07", "7"),
        (b"\x46\x40\x1c\0\0\0\0\0\0", "7"),
        (b"\x62\xff\xff\xff\xf9", "-7"),
        (b"\x6e\x01\x01\x07", "-7"),
        (b"\x6d\0\0\0\x017", "\"7\""),
        (b"\x77\x017", "\"7\""),
        (b"\x77\x04true", "true"),
        (b"\x64\0\x03nil", "null"),
        // Whole numbers that only their bytes tell from each other.
        (b"\x6e\x09\0\x01\0\0\0\0\0\0\0\x01", "\"00010000000000000001\""),
        (b"\x6e\x08\x01\xff\xff\xff\xff\xff\xff\xff\xff", "\"01ffffffffffffffff\""),
    ] {
        assert_eq!(id(value), [const { None::<Told> }; 4].map(|_| told(token)), "{value:02x?}");
    }
}

#[test]
fn a_list_may_end_in_a_value_of_its_own_and_be_a_string() {
    let one = PATHS.iter().position(|path| *path == "$[1]").unwrap();
    let two = |bytes: &[u8]| {
        let (end, everything) = scanned(Encoding::Etf, bytes);
        (end, everything.found[one].clone())
    };
    let seven = Some(Told::Scalar("7".to_owned()));
    let nested = b"\x83\x68\x02\x6c\0\0\0\x01\x61\x01\x61\x02\x61\x07";
    assert_eq!(two(nested), (End::Complete, seven.clone()));
    assert_eq!(two(b"\x83\x6c\0\0\0\x01\x61\x01\x61\x07"), (End::Complete, Some(Told::Missing)));
    assert_eq!(two(b"\x83\x6b\0\x03\x01\x07\x01"), (End::Complete, seven));
}

#[test]
fn a_compressed_term_is_not_read_and_nothing_else_is_a_term() {
    let zlib = b"\x83\x50\0\0\0\x03\x78\x9c";
    assert_eq!(scanned(Encoding::Etf, zlib).0, End::Unreadable);
    assert_eq!(scanned(Encoding::Etf, b"{\"id\":7}").0, End::Malformed);
    assert_eq!(scanned(Encoding::Etf, b"\x83\x61\x07").0, End::Malformed);
}

/// A text that is too long for an id is longer than any id when it is written, too.
#[test]
fn a_long_text_is_cut_and_stays_too_long() {
    let text = [b"\x81\xa2id\xdb\0\x01\0\0", "\"\n".repeat(32_768).as_bytes()].concat();
    let Some(Told::Scalar(token)) = first(Encoding::MessagePack, &text) else { panic!() };
    assert!(token.len() > 600 && serde_json::from_str::<String>(&token).is_ok(), "{token}");
}

#[test]
fn fields_of_protocol_buffers_are_found_by_their_numbers() {
    // 0: "", 1: { 0: 5 }: numbers of fields count as indexes.
    let mut bytes = vec![0x0a, 3, b'a', b'b', b'c'];
    let (end, everything) = scanned(Encoding::Protobuf, &bytes);
    assert_eq!(end, End::Complete);
    let one = PATHS.iter().position(|path| *path == "$[1]").unwrap();
    assert_eq!(
        everything.found[one],
        Some(Told::Container(crate::matching::rules::json::field::JsonType::Object))
    );
    assert_eq!(everything.found[0], Some(Told::Missing));
    bytes.pop();
    assert_eq!(scanned(Encoding::Protobuf, &bytes).0, End::Cut);
}
