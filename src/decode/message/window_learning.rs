//! What a finished message is compared with, and what it teaches of how much is needed of the next.

use super::assembly::Assembly;
use super::identical::{Content, Seen};
use super::partial::Finished;
use super::shared::Shared;
use crate::decode::context::Context;
use crate::event::{LONG_BYTES, NARROW_BYTES};
use crate::matching::Verdict;
use crate::observation::{Message, What, WindowMiss};

impl Assembly {
    /// Whether the other direction had an equal message lately.
    pub(super) fn compare(
        &self,
        finished: &Finished,
        payload: &[u8],
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) -> Seen {
        let window = context.resources.limits.window_bytes as u64;
        let content = match finished.length {
            _ if payload.is_empty() => return Seen::No,
            _ if !finished.truncated => Content::Whole(payload),
            Some(length) if length <= window && self.is_cut(payload, length, shared) => {
                Content::Beginning { bytes: payload, length }
            }
            _ => return Seen::No,
        };
        let budget = &mut context.resources.identical_bytes;
        shared.identical.see(self.direction, content, context.stamp.at_ns, budget)
    }

    /// Whether a message of which only `payload` is there was cut by a narrow window.
    fn is_cut(&self, payload: &[u8], length: u64, shared: &Shared) -> bool {
        length > LONG_BYTES
            && payload.len() == NARROW_BYTES
            && shared.windows.has_been_narrow(self.direction)
    }

    /// Counts a message that could not be read in full, whatever the reason.
    pub(super) fn count_miss(
        &self,
        message: &Message<'_>,
        verdict: Verdict,
        context: &mut Context<'_>,
    ) {
        let is_opaque = message.compressed && message.truncated && message.payload.is_empty();
        let reason = match (is_opaque, verdict.missed) {
            (true, _) => WindowMiss::Opaque,
            (false, true) => WindowMiss::Content,
            (false, false) => return,
        };
        self.tell_miss(reason, context);
    }

    /// Learns from a message, which was handed on, how much is needed of the next.
    pub(super) fn weigh(
        &self,
        message: &Message<'_>,
        seen: Seen,
        verdict: Verdict,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        if !context.resources.limits.narrows {
            return;
        }
        match seen {
            Seen::No => {}
            Seen::Yes if message.payload.len() as u64 <= LONG_BYTES => return,
            Seen::Yes => return shared.windows.widen(),
            Seen::Perhaps => return self.miss_more(WindowMiss::Comparison, shared, context),
        }
        let length = message.length.unwrap_or_default();
        if message.compressed || length <= LONG_BYTES || message.payload.len() < NARROW_BYTES {
            return;
        }
        let is_cut = message.truncated && self.is_cut(message.payload, length, shared);
        if shared.windows.are_wide_for_good() && !is_cut {
            return;
        }
        // What the beginning left open, the end of the message may have told.
        let by_beginning = verdict.settled_by.is_some_and(|bytes| bytes <= NARROW_BYTES);
        let sufficed = if is_cut { !verdict.missed } else { by_beginning };
        if is_cut && !sufficed {
            return shared.windows.miss(self.direction);
        }
        shared.windows.judge(self.direction, sufficed);
    }

    /// More would have been needed than there is.
    #[cold]
    fn miss_more(&self, reason: WindowMiss, shared: &mut Shared, context: &mut Context<'_>) {
        self.tell_miss(reason, context);
        shared.windows.miss(self.direction);
    }

    #[cold]
    fn tell_miss(&self, reason: WindowMiss, context: &mut Context<'_>) {
        context.emit(What::WindowMiss { direction: self.direction, reason });
    }
}
