//! Keeps plans: a file is planned once, however many processes map it.
//!
//! A process may load new files for as long as it runs, so the number of plans has a bound.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use wstap_symbols::{Error, Plan};

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

/// The plans, by the content that they are of.
#[derive(Debug, Default)]
pub(in crate::capture) struct Plans {
    plans: HashMap<ContentKey, Kept>,
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
    pub(in crate::capture) fn get(&mut self, key: &ContentKey) -> Option<Planned> {
        self.uses += 1;
        let kept = self.plans.get_mut(key)?;
        kept.last_use = self.uses;
        Some(kept.plan.clone())
    }

    /// Keeps the plan of this content.
    pub(in crate::capture) fn insert(&mut self, key: ContentKey, plan: Planned) {
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
