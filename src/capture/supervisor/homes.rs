//! Tells another thread where tapped processes are at home, before anything of them can be seen.
//!
//! The decode thread may not read `/proc`, and what it observes carries a pid only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::capture::procfs::cgroup::Home;
use crate::event::TargetId;

/// What has become of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// It is going to be tapped for this target, or has moved: this is its home.
    To(TargetId, Home),
    /// It has ended.
    Ended,
}

/// Moves of processes, from the supervisor to one listener. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Homes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    moves: Mutex<Vec<(u32, Move)>>,
    has_news: AtomicBool,
}

impl Homes {
    /// Says what has become of process `pid`.
    pub(super) fn tell(&self, pid: u32, what: Move) {
        self.0.moves.lock().unwrap_or_else(PoisonError::into_inner).push((pid, what));
        self.0.has_news.store(true, Ordering::Release);
    }

    /// Takes what was told since the last call, oldest first. Costs one look where nothing was. Whoever
    /// wants to hear must ask regularly: nothing is left out until then.
    #[must_use]
    pub fn take(&self) -> Vec<(u32, Move)> {
        if !self.0.has_news.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut moves = self.0.moves.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.has_news.store(false, Ordering::Release);
        std::mem::take(&mut *moves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_taken_once_and_in_order() {
        let homes = Homes::default();
        assert!(homes.take().is_empty());
        homes.tell(7, Move::To(TargetId(1), Home::default()));
        homes.clone().tell(7, Move::Ended);
        let taken = homes.take();
        assert_eq!(taken, [(7, Move::To(TargetId(1), Home::default())), (7, Move::Ended)]);
        assert!(homes.take().is_empty());
    }
}
