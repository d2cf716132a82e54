//! Requests that begin, and those that their own side ends.

use crate::observation::Outcome;

use super::super::connection::Early;
use super::super::key::{ConnectionIndex, KeyRef};
use super::super::rules::RequestName;
use super::{Correlator, EntryIndex, IdForm, Interpreted, Out, RequestEnd, queued};
use crate::event::Direction;

impl Correlator {
    pub(super) fn request(
        &mut self,
        connection: ConnectionIndex,
        interpreted: &Interpreted<'_>,
        name: RequestName<'_>,
        out: Out<'_>,
    ) {
        let asked = interpreted.direction;
        let early = self.take_early(connection, asked, name, interpreted.stamp.at_ns);
        match name {
            RequestName::Id { id, scope } => {
                let key = KeyRef { connection, asked, id, scope };
                self.replace_duplicate(key, interpreted, out);
                self.start(key, interpreted, IdForm::Token, out);
            }
            RequestName::Queue(queue) => {
                let number = self.enqueue(connection, queue, interpreted, out).to_le_bytes();
                let key = queued(connection, asked, &number, &queue);
                self.start(key, interpreted, IdForm::Numbered, out);
            }
        }
        if let Some(Early { stamp, traits, .. }) = early {
            let direction = asked.opposite();
            let answer = Interpreted { stamp, direction, traits, ..*interpreted };
            self.apply(connection, &answer, out);
        }
    }

    /// The newest request has an id; whatever had it before has lost it.
    fn replace_duplicate(&mut self, key: KeyRef<'_>, interpreted: &Interpreted<'_>, out: Out<'_>) {
        if let Some(at) = self.pending.find(key) {
            self.end(at, RequestEnd::by(interpreted, Outcome::Duplicate), out);
            return;
        }
        let connection = &self.connections[key.connection as usize];
        if connection.streams.len() > 0
            && let Some(at) = self.streams.find(key)
        {
            self.end_stream(at, interpreted.stamp, out);
        }
        self.forget_late(key);
    }

    #[inline(never)]
    pub(super) fn cancel(
        &mut self,
        connection: ConnectionIndex,
        interpreted: &Interpreted<'_>,
        name: RequestName<'_>,
        out: Out<'_>,
    ) {
        let RequestName::Id { id, scope } = name else { return };
        let key = KeyRef { connection, asked: interpreted.direction, id, scope };
        if let Some(at) = self.pending.find(key) {
            let (key, request) = self.end(at, RequestEnd::by(interpreted, Outcome::Cancelled), out);
            self.remember_late(&key, request);
        } else if let Some(at) = self.streams.find(key) {
            let kept = self.streams.key(at).clone();
            self.end_stream(at, interpreted.stamp, out);
            self.remember_late_key(&kept);
        }
    }

    /// Gives a queued request its number.
    fn enqueue(
        &mut self,
        connection: ConnectionIndex,
        queue: u8,
        interpreted: &Interpreted<'_>,
        out: Out<'_>,
    ) -> u32 {
        let asked = interpreted.direction;
        let oldest = self.first_in_queue(connection, queue, asked);
        let state = self.connection_mut(connection);
        if state.queue(queue, asked).len() >= self.limits.queue_length {
            self.evict(oldest, interpreted, out);
        }
        self.connection_mut(connection).queue(queue, asked).push()
    }

    /// The oldest request in a queue that still waits.
    pub(super) fn first_in_queue(
        &mut self,
        connection: ConnectionIndex,
        queue: u8,
        asked: Direction,
    ) -> Option<EntryIndex> {
        while let Some(number) = self.connection_mut(connection).queue(queue, asked).first() {
            let found = self.pending.find(queued(connection, asked, &number.to_le_bytes(), &queue));
            if found.is_some() {
                return found;
            }
            self.connection_mut(connection).queue(queue, asked).pop();
        }
        None
    }
}
