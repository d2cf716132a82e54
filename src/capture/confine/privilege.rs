//! Which capabilities wstap needs, which of them it lacks, and how it drops them.
//!
//! Capabilities belong to threads. Only the threads that attach probes and read images use any, and
//! only while they do that; in between the capabilities are permitted, but not effective.

use caps::{CapSet, Capability, CapsHashSet};

use crate::capture::kernel::{self, Version};

/// What each capability is needed for, in the order in which a start needs them.
const NEEDED: [(Capability, &str); 4] = [
    (Capability::CAP_BPF, "load BPF programs"),
    (Capability::CAP_PERFMON, "let them read the target's memory"),
    (Capability::CAP_SYS_PTRACE, "look into another user's process in /proc"),
    (Capability::CAP_DAC_READ_SEARCH, "open its files whatever their mode"),
];

/// Needed for some targets only: `/proc/PID/map_files` leads to files that have no path any more.
const WELCOME: (Capability, &str) =
    (Capability::CAP_CHECKPOINT_RESTORE, "tap a library that was deleted or replaced on disk");

/// The first kernel with `uprobe_multi` links. On older ones probes are perf events, which need
/// CAP_SYS_ADMIN.
const MULTI: Version = Version { major: 6, minor: 6 };

/// The capabilities that this kernel asks for, with what for.
#[must_use]
pub fn needed() -> Vec<(Capability, &'static str)> {
    let mut needed = NEEDED.to_vec();
    if kernel::parse_release(&kernel::release()).is_some_and(|version| version < MULTI) {
        needed.push((Capability::CAP_SYS_ADMIN, "attach uprobes on a kernel before 6.6"));
    }
    needed
}

/// Names of the needed capabilities that this thread cannot use.
#[must_use]
pub fn missing() -> Vec<String> {
    let usable = usable();
    needed()
        .into_iter()
        .filter(|(capability, _)| !usable.contains(capability))
        .map(|(capability, _)| capability.to_string())
        .collect()
}

/// The capability that only some targets need, if it is missing, and what it is for.
#[must_use]
pub fn missing_welcome() -> Option<(String, &'static str)> {
    let (capability, what_for) = WELCOME;
    // CAP_SYS_ADMIN includes it.
    let usable = usable();
    let has = usable.contains(&capability) || usable.contains(&Capability::CAP_SYS_ADMIN);
    (!has).then(|| (capability.to_string(), what_for))
}

/// The capabilities that are effective now, or would be after [`Powers::raise`].
fn usable() -> CapsHashSet {
    caps::read(None, CapSet::Permitted).unwrap_or_default()
}

/// The capabilities that a thread keeps for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Powers {
    /// All that wstap was started with, always effective: during the start.
    All,
    /// Those that attaching needs, effective only while something is attached.
    Attaching,
    /// None, for good.
    None,
}

impl Powers {
    /// Drops all other capabilities of this thread.
    ///
    /// # Errors
    ///
    /// The kernel refuses. It never does: giving up needs no privilege.
    pub fn keep_only(self) -> Result<(), caps::errors::CapsError> {
        let kept: CapsHashSet = match self {
            Self::All => return Ok(()),
            Self::Attaching => {
                let wanted = needed().into_iter().map(|(capability, _)| capability);
                wanted.chain([WELCOME.0]).filter(|it| usable().contains(it)).collect()
            }
            Self::None => CapsHashSet::new(),
        };
        // Without CAP_SETPCAP the bounding set stays. It matters only to programs that this thread
        // would execute, and it executes none.
        for capability in caps::all().difference(&kept) {
            let _ = caps::drop(None, CapSet::Bounding, *capability);
        }
        // Kernels before 4.3 have no ambient set.
        let _ = caps::clear(None, CapSet::Ambient);
        caps::clear(None, CapSet::Effective)?;
        caps::set(None, CapSet::Permitted, &kept)?;
        caps::clear(None, CapSet::Inheritable)
    }

    /// Makes the kept capabilities effective until the result is dropped.
    #[must_use]
    pub fn raise(self) -> Raised {
        if self == Self::Attaching {
            // If this fails, the kernel refuses what is tried next, and that is reported.
            let _ = caps::set(None, CapSet::Effective, &usable());
        }
        Raised(self)
    }
}

/// Keeps capabilities effective as long as it lives.
#[derive(Debug)]
pub struct Raised(Powers);

impl Drop for Raised {
    fn drop(&mut self) {
        if self.0 == Powers::Attaching {
            let _ = caps::clear(None, CapSet::Effective);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a thread of its own, so that no other test is concerned.
    #[test]
    fn a_thread_that_settles_for_less_has_nothing_in_effect_until_it_raises_it() {
        let settled = std::thread::spawn(|| {
            let before = usable();
            Powers::Attaching.keep_only().unwrap();
            let at_rest = caps::read(None, CapSet::Effective).unwrap();
            let kept = usable();
            let raised = Powers::Attaching.raise();
            let in_effect = caps::read(None, CapSet::Effective).unwrap();
            drop(raised);
            assert!(at_rest.is_empty());
            assert!(kept.is_subset(&before) && kept.len() <= NEEDED.len() + 2);
            assert_eq!(in_effect, kept);
            assert!(caps::read(None, CapSet::Effective).unwrap().is_empty());
            Powers::None.keep_only().unwrap();
            assert!(usable().is_empty());
            drop(Powers::None.raise());
            assert!(usable().is_empty());
        });
        settled.join().unwrap();
    }
}
