//! Telling a sink what a walk over a binary message has found.

use super::token::Tokens;
use crate::matching::rules::json::field::{End, Field, JsonType, Next, Sink};
use crate::matching::rules::json::slots::Slots;
use crate::matching::rules::json::wanted::{Entry, Need, Node};

/// What was told so far, and to whom.
pub(super) struct Report<'a, 's, S> {
    tokens: Tokens<'a>,
    /// Slots that were told: where a key is repeated, the first counts.
    told: Slots,
    sink: &'s mut S,
}

impl<'a, 's, S: Sink<'a>> Report<'a, 's, S> {
    pub(super) fn new(tokens: Tokens<'a>, sink: &'s mut S) -> Self {
        Self { tokens, told: Slots::default(), sink }
    }

    /// Tells of a field, whose value `write` writes if it is wanted. `seen` bytes of the message were
    /// read.
    pub(super) fn tell(
        &mut self,
        entry: &Entry,
        json_type: JsonType,
        seen: usize,
        write: impl FnOnce(&mut Tokens<'a>) -> &'a [u8],
    ) -> Result<(), End> {
        let Some(slot) = entry.slot else { return Ok(()) };
        if self.told.contains(slot) {
            return Ok(());
        }
        self.told |= slot.into();
        let raw = if entry.need == Need::Value { write(&mut self.tokens) } else { &[] };
        proceed(self.sink.present(slot, Field { json_type, raw }), seen)
    }

    /// Tells that nothing more comes of what `node` wants.
    pub(super) fn nothing_more(&mut self, node: &Node, seen: usize) -> Result<(), End> {
        proceed(self.sink.absent(node.all), seen)
    }

    /// Tells that nothing comes of what is wanted below `entry`.
    pub(super) fn nothing_below(&mut self, entry: &Entry, seen: usize) -> Result<(), End> {
        entry.below.as_ref().map_or(Ok(()), |node| self.nothing_more(node, seen))
    }
}

fn proceed(next: Next, seen: usize) -> Result<(), End> {
    match next {
        Next::Continue => Ok(()),
        Next::Stop => Err(End::Stopped(seen)),
    }
}
