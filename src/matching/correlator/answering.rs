//! Answers, and what becomes of those that find no request.

use crate::event::Direction;
use crate::observation::{Origin, OrphanReason, What};

use super::super::key::{ConnectionIndex, KeyRef};
use super::super::rules::{More, RequestName, Unasked};
use super::{Correlator, EntryIndex, Interpreted, Out, RequestEnd, name_of};

impl Correlator {
    pub(super) fn answer(
        &mut self,
        connection: ConnectionIndex,
        interpreted: &Interpreted<'_>,
        name: RequestName<'_>,
        out: Out<'_>,
    ) {
        let asked = interpreted.direction.opposite();
        let found = match name {
            RequestName::Queue(queue) => self.first_in_queue(connection, queue, asked),
            RequestName::Id { id, scope } => {
                self.pending.find(KeyRef { connection, asked, id, scope })
            }
        };
        match (found, name) {
            // An answer from before the request is to another one.
            (Some(at), _) if self.pending.value(at).at_ns <= interpreted.stamp.at_ns => {
                self.answered(connection, at, interpreted, out);
            }
            (None, RequestName::Id { id, scope }) => {
                let key = KeyRef { connection, asked, id, scope };
                if self.continue_stream(key, interpreted, out) {
                    return;
                }
                if self.is_late(key) {
                    self.orphan(connection, interpreted, OrphanReason::Late, out);
                    return;
                }
                self.wait_for_request(connection, interpreted, name, out);
            }
            _ => self.wait_for_request(connection, interpreted, name, out),
        }
    }

    /// An answer that comes after the deadline is late, whether the expiry was noticed or not.
    fn answered(
        &mut self,
        connection: ConnectionIndex,
        at: EntryIndex,
        interpreted: &Interpreted<'_>,
        out: Out<'_>,
    ) {
        let deadline_ns = self.deadline_ns(at);
        if deadline_ns <= interpreted.stamp.at_ns {
            self.end_expired(at, deadline_ns, out);
            self.orphan(connection, interpreted, OrphanReason::Late, out);
            return;
        }
        let (key, request) = self.end(at, RequestEnd::answered(interpreted), out);
        if interpreted.traits.more == More::Follows {
            self.open_stream(key.as_ref(), interpreted, request.method, out);
        }
    }

    #[cold]
    pub(super) fn orphan(
        &self,
        connection: ConnectionIndex,
        interpreted: &Interpreted<'_>,
        reason: OrphanReason,
        out: Out<'_>,
    ) {
        if interpreted.traits.unasked == Unasked::Expected {
            return;
        }
        let what = What::Orphan { protocol: name_of(&self.names, interpreted.protocol), reason };
        out(&self.connections[connection as usize].observation(interpreted.stamp, what));
    }

    /// Whether an answer of this name would find its request.
    pub(in crate::matching) fn is_awaited(
        &self,
        connection: ConnectionIndex,
        direction: Direction,
        name: RequestName<'_>,
    ) -> bool {
        let RequestName::Id { id, scope } = name else { return false };
        let key = KeyRef { connection, asked: direction.opposite(), id, scope };
        self.pending.find(key).is_some()
    }

    /// TCP loses none, so the answer to come is to the oldest.
    #[inline(never)]
    pub(super) fn heartbeat(&mut self, connection: ConnectionIndex, interpreted: &Interpreted<'_>) {
        let heartbeats_ns = &mut self.connection_mut(connection).heartbeats_ns;
        heartbeats_ns[interpreted.direction.index()].get_or_insert(interpreted.stamp.at_ns);
    }

    #[inline(never)]
    pub(super) fn heartbeat_answer(
        &mut self,
        connection: ConnectionIndex,
        interpreted: &Interpreted<'_>,
        out: Out<'_>,
    ) {
        let asked = interpreted.direction.opposite();
        let state = self.connection_mut(connection);
        let Some(asked_ns) = state.heartbeats_ns[asked.index()].take() else { return };
        let what = What::HeartbeatRtt {
            origin: Origin::of_request(asked),
            protocol: name_of(&self.names, interpreted.protocol),
            rtt_ns: interpreted.stamp.at_ns.saturating_sub(asked_ns),
        };
        out(&self.connection(connection).observation(interpreted.stamp, what));
    }
}
