//! Keeps plans: a file is planned once, however many processes map it and however many threads ask for it.
//!
//! A process may load new files for as long as it runs, so the number of plans has a bound.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use wstap_symbols::{Error, Plan};

use super::file::progress::Progress;
use super::process::FileId;

/// What identifies the content of a file well enough to plan it once: which file it is, its length
/// in bytes and its time of change.
pub(in crate::capture) type ContentKey = (FileId, u64, Option<SystemTime>);

/// Plans that are kept, more than the processes of a machine have files mapped. When there are
/// more, the half that was used longest ago is forgotten. A forgotten plan is made again when it is
/// needed.
const PLANS_MAX: usize = 4096;

/// The result of planning a file. A refusal is kept too, because it may have taken long.
pub(in crate::capture) type Planned = Result<Arc<Plan>, Error>;

/// How often a thread looks how far another one is that makes the plan which both need.
const LOOK: Duration = Duration::from_millis(20);

/// The plans of all threads.
#[derive(Debug, Default)]
pub(in crate::capture) struct SharedPlans {
    plans: Mutex<Plans>,
    /// One more plan is made, or was given up.
    is_made: Condvar,
}

impl SharedPlans {
    /// The plan of this content: the one that is kept, or the one that another thread is making, or what
    /// `make` makes. `progress` tells how far it is, whoever makes it.
    ///
    /// # Errors
    ///
    /// As `make`. That is not kept.
    pub(in crate::capture) fn get_or_make(
        &self,
        key: ContentKey,
        progress: &Arc<Progress>,
        make: impl FnOnce() -> io::Result<Planned>,
    ) -> io::Result<Planned> {
        let mut plans = self.lock();
        loop {
            if let Some(plan) = plans.get(&key) {
                return Ok(plan);
            }
            let Some(maker) = plans.begun.get(&key).cloned() else { break };
            progress.follow(&maker);
            let waited = self.is_made.wait_timeout(plans, LOOK);
            plans = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        plans.begun.insert(key, Arc::clone(progress));
        drop(plans);
        let _making = Making { plans: self, key };
        let plan = make()?;
        self.lock().insert(key, plan.clone());
        Ok(plan)
    }

    fn lock(&self) -> MutexGuard<'_, Plans> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plan is being made, for as long as this lives. If it comes to nothing, another thread may try.
struct Making<'a> {
    plans: &'a SharedPlans,
    key: ContentKey,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.plans.lock().begun.remove(&self.key);
        self.plans.is_made.notify_all();
    }
}

/// The plans, by the content that they are of.
#[derive(Debug, Default)]
struct Plans {
    plans: HashMap<ContentKey, Kept>,
    /// Those that are being made, and how far they are.
    begun: HashMap<ContentKey, Arc<Progress>>,
    /// Counts what was asked for: the order of last use.
    uses: u64,
}

#[derive(Debug)]
struct Kept {
    plan: Planned,
    last_use: u64,
}

impl Plans {
    /// The plan of this content, if it is kept.
    fn get(&mut self, key: &ContentKey) -> Option<Planned> {
        self.uses += 1;
        let kept = self.plans.get_mut(key)?;
        kept.last_use = self.uses;
        Some(kept.plan.clone())
    }

    /// Keeps the plan of this content.
    fn insert(&mut self, key: ContentKey, plan: Planned) {
        if self.plans.len() >= PLANS_MAX {
            self.forget_half();
        }
        self.uses += 1;
        self.plans.insert(key, Kept { plan, last_use: self.uses });
    }

    fn forget_half(&mut self) {
        let mut uses: Vec<u64> = self.plans.values().map(|kept| kept.last_use).collect();
        let (_, &mut middle, _) = uses.select_nth_unstable(PLANS_MAX / 2);
        self.plans.retain(|_, kept| kept.last_use >= middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(inode: usize) -> ContentKey {
        (FileId { device: 1, inode: inode as u64 }, 4096, None)
    }

    #[test]
    fn a_process_that_loads_new_files_for_ever_does_not_make_it_grow() {
        let mut plans = Plans::default();
        let plan = Arc::new(Plan::default());
        for number in 0..10 * PLANS_MAX {
            plans.insert(key(number), Ok(Arc::clone(&plan)));
            assert!(plans.plans.len() <= PLANS_MAX);
            // What everybody maps.
            assert!(plans.get(&key(0)).is_some());
        }
        assert!(plans.get(&key(1)).is_none(), "used longest ago");
        assert!(plans.get(&key(10 * PLANS_MAX - PLANS_MAX / 2)).is_some(), "used lately");
        assert_eq!(Arc::strong_count(&plan), plans.plans.len() + 1, "the others are freed");
    }

    /// Two threads that need one plan make it once, and both see how far it is.
    #[test]
    fn a_plan_that_is_being_made_is_waited_for() {
        let plans = SharedPlans::default();
        let made = std::sync::atomic::AtomicUsize::new(0);
        let make = || {
            std::thread::sleep(10 * LOOK);
            made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(Ok(Arc::new(Plan::default())))
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| plans.get_or_make(key(1), &Arc::default(), make).unwrap().unwrap());
            }
        });
        assert_eq!(made.into_inner(), 1);
        assert!(plans.lock().begun.is_empty());
    }

    #[test]
    fn a_plan_that_came_to_nothing_is_made_by_the_next_who_asks() {
        let plans = SharedPlans::default();
        let fails = || Err(io::ErrorKind::UnexpectedEof.into());
        assert!(plans.get_or_make(key(1), &Arc::default(), fails).is_err());
        let panics = || panic!("as a planner with a bug");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            plans.get_or_make(key(1), &Arc::default(), panics)
        }));
        assert!(panicked.is_err());
        let made = plans.get_or_make(key(1), &Arc::default(), || Ok(Ok(Arc::default())));
        assert!(made.unwrap().is_ok());
    }

    #[test]
    fn a_file_of_another_length_or_time_is_another_content() {
        let mut plans = Plans::default();
        plans.insert(key(1), Ok(Arc::new(Plan::default())));
        let (file, length, _) = key(1);
        assert!(plans.get(&key(1)).is_some());
        assert!(plans.get(&(file, length + 1, None)).is_none());
        assert!(plans.get(&(file, length, Some(SystemTime::UNIX_EPOCH))).is_none());
    }
}
