//! Waiting for the window of a direction whose beginning was not seen: what is kept of its messages
//! meanwhile. Where the window comes from is left to `lz77`.

mod asking;
mod sample;

use crate::decode::context::Resources;
use crate::decode::lz77::Ticket;

pub(super) use sample::Sample;

/// How often one direction may ask. One that loses its window again and again, or waits in vain, is
/// left unread.
const ASKS_MAX: u8 = 3;

/// Whether a direction waits for its window.
#[derive(Debug, Default)]
pub(in crate::decode) struct Lookout {
    ticket: Option<Ticket>,
    asks: u8,
}

impl Lookout {
    pub(super) fn is_waiting(&self) -> bool {
        self.ticket.is_some()
    }

    /// Something has passed that is not here.
    pub(super) fn hole(&self, resources: &mut Resources) {
        if let Some(ticket) = &self.ticket {
            resources.windows.hole(ticket);
        }
    }

    /// It waits no longer.
    pub(super) fn end(&mut self, resources: &mut Resources) {
        if let Some(ticket) = self.ticket.take() {
            resources.windows.leave(ticket);
        }
    }
}
