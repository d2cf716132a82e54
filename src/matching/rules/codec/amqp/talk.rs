//! Which channels and handles of both sides belong together, and so which frame answers which.
//!
//! Each side numbers its sessions and links by itself (AMQP 1.0, part 2, sections 2.5.1 and 2.6.2);
//! `begin` and `attach` say which are the same.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::frame::Passed;
use super::message::Properties;
use super::value::{List, Unreadable, Value};
use super::{CLOSE_QUEUE, OPEN_QUEUE, SASL_QUEUE, Scope, Told, answer};
use crate::event::Direction;
use crate::matching::rules::kind::Kind;
use crate::matching::rules::reading::Proof;

/// Most sessions of a connection that are kept in mind.
const MAX_SESSIONS: usize = 64;

/// Most links of a connection that are kept in mind.
const MAX_LINKS: usize = 256;

/// Most deliveries of a connection of which some frames have passed and others have not.
const MAX_PARTS: usize = 64;

/// Most deliveries that one disposition answers.
const MAX_RANGE: u32 = 2_048;

/// Performatives (part 2, section 2.7, and part 5, section 5.3.3).
mod performative {
    pub(super) const OPEN: u64 = 0x10;
    pub(super) const BEGIN: u64 = 0x11;
    pub(super) const ATTACH: u64 = 0x12;
    pub(super) const FLOW: u64 = 0x13;
    pub(super) const TRANSFER: u64 = 0x14;
    pub(super) const DISPOSITION: u64 = 0x15;
    pub(super) const DETACH: u64 = 0x16;
    pub(super) const END: u64 = 0x17;
    pub(super) const CLOSE: u64 = 0x18;
    pub(super) const SASL_INIT: u64 = 0x41;
    pub(super) const SASL_OUTCOME: u64 = 0x44;
}

/// States of a delivery (part 3, section 3.4).
mod state {
    pub(super) const RECEIVED: u64 = 0x23;
    pub(super) const REJECTED: u64 = 0x25;
    pub(super) const RELEASED: u64 = 0x26;
    pub(super) const MODIFIED: u64 = 0x27;
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Who opened, or closed, first.
    opened: Option<Direction>,
    closed: Option<Direction>,
    sessions: Vec<Session>,
    links: Vec<Link>,
    parts: Vec<Part>,
    /// Number of the next session or link.
    next: u32,
}

#[derive(Debug)]
struct Session {
    number: u32,
    /// What each direction calls it.
    channels: [Option<u16>; 2],
    /// Who ended it first.
    ended: Option<Direction>,
}

#[derive(Debug)]
struct Link {
    number: u32,
    session: u32,
    /// A hash of its name, which is unique among the links of a session that go one way.
    name: u64,
    /// Which way deliveries go.
    way: Direction,
    /// What each direction calls it.
    handles: [Option<u32>; 2],
    /// Who detached first.
    detached: Option<Direction>,
}

/// A delivery of which more frames are to come.
#[derive(Debug)]
struct Part {
    session: u32,
    direction: Direction,
    handle: u32,
    delivery: Delivery,
}

#[derive(Debug)]
struct Delivery {
    id: Option<u32>,
    is_settled: bool,
    properties: Properties,
}

/// A frame by its session, if that is known.
#[derive(Clone, Copy)]
struct Heard<'a> {
    direction: Direction,
    channel: u16,
    fields: List<'a>,
}

impl Talk {
    /// Tells what a frame says. Returns whether that is all.
    pub(super) fn hear(
        &mut self,
        direction: Direction,
        passed: Passed<'_>,
        told: &mut Told<'_>,
    ) -> bool {
        let (channel, code, fields, payload) = match passed {
            Passed::Protocol => {
                told.alone("AMQP", Proof::Certain, false);
                return true;
            }
            Passed::Empty => {
                told.alone("empty", Proof::None, true);
                return true;
            }
            Passed::Frame { channel, code, fields, payload } => (channel, code, fields, payload),
        };
        let heard = Heard { direction, channel, fields };
        let all = match code {
            performative::OPEN => {
                told.queued(turn(&mut self.opened, direction, false), OPEN_QUEUE);
                Ok(true)
            }
            performative::CLOSE => heard.has_error().map(|is_error| {
                told.queued(turn(&mut self.closed, direction, is_error), CLOSE_QUEUE);
                true
            }),
            performative::SASL_INIT => {
                told.queued(Some(Kind::Request), SASL_QUEUE);
                Ok(true)
            }
            performative::SASL_OUTCOME => fields.fields().map(|[code]| {
                told.queued(Some(answer(code.number() != Some(0))), SASL_QUEUE);
                true
            }),
            performative::BEGIN => self.begin(heard, told),
            performative::END => self.end(heard, told),
            performative::ATTACH => self.attach(heard, told),
            performative::DETACH => self.detach(heard, told),
            performative::TRANSFER => self.transfer(heard, payload, told),
            performative::DISPOSITION => self.disposition(heard, told),
            performative::FLOW => {
                told.alone("flow", Proof::None, false);
                Ok(true)
            }
            _ => Ok(true),
        };
        all.unwrap_or(false)
    }

