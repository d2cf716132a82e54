//! What rules from files make of single messages that somebody wrote down.

use super::Protocols;
use crate::event::Direction;
use crate::matching::rules::{CodecMemory, Sender, Text, Wholeness, described, hex_bytes};
use crate::observation::MessageType;

impl Protocols {
    /// What each protocol of a file that was [added](Self::add_toml) reads in the message of `line`, as
    /// in `orders: request id=7 method=add`; nothing where none of its rules holds.
    ///
    /// A line is a text message. It may begin with `>` for the client or `<` for the server as its
    /// sender, and with `hex` for a binary message in hexadecimal digits.
    ///
    /// # Errors
    /// What is wrong with the digits.
    pub fn attempt(&mut self, line: &str) -> Result<Vec<String>, String> {
        let (sender, line) = match line.split_at_checked(1) {
            Some((">", rest)) => (Sender::Client, rest.trim_start()),
            Some(("<", rest)) if rest.starts_with(' ') => (Sender::Server, rest.trim_start()),
            _ => (Sender::Unknown, line),
        };
        let (message_type, payload) = match line.strip_prefix("hex ") {
            Some(digits) => (MessageType::Binary, hex_bytes(digits)?),
            None => (MessageType::Text, line.as_bytes().to_vec()),
        };
        let text = Text {
            direction: if sender == Sender::Server { Direction::Received } else { Direction::Sent },
            sender,
            message_type,
            payload: &payload,
            tail: b"",
            wholeness: Wholeness::Whole,
        };
        let mut said = Vec::new();
        for protocol in &mut self.protocols {
            if !self.files.iter().any(|(name, _)| *name == protocol.name) {
                continue;
            }
            let name = protocol.name.clone();
            let read = described(protocol, text, &mut CodecMemory::default());
            said.extend(read.into_iter().map(|read| format!("{name}: {read}")));
        }
        Ok(said)
    }

    /// How often each rule of a file held: the file, the key of the rule, and the number of messages.
    #[must_use]
    pub fn held(&self) -> Vec<(&str, String, u64)> {
        let mut all = Vec::new();
        for (name, file) in &self.files {
            let protocol = self.protocols.iter().find(|protocol| protocol.name == *name);
            for (rule, count) in protocol.into_iter().flat_map(|protocol| protocol.held()) {
                all.push((file.as_str(), format!("{name}.rule[{rule}]"), count));
            }
        }
        all
    }
}
