//! What passed, in a bounded sample: the messages of connections that look alike, in order.
//!
//! Connections are sorted into groups by the path that they were opened with, because a process may
//! speak several protocols. What a group says is kept as it passed, so that a rule can be tried on it.

use rustc_hash::FxHashMap;

use crate::event::{ConnId, Direction};
use crate::observation::{Message, MessageType, Observation, Role, What};

/// Bounds of what is kept.
#[derive(Clone, Copy, Debug)]
pub struct LearnLimits {
    /// Messages of one group, both directions together.
    pub messages: usize,
    /// Groups; connections of further ones are left out.
    pub groups: usize,
    /// Bytes of one message.
    pub message_bytes: usize,
    /// Bytes of all messages.
    pub bytes: usize,
    /// Connections of all groups.
    pub connections: usize,
}

impl Default for LearnLimits {
    fn default() -> Self {
        Self {
            messages: 4_000,
            groups: 64,
            message_bytes: 16 << 10,
            bytes: 64 << 20,
            connections: 16_384,
        }
    }
}

/// Connections that were opened alike, and what they said.
#[derive(Debug, Default)]
pub(in crate::learning) struct Group {
    /// The request target without its query, digits replaced; empty where it was not seen.
    pub(in crate::learning) path: String,
    pub(in crate::learning) connections: Vec<Connection>,
    pub(in crate::learning) entries: Vec<Entry>,
    pub(in crate::learning) messages: usize,
    /// Messages that were left out because the sample was full.
    pub(in crate::learning) left_out: u64,
    /// Messages that wstap's own rules could read, by protocol.
    pub(in crate::learning) recognised: FxHashMap<String, u64>,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::learning) struct Connection {
    pub(in crate::learning) role: Role,
    pub(in crate::learning) mid_stream: bool,
    /// Wall clock minus the clock of its events, in nanoseconds.
    pub(in crate::learning) wall_offset_ns: i64,
}

/// Something that happened on a connection of a group.
#[derive(Debug)]
pub(in crate::learning) struct Entry {
    /// Index into the connections of the group.
    pub(in crate::learning) conn: u32,
    pub(in crate::learning) at_ns: u64,
    pub(in crate::learning) what: Passed,
}

#[derive(Debug)]
pub(in crate::learning) enum Passed {
    Message(Kept),
    Gap(Direction),
    Closed,
}

/// A message, or its beginning and its end.
#[derive(Debug)]
pub(in crate::learning) struct Kept {
    pub(in crate::learning) direction: Direction,
    pub(in crate::learning) message_type: MessageType,
    pub(in crate::learning) payload: Box<[u8]>,
    pub(in crate::learning) tail: Box<[u8]>,
    pub(in crate::learning) truncated: bool,
}

/// The groups, and which connection is in which.
#[derive(Debug)]
pub(in crate::learning) struct Sample {
    pub(in crate::learning) groups: Vec<Group>,
    /// Group and place in it.
    places: FxHashMap<ConnId, (usize, u32)>,
    limits: LearnLimits,
    /// Of the connections that begin now: see [`Connection`].
    pub(in crate::learning) wall_offset_ns: i64,
    bytes: usize,
    /// Messages of connections that are in no group.
    pub(in crate::learning) strangers: u64,
}

impl Sample {
    pub(in crate::learning) fn new(limits: LearnLimits) -> Self {
        Self {
            groups: Vec::new(),
            places: FxHashMap::default(),
            limits,
            wall_offset_ns: 0,
            bytes: 0,
            strangers: 0,
        }
    }

    pub(in crate::learning) fn observe(&mut self, observation: &Observation<'_>) {
        let Observation { conn, at_ns, role, .. } = *observation;
        match &observation.what {
            What::Open(open) => {
                let path = general(open.path.unwrap_or_default());
                self.enter(conn, &path, role, open.mid_stream);
            }
            What::Message { message, reading } => {
                let Some(place) = self.place(conn, role) else {
                    self.strangers += 1;
                    return;
                };
                self.message(place, at_ns, message);
                if reading.kind.is_some() {
                    let group = &mut self.groups[place.0];
                    *group.recognised.entry(reading.protocol.to_owned()).or_default() += 1;
                }
            }
            What::Gap { direction, .. } => self.entry(conn, at_ns, Passed::Gap(*direction)),
            What::Close { .. } | What::EndUnseen(_) => {
                self.entry(conn, at_ns, Passed::Closed);
                self.places.remove(&conn);
            }
            _ => {}
        }
    }

