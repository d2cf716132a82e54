//! The places in a text that is not JSON: its first word, a number in front of a bracket, header lines,
//! attributes, the words of its first line.

use std::collections::BTreeSet;

use crate::learning::messages::json::Kind;

/// The place of the first word.
pub(in crate::learning) const LEAD: &str = "lead";

/// Where in a text a value stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::learning) enum Spot {
    /// The first word; of a number in front of a bracket its first two digits.
    Lead,
    /// What remains of such a number.
    Number,
    /// A line `name: value` behind the first.
    Header(String),
    /// `name="value"`.
    Attribute(String),
    /// A word of the first line, from 1: the first is the lead.
    Word(usize),
}

/// What says in a text that something went wrong.
#[derive(Clone, Debug)]
pub(in crate::learning) enum Sign<'a> {
    /// A code like those of HTTP, as this word of the first line.
    Code(usize),
    /// An attribute that has one of these values.
    Attribute(&'a str, BTreeSet<&'a str>),
}

/// Of a text so much is looked at.
const MAX_BYTES: usize = 2 << 10;
const MAX_LINES: usize = 32;
const MAX_WORDS: usize = 6;
const MAX_ATTRIBUTES: usize = 16;
const MAX_NAME: usize = 40;

/// Tells `found` what stands at the places of `text`. Returns whether it is a text at all.
pub(in crate::learning) fn fields(text: &[u8], found: &mut dyn FnMut(Spot, Kind, &str)) -> bool {
    let beginning = &text[..text.len().min(MAX_BYTES)];
    let text = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        // The end may have cut a letter.
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            std::str::from_utf8(&beginning[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    // STOMP ends with a NUL.
    let text = text.trim_end_matches('\0');
    if text.is_empty() || text.bytes().any(|byte| byte < b' ' && !matches!(byte, 9 | 10 | 13)) {
        return false;
    }
    if numbered(text, found) {
        return true;
    }
    let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    let from = usize::from(text.starts_with('<'));
    let end = text[from..].find(|it| !is_letter(it)).map_or(text.len(), |end| from + end);
    if end > from && end <= MAX_NAME {
        found(Spot::Lead, Kind::Text, &text[..end]);
    }
    words(text, found);
    headers(text, found);
    attributes(text, found);
    true
}

/// Digits in front of a bracket, as in Socket.IO: a type, then, behind a namespace, a number.
fn numbered(text: &str, found: &mut dyn FnMut(Spot, Kind, &str)) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (lead, mut rest) = text.split_at(digits(text).min(2));
    if lead.is_empty() {
        return false;
    }
    // How many attachments follow, and the namespace.
    if let Some(behind) = rest[digits(rest)..].strip_prefix('-') {
        rest = behind;
    }
    if let Some((_, behind)) = rest.split_once(',').filter(|_| rest.starts_with('/')) {
        rest = behind;
    }
    let (number, behind) = rest.split_at(digits(rest));
    if !(behind.is_empty() || behind.starts_with(['[', '{'])) {
        return false;
    }
    found(Spot::Lead, Kind::Text, lead);
    if !number.is_empty() {
        found(Spot::Number, Kind::Number, number);
    }
    true
}

fn words(text: &str, found: &mut dyn FnMut(Spot, Kind, &str)) {
    let line = text.lines().next().unwrap_or_default();
    for (index, word) in line.split([' ', '\t']).enumerate().take(MAX_WORDS).skip(1) {
        // Two blanks in a row would be another place.
        if word.is_empty() {
            return;
        }
        found(Spot::Word(index), Kind::Text, word);
    }
}

fn headers(text: &str, found: &mut dyn FnMut(Spot, Kind, &str)) {
    let lines = text.split('\n').skip(1).map(|line| line.trim_end_matches('\r'));
    for line in lines.take_while(|line| !line.is_empty()).take(MAX_LINES) {
        let Some((name, value)) = line.split_once(':') else { return };
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        if !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(is_name) {
            found(Spot::Header(name.to_owned()), Kind::Text, value.trim());
        }
    }
}

/// Those of the first tag.
fn attributes(text: &str, found: &mut dyn FnMut(Spot, Kind, &str)) {
    if !text.starts_with('<') {
        return;
    }
    let mut rest = text.split('>').next().unwrap_or_default();
    for _ in 0..MAX_ATTRIBUTES {
        let Some(at) = rest.find(['"', '\'']) else { return };
        let (before, quoted) = rest.split_at(at);
        let Some(quote) = quoted.chars().next() else { return };
        let Some((value, behind)) = quoted[1..].split_once(quote) else { return };
        let name =
            before.trim_end_matches('=').rsplit([' ', '\t', '\n']).next().unwrap_or_default();
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        let is_set = before.ends_with('=') && !name.is_empty() && name.len() <= MAX_NAME;
        if is_set && name.chars().all(is_name) {
            found(Spot::Attribute(name.to_owned()), Kind::Text, value);
        }
        rest = behind;
    }
}

impl Spot {
    /// In a word or two, for people.
    pub(in crate::learning) fn describe(&self) -> String {
        match self {
            Self::Lead => LEAD.to_owned(),
            Self::Number => "the number in front".to_owned(),
            Self::Header(name) => format!("header {name}"),
            Self::Attribute(name) => format!("attribute {name}"),
            Self::Word(index) => format!("word {}", index + 1),
        }
    }

    /// A regular expression for a text that begins with `lead` and has an id here. `lead` is without what
    /// regular expressions would take for more than letters; it may say the method where it `asks`.
    pub(in crate::learning) fn pattern(&self, lead: &str, asks: bool) -> Option<String> {
        Some(match self {
            Self::Lead => return None,
            Self::Number => {
                let id = format!(r"^{lead}(?:[0-9]+-)?(?:/[^,]*,)?(?P<id>[0-9]+)[\[{{]");
                // Of a request the first text in the array names the event.
                if asks { id + r#"(?:"(?P<method>[^"\\]{1,64})")?"# } else { id }
            }
            Self::Header(name) => {
                format!(r"^{lead}\b[^\n]*\n(?:[^\r\n]+\r?\n)*?{name}:[ \t]*(?P<id>[^\r\n]+)")
            }
            Self::Attribute(name) => {
                format!(r#"^{lead}\b[^>]*?[ \t\n]{name}=["'](?P<id>[^"']+)["']"#)
            }
            Self::Word(index) => format!(
                r"^{lead}[^ \t\r\n]*(?:[ \t][^ \t\r\n]+){{{}}}[ \t](?P<id>[^ \t\r\n]+)",
                index - 1
            ),
        })
    }

    /// The same for a text that has `sign`, too: in any order, so there may be several. None where
    /// the language of rules cannot say it.
    pub(in crate::learning) fn error_patterns(&self, lead: &str, sign: &Sign<'_>) -> Vec<String> {
        match (self, sign) {
            (Self::Header(name), Sign::Code(index)) => vec![format!(
                r"^{lead}[^ \t\r\n]*(?:[ \t][^ \t\r\n]+){{{}}}[ \t][4-6][0-9]{{2}}\b[^\n]*\n(?:[^\r\n]+\r?\n)*?{name}:[ \t]*(?P<id>[^\r\n]+)",
                index - 1
            )],
            (Self::Attribute(name), Sign::Attribute(other, values)) if name != other => {
                let values: Vec<String> = values.iter().map(|it| regex::escape(it)).collect();
                let wrong = format!(r#"[ \t\n]{other}=["'](?:{})["']"#, values.join("|"));
                let id = format!(r#"[ \t\n]{name}=["'](?P<id>[^"']+)["']"#);
                [format!("{wrong}[^>]*?{id}"), format!("{id}[^>]*?{wrong}")]
                    .map(|both| format!(r"^{lead}\b[^>]*?{both}"))
                    .into()
            }
            _ => Vec::new(),
        }
    }
}
