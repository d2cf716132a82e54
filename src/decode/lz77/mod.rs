//! Finds the window of directions whose beginning was not seen, or was lost, with the help of the
//! process's own zlib.
//!
//! With context takeover (RFC 7692, section 7.1.1) a message may refer to the 32 KiB of plaintext
//! before it. The process holds them. So while a direction waits, the calls of zlib in its process
//! are looked at, and each stream there is tried against what passes on the direction
//! ([`walk`]). Once that is proven, the inflater goes on alone.
//!
//! ```text
//!   compressed messages of directions that wait --> Waiting --.
//!                                                             walk --> an inflater
//!   calls of zlib in the same process ------------> Stream  --'
//! ```
//!
//! Which calls are seen is left to the capture side, which hears from here which processes have a
//! direction that waits.

mod digest;
mod overlap;
mod pairs;
mod process;
mod request;
mod sample;
mod stream;
mod vote;
mod waiting;
mod walk;

use rustc_hash::FxHashMap;

use super::message::inflate::Inflater;
use crate::event::zlib::ZlibCall;
use crate::event::{Direction, Stamp};
use crate::observation::WindowResult;
use process::Process;
pub use request::WindowRequest;
use waiting::Waiting;

/// Bytes of a compressed message that are kept; one that is longer ends what was found so far.
pub(in crate::decode) const SAMPLE_BYTES: usize = 64 << 10;

/// Directions that wait at once, over all processes.
const WAITING_MAX: usize = 1024;

/// The number of a direction that waits for a window.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::decode) struct Ticket {
    tgid: u32,
    serial: u64,
}

/// Every direction that waits for a window.
#[derive(Debug)]
pub(in crate::decode) struct Search {
    processes: FxHashMap<u32, Process>,
    is_on: bool,
    waiting: usize,
    serial: u64,
    /// Bytes that one message may inflate to.
    limit: u64,
    requests: Vec<WindowRequest>,
}

impl Search {
    /// A search that may look into processes only if `is_on`. `limit` bounds what one message may
    /// inflate to, in bytes.
    pub(in crate::decode) fn new(is_on: bool, limit: u64) -> Self {
        let processes = FxHashMap::default();
        Self { processes, is_on, waiting: 0, serial: 0, limit, requests: Vec::new() }
    }

    /// A direction of a connection of process `tgid` begins to wait, at `now_ns`. If it does so
    /// again, the stream that was its own is no longer taken.
    ///
    /// # Errors
    ///
    /// Why it may not; `None` where nobody is to look for windows.
    pub(in crate::decode) fn join(
        &mut self,
        tgid: u32,
        direction: Direction,
        is_again: bool,
        now_ns: u64,
    ) -> Result<Ticket, Option<WindowResult>> {
        if !self.is_on {
            return Err(None);
        }
        if self.waiting >= WAITING_MAX {
            return Err(Some(WindowResult::TooMany));
        }
        let process = self.processes.entry(tgid).or_default();
        self.serial += 1;
        self.waiting += 1;
        process.join(self.serial, Waiting::new(direction, now_ns));
        if is_again {
            process.free_streams();
        }
        self.requests.extend(process.decide(tgid, now_ns));
        Ok(Ticket { tgid, serial: self.serial })
    }

    /// A direction waits no longer.
    pub(in crate::decode) fn leave(&mut self, ticket: Ticket) {
        let Some(process) = self.processes.get_mut(&ticket.tgid) else { return };
        self.waiting -= usize::from(process.waiting.remove(&ticket.serial).is_some());
        if process.waiting.is_empty() {
            let was_asked = process.is_asked;
            self.processes.remove(&ticket.tgid);
            let request = WindowRequest { tgid: ticket.tgid, is_wanted: false };
            self.requests.extend(was_asked.then_some(request));
        }
    }

    /// A compressed message has passed whole in a direction that waits. Says why the direction
    /// need wait no longer, if so.
    pub(in crate::decode) fn message(
        &mut self,
        ticket: &Ticket,
        payload: Vec<u8>,
        stamp: Stamp,
    ) -> Option<WindowResult> {
        let now_ns = stamp.at_ns;
        let process = self.processes.get_mut(&ticket.tgid)?;
        self.requests.extend(process.decide(ticket.tgid, now_ns));
        let is_asked = process.is_asked;
        let waiting = process.waiting.get_mut(&ticket.serial)?;
        let is_over = waiting.has_waited_in_vain(now_ns);
        if waiting.ready.is_some() {
            waiting.message(payload, stamp, self.limit);
        } else if is_asked {
            waiting.message(payload, stamp, self.limit);
            process.reconsider(ticket.serial);
            process.vote_for_message(ticket.serial, stamp.tid);
            process.try_message(ticket.serial, self.limit);
        }
        is_over.then(|| process.why_not())
    }

    /// A message of a direction that waits was lost.
    pub(in crate::decode) fn hole(&mut self, ticket: &Ticket) {
        let Some(process) = self.processes.get_mut(&ticket.tgid) else { return };
        if let Some(waiting) = process.waiting.get_mut(&ticket.serial) {
            if waiting.hole() {
                process.free_streams();
            }
            process.begin_anew();
        }
    }

    /// The inflater for the next message of the direction, if it has been proven.
    pub(in crate::decode) fn take(&mut self, ticket: &Ticket) -> Option<Box<Inflater>> {
        self.processes.get_mut(&ticket.tgid)?.waiting.get_mut(&ticket.serial)?.ready.take()
    }

    /// To be called for each call of zlib in a tapped process.
    pub(in crate::decode) fn call(&mut self, call: &ZlibCall<'_>) {
        let sharers = self.processes.len().max(1);
        let Some(process) = self.processes.get_mut(&call.tgid) else { return };
        process.call(call, sharers, self.limit);
        self.requests.extend(process.decide(call.tgid, call.at_ns));
    }

    /// Takes what is to be asked of the capture side.
    pub(in crate::decode) fn drain_requests(&mut self) -> impl Iterator<Item = WindowRequest> {
        self.requests.drain(..)
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub(in crate::decode) fn is_empty(&self) -> bool {
        self.processes.is_empty() && self.waiting == 0
    }
}