    /// A group has all that it may have, or there is no room for more.
    pub(in crate::learning) fn is_full(&self) -> bool {
        let enough = |group: &Group| group.messages >= self.limits.messages;
        self.bytes >= self.limits.bytes || self.groups.iter().any(enough)
    }

    /// Hands out all that passed; connections that are open stay known.
    pub(in crate::learning) fn take(&mut self) -> Self {
        let mut fresh = Self { wall_offset_ns: self.wall_offset_ns, ..Self::new(self.limits) };
        for (conn, (group, place)) in std::mem::take(&mut self.places) {
            let Some(group) = self.groups.get(group) else { continue };
            let Some(known) = group.connections.get(place as usize) else { continue };
            // Its beginning is in what is handed out.
            fresh.enter(conn, &group.path, known.role, true);
        }
        std::mem::replace(self, fresh)
    }

    fn place(&mut self, conn: ConnId, role: Role) -> Option<(usize, u32)> {
        let place = match self.places.get(&conn) {
            Some(&place) => place,
            None => self.enter(conn, "", role, true)?,
        };
        if role != Role::Unknown {
            self.groups[place.0].connections[place.1 as usize].role = role;
        }
        Some(place)
    }

    fn enter(
        &mut self,
        conn: ConnId,
        path: &str,
        role: Role,
        mid_stream: bool,
    ) -> Option<(usize, u32)> {
        let connections: usize = self.groups.iter().map(|group| group.connections.len()).sum();
        if connections >= self.limits.connections {
            return None;
        }
        let known = self.groups.iter().position(|group| group.path == path);
        let index = match known {
            Some(index) => index,
            None if self.groups.len() < self.limits.groups => {
                self.groups.push(Group { path: path.to_owned(), ..Group::default() });
                self.groups.len() - 1
            }
            None => return None,
        };
        let group = &mut self.groups[index];
        let place = (index, u32::try_from(group.connections.len()).ok()?);
        let wall_offset_ns = self.wall_offset_ns;
        group.connections.push(Connection { role, mid_stream, wall_offset_ns });
        self.places.insert(conn, place);
        Some(place)
    }

    fn message(&mut self, (group, conn): (usize, u32), at_ns: u64, message: &Message<'_>) {
        let limits = self.limits;
        let group = &mut self.groups[group];
        if group.messages >= limits.messages || self.bytes >= limits.bytes {
            group.left_out += 1;
            return;
        }
        let kept = message.payload.len().min(limits.message_bytes);
        let is_cut = kept < message.payload.len();
        self.bytes += kept + message.tail.len();
        group.messages += 1;
        let what = Passed::Message(Kept {
            direction: message.direction,
            message_type: message.message_type,
            payload: message.payload[..kept].into(),
            tail: if is_cut { Box::default() } else { message.tail.into() },
            truncated: is_cut || message.truncated,
        });
        group.entries.push(Entry { conn, at_ns, what });
    }

    /// Only of connections whose messages are kept.
    fn entry(&mut self, conn: ConnId, at_ns: u64, what: Passed) {
        let Some(&(group, conn)) = self.places.get(&conn) else { return };
        let group = &mut self.groups[group];
        // Each entry but a message is small; there are no more of them than of messages.
        if group.entries.len() < 4 * self.limits.messages {
            group.entries.push(Entry { conn, at_ns, what });
        }
    }
}

/// A path without what differs from connection to connection: numbers and long tokens.
fn general(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let parts = path.split('/').map(|part| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        let is_version = part.len() <= 3 && part.starts_with('v');
        let is_token = digits * 4 >= part.len() || part.len() >= 16;
        if digits > 0 && is_token && !is_version { "*" } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}
