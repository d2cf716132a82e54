//! Values for each kind of request, found without allocating.

use rustc_hash::FxHashMap;

use crate::observation::Origin;

/// What tells one target's kinds of requests apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) origin: Origin,
    pub(super) protocol: &'a str,
    pub(super) method: &'a str,
}

/// A value for each kind of request, and a note of those that changed.
///
/// Bounded by the decoder, which folds methods into `__other__` and knows a closed set of
/// protocols.
#[derive(Debug)]
pub(super) struct ByRequest<T> {
    slots: Vec<Slot<T>>,
    /// By origin.
    index: [ByProtocol; 2],
    /// The last one used, by origin: most traffic repeats itself.
    recent: [Option<usize>; 2],
    /// Indices of slots that changed since the last flush.
    dirty: Vec<usize>,
}

// A hash that a peer could provoke collisions in will do: the decoder lets through so few names.
type ByProtocol = FxHashMap<Box<str>, ByMethod>;
/// To an index into `ByRequest::slots`.
type ByMethod = FxHashMap<Box<str>, usize>;

#[derive(Debug)]
struct Slot<T> {
    protocol: Box<str>,
    method: Box<str>,
    /// It is in the list of the dirty ones.
    is_dirty: bool,
    value: T,
}

impl<T> Default for ByRequest<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), index: Default::default(), recent: [None; 2], dirty: Vec::new() }
    }
}

impl<T> ByRequest<T> {
    /// The value to change for this kind of request, made by `new` where it is the first.
    pub(super) fn change(&mut self, request: Request<'_>, new: impl FnOnce() -> T) -> &mut T {
        let at = self.find(request, new);
        let slot = &mut self.slots[at];
        if !std::mem::replace(&mut slot.is_dirty, true) {
            self.dirty.push(at);
        }
        &mut slot.value
    }

    /// Hands every value that changed since the last time to `flush`.
    pub(super) fn flush(&mut self, flush: impl Fn(&mut T)) {
        for at in self.dirty.drain(..) {
            let slot = &mut self.slots[at];
            slot.is_dirty = false;
            flush(&mut slot.value);
        }
    }

    fn find(&mut self, request: Request<'_>, new: impl FnOnce() -> T) -> usize {
        let Request { origin, protocol, method } = request;
        let index = &mut self.index[origin as usize];
        let recent = &mut self.recent[origin as usize];
        if let Some(at) = *recent
            && *self.slots[at].method == *method
            && *self.slots[at].protocol == *protocol
        {
            return at;
        }
        let known = index.get(protocol).and_then(|methods| methods.get(method));
        let at = known.copied().unwrap_or_else(|| {
            let (protocol, method) = (Box::from(protocol), Box::from(method));
            index
                .entry(Box::clone(&protocol))
                .or_default()
                .insert(Box::clone(&method), self.slots.len());
            self.slots.push(Slot { protocol, method, is_dirty: false, value: new() });
            self.slots.len() - 1
        });
        *recent = Some(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn request<'a>(origin: Origin, protocol: &'a str, method: &'a str) -> Request<'a> {
        Request { origin, protocol, method }
    }

    #[test]
    fn requests_that_differ_in_anything_have_their_own_value() {
        let requests = [
            request(Origin::Local, "a", "x"),
            request(Origin::Remote, "a", "x"),
            request(Origin::Local, "b", "x"),
            request(Origin::Local, "a", "y"),
            request(Origin::Local, "", ""),
        ];
        let mut values = ByRequest::default();
        for (i, request) in requests.into_iter().enumerate() {
            assert_eq!(*values.change(request, || i), i);
        }
        for (i, request) in requests.into_iter().enumerate() {
            assert_eq!(*values.change(request, || unreachable!()), i);
        }
    }

    #[test]
    fn a_value_is_flushed_once_for_all_its_changes() {
        let mut values = ByRequest::default();
        for _ in 0..3 {
            *values.change(request(Origin::Local, "a", "x"), || 0) += 1;
        }
        let flushed = Cell::new(0);
        values.flush(|&mut value| flushed.set(flushed.get() + value));
        values.flush(|&mut value| flushed.set(flushed.get() + value));
        assert_eq!(flushed.get(), 3);
    }
}
