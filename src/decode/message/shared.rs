//! What both directions of one WebSocket connection share: role, fidelity, pings, its end.

use super::identical::Identical;
use super::ping::Pings;
use super::window::Windows;
use crate::decode::context::Context;
use crate::event::Direction;
use crate::matching::{Handle, Hint, Verdict};
use crate::observation::{Fidelity, Message, MessageReading, Open, Role, What};

/// RFC 6455, section 7.4.1: a close frame without a code, and no close frame at all.
const CLOSE_NO_STATUS: u16 = 1005;
const CLOSE_ABNORMAL: u16 = 1006;

/// The state of one WebSocket connection beyond its two streams of frames.
#[derive(Debug, Default)]
pub(in crate::decode) struct Shared {
    pub(in crate::decode) role: Role,
    /// The handshake told the role.
    role_agreed: bool,
    /// By direction; `None` while nothing passed that way, so that nothing can be said.
    fidelity: [Option<Fidelity>; 2],
    /// What `wstap_connections` counts this connection as now.
    shown: Option<(Role, Fidelity)>,
    stage: Stage,
    /// The connection's place in matching, while it is open.
    handle: Option<Handle>,
    /// The client leaves masks out by agreement, or the peers contradict each other.
    masks_unknown: bool,
    pub(in crate::decode) pings: Pings,
    pub(in crate::decode) identical: Identical,
    pub(in crate::decode) windows: Windows,
    /// By direction: a close frame passed.
    closing: [bool; 2],
    /// Of the first close frame.
    code: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No frame is proven yet.
    #[default]
    Unproven,
    Open,
    Ended,
}

impl Shared {
    /// A connection whose handshake was seen.
    pub(in crate::decode) fn agreed(role: Role, unmasked: bool) -> Self {
        Self { role, role_agreed: true, masks_unknown: unmasked, ..Self::default() }
    }

    /// The connection is proven to be WebSocket.
    pub(in crate::decode) fn open(
        &mut self,
        open: Open<'_>,
        hint: Hint<'_>,
        context: &mut Context<'_>,
    ) {
        if self.stage != Stage::Unproven {
            return;
        }
        self.stage = Stage::Open;
        self.handle = Some(context.matching_open(hint));
        context.emit(What::Open(open));
        context.tell(self.show());
    }

    /// A frame border was found without a handshake.
    pub(in crate::decode) fn recognise(&mut self, context: &mut Context<'_>) {
        let open = Open { mid_stream: true, ..Open::default() };
        let hint = Hint { role: self.role, mid_stream: true, ..Hint::default() };
        self.open(open, hint, context);
    }

