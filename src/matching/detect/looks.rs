//! Which messages of a connection are shown to every protocol while none is recognised.
//!
//! To show all messages to all protocols for ever would cost more than the connection is worth.
//! So messages that begin alike are looked at often enough to be sure, and then only now and then.

use crate::event::Direction;

/// Messages that begin alike and are all looked at, before looking becomes rare.
const CLOSE_LOOKS: u8 = 64;

/// After that, one message in this many is looked at.
const LOOK_INTERVAL: u32 = 64;

/// At most this many different beginnings of messages are distinguished in one direction.
const MAX_BEGINNINGS: usize = 16;

/// Bytes that a beginning has at most.
const BEGINNING_BYTES: usize = 24;

/// What was looked at so far, by direction.
#[derive(Debug, Default)]
pub(super) struct Looks([Side; 2]);

#[derive(Debug, Default)]
struct Side {
    /// Hashes of beginnings, and how often messages with them were looked at.
    beginnings: Vec<(u32, u8)>,
    skipped: u32,
    /// Looking was rare at the last message.
    rare: bool,
}

/// Who looks at a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Every protocol.
    Full,
    /// Those that wait for an answer.
    Claimants,
}

impl Looks {
    /// Decides who looks at a message.
    pub(super) fn take(&mut self, direction: Direction, payload: &[u8]) -> Look {
        let side = &mut self.0[direction.index()];
        let looks = side.count(beginning(payload));
        side.rare = looks.is_none_or(|looks| looks >= CLOSE_LOOKS);
        if looks.is_some_and(|looks| looks <= CLOSE_LOOKS) {
            return Look::Full;
        }
        side.skipped = (side.skipped + 1) % LOOK_INTERVAL;
        if side.skipped == 0 { Look::Full } else { Look::Claimants }
    }

    /// Looking has become rare in `direction`.
    pub(super) fn are_rare(&self, direction: Direction) -> bool {
        self.0[direction.index()].rare
    }
}

impl Side {
    /// Counts a message that begins so; returns how many there were, `None` if there is no room to
    /// count.
    fn count(&mut self, beginning: u32) -> Option<u8> {
        let known = self.beginnings.iter().position(|(known, _)| *known == beginning);
        if known.is_none() && self.beginnings.len() < MAX_BEGINNINGS {
            self.beginnings.push((beginning, 0));
        }
        let (_, looks) = match known {
            Some(at) => self.beginnings.get_mut(at)?,
            None => self.beginnings.last_mut().filter(|(last, _)| *last == beginning)?,
        };
        *looks = looks.saturating_add(1);
        Some(*looks)
    }
}

/// A hash (FNV-1a) of the first letters and signs of a message, up to its first digit or colon:
/// of a JSON object, of its first key.
fn beginning(payload: &[u8]) -> u32 {
    let ends = |byte: &u8| byte.is_ascii_digit() || *byte == b':';
    let first = payload.iter().take(BEGINNING_BYTES).take_while(|byte| !ends(byte));
    first.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_becomes_rare_for_what_begins_alike_and_for_that_only() {
        let mut looks = Looks::default();
        let tick = b"{\"price\":1}";
        let full = (0..200).filter(|_| looks.take(Direction::Sent, tick) == Look::Full).count();
        assert_eq!(full, usize::from(CLOSE_LOOKS) + 2);
        assert!(looks.are_rare(Direction::Sent) && !looks.are_rare(Direction::Received));
        assert_eq!(looks.take(Direction::Sent, b"{\"id\":1}"), Look::Full);
        assert_eq!(looks.take(Direction::Received, tick), Look::Full);
    }

    #[test]
    fn beginnings_without_number_do_not_keep_looking_close() {
        let mut looks = Looks::default();
        let full = (0..10_000_u32)
            .filter(|n| {
                let text: String = n.to_string().bytes().map(|b| char::from(b + 49)).collect();
                looks.take(Direction::Sent, text.as_bytes()) == Look::Full
            })
            .count();
        assert!(full < 500, "{full}");
    }
}
