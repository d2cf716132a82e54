//! A message as the rules see it.

use super::kind::Sender;
use crate::event::Direction;
use crate::observation::MessageType;

/// One message, or a prefix of one, as the rules see it.
#[derive(Clone, Copy, Debug)]
pub(in crate::matching) struct Text<'a> {
    pub(in crate::matching) direction: Direction,
    pub(in crate::matching) sender: Sender,
    pub(in crate::matching) message_type: MessageType,
    pub(in crate::matching) payload: &'a [u8],
    /// The last bytes of a message that was cut; empty where they are not known.
    pub(in crate::matching) tail: &'a [u8],
    pub(in crate::matching) wholeness: Wholeness,
}

/// Whether all of something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matching) enum Wholeness {
    Whole,
    Cut,
}
