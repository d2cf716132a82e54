//! What `wstap messages` prints: one line for each message, exchange, opening, closing and gap, and
//! on request for each frame.
//!
//! Two formats of the same events: columns for people (`text`) and one JSON object per line for
//! programs (`json`). `filter` says which lines are shown, `printer` writes them, in the order of their
//! times (`order`). Payload is shown only as far as the user asked for it.

mod filter;
mod json;
mod order;
mod printer;
mod text;

use std::io::{self, Write};

use crate::event::Direction;
use crate::observation::{
    Exchange, Frame, GapReason, Message, MessageReading, Observation, Open, OwnTime, What,
};

pub use self::filter::Filter;
pub use self::printer::Printer;
use super::Process;

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Columns, safe on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What a line is made of.
struct Line<'a> {
    observation: &'a Observation<'a>,
    process: Process<'a>,
    event: Event<'a>,
}

/// The kinds of observations that have a line.
enum Event<'a> {
    Open(&'a Open<'a>),
    Frame(&'a Frame),
    Message(&'a Message<'a>, &'a MessageReading<'a>),
    Exchange(&'a Exchange<'a>),
    Close { code: u16 },
    Gap { direction: Direction, bytes: u64, reason: GapReason },
}

/// Writes observations as lines.
#[derive(Clone, Debug, Default)]
pub struct MessageView {
    /// How lines look.
    pub format: Format,
    /// Text with colours, as terminals show them.
    pub color: bool,
    /// Which lines are shown.
    pub filter: Filter,
    /// Show single frames too.
    pub frames: bool,
    /// Show at most this many payload bytes of each message; 0 shows none and says nothing.
    pub payload: usize,
    /// Wall clock minus `CLOCK_MONOTONIC` in nanoseconds, as read once at the start.
    pub wall_offset_ns: i128,
}

impl MessageView {
    /// Writes the line of `observation`, where it has one that is shown.
    ///
    /// Kinds without a line (byte counts, changes of state, requests that begin, protocol errors,
    /// pings) write nothing: they are in the metrics. Fails only where `out` does.
    pub fn write(
        &self,
        out: &mut impl Write,
        observation: &Observation<'_>,
        process: Process<'_>,
    ) -> io::Result<()> {
        let Some(event) = self.event(observation) else { return Ok(()) };
        self.write_event(out, observation, process, event)
    }

    /// Writes the names of the columns; JSON has none. Fails only where `out` does.
    pub fn write_header(&self, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            Format::Text => text::write_header(self, out),
            Format::Json => Ok(()),
        }
    }

    fn write_event(
        &self,
        out: &mut impl Write,
        observation: &Observation<'_>,
        process: Process<'_>,
        event: Event<'_>,
    ) -> io::Result<()> {
        let line = Line { observation, process, event };
        match self.format {
            Format::Text => text::write(self, out, &line),
            Format::Json => json::write(self, out, &line),
        }
    }

    /// What is shown of an observation.
    fn event<'a>(&self, observation: &'a Observation<'a>) -> Option<Event<'a>> {
        let event = self.any_event(&observation.what)?;
        self.filter.shows(observation.conn, &event).then_some(event)
    }

    fn any_event<'a>(&self, what: &'a What<'a>) -> Option<Event<'a>> {
        match what {
            What::Open(open) => Some(Event::Open(open)),
            What::Frame(frame) => {
                let is_wanted = self.frames || self.filter.asks_for_frame(frame.opcode);
                is_wanted.then_some(Event::Frame(frame))
            }
            What::Message { message, reading } => Some(Event::Message(message, reading)),
            What::Exchange(exchange) => Some(Event::Exchange(exchange)),
            What::Close { code } => Some(Event::Close { code: *code }),
            What::Gap { direction, bytes, reason } => {
                Some(Event::Gap { direction: *direction, bytes: *bytes, reason: *reason })
            }
            What::Wire { .. }
            | What::Skipped { .. }
            | What::Unsynced { .. }
            | What::Refused { .. }
            | What::State { .. }
            | What::Control(_)
            | What::Window { .. }
            | What::Further { .. }
            | What::Quiet(_)
            | What::Started { .. }
            | What::StreamItem { .. }
            | What::StreamEnd { .. }
            | What::HeartbeatRtt { .. }
            | What::Orphan { .. }
            | What::PingRtt { .. }
            | What::ProtocolError { .. }
            | What::WindowMiss { .. }
            | What::EndUnseen(_)
            | What::Evicted(_)
            | What::LabelOverflow(_) => None,
        }
    }

    /// How long before it passed a message was made by its own account; below 0 where the clock of
    /// whoever made it is ahead.
    fn lag_ns(&self, at_ns: u64, reading: &MessageReading<'_>) -> Option<i64> {
        let OwnTime::At(made_ns) = reading.feed?.time else { return None };
        let passed_ns = i128::from(at_ns).saturating_add(self.wall_offset_ns);
        i64::try_from(passed_ns.saturating_sub(made_ns.into())).ok()
    }

    /// The wall-clock time of a monotonic one. Times outside of the years -9999 to 9999 cannot be
    /// written and are clamped.
    fn wall(&self, at_ns: u64) -> jiff::Timestamp {
        let ns = i128::from(at_ns).saturating_add(self.wall_offset_ns);
        jiff::Timestamp::from_nanosecond(ns).unwrap_or(if ns < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }

    /// The part of a payload that may be shown, and whether that is all of the message.
    fn visible<'a>(&self, payload: &'a [u8], truncated: bool) -> (&'a [u8], bool) {
        let shown = &payload[..payload.len().min(self.payload)];
        (shown, !truncated && shown.len() == payload.len())
    }
}

/// As much of `bytes` as is UTF-8, where at most its last character was cut in two; `None` where
/// they are something else.
fn utf8_prefix(bytes: &[u8]) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod filter_tests;

#[cfg(test)]
mod tests;
