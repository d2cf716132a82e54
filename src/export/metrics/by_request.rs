//! Values for each kind of request, found without allocating.
//!
//! A target numbers its kinds of requests in [`Requests`] once for each observation; every metric
//! then finds its own value by that number in a [`ByRequest`]. Both are bounded by the decoder,
//! which folds methods into `__other__` and knows a closed set of protocols.

use rustc_hash::FxHashMap;

use crate::observation::{Exchange, Origin, What};

/// The key of a kind of request within one target.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) origin: Origin,
    pub(super) protocol: &'a str,
    /// Empty where the protocol has none.
    pub(super) method: &'a str,
    /// Its number among those of its target.
    pub(super) index: usize,
}

/// The kinds of requests of one target, numbered as they come.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Protocol and method, by number.
    names: Vec<(Box<str>, Box<str>)>,
    /// By origin.
    index: [ByProtocol; 2],
    /// The last one seen, by origin: most traffic repeats itself.
    recent: [Option<usize>; 2],
}

// A hash that a peer could provoke collisions in will do: the decoder lets through so few names.
type ByProtocol = FxHashMap<Box<str>, ByMethod>;
/// To an index into `Requests::names`.
type ByMethod = FxHashMap<Box<str>, usize>;

impl Requests {
    /// The kind of request that `what` is about, for those that are about one.
    pub(super) fn find<'a>(&mut self, what: &What<'a>) -> Option<Request<'a>> {
        let (origin, protocol, method) = match *what {
            What::Started { origin, protocol, method }
            | What::Exchange(Exchange { origin, protocol, method, .. })
            | What::StreamItem { origin, protocol, method }
            | What::StreamEnd { origin, protocol, method, .. } => (origin, protocol, method),
            What::HeartbeatRtt { origin, protocol, .. } => (origin, protocol, ""),
            _ => return None,
        };
        let index = self.number(origin, protocol, method);
        Some(Request { origin, protocol, method, index })
    }

    fn number(&mut self, origin: Origin, protocol: &str, method: &str) -> usize {
        let recent = &mut self.recent[origin as usize];
        if let Some(at) = *recent
            && *self.names[at].1 == *method
            && *self.names[at].0 == *protocol
        {
            return at;
        }
        let index = &mut self.index[origin as usize];
        let known = index.get(protocol).and_then(|methods| methods.get(method));
        let at = known.copied().unwrap_or_else(|| {
            let next = self.names.len();
            index.entry(protocol.into()).or_default().insert(method.into(), next);
            self.names.push((protocol.into(), method.into()));
            next
        });
        *recent = Some(at);
        at
    }
}

/// A value for each kind of request, and a note of those that changed.
#[derive(Debug)]
pub(super) struct ByRequest<T> {
    /// By number of the request.
    slots: Vec<Option<Slot<T>>>,
    /// Numbers of those that changed since the last flush.
    dirty: Vec<usize>,
}

#[derive(Debug)]
struct Slot<T> {
    /// It is in the list of the dirty ones.
    is_dirty: bool,
    value: T,
}

impl<T> Default for ByRequest<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), dirty: Vec::new() }
    }
}

impl<T> ByRequest<T> {
    /// The value to change for the request of this number, made by `new` where it is the first.
    pub(super) fn change(&mut self, at: usize, new: impl FnOnce() -> T) -> &mut T {
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        let slot = self.slots[at].get_or_insert_with(|| Slot { is_dirty: false, value: new() });
        if !std::mem::replace(&mut slot.is_dirty, true) {
            self.dirty.push(at);
        }
        &mut slot.value
    }

    /// Hands every value that changed since the last time to `flush`.
    pub(super) fn flush(&mut self, flush: impl Fn(&mut T)) {
        for at in self.dirty.drain(..) {
            if let Some(slot) = &mut self.slots[at] {
                slot.is_dirty = false;
                flush(&mut slot.value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn requests_that_differ_in_anything_have_a_number_of_their_own() {
        let kinds = [
            (Origin::Local, "a", "x"),
            (Origin::Remote, "a", "x"),
            (Origin::Local, "b", "x"),
            (Origin::Local, "a", "y"),
            (Origin::Local, "", ""),
        ];
        let mut requests = Requests::default();
        for _ in 0..2 {
            for (number, (origin, protocol, method)) in kinds.into_iter().enumerate() {
                let found = requests.find(&What::Started { origin, protocol, method });
                assert_eq!(found.map(|request| request.index), Some(number));
            }
        }
        assert!(requests.find(&What::Close { code: 1000 }).is_none());
    }

    #[test]
    fn a_value_is_flushed_once_for_all_its_changes() {
        let mut values = ByRequest::default();
        for _ in 0..3 {
            *values.change(2, || 0) += 1;
        }
        let flushed = Cell::new(0);
        values.flush(|&mut value| flushed.set(flushed.get() + value));
        values.flush(|&mut value| flushed.set(flushed.get() + value));
        assert_eq!(flushed.get(), 3);
    }
}
