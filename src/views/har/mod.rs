//! A HAR file of what passed, for the network panel of a browser: each WebSocket as an entry.
//!
//! HAR 1.2 has no WebSockets. Browsers put their messages into a field of their own,
//! `_webSocketMessages`, and so does this; `layout` is what the file says. The file is one JSON value
//! in the order of connections, so everything waits in memory, and only so much of it.

mod layout;

use std::io::{self, Write};

use rustc_hash::FxHashMap;

use self::layout::{Entry, Har, SentMessage};
use super::messages::Filter;
use super::{Process, View, cut_sentence};
use crate::event::{ConnId, Direction};
use crate::observation::{Message, MessageType, Observation, Opcode, Open, Role, What};

/// Bytes of messages that wait in memory at most. Further messages are left out, and counted.
const BYTES_MAX: u64 = 512 << 20;

/// What a message takes besides its contents.
const MESSAGE_BYTES: u64 = 96;

/// A connection in one of several recordings, each with a clock of its own.
type Key = (i128, ConnId);

/// Collects observations, and writes them to `out` at the end.
pub struct HarFile<W> {
    out: W,
    filter: Filter,
    wall_offset_ns: i128,
    entries: Vec<Entry>,
    /// Where the entries of open connections are.
    open: FxHashMap<Key, Place>,
    /// Messages that are still wanted; `None` for all that come.
    left: Option<u64>,
    room: u64,
    messages: u64,
    /// Messages of which a part is missing.
    cut: u64,
    /// Messages that are missing as a whole.
    left_out: u64,
}

#[derive(Clone, Copy)]
struct Place {
    entry: usize,
    role: Role,
}

impl<W: Write> HarFile<W> {
    /// Has nothing yet. It is closed after `most` messages.
    pub fn new(out: W, filter: Filter, most: Option<u64>) -> Self {
        Self {
            out,
            filter,
            wall_offset_ns: 0,
            entries: Vec::new(),
            open: FxHashMap::default(),
            left: most,
            room: BYTES_MAX,
            messages: 0,
            cut: 0,
            left_out: 0,
        }
    }

    /// Begins a connection. One whose beginning was not told begins with its first message.
    fn open(&mut self, key: Key, seen: &Observation<'_>, process: Process<'_>, open: &Open<'_>) {
        let wall_ns = i128::from(seen.at_ns).saturating_add(key.0);
        let place = Place { entry: self.entries.len(), role: seen.role };
        self.open.insert(key, place);
        self.entries.push(Entry::new(wall_ns, seen, process, open));
    }

    fn message(&mut self, key: Key, seen: &Observation<'_>, who: Process<'_>, it: &Message<'_>) {
        if !self.open.contains_key(&key) {
            self.open(key, seen, who, &Open { mid_stream: true, ..Open::default() });
        }
        let Some(place) = self.open.get(&key) else { return };
        self.messages += 1;
        self.left = self.left.map(|left| left.saturating_sub(1));
        let bytes = it.payload.len() as u64 + MESSAGE_BYTES;
        let Some(room) = self.room.checked_sub(bytes) else {
            self.left_out += 1;
            return;
        };
        self.room = room;
        self.cut += u64::from(it.truncated);
        let wall_ns = i128::from(seen.at_ns).saturating_add(key.0);
        // An entry is what the client asked for, whichever end is tapped.
        let is_client = place.role != Role::Server;
        let sends = is_client == (it.direction == Direction::Sent);
        self.entries[place.entry].add(wall_ns, SentMessage::new(wall_ns, sends, it));
    }

    fn write(&mut self) -> io::Result<()> {
        let entries = std::mem::take(&mut self.entries);
        serde_json::to_writer(&mut self.out, &Har::new(&entries))?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

impl<W: Write> View for HarFile<W> {
    fn set_wall_offset_ns(&mut self, wall_offset_ns: i128) {
        self.wall_offset_ns = wall_offset_ns;
    }

    fn begin(&mut self) {}

    fn observe(&mut self, observation: &Observation<'_>, process: Process<'_>) {
        if self.is_closed() || !self.filter.names(observation.conn) {
            return;
        }
        let key = (self.wall_offset_ns, observation.conn);
        match &observation.what {
            What::Open(open) => self.open(key, observation, process, open),
            What::Message { message, .. } => {
                let opcode = match message.message_type {
                    MessageType::Text => Opcode::Text,
                    MessageType::Binary => Opcode::Binary,
                };
                if self.filter.passes(opcode, message.direction) {
                    self.message(key, observation, process, message);
                }
            }
            What::Close { code } => {
                if let Some(place) = self.open.get(&key) {
                    let wall_ns = i128::from(observation.at_ns).saturating_add(key.0);
                    self.entries[place.entry].close(wall_ns, *code);
                }
            }
            What::State { to: None, .. } => {
                self.open.remove(&key);
            }
            _ => {}
        }
    }

    fn flush(&mut self) {}

    fn is_closed(&self) -> bool {
        self.left == Some(0)
    }

    fn finish(mut self: Box<Self>) -> io::Result<Option<String>> {
        match self.write() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
        let left_out = self.left_out;
        let cut = cut_sentence(self.cut, self.messages);
        Ok(if left_out > 0 {
            Some(format!(
                "{left_out} messages are not in the file: it holds {} MiB of messages at most; \
                 --format pcapng has no such bound",
                BYTES_MAX >> 20
            ))
        } else {
            cut
        })
    }
}

#[cfg(test)]
mod tests;
