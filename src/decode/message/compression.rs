//! How the messages of one direction are compressed, and whether they can (still) be read.
//!
//! In mid-stream the parameters of permessage-deflate are not known. A compressed message is then
//! read if, and only if, it inflates from an empty window to the border of a block. That is no
//! guess: every reference that stays inside the message means the same whatever went before it,
//! every reference that does not is an error, and so the bytes are right even if the peer does
//! keep its window from message to message.

use super::inflate::{Inflaters, Lease};
use super::partial::Unfinished;
use crate::decode::context::Resources;
use crate::decode::frame::header::Header;
use crate::decode::http::handshake::Extension;
use crate::observation::{ProtocolError, Role, Table, What};

use crate::event::Direction;

/// Inflated bytes are handed on in pieces of this size.
const PIECE: usize = 64 << 10;

/// The state of compression in one direction.
#[derive(Debug)]
pub(in crate::decode) enum Compression {
    /// No extension was accepted.
    Off,
    /// An extension was accepted that is not known here.
    Foreign,
    /// Every message begins with an empty window (`no_context_takeover`).
    SelfContained,
    /// The window goes on from message to message; lent with the first compressed one.
    Takeover(Option<Lease>),
    /// The window was lost: no compressed message can be read until the connection ends.
    Poisoned,
    /// Met in mid-stream.
    Unknown {
        /// A message could not be read.
        unreadable: bool,
    },
}

impl Compression {
    /// As agreed in the handshake, for frames that travel in `direction`.
    pub(in crate::decode) fn agreed(
        extension: Extension,
        role: Role,
        direction: Direction,
    ) -> Self {
        let Extension::Deflate { client_takeover, server_takeover } = extension else {
            return if extension == Extension::None { Self::Off } else { Self::Foreign };
        };
        let from_client = (role == Role::Client) == (direction == Direction::Sent);
        if if from_client { client_takeover } else { server_takeover } {
            Self::Takeover(None)
        } else {
            Self::SelfContained
        }
    }

    /// RSV1 may be set on the first frame of a message.
    pub(in crate::decode) fn allows_rsv1(&self) -> bool {
        !matches!(self, Self::Off)
    }

    /// Reserved bits may mean anything.
    pub(in crate::decode) fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign)
    }

    /// Some messages of this direction cannot be read.
    pub(in crate::decode) fn is_opaque(&self) -> bool {
        matches!(self, Self::Foreign | Self::Poisoned | Self::Unknown { unreadable: true })
    }

    /// Messages of this direction cannot be read for want of the plaintext before them.
    pub(in crate::decode) fn lacks_window(&self) -> bool {
        matches!(self, Self::Poisoned | Self::Unknown { unreadable: true })
    }

    /// Later messages can only be read if every byte of the compressed ones before was.
    pub(in crate::decode) fn has_context(&self) -> bool {
        matches!(self, Self::Takeover(_))
    }

    /// The message that begins with this header is compressed. Without an extension RSV1 means
    /// nothing, and peers that tolerate it read the payload as it stands.
    pub(in crate::decode) fn compresses(&self, header: &Header) -> bool {
        header.rsv1 && !matches!(self, Self::Off)
    }

    /// The message that begins with this header cannot be read.
    pub(in crate::decode) fn hides(&self, header: &Header) -> bool {
        match self {
            Self::Foreign => true,
            Self::Poisoned => header.rsv1,
            Self::Off | Self::SelfContained | Self::Takeover(_) | Self::Unknown { .. } => false,
        }
    }

    /// Compressed bytes were missed. True if that made the direction unreadable just now.
    pub(in crate::decode) fn lose(&mut self, inflaters: &mut Inflaters) -> bool {
        let Self::Takeover(lease) = self else { return false };
        if let Some(lease) = lease.take() {
            inflaters.release(lease);
        }
        *self = Self::Poisoned;
        true
    }

    /// Gives back what it holds.
    pub(in crate::decode) fn release(&mut self, inflaters: &mut Inflaters) {
        if let Self::Takeover(lease) = self
            && let Some(lease) = lease.take()
        {
            inflaters.release(lease);
        }
    }

    /// Inflates a piece of a message into `resources.inflated`, and from there, whenever that is
    /// full, into the message. The last `trailer` bytes of `input` are the trailer of RFC 7692.
    /// Says so if another direction lost its window for it.
    pub(in crate::decode) fn inflate(
        &mut self,
        message: &mut Unfinished,
        input: &[u8],
        trailer: usize,
        resources: &mut Resources,
    ) -> Option<What<'static>> {
        let lease = match self {
            Self::Takeover(lease) => lease,
            _ => &mut message.lease,
        };
        let mut evicted = None;
        if lease.is_none() {
            let (lent, is_evicted) = resources.inflaters.lend();
            *lease = Some(lent);
            evicted = is_evicted.then_some(What::Evicted(Table::Inflaters));
        }
        let Resources { inflaters, inflated, buffers, limits, .. } = resources;
        let Some(inflater) = lease.as_ref().and_then(|lease| inflaters.get(lease)) else {
            message.give_up(inflaters);
            return evicted;
        };
        inflated.reserve_exact(PIECE.saturating_sub(inflated.len()));
        let result = inflater.inflate(input, trailer, inflated, &mut |piece| {
            message.push(piece, limits.window_bytes, buffers);
            message.within(limits.inflated_bytes, 0)
        });
        let result = result.and_then(|()| message.within(limits.inflated_bytes, inflated.len()));
        if let Err(fault) = result {
            inflated.clear();
            message.fail(fault, buffers, inflaters);
        }
        evicted
    }

    /// Judges a compressed message at its end. Returns the rule that it broke, and whether the
    /// direction became unreadable with it.
    pub(in crate::decode) fn conclude(
        &mut self,
        message: &mut Unfinished,
        resources: &mut Resources,
    ) -> (Option<ProtocolError>, bool) {
        match self {
            Self::Takeover(_) if message.is_opaque() => {
                (message.fault.take(), self.lose(&mut resources.inflaters))
            }
            Self::Unknown { unreadable } => {
                let Resources { inflaters, buffers, inflated, .. } = resources;
                if !message.is_opaque() && !proven(message, inflaters) {
                    inflated.clear();
                    message.disown(buffers, inflaters);
                }
                let worse = message.is_opaque() && !*unreadable;
                *unreadable |= worse;
                let fault = message.fault.take();
                (fault.filter(|&fault| fault == ProtocolError::InflateLimit), worse)
            }
            _ => (message.fault.take(), false),
        }
    }
}

/// See the rule at the head of this module.
fn proven(message: &Unfinished, inflaters: &mut Inflaters) -> bool {
    let inflater = message.lease.as_ref().and_then(|lease| inflaters.get(lease));
    inflater.is_some_and(|inflater| inflater.ends_at_border())
}