    /// Frames that went this way were lost. Sessions and links are as they were: who ends one waits for the
    /// other side before its number is used again.
    pub(super) fn lose(&mut self, direction: Direction) {
        self.parts.retain(|part| part.direction != direction);
    }

    fn begin(&mut self, heard: Heard<'_>, told: &mut Told<'_>) -> Result<bool, Unreadable> {
        let Heard { direction, channel, fields } = heard;
        let [theirs] = fields.fields()?;
        let (own, other) = (direction.index(), direction.opposite().index());
        let theirs = theirs.number().and_then(|number| u16::try_from(number).ok());
        // Who begins uses no number of a session that has not ended; if it seems so, its end was lost.
        let stale = |it: &Session| it.channels[own] == Some(channel);
        if let Some(old) = self.sessions.iter().find(|it| stale(it)).map(|it| it.number) {
            self.forget(old);
        }
        let known = |it: &Session| theirs.is_some() && it.channels[other] == theirs;
        match self.sessions.iter().position(known) {
            Some(at) => self.sessions[at].channels[own] = Some(channel),
            None if self.sessions.len() >= MAX_SESSIONS => return Ok(false),
            None => {
                let mut channels = [None; 2];
                (channels[own], channels[other]) = (Some(channel), theirs);
                self.next = self.next.wrapping_add(1);
                self.sessions.push(Session { number: self.next, channels, ended: None });
            }
        }
        let scope = Scope { kind: "begin", session: 0 };
        match theirs {
            Some(theirs) => told.numbered(Kind::Response, scope, theirs.into()),
            None => told.numbered(Kind::Request, scope, channel.into()),
        }
        Ok(true)
    }

    fn end(&mut self, heard: Heard<'_>, told: &mut Told<'_>) -> Result<bool, Unreadable> {
        let is_error = heard.has_error()?;
        let Some(session) = self.session(heard) else { return Ok(true) };
        let Some(kind) = turn(&mut session.ended, heard.direction, is_error) else {
            return Ok(true);
        };
        let number = session.number;
        told.numbered(kind, Scope { kind: "end", session: 0 }, number);
        if kind != Kind::Request {
            self.forget(number);
        }
        Ok(true)
    }

    fn attach(&mut self, heard: Heard<'_>, told: &mut Told<'_>) -> Result<bool, Unreadable> {
        let [name, handle, is_receiver] = heard.fields.fields()?;
        let (Value::Text(name), Some(handle)) = (name, handle.number()) else {
            return Err(Unreadable);
        };
        let Some(session) = self.session(heard).map(|it| it.number) else { return Ok(true) };
        let (direction, own) = (heard.direction, heard.direction.index());
        let way = if is_receiver.is_true() { direction.opposite() } else { direction };
        let hash = FixedState::default().hash_one(name);
        // A handle is free again once both sides have detached; if it is not, that was lost.
        self.links.retain(|it| it.session != session || it.handles[own] != Some(handle));
        let awaits = |it: &Link| {
            (it.session, it.name, it.way) == (session, hash, way) && it.handles[own].is_none()
        };
        let kind = match self.links.iter().position(awaits) {
            Some(at) => {
                self.links[at].handles[own] = Some(handle);
                Kind::Response
            }
            None if self.links.len() >= MAX_LINKS => return Ok(false),
            None => {
                let mut handles = [None; 2];
                handles[own] = Some(handle);
                self.next = self.next.wrapping_add(1);
                let number = self.next;
                self.links.push(Link { number, session, name: hash, way, handles, detached: None });
                Kind::Request
            }
        };
        // Two links of one name may go opposite ways.
        let kind_of_link = if way == Direction::Sent { "attach" } else { "attach<" };
        told.attached(kind, Scope { kind: kind_of_link, session }, name);
        Ok(true)
    }

