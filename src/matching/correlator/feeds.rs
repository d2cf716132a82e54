//! Connections as feeds: what each message says of its feed, and which connections are quiet.

use super::{Correlator, Interpreted};
use crate::event::Stamp;
use crate::matching::feed::{ChannelLimits, is_heartbeat, looks_like_a_heartbeat};
use crate::matching::key::ConnectionIndex;
use crate::matching::rules::Reading;
use crate::observation::{FeedReading, Message, Out, SequenceStep, What};

impl Correlator {
    /// What an application message says of its feed; `None` for a heartbeat. `is_first` says that it is
    /// the first one of its data message.
    pub(in crate::matching) fn feed(
        &mut self,
        connection: ConnectionIndex,
        interpreted: &Interpreted<'_>,
        reading: &Reading<'_>,
        is_first: bool,
    ) -> Option<FeedReading> {
        let Interpreted { stamp, direction, traits, .. } = *interpreted;
        if traits.is_heartbeat || reading.method.as_deref().is_some_and(is_heartbeat) {
            return None;
        }
        let room = self.limits.channels_total.saturating_sub(self.channels);
        let limits = ChannelLimits { per_connection: self.limits.channels_per_connection, room };
        let feed = &mut self.connections[connection as usize].feed;
        let mut said = FeedReading::PLAIN;
        if let Some(fields) = reading.feed {
            said = feed.read(direction, fields, limits);
            self.channels += usize::from(said.sequence == Some(SequenceStep::Begun));
        }
        if is_first {
            said.since_ns = feed.passed(direction, stamp.at_ns);
        }
        Some(said)
    }

    /// The same of a message that no rule reads.
    pub(in crate::matching) fn unread(
        &mut self,
        connection: ConnectionIndex,
        stamp: Stamp,
        message: &Message<'_>,
    ) -> Option<FeedReading> {
        if looks_like_a_heartbeat(message.payload, !message.truncated) {
            return None;
        }
        let feed = &mut self.connections[connection as usize].feed;
        let since_ns = feed.passed(message.direction, stamp.at_ns);
        Some(FeedReading { since_ns, ..FeedReading::PLAIN })
    }

    /// Tells which connections have become quiet, or are not any more.
    pub(in crate::matching) fn find_quiet(&mut self, now_ns: u64, out: Out<'_>) {
        let limit_ns = self.limits.quiet_after_ns;
        if limit_ns == 0 {
            return;
        }
        for (_, connection) in &mut self.connections {
            if let Some(is_quiet) = connection.feed.changes_quiet(now_ns, limit_ns) {
                let stamp = Stamp { at_ns: now_ns, tid: 0 };
                out(&connection.observation(stamp, What::Quiet(is_quiet)));
            }
        }
    }

    /// Forgets the channels of a connection, and takes back that it is quiet.
    pub(super) fn end_feed(&mut self, connection: ConnectionIndex, at_ns: u64, out: Out<'_>) {
        let connection = &mut self.connections[connection as usize];
        self.channels -= connection.feed.forget_channels();
        if connection.feed.leaves_quiet() {
            out(&connection.observation(Stamp { at_ns, tid: 0 }, What::Quiet(false)));
        }
    }
}
