//! Requests that end without an answer: by time, by a loss, with their connection, with us.

use std::cmp::Reverse;

use crate::event::{Direction, Stamp};
use crate::observation::Outcome;

use super::{ConnectionIndex, Correlator, EntryIndex, IdForm, Out, RequestEnd};

impl Correlator {
    /// Lets everything go that has waited long enough at `now_ns`.
    pub(in crate::matching) fn expire(&mut self, now_ns: u64, out: Out<'_>) {
        while let Some(at) = self.pending.oldest() {
            let deadline_ns = self.deadline_ns(at);
            if deadline_ns > now_ns {
                break;
            }
            self.end_expired(at, deadline_ns, out);
        }
        while let Some(&Reverse((deadline_ns, id, connection))) = self.early_deadlines.peek() {
            if deadline_ns > now_ns {
                break;
            }
            self.early_deadlines.pop();
            if self.is_open(connection, id) {
                self.expire_early(connection, now_ns, out);
            }
        }
    }

    pub(super) fn deadline_ns(&self, at: EntryIndex) -> u64 {
        self.pending.value(at).at_ns.saturating_add(self.limits.timeout_ns)
    }

    /// Ends a request at its deadline, not at the time when that was noticed: a recording gives the
    /// same.
    #[cold]
    pub(super) fn end_expired(&mut self, at: EntryIndex, deadline_ns: u64, out: Out<'_>) {
        let outcome = self.unanswered(at, Outcome::Expired);
        let (key, request) = self.end(at, RequestEnd::at(deadline_ns, outcome), out);
        self.remember_late(&key, request);
    }

    /// How a request ends that was not seen to be answered: as `outcome`, unless its answer may
    /// have been in a message that could not be read.
    fn unanswered(&self, at: EntryIndex, outcome: Outcome) -> Outcome {
        let asked = self.pending.key(at).asked;
        let connection = self.connection(self.pending.key(at).connection);
        let may_be = connection.may_have_answered(asked, self.pending.value(at).at_ns);
        if may_be { Outcome::Gap } else { outcome }
    }

    /// What waits on a connection was no request after all: its protocol is given up.
    pub(in crate::matching) fn disown(
        &mut self,
        connection: ConnectionIndex,
        at_ns: u64,
        out: Out<'_>,
    ) {
        self.end_all(connection, at_ns, Outcome::Detached, out);
        let state = self.connection_mut(connection);
        state.queues = Vec::new();
        state.heartbeats_ns = [None; 2];
    }

    /// Bytes that went in `lost` are gone. Whatever they may have answered has no answer now, and
    /// what is only told by its order cannot be told any more.
    pub(in crate::matching) fn gap(
        &mut self,
        connection: ConnectionIndex,
        lost: Direction,
        at_ns: u64,
        out: Out<'_>,
    ) {
        let state = self.connection_mut(connection);
        state.last_gap_ns = Some(at_ns);
        state.heartbeats_ns = [None; 2];
        let mut next = state.pending.oldest();
        while let Some(at) = next {
            next = self.pending.next_sibling(at);
            let by_order = self.pending.value(at).id == IdForm::Numbered;
            if by_order || self.pending.key(at).asked == lost.opposite() {
                self.end(at, RequestEnd::at(at_ns, Outcome::Gap), out);
            }
        }
    }

    /// Ends a connection and all that belongs to it.
    pub(in crate::matching) fn close(
        &mut self,
        connection: ConnectionIndex,
        at_ns: u64,
        out: Out<'_>,
    ) {
        self.end_all(connection, at_ns, Outcome::Aborted, out);
        self.connections.remove(connection as usize);
    }

    /// Ends every waiting request as `detached`, because the tap ends.
    pub(in crate::matching) fn finish(&mut self, now_ns: u64, out: Out<'_>) {
        let connections: Vec<usize> = self.connections.iter().map(|(index, _)| index).collect();
        for index in connections {
            self.end_all(index as ConnectionIndex, now_ns, Outcome::Detached, out);
        }
        self.connections.clear();
    }

    fn end_all(&mut self, connection: ConnectionIndex, at_ns: u64, outcome: Outcome, out: Out<'_>) {
        self.give_up_all(connection, out);
        self.end_feed(connection, at_ns, out);
        while let Some(at) = self.connection(connection).pending.oldest() {
            let outcome = match outcome {
                Outcome::Aborted => self.unanswered(at, outcome),
                outcome => outcome,
            };
            self.end(at, RequestEnd::at(at_ns, outcome), out);
        }
        let state = &mut self.connections[connection as usize];
        while let Some(at) = state.streams.oldest() {
            self.streams.remove(at, &mut state.streams);
        }
        while let Some(at) = state.late.oldest() {
            self.late.remove(at, &mut state.late);
        }
    }
}

impl RequestEnd {
    fn at(at_ns: u64, outcome: Outcome) -> Self {
        Self { outcome, stamp: Stamp { at_ns, tid: 0 } }
    }
}