    fn detach(&mut self, heard: Heard<'_>, told: &mut Told<'_>) -> Result<bool, Unreadable> {
        let [handle, _closed, error] = heard.fields.fields()?;
        let Some(session) = self.session(heard).map(|it| it.number) else { return Ok(true) };
        let own = heard.direction.index();
        let is_it = |it: &Link| {
            it.session == session && it.handles[own].is_some() && it.handles[own] == handle.number()
        };
        let Some(at) = self.links.iter().position(is_it) else { return Ok(true) };
        let link = &mut self.links[at];
        let Some(kind) = turn(&mut link.detached, heard.direction, !error.is_null()) else {
            return Ok(true);
        };
        told.numbered(kind, Scope { kind: "detach", session: 0 }, link.number);
        if kind != Kind::Request {
            self.links.swap_remove(at);
        }
        Ok(true)
    }

    /// A delivery is asked when its last frame has passed: before, it may turn out to be settled.
    fn transfer(
        &mut self,
        heard: Heard<'_>,
        payload: &[u8],
        told: &mut Told<'_>,
    ) -> Result<bool, Unreadable> {
        let [handle, id, _tag, _format, settled, more, _mode, _state, _resume, aborted] =
            heard.fields.fields()?;
        let Some(session) = self.session(heard).map(|it| it.number) else {
            told.alone("transfer", Proof::None, false);
            return Ok(true);
        };
        let handle = handle.number().ok_or(Unreadable)?;
        let direction = heard.direction;
        let is_it =
            |it: &Part| (it.session, it.direction, it.handle) == (session, direction, handle);
        let begun = self.parts.iter().position(is_it).map(|at| self.parts.swap_remove(at).delivery);
        let mut delivery = begun.unwrap_or_else(|| Delivery {
            id: id.number(),
            is_settled: false,
            properties: Properties::read(payload),
        });
        delivery.is_settled |= settled.is_true();
        if aborted.is_true() {
            return Ok(true);
        }
        if more.is_true() {
            let has_room = self.parts.len() < MAX_PARTS;
            if has_room {
                self.parts.push(Part { session, direction, handle, delivery });
            }
            return Ok(has_room);
        }
        match delivery.id {
            Some(id) if !delivery.is_settled => {
                told.numbered(Kind::Request, Scope { kind: "transfer", session }, id);
            }
            _ => told.alone("transfer", Proof::None, false),
        }
        let scope = Scope { kind: "message", session: 0 };
        if let Some(id) = delivery.properties.answers {
            told.named(Kind::Response, scope, &id);
        }
        if let Some(id) = delivery.properties.asks {
            told.named(Kind::Request, scope, &id);
        }
        Ok(true)
    }

    /// Of a range, each delivery is answered.
    fn disposition(&mut self, heard: Heard<'_>, told: &mut Told<'_>) -> Result<bool, Unreadable> {
        let [is_receiver, first, last, settled, state] = heard.fields.fields()?;
        let first = first.number().ok_or(Unreadable)?;
        let last = last.number().unwrap_or(first);
        let Some(session) = self.session(heard).map(|it| it.number) else { return Ok(true) };
        let kind = match (is_receiver.is_true(), state) {
            // The sender forgets it, whether there was an answer or not.
            (false, _) if settled.is_true() => Kind::Cancel,
            (false, _) => return Ok(true),
            (true, Value::Described(state::RECEIVED)) => Kind::Progress,
            (true, Value::Described(state::REJECTED | state::RELEASED | state::MODIFIED)) => {
                Kind::Error
            }
            (true, Value::Described(_)) => Kind::Response,
            (true, _) if settled.is_true() => Kind::Response,
            (true, _) => return Ok(true),
        };
        // Numbers of deliveries go round (part 2, section 2.8.10).
        let count = last.wrapping_sub(first);
        if count >= MAX_RANGE {
            return Ok(false);
        }
        for id in 0..=count {
            told.numbered(kind, Scope { kind: "transfer", session }, first.wrapping_add(id));
        }
        Ok(true)
    }

    fn session(&mut self, heard: Heard<'_>) -> Option<&mut Session> {
        let own = heard.direction.index();
        self.sessions.iter_mut().find(|it| it.channels[own] == Some(heard.channel))
    }

    fn forget(&mut self, session: u32) {
        self.sessions.retain(|it| it.number != session);
        self.links.retain(|it| it.session != session);
        self.parts.retain(|it| it.session != session);
    }
}

impl Heard<'_> {
    /// Of `end` and `close`, whether the only field is there.
    fn has_error(&self) -> Result<bool, Unreadable> {
        let [error] = self.fields.fields()?;
        Ok(!error.is_null())
    }
}

/// What is said by both sides: who is first asks, the other answers, and who repeats it says nothing.
fn turn(first: &mut Option<Direction>, direction: Direction, is_error: bool) -> Option<Kind> {
    match *first {
        None => {
            *first = Some(direction);
            Some(Kind::Request)
        }
        Some(first) if first == direction => None,
        Some(_) => Some(answer(is_error)),
    }
}
