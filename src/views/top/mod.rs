//! `wstap top`: what the live page shows, in a terminal.
//!
//! It shows the same data structures as the page, so the two agree. `state` is what the person has
//! chosen, `columns` what the tables hold, `draw` how it looks, `screen` the terminal and its keys.
//! Where the data comes from is left to `run`.

mod columns;
mod draw;
mod feed_columns;
mod figures;
mod screen;
mod state;

use serde::Serialize;

use crate::export::live::{
    ConnectionRow, FeedRow, Live, MessageLine, Point, SECONDS, WaitingRow, Window,
};
use crate::export::status::Snapshot;

pub use self::draw::table;
pub use self::screen::{Shown, show};
pub use self::state::{Choice, State};

/// What there is to show at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Picture {
    /// Version of this layout, where it is printed.
    v: u8,
    /// Seconds since 1970.
    time: f64,
    /// What is tapped and whether it can be read.
    sentence: String,
    /// Connections that are open, listed or not.
    open: u64,
    /// Those whose contents cannot be read.
    unreadable: u64,
    /// Bytes that were lost before they could be decoded.
    lost_bytes: u64,
    window: Window,
    connections: Vec<ConnectionRow>,
    /// Requests that have waited for longest.
    waiting: Vec<WaitingRow>,
    /// What passes without being asked for.
    feeds: Vec<FeedRow>,
    /// The seconds of the window.
    #[serde(skip)]
    points: Vec<Point>,
    /// The last messages of the connection that is looked into; `None` where there is none, or
    /// where it has closed.
    #[serde(skip)]
    messages: Option<Vec<MessageLine>>,
}

impl Picture {
    /// What is there now, as far as `choice` asks for it.
    #[must_use]
    pub fn take(live: &Live, status: &Snapshot, lost_bytes: u64, choice: &Choice) -> Self {
        let now = live.now(true);
        let last = live.points(0).last().map_or(0, |point| point.time);
        let from = (last + 1).saturating_sub(choice.seconds.clamp(1, SECONDS as u64));
        Self {
            v: 1,
            time: now.time,
            sentence: live.sentence(status, lost_bytes),
            open: now.open,
            unreadable: now.unreadable,
            lost_bytes,
            window: live.window(from, last),
            connections: now.connections,
            waiting: now.waiting,
            feeds: now.feeds,
            points: live.points(from.saturating_sub(1)),
            messages: choice.conn.as_deref().and_then(|conn| live.messages(conn)),
        }
    }

    /// Takes over what another choice changes, and leaves the rest as it stood.
    fn take_chosen(&mut self, later: Self) {
        (self.window, self.points) = (later.window, later.points);
        self.messages = later.messages;
    }
}

#[cfg(test)]
mod tests;
