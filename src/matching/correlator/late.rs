//! Ids that are no longer waited for.

use super::super::key::{Key, KeyRef};
use super::{Correlator, IdForm, Request};

impl Correlator {
    pub(super) fn is_late(&self, key: KeyRef<'_>) -> bool {
        let connection = &self.connections[key.connection as usize];
        connection.late.len() > 0 && self.late.find(key).is_some()
    }

    pub(super) fn forget_late(&mut self, key: KeyRef<'_>) {
        let connection = &mut self.connections[key.connection as usize];
        if connection.late.len() == 0 {
            return;
        }
        if let Some(at) = self.late.find(key) {
            self.late.remove(at, &mut connection.late);
        }
    }

    pub(super) fn remember_late(&mut self, key: &Key, request: Request) {
        if request.id == IdForm::Token {
            self.remember_late_key(key);
        }
    }

    pub(super) fn remember_late_key(&mut self, key: &Key) {
        self.forget_late(key.as_ref());
        let own = self.connections[key.connection as usize].late;
        let full = (own.len() >= self.limits.late_per_connection).then(|| own.oldest());
        let full = full
            .or_else(|| (self.late.len() >= self.limits.late_total).then(|| self.late.oldest()));
        if let Some(at) = full.flatten() {
            let loser = self.late.key(at).connection as usize;
            self.late.remove(at, &mut self.connections[loser].late);
        }
        let connection = &mut self.connections[key.connection as usize];
        self.late.insert(key.as_ref(), (), &mut connection.late);
    }
}
