//! Messages that are not JSON, or have something around it, put into the form that rules can read.

use super::kind::Sender;
use super::text::Text;

/// The JSON array of strings in a SockJS message. Spaces may stand in it as in any JSON.
pub(super) fn sockjs_array(payload: &[u8]) -> Option<&[u8]> {
    let text = payload.trim_ascii_start();
    let array = text.strip_prefix(b"a").unwrap_or(text);
    let first = array.strip_prefix(b"[")?.trim_ascii_start();
    first.starts_with(b"\"").then_some(array)
}

/// Puts the parts of a Jupyter message into one JSON object, as the other subprotocol has them.
/// Parts that are cut off are left out, and the object left open.
pub(super) fn jupyter_object(payload: &[u8], object: &mut Vec<u8>) -> Option<()> {
    const NAMES: [&str; 4] = ["header", "parent_header", "metadata", "content"];
    let number = |index: usize| {
        let bytes = payload.get(8 * index..8 * index + 8)?;
        usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let part = |index: usize| payload.get(number(index + 1)?..number(index + 2)?);
    if number(0)? < 2 + NAMES.len() {
        return None;
    }
    object.clear();
    object.extend_from_slice(b"{\"channel\":\"");
    object.extend_from_slice(part(0)?);
    object.push(b'"');
    for (index, name) in NAMES.into_iter().enumerate() {
        let Some(json) = part(index + 1) else { return Some(()) };
        object.extend_from_slice(format!(",\"{name}\":").as_bytes());
        object.extend_from_slice(json);
    }
    object.push(b'}');
    Some(())
}

/// Puts the texts of a binary Phoenix message into the array that a text message is, with null
/// for what it does not have and for the data.
pub(super) fn phoenix_array(text: Text<'_>, array: &mut Vec<u8>) -> Option<()> {
    let (&kind, rest) = text.payload.split_first()?;
    // Where the client's push has join_ref, ref, topic and event, the server's lacks the ref; a
    // reply has its status in the place of the event; a broadcast has topic and event only.
    let (count, reply) = match (kind, text.sender) {
        (0, Sender::Client) => (4, false),
        (0, Sender::Server) => (3, false),
        (1, _) => (4, true),
        (2, _) => (2, false),
        _ => return None,
    };
    let (lengths, mut rest) = rest.split_at_checked(count)?;
    let mut texts = Vec::with_capacity(count);
    for &length in lengths {
        let (bytes, after) = rest.split_at_checked(usize::from(length))?;
        texts.push(serde_json::to_string(std::str::from_utf8(bytes).ok()?).ok()?);
        rest = after;
    }
    let json = match (texts.as_slice(), reply) {
        ([join, id, topic, status], true) => {
            format!(r#"[{join},{id},{topic},"phx_reply",{{"status":{status}}}]"#)
        }
        ([join, id, topic, event], false) => format!("[{join},{id},{topic},{event},null]"),
        ([join, topic, event], _) => format!("[{join},null,{topic},{event},null]"),
        ([topic, event], _) => format!("[null,null,{topic},{event},null]"),
        _ => return None,
    };
    array.clear();
    array.extend_from_slice(json.as_bytes());
    Some(())
}

/// What follows the MIME type that `payload` begins with.
pub(super) fn without_mime(payload: &[u8]) -> Option<&[u8]> {
    let (&length, rest) = payload.split_first()?;
    let (mime, text) = rest.split_at_checked(usize::from(length))?;
    mime.starts_with(b"application/").then_some(text)
}
