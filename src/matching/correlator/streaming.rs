//! What follows a first answer.

use crate::event::Stamp;
use crate::observation::{Origin, Table as TableName, What};

use super::super::key::KeyRef;
use super::super::label::MethodId;
use super::super::rules::Kind;
use super::super::rules::More;
use super::{Correlator, EntryIndex, Interpreted, Out, Stream, name_of};

impl Correlator {
    #[inline(never)]
    pub(super) fn open_stream(
        &mut self,
        key: KeyRef<'_>,
        interpreted: &Interpreted<'_>,
        method: MethodId,
        out: Out<'_>,
    ) {
        let own = self.connections[key.connection as usize].streams;
        let full = (own.len() >= self.limits.streams_per_connection).then(|| own.oldest());
        let full = full.or_else(|| {
            (self.streams.len() >= self.limits.streams_total).then(|| self.streams.oldest())
        });
        if let Some(at) = full.flatten() {
            let loser = self.streams.key(at).connection as usize;
            self.streams.remove(at, &mut self.connections[loser].streams);
            let what = What::Evicted(TableName::Streams);
            out(&self.connections[loser].observation(interpreted.stamp, what));
        }
        let stream = Stream {
            first_ns: interpreted.stamp.at_ns,
            last_ns: interpreted.stamp.at_ns,
            answers: 1,
            method,
            protocol: interpreted.protocol,
        };
        let connection = &mut self.connections[key.connection as usize];
        self.streams.insert(key, stream, &mut connection.streams);
    }

    /// Counts a further answer to a request that had its first; returns whether it was one.
    pub(super) fn continue_stream(
        &mut self,
        key: KeyRef<'_>,
        interpreted: &Interpreted<'_>,
        out: Out<'_>,
    ) -> bool {
        let connection = &self.connections[key.connection as usize];
        if connection.streams.len() == 0 {
            return false;
        }
        let Some(at) = self.streams.find(key) else { return false };
        let stream = self.streams.value_mut(at);
        stream.last_ns = stream.last_ns.max(interpreted.stamp.at_ns);
        if interpreted.traits.kind != Kind::End {
            stream.answers += 1;
            let what = What::StreamItem {
                origin: Origin::of_request(key.asked),
                protocol: name_of(&self.names, stream.protocol),
                method: self.methods.text(stream.method),
            };
            out(&connection.observation(interpreted.stamp, what));
        }
        if interpreted.traits.more == More::Last {
            self.end_stream(at, interpreted.stamp, out);
        }
        true
    }

    #[inline(never)]
    pub(super) fn end_stream(&mut self, at: EntryIndex, stamp: Stamp, out: Out<'_>) {
        let connection = self.streams.key(at).connection as usize;
        let connection = &mut self.connections[connection];
        let (key, stream) = self.streams.remove(at, &mut connection.streams);
        let what = What::StreamEnd {
            origin: Origin::of_request(key.asked),
            protocol: name_of(&self.names, stream.protocol),
            method: self.methods.text(stream.method),
            answers: stream.answers,
            duration_ns: stream.last_ns.saturating_sub(stream.first_ns),
        };
        out(&connection.observation(stamp, what));
    }
}
