//! The comment of a packet: `key=value` words, by which a reader filters.

use std::fmt::{self, Display, Write};

/// Characters of a value that are shown: names and ids come from outside.
const VALUE_MAX: usize = 200;

/// Words that a comment has at most: one message can answer many requests.
const BYTES_MAX: usize = 4096;

/// A comment that is being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Comment(String);

impl Comment {
    /// Adds `key=value`, with control characters of the value escaped.
    pub(super) fn add(&mut self, key: &str, value: impl Display) {
        if self.0.len() >= BYTES_MAX {
            return;
        }
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        let mut bounded = Bounded { text: &mut self.0, left: VALUE_MAX };
        // Writing to a string cannot fail; what is too long is cut.
        let _ = write!(bounded, "{key}={value}");
    }

    /// Adds `key=value` if there is a value.
    pub(super) fn add_known(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.add(key, value);
        }
    }

    /// Adds a sentence for people.
    pub(super) fn say(&mut self, sentence: &str) {
        self.0.push_str(": ");
        self.0.push_str(sentence);
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

struct Bounded<'a> {
    text: &'a mut String,
    left: usize,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            if character.is_control() {
                self.text.extend(character.escape_default());
            } else {
                self.text.push(character);
            }
        }
        Ok(())
    }
}

/// A time as a person reads it, in milliseconds and exact.
pub(super) struct Milliseconds(pub(super) u64);

impl Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}ms", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
