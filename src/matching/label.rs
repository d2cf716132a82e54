//! Method labels: bounded in length, in characters and in number, and without ids in them.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::event::TargetId;

/// Longest method label; a longer method becomes [`OTHER`].
const MAX_BYTES: usize = 64;

/// What every method beyond the bound is called.
const OTHER: &str = "__other__";

/// What stands for an id inside a method.
const ID: &str = "{}";

/// A run of digits this long is an id and not a version.
const ID_DIGITS: usize = 6;

/// A word of hexadecimal digits this long is an id, if it has both letters and digits.
const ID_HEX_DIGITS: usize = 8;

/// A word this long with at least [`ID_WORD_DIGITS`] digits is an id (ULID, base64 and their like).
const ID_WORD_BYTES: usize = 20;
const ID_WORD_DIGITS: usize = 4;

/// Groups of a UUID, in hexadecimal digits.
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

/// An interned label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MethodId(u32);

impl MethodId {
    /// `""`: the protocol has no methods, or this one could not be seen.
    pub(super) const NONE: Self = Self(0);
    const OTHER: Self = Self(1);
}

/// What a method was counted for; each has its own share of labels, so that notifications cannot
/// use up those of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Request,
    Notification,
}

/// The label of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MethodLabel {
    /// Its own.
    Own(MethodId),
    /// [`OTHER`].
    Other,
}

impl MethodLabel {
    pub(super) fn id(self) -> MethodId {
        match self {
            Self::Own(id) => id,
            Self::Other => MethodId::OTHER,
        }
    }
}

/// All method labels.
#[derive(Debug)]
pub(super) struct Methods {
    texts: Vec<Box<str>>,
    /// Indexed by [`MethodId`]; the same text has the same id for every target.
    ids: HashMap<Box<str>, MethodId, RandomState>,
    /// Indexed by target and use.
    admitted: Vec<[Admitted; 2]>,
    per_target: usize,
}

/// The labels of one target and use, by the methods that are spelled just as they are.
type Admitted = HashMap<Box<[u8]>, MethodId, RandomState>;

impl Methods {
    /// At most `per_target` labels for each target.
    pub(super) fn new(per_target: usize) -> Self {
        Self {
            texts: vec!["".into(), OTHER.into()],
            ids: HashMap::default(),
            admitted: Vec::new(),
            per_target,
        }
    }

    /// The label of a method as it stands in a message.
    pub(super) fn label(&mut self, target: TargetId, usage: Use, method: &[u8]) -> MethodLabel {
        let target = usize::from(target.0);
        if self.admitted.len() <= target {
            self.admitted.resize_with(target + 1, Default::default);
        }
        let admitted = &mut self.admitted[target][usage as usize];
        if let Some(&id) = admitted.get(method) {
            return MethodLabel::Own(id);
        }
        let Some(label) = label(method) else { return MethodLabel::Other };
        if let Some(&id) = admitted.get(label.as_bytes()) {
            return MethodLabel::Own(id);
        }
        if admitted.len() >= self.per_target {
            return MethodLabel::Other;
        }
        let id = intern(&mut self.texts, &mut self.ids, &label);
        admitted.insert(label.into_bytes().into(), id);
        MethodLabel::Own(id)
    }

    pub(super) fn text(&self, id: MethodId) -> &str {
        self.texts.get(id.0 as usize).map_or("", |text| text)
    }
}

fn intern(
    texts: &mut Vec<Box<str>>,
    ids: &mut HashMap<Box<str>, MethodId, RandomState>,
    label: &str,
) -> MethodId {
    if let Some(&id) = ids.get(label) {
        return id;
    }
    // Targets are at most 2^16 and labels few for each, so the number fits.
    let id = MethodId(texts.len() as u32);
    texts.push(label.into());
    ids.insert(label.into(), id);
    id
}

/// The label that a method makes: ids as `{}`; blanks, quotes, brackets and whatever else would be
/// hard to read in a query as `_`. Letters of all scripts stay. `None` if nothing is left that says
/// something, or it is too long.
fn label(method: &[u8]) -> Option<String> {
    // An id may be long, the label around it short: bound the work, then the result.
    let method = method.get(..4 * MAX_BYTES).unwrap_or(method);
    let mut label = String::with_capacity(method.len());
    let mut at = 0;
    while let Some(&byte) = method.get(at) {
        if let Some(length) = uuid_length(&method[at..], method[..at].last()) {
            label.push_str(ID);
            at += length;
        } else if byte.is_ascii_alphanumeric() {
            let word = word(&method[at..]);
            push_word(&mut label, word, method[..at].last());
            at += word.len();
        } else {
            at += push_sign(&mut label, &method[at..]);
        }
    }
    let says_something = label.bytes().any(|byte| byte != b'_');
    (says_something && label.len() <= MAX_BYTES).then_some(label)
}

fn word(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(text.len());
    &text[..end]
}

/// Appends the character that `text` begins with, which is no ASCII letter or digit, and returns
/// its length in bytes.
fn push_sign(label: &mut String, text: &[u8]) -> usize {
    let (sign, length) = first_character(text);
    let allowed = |sign: char| {
        let harmless = sign.is_ascii_punctuation() && !"\"'`\\{}".contains(sign);
        harmless || (!sign.is_ascii() && sign.is_alphanumeric())
    };
    match sign {
        Some(sign) if allowed(sign) => label.push(sign),
        _ if label.ends_with('_') => {}
        _ => label.push('_'),
    }
    length
}

