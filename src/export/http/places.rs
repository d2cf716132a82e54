//! Limits the number of HTTP clients. When the limit is reached, the client that has been silent for
//! longest is dropped. So no number of slow clients can block `/-/healthy` and `/metrics`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// Every client that is connected.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    clients: HashMap<u64, Client>,
}

#[derive(Debug)]
struct Client {
    /// Requests that are being answered.
    busy: u32,
    /// When it connected, or when its last answer was ready.
    silent_since: Instant,
    leave: Arc<Notify>,
}

/// A client's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    places: Arc<Places>,
    leave: Arc<Notify>,
}

impl Places {
    /// A place for one more client. Where `most` are taken, the client that has been silent for
    /// longest is told to leave; one that is being answered never is.
    pub(super) fn take(self: &Arc<Self>, most: usize) -> Place {
        let mut taken = self.lock();
        if taken.clients.len() >= most {
            let silent = taken.clients.iter().filter(|(_, client)| client.busy == 0);
            let longest = silent.min_by_key(|(_, client)| client.silent_since);
            if let Some((&id, _)) = longest
                && let Some(client) = taken.clients.remove(&id)
            {
                client.leave.notify_one();
            }
        }
        let id = taken.next;
        taken.next += 1;
        let leave = Arc::new(Notify::new());
        let client = Client { busy: 0, silent_since: Instant::now(), leave: Arc::clone(&leave) };
        taken.clients.insert(id, client);
        Place { id, places: Arc::clone(self), leave }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Completes when the place is needed for another client.
    pub(super) async fn is_needed(&self) {
        self.leave.notified().await;
    }

    /// A request has come.
    pub(super) fn begin(&self) {
        self.change(|client| client.busy += 1);
    }

    /// Its answer is ready.
    pub(super) fn end(&self) {
        self.change(|client| {
            client.busy = client.busy.saturating_sub(1);
            client.silent_since = Instant::now();
        });
    }

    fn change(&self, change: impl FnOnce(&mut Client)) {
        self.places.lock().clients.get_mut(&self.id).map(change);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().clients.remove(&self.id);
    }
}
