//! What matching tells: how a message was read, what became of a request, what still waits.

use std::fmt;

use super::{FeedReading, MessageKind, Origin, Outcome};
use crate::event::{ConnId, TargetId};

/// What a message says in its application protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageReading<'a> {
    /// Protocol label; `unknown` where none was recognised.
    pub protocol: &'a str,
    /// What it is there; `None` where that is not known.
    pub kind: Option<MessageKind>,
    /// Its id; `None` where it concerns no request.
    pub id: Option<IdToken<'a>>,
    /// Method label, requests and notifications only, bounded.
    pub method: Option<&'a str>,
    /// What it says of its feed; `None` for a heartbeat of the application, which says nothing.
    pub feed: Option<FeedReading>,
}

impl MessageReading<'_> {
    /// No protocol was recognised.
    pub const UNKNOWN: MessageReading<'static> = MessageReading {
        protocol: "unknown",
        kind: None,
        id: None,
        method: None,
        feed: Some(FeedReading::PLAIN),
    };
}

/// A request that ended.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// Who asked.
    pub origin: Origin,
    /// Protocol label.
    pub protocol: &'a str,
    /// Method label, bounded; `""` where the protocol has none.
    pub method: &'a str,
    /// Its id; empty where it has none.
    pub id: IdToken<'a>,
    /// How it ended.
    pub outcome: Outcome,
    /// From the request's last byte to the answer's last byte; only with `matched` and `error`.
    pub turnaround_ns: Option<u64>,
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting<'a> {
    /// When its last byte passed, in `CLOCK_MONOTONIC` nanoseconds.
    pub asked_ns: u64,
    /// The target that it belongs to.
    pub target: TargetId,
    /// The connection that it waits on.
    pub conn: ConnId,
    /// Who asked.
    pub origin: Origin,
    /// Protocol label.
    pub protocol: &'a str,
    /// Method label, bounded; `""` where the protocol has none.
    pub method: &'a str,
}

/// An id as it stands in a message: a raw token, quotes included. It is bytes until somebody wants
/// to read it, because most ids are never read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct IdToken<'a>(&'a [u8]);

impl<'a> IdToken<'a> {
    /// What people read; `None` where it is not UTF-8.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }
}

impl<'a> From<&'a [u8]> for IdToken<'a> {
    fn from(token: &'a [u8]) -> Self {
        Self(token)
    }
}

impl<'a> From<&'a str> for IdToken<'a> {
    fn from(token: &'a str) -> Self {
        Self(token.as_bytes())
    }
}

impl fmt::Debug for IdToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}