/// The first character of a text and its length; of a byte that is no UTF-8, the byte's.
fn first_character(text: &[u8]) -> (Option<char>, usize) {
    let start = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(start) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default(),
    };
    let first = valid.chars().next();
    (first, first.map_or(1, char::len_utf8))
}

fn push_word(label: &mut String, word: &[u8], before: Option<&u8>) {
    if is_id(word, before) {
        label.push_str(ID);
        return;
    }
    let mut rest = word;
    while let Some(first) = rest.first() {
        let same_class = |byte: &&u8| byte.is_ascii_digit() == first.is_ascii_digit();
        let (run, after) = rest.split_at(rest.iter().take_while(same_class).count());
        if first.is_ascii_digit() && run.len() >= ID_DIGITS {
            label.push_str(ID);
        } else {
            label.extend(run.iter().copied().map(char::from));
        }
        rest = after;
    }
}

/// Whether a whole word is an id. Digits alone are one where a path or a topic has its parameter.
fn is_id(word: &[u8], before: Option<&u8>) -> bool {
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == word.len() {
        return matches!(before, Some(b'/' | b':')) || digits >= ID_DIGITS;
    }
    let hex = word.strip_prefix(b"0x").unwrap_or(word);
    let is_hex = digits > 0 && hex.iter().all(u8::is_ascii_hexdigit);
    (is_hex && hex.len() >= ID_HEX_DIGITS)
        || (word.len() >= ID_WORD_BYTES && digits >= ID_WORD_DIGITS)
}

/// Length of the UUID that `text` begins with, if one does and it is a word of its own.
fn uuid_length(text: &[u8], before: Option<&u8>) -> Option<usize> {
    if before.is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let mut at = 0;
    for (index, length) in UUID_GROUPS.into_iter().enumerate() {
        if index > 0 {
            (text.get(at) == Some(&b'-')).then_some(())?;
            at += 1;
        }
        let group = text.get(at..at + length)?;
        group.iter().all(u8::is_ascii_hexdigit).then_some(())?;
        at += length;
    }
    (!text.get(at).is_some_and(u8::is_ascii_alphanumeric)).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: TargetId = TargetId(0);

    fn of(method: &str) -> Option<String> {
        label(method.as_bytes())
    }

    #[test]
    fn ordinary_methods_stay_as_they_are() {
        for method in [
            "eth_getBlockByNumber",
            "Page.navigate",
            "BootNotification",
            "http://example.com/calc#add",
            "com.myapp.add2",
            "$/cancelRequest",
            "public/get_order_book",
            "facade",
            "ed25519_verify",
            "v1.0/users",
        ] {
            assert_eq!(of(method).as_deref(), Some(method));
        }
    }

    #[test]
    fn ids_inside_a_method_become_braces() {
        for (method, label) in [
            ("order.123456.cancel", "order.{}.cancel"),
            ("order1234567", "order{}"),
            ("users/42/posts", "users/{}/posts"),
            ("room:7", "room:{}"),
            ("get.550e8400-e29b-41d4-a716-446655440000", "get.{}"),
            ("wallet/0x52908400098527886E0F7030069857D2E4169EE7", "wallet/{}"),
            ("job.01ARZ3NDEKTSV4RRFFQ69G5FAV", "job.{}"),
        ] {
            assert_eq!(of(method).as_deref(), Some(label));
        }
    }

    #[test]
    fn characters_that_are_hard_to_read_become_one_underscore() {
        assert_eq!(of("chat  message").as_deref(), Some("chat_message"));
        assert_eq!(of("a\u{200b}\u{1}\"{b").as_deref(), Some("a_b"));
        assert_eq!(label(b"a\xff\xfeb").as_deref(), Some("a_b"));
    }

    #[test]
    fn methods_of_signs_or_of_letters_of_other_scripts_are_told_apart() {
        for method in ["+", "->", "?", "gr\u{f6}\u{df}e", "\u{6ce8}\u{6587}", "chat!"] {
            assert_eq!(of(method).as_deref(), Some(method));
        }
        assert_eq!(of(" \u{1}\u{2028}"), None, "nothing that could be told from another");
        let long = "\u{6ce8}".repeat(22);
        assert_eq!(of(&long), None, "{} bytes", long.len());
    }

    #[test]
    fn a_method_that_is_too_long_or_empty_is_folded() {
        assert_eq!(of(&"x".repeat(64)), Some("x".repeat(64)));
        assert_eq!(of(&"x".repeat(65)), None);
        assert_eq!(of(&"x".repeat(100_000)), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn the_first_methods_of_a_target_are_kept_and_the_rest_folded() {
        let mut methods = Methods::new(2);
        let a = methods.label(TARGET, Use::Request, b"a");
        let b = methods.label(TARGET, Use::Request, b"b");
        assert_eq!(methods.label(TARGET, Use::Request, b"c"), MethodLabel::Other);
        assert_eq!(methods.text(MethodLabel::Other.id()), "__other__");
        assert_eq!(methods.label(TARGET, Use::Request, b"a"), a);
        assert_ne!(a, b);
        let elsewhere = methods.label(TargetId(1), Use::Request, b"c");
        assert_eq!(methods.text(elsewhere.id()), "c");
        let aside = methods.label(TARGET, Use::Notification, b"c");
        assert_eq!(aside, elsewhere, "the same text has the same id everywhere");
    }

    #[test]
    fn different_ids_in_a_method_take_one_label() {
        let mut methods = Methods::new(1);
        let first = methods.label(TARGET, Use::Request, b"user/1");
        assert_eq!(methods.label(TARGET, Use::Request, b"user/2"), first);
        assert_eq!(methods.text(first.id()), "user/{}");
    }
}
