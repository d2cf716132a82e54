//! Messages that say only that their sender is there.
//!
//! A rule may say it of a message. Where no rule reads it, because there is none or because it passes
//! before the protocol is recognised, it is told by its looks. What was counted cannot be taken back, so
//! such messages are judged when they pass, and not again once the protocol is known.

use memchr::memchr_iter;

/// Words that say it: as a method, or as a whole message.
const BEATS: [&[u8]; 8] =
    [b"ping", b"pong", b"hb", b"ka", b"heartbeat", b"heartbeats", b"keepalive", b"keep_alive"];

/// The longest of them.
const LONGEST_BEAT: usize = 10;

/// Names of fields whose value says what a message is.
const KINDS: [&[u8]; 12] = [
    b"type", b"op", b"event", b"e", b"t", b"cmd", b"command", b"method", b"action", b"kind",
    b"msg", b"channel",
];

/// A longer message says more than that its sender is there.
const LONGEST_TEXT: usize = 128;

/// Whether a method is that of a heartbeat, whatever the protocol.
#[must_use]
pub fn is_heartbeat(method: &[u8]) -> bool {
    method.len() <= LONGEST_BEAT
        && matches!(method.first(), Some(b'p' | b'P' | b'h' | b'H' | b'k' | b'K'))
        && BEATS.into_iter().any(|beat| beat.eq_ignore_ascii_case(method))
}

/// Whether a message that no rule reads is a heartbeat by its looks: a word that says so, a short JSON text
/// in which such a word is a key, the value of a field that says what it is, or an element of an array;
/// an empty object, or not even that.
pub(in crate::matching) fn looks_like_a_heartbeat(payload: &[u8], is_whole: bool) -> bool {
    if !is_whole || payload.len() > LONGEST_TEXT {
        return false;
    }
    let word = payload.trim_ascii();
    match word.first() {
        Some(b'{' | b'[') if word != b"{}" => says_so(word),
        _ => word.len() < 2 || word == b"{}" || is_heartbeat(word),
    }
}

/// Whether a word of a JSON text does. In a text with escapes quotes are elsewhere, and no word is found.
fn says_so(text: &[u8]) -> bool {
    let mut quotes = memchr_iter(b'"', text);
    let mut previous: &[u8] = b"";
    while let (Some(open), Some(close)) = (quotes.next(), quotes.next()) {
        let word = &text[open + 1..close];
        if is_heartbeat(word) {
            let is_key = text[close + 1..].trim_ascii_start().starts_with(b":");
            let is_value = text[..open].trim_ascii_end().ends_with(b":");
            // The word before a value is its key.
            if is_key || !is_value || KINDS.contains(&previous) {
                return true;
            }
        }
        previous = word;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_told_by_their_looks() {
        for text in [
            "ping",
            " PONG\n",
            "{}",
            "",
            r#"{"op":"ping"}"#,
            r#"{"ping": 1700000000000}"#,
            r#"{ "event" : "heartbeat" }"#,
            r#"{"id":"1545910590801","type":"ping"}"#,
            r#"{"method":"heartbeat","params":{"interval":30}}"#,
            r#"[17,"hb"]"#,
            r#"[null,"3","phoenix","heartbeat",{}]"#,
            r#"{"channel":"heartbeats","events":[{"heartbeat_counter":3049}]}"#,
        ] {
            assert!(looks_like_a_heartbeat(text.as_bytes(), true), "{text}");
            assert!(!looks_like_a_heartbeat(text.as_bytes(), false), "{text}");
        }
        let long = format!(r#"{{"op":"ping","data":"{:0>200}"}}"#, 1);
        for text in [
            r#"{"text":"ping"}"#,
            r#"{"user":"pong","px":1.5}"#,
            r#"{"op":"tick","px":1}"#,
            r#"{"say":"a \"ping\" b"}"#,
            r#"["EVENT",{"content":"hi"}]"#,
            "[1,2]",
            "{\"op\"",
            "tick",
            &long,
        ] {
            assert!(!looks_like_a_heartbeat(text.as_bytes(), true), "{text}");
        }
    }
}
