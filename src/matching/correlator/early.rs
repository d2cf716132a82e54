//! Answers that came before their request.
//!
//! Events of different threads may arrive in the wrong order, so an answer without a request waits
//! for a moment. If the request turns up it is answered at once; if not, the answer is an orphan.

use std::cmp::Reverse;
use std::collections::VecDeque;

use crate::event::Direction;

use super::super::connection::{Early, EarlyWatch};
use super::super::key::{ConnectionIndex, KeyRef};
use super::super::label::MethodId;
use super::super::rules::{More, RequestName};
use super::{Correlator, Interpreted, Out};

impl Correlator {
    /// Lets an answer wait for its request. Where there is no room in all, it does not wait.
    #[cold]
    pub(super) fn wait_for_request(
        &mut self,
        connection: ConnectionIndex,
        interpreted: &Interpreted<'_>,
        name: RequestName<'_>,
        out: Out<'_>,
    ) {
        let early = Early {
            stamp: interpreted.stamp,
            protocol: interpreted.protocol,
            asked: interpreted.direction.opposite(),
            name: name.into(),
            traits: interpreted.traits,
        };
        if self.connection(connection).early.len() >= self.limits.early_per_connection {
            self.give_up_at(connection, 0, out);
        }
        if self.early_count >= self.limits.early_total {
            self.give_up(connection, &early, out);
            return;
        }
        self.early_count += 1;
        let state = &mut self.connections[connection as usize];
        state.early.push_back(early);
        if state.early_watch == EarlyWatch::Off {
            state.early_watch = EarlyWatch::On;
            let deadline_ns = interpreted.stamp.at_ns.saturating_add(self.limits.reorder_window_ns);
            self.early_deadlines.push(Reverse((deadline_ns, state.id, connection)));
        }
    }

    /// Takes the first answer that a request of this name has already had.
    pub(super) fn take_early(
        &mut self,
        connection: ConnectionIndex,
        asked: Direction,
        name: RequestName<'_>,
        asked_ns: u64,
    ) -> Option<Early> {
        let waiting = &mut self.connections[connection as usize].early;
        if waiting.is_empty() {
            return None;
        }
        let answers = |early: &Early| {
            early.asked == asked && early.stamp.at_ns >= asked_ns && early.name.as_ref() == name
        };
        let index = waiting.iter().position(answers)?;
        self.early_count -= 1;
        waiting.remove(index)
    }

    /// Gives up on the answers of a connection whose window is over at `now_ns`, and looks again
    /// when the next one's is.
    #[cold]
    pub(super) fn expire_early(&mut self, connection: ConnectionIndex, now_ns: u64, out: Out<'_>) {
        let window_ns = self.limits.reorder_window_ns;
        let deadline_ns = |early: &Early| early.stamp.at_ns.saturating_add(window_ns);
        let is_over = |early: &Early| deadline_ns(early) <= now_ns;
        while let Some(index) = self.connection(connection).early.iter().position(is_over) {
            self.give_up_at(connection, index, out);
        }
        let state = &mut self.connections[connection as usize];
        if let Some(deadline_ns) = state.early.iter().map(deadline_ns).min() {
            self.early_deadlines.push(Reverse((deadline_ns, state.id, connection)));
        } else {
            state.early = VecDeque::new();
            state.early_watch = EarlyWatch::Off;
        }
    }

    /// Gives up on all answers of a connection.
    pub(super) fn give_up_all(&mut self, connection: ConnectionIndex, out: Out<'_>) {
        while !self.connection(connection).early.is_empty() {
            self.give_up_at(connection, 0, out);
        }
    }

    fn give_up_at(&mut self, connection: ConnectionIndex, index: usize, out: Out<'_>) {
        if let Some(early) = self.connection_mut(connection).early.remove(index) {
            self.early_count -= 1;
            self.give_up(connection, &early, out);
        }
    }

    /// No request turned up for an answer. If more answers are to follow, they belong to a stream
    /// whose beginning was not seen, and are not orphans each.
    #[cold]
    fn give_up(&mut self, connection: ConnectionIndex, early: &Early, out: Out<'_>) {
        let interpreted = Interpreted {
            stamp: early.stamp,
            direction: early.asked.opposite(),
            protocol: early.protocol,
            traits: early.traits,
            name: Some(early.name.as_ref()),
            method: MethodId::NONE,
        };
        if let RequestName::Id { id, scope } = early.name.as_ref() {
            let key = KeyRef { connection, asked: early.asked, id, scope };
            if self.continue_stream(key, &interpreted, out) {
                return;
            }
            if early.traits.more == More::Follows {
                self.open_stream(key, &interpreted, MethodId::NONE, out);
            }
        }
        let state = &self.connections[connection as usize];
        let reason = state.orphan_reason(early.stamp.at_ns, self.limits.timeout_ns);
        self.orphan(connection, &interpreted, reason, out);
    }
}
