//! The compressed bytes of one message in a direction whose window is being looked for.

use crate::decode::frame::mask;
use crate::decode::lz77::SAMPLE_BYTES;

/// What is kept of the message that is passing.
#[derive(Debug, Default)]
pub(in crate::decode) enum Sample {
    /// Nobody needs it.
    #[default]
    Off,
    /// All of it so far.
    Whole(Vec<u8>),
    /// Some of it is not here, or it is too long.
    Torn,
}

impl Sample {
    /// A message begins.
    pub(in crate::decode::message) fn begin(&mut self, is_needed: bool) {
        *self = if is_needed { Self::Whole(Vec::new()) } else { Self::Off };
    }

    /// All of one that passed in one piece, which is the payload of one frame; `None` if it is too long.
    pub(in crate::decode::message) fn of(payload: &[u8], mask: Option<[u8; 4]>) -> Option<Vec<u8>> {
        let mut sample = Self::Whole(Vec::new());
        sample.push(payload, mask, 0);
        if let Self::Whole(payload) = sample { Some(payload) } else { None }
    }

    /// It goes on with `payload`, which is masked from offset `at` of its frame on.
    pub(in crate::decode::message) fn push(
        &mut self,
        payload: &[u8],
        mask: Option<[u8; 4]>,
        at: u64,
    ) {
        let Self::Whole(bytes) = self else { return };
        let start = bytes.len();
        if start + payload.len() > SAMPLE_BYTES {
            *self = Self::Torn;
            return;
        }
        bytes.extend_from_slice(payload);
        if let Some(key) = mask {
            mask::apply(&mut bytes[start..], key, at);
        }
    }

    /// Bytes of it are not here.
    pub(in crate::decode::message) fn tear(&mut self) {
        if matches!(self, Self::Whole(_)) {
            *self = Self::Torn;
        }
    }

    /// It is over, or its end will not come.
    pub(in crate::decode::message) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}
