//! The fields of a JSON text, also of one that was cut: as far as it goes.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Deepest field that a path of the rule language reaches.
const MAX_DEPTH: usize = 3;

/// Elements of an array that are looked at.
const MAX_INDEX: usize = 8;

/// Most fields of one text.
const MAX_FIELDS: usize = 256;

/// What kind of value a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::learning) enum Kind {
    Text,
    Number,
    Bool,
    Null,
    Object,
    Array,
}

impl Kind {
    /// As in a condition of the rule language.
    pub(in crate::learning) fn as_str(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Null => "null",
            Self::Object => "object",
            Self::Array => "array",
        }
    }
}

/// The way to a field.
#[derive(Clone, Debug, Default)]
pub(in crate::learning) struct Trail(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

impl Trail {
    /// The last key; empty for an element of an array.
    pub(in crate::learning) fn name(&self) -> String {
        match self.0.last() {
            Some(Step::Key(name)) => name.clone(),
            _ => String::new(),
        }
    }

    pub(in crate::learning) fn depth(&self) -> usize {
        self.0.len()
    }

    /// A path can say it: no key has a character that paths use.
    fn is_sayable(&self) -> bool {
        let sayable = |step: &Step| match step {
            Step::Key(key) => !key.is_empty() && !key.contains(['.', '[', ']', '*']),
            Step::Index(_) => true,
        };
        (1..=MAX_DEPTH).contains(&self.0.len()) && self.0.iter().all(sayable)
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for step in &self.0 {
            match step {
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Tells `found` the fields of `text`, those of objects and arrays before what is in them. Returns
/// whether it is an object or an array at all.
pub(in crate::learning) fn fields(text: &[u8], found: &mut dyn FnMut(&Trail, Kind, &str)) -> bool {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if !matches!(first, Some(b'{' | b'[')) {
        return false;
    }
    let mut walk = Walk { trail: Trail::default(), left: MAX_FIELDS, found };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    // A text that was cut ends in an error, after its fields were told.
    let result = Value(&mut walk).deserialize(&mut deserializer);
    result.is_ok() || walk.left < MAX_FIELDS
}

struct Walk<'f> {
    trail: Trail,
    left: usize,
    found: &'f mut dyn FnMut(&Trail, Kind, &str),
}

impl Walk<'_> {
    fn tell(&mut self, kind: Kind, text: &str) {
        if self.left == 0 || !self.trail.is_sayable() {
            return;
        }
        self.left -= 1;
        (self.found)(&self.trail, kind, text);
    }
}

/// A value at the end of the trail.
struct Value<'w, 'f>(&'w mut Walk<'f>);

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<(), E> {
        self.0.tell(Kind::Bool, if truth { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.0.tell(Kind::Number, &number.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.tell(Kind::Number, &number.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.0.tell(Kind::Number, &format!("{number:?}"));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.tell(Kind::Text, text);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.tell(Kind::Null, "null");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let walk = self.0;
        walk.tell(Kind::Object, "");
        while let Some(key) = map.next_key::<String>()? {
            walk.trail.0.push(Step::Key(key));
            let told = map.next_value_seed(Value(walk));
            walk.trail.0.pop();
            told?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let walk = self.0;
        walk.tell(Kind::Array, "");
        for index in 0.. {
            if index >= MAX_INDEX {
                while elements.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                return Ok(());
            }
            walk.trail.0.push(Step::Index(index));
            let told = elements.next_element_seed(Value(walk));
            walk.trail.0.pop();
            if told?.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Whether `text` is one JSON text from its first byte to its last.
pub(in crate::learning) fn is_whole(text: &[u8]) -> bool {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    serde::de::IgnoredAny::deserialize(&mut deserializer).is_ok() && deserializer.end().is_ok()
}