    /// One direction can be read better or worse than before.
    #[must_use]
    pub(in crate::decode) fn set_fidelity(
        &mut self,
        direction: Direction,
        fidelity: Fidelity,
    ) -> Option<What<'static>> {
        self.fidelity[direction.index()] = Some(fidelity);
        self.show()
    }

    /// Some messages of one direction cannot be read any more.
    #[must_use]
    pub(in crate::decode) fn set_opaque(&mut self, direction: Direction) -> Option<What<'static>> {
        let fidelity = &mut self.fidelity[direction.index()];
        if *fidelity == Some(Fidelity::Unsynced) {
            return None;
        }
        *fidelity = Some(Fidelity::NoContent);
        self.show()
    }

    /// A frame passed. Without a handshake, its mask tells the role.
    #[must_use]
    pub(in crate::decode) fn learn_role(
        &mut self,
        direction: Direction,
        masked: bool,
    ) -> Option<What<'static>> {
        if self.role_agreed || self.masks_unknown {
            return None;
        }
        // "A client MUST mask all frames that it sends to the server" (section 5.1).
        let role = match (direction, masked) {
            (Direction::Sent, true) | (Direction::Received, false) => Role::Client,
            (Direction::Sent, false) | (Direction::Received, true) => Role::Server,
        };
        if role == self.role {
            return None;
        }
        self.masks_unknown = self.role != Role::Unknown;
        self.role = if self.masks_unknown { Role::Unknown } else { role };
        self.show()
    }

    /// Whether frames of `direction` are masked by all that is certain; `None` where either may
    /// be. A role that was only learned from masks is not certain.
    pub(in crate::decode) fn masked_for_certain(&self, direction: Direction) -> Option<bool> {
        self.masked(direction).filter(|_| self.role_agreed)
    }

    /// Whether frames of `direction` are masked; `None` where either may be.
    pub(in crate::decode) fn masked(&self, direction: Direction) -> Option<bool> {
        match (self.role, direction) {
            (Role::Unknown, _) => None,
            (Role::Client, Direction::Sent) | (Role::Server, Direction::Received) => {
                (!self.masks_unknown).then_some(true)
            }
            (Role::Client, Direction::Received) | (Role::Server, Direction::Sent) => Some(false),
        }
    }

    /// A close frame passed; `code` is what it carried.
    pub(in crate::decode) fn close_frame(
        &mut self,
        direction: Direction,
        code: Option<u16>,
        context: &mut Context<'_>,
    ) {
        self.closing[direction.index()] = true;
        self.code = self.code.or(Some(code.unwrap_or(CLOSE_NO_STATUS)));
        if self.closing == [true; 2] {
            self.end(context);
        }
    }

    /// "After sending a control frame indicating the connection should be closed, a peer does
    /// not send any further data" (section 1.4).
    pub(in crate::decode) fn is_closing(&self, direction: Direction) -> bool {
        self.closing[direction.index()]
    }

    /// The connection is over, whether its peers said so or not.
    pub(in crate::decode) fn end(&mut self, context: &mut Context<'_>) {
        if self.stage == Stage::Open {
            self.stop_matching(context);
            context.emit(What::Close { code: self.code.unwrap_or(CLOSE_ABNORMAL) });
        }
        context.tell(self.leave());
    }

    /// Hands a complete message over to matching. After the end of the connection nothing is
    /// matched any more, and the message is only told.
    pub(in crate::decode) fn message(
        &self,
        message: &Message<'_>,
        context: &mut Context<'_>,
    ) -> Verdict {
        let Some(handle) = &self.handle else {
            tell_unmatched(*message, context);
            return Verdict::default();
        };
        context.message(handle, message)
    }

    /// Answers may have been lost in `direction`.
    pub(in crate::decode) fn gap(&self, direction: Direction, context: &mut Context<'_>) {
        if let Some(handle) = &self.handle {
            context.matching_gap(handle, direction);
        }
    }

    /// Nothing more comes: what waits for an answer ends.
    pub(in crate::decode) fn stop_matching(&mut self, context: &mut Context<'_>) {
        if let Some(handle) = self.handle.take() {
            context.matching_close(handle);
        }
    }

    /// Leaves the gauge without a close: nobody watches any more.
    #[must_use]
    pub(in crate::decode) fn leave(&mut self) -> Option<What<'static>> {
        self.stage = Stage::Ended;
        self.show()
    }

    /// Open or ended: there is no more doubt that this is WebSocket.
    pub(in crate::decode) fn is_proven(&self) -> bool {
        self.stage != Stage::Unproven
    }

    /// Something passed in this direction.
    pub(in crate::decode) fn has_passed(&self, direction: Direction) -> bool {
        self.fidelity[direction.index()].is_some()
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(in crate::decode) fn heap_bytes(&self) -> usize {
        self.pings.heap_bytes() + self.identical.heap_bytes()
    }

    /// Role and fidelity, if they changed.
    fn show(&mut self) -> Option<What<'static>> {
        let now = (self.stage == Stage::Open).then(|| (self.role, self.overall()));
        let from = std::mem::replace(&mut self.shown, now);
        (from != now).then_some(What::State { from, to: now })
    }

    /// The worse of the two directions.
    fn overall(&self) -> Fidelity {
        let is = |fidelity| self.fidelity.contains(&Some(fidelity));
        if is(Fidelity::Unsynced) {
            Fidelity::Unsynced
        } else if is(Fidelity::NoContent) {
            Fidelity::NoContent
        } else {
            Fidelity::Full
        }
    }
}

/// Tells a message of a connection that has ended.
#[cold]
fn tell_unmatched(message: Message<'_>, context: &mut Context<'_>) {
    context.emit(What::Message { message, reading: MessageReading::UNKNOWN });
}
