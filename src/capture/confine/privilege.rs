//! Which capabilities wstap needs, which of them it lacks, and how it lets go of them.
//!
//! Capabilities belong to threads. Only the thread that attaches ever uses any, and between two
//! attachments they are not in effect there either.

use caps::{CapSet, Capability, CapsHashSet};

use crate::capture::kernel::{self, Version};

/// What each capability is needed for, in the order in which a start needs them.
const NEEDED: [(Capability, &str); 4] = [
    (Capability::CAP_BPF, "load BPF programs"),
    (Capability::CAP_PERFMON, "let them read the target's memory"),
    (Capability::CAP_SYS_PTRACE, "look into another user's process in /proc"),
    (Capability::CAP_DAC_READ_SEARCH, "open its files whatever their mode"),
];

/// Good to have: `/proc/PID/map_files` leads to files that have no path any more.
const WELCOME: (Capability, &str) =
    (Capability::CAP_CHECKPOINT_RESTORE, "tap a library that was deleted or replaced on disk");

/// From here on probes attach through `uprobe_multi` links. Older kernels use perf events, which
/// ask for CAP_SYS_ADMIN.
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

/// The capability that only unusual targets need, if it is missing, and what for.
#[must_use]
pub fn missing_welcome() -> Option<(String, &'static str)> {
    let (capability, what_for) = WELCOME;
    // CAP_SYS_ADMIN includes it.
    let usable = usable();
    let has = usable.contains(&capability) || usable.contains(&Capability::CAP_SYS_ADMIN);
    (!has).then(|| (capability.to_string(), what_for))
}

/// Effective now, or after [`Powers::raise`].
fn usable() -> CapsHashSet {
    caps::read(None, CapSet::Permitted).unwrap_or_default()
}

/// What the thread that attaches keeps for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Powers {
    /// All that it came with, in effect all the time: while it starts.
    All,
    /// What attaching needs, in effect only while something is attached.
    Attaching,
    /// Nothing, for good.
    None,
}

impl Powers {
    /// Lets go, in this thread, of everything but that.
    ///
    /// # Errors
    ///
    /// The kernel refuses, which it never does.
    pub fn settle(self) -> Result<(), caps::errors::CapsError> {
        let kept: CapsHashSet = match self {
            Self::All => return Ok(()),
            Self::Attaching => {
                let wanted = needed().into_iter().map(|(capability, _)| capability);
                wanted.chain([WELCOME.0]).filter(|it| usable().contains(it)).collect()
            }
            Self::None => CapsHashSet::new(),
        };
        // Without CAP_SETPCAP the bounding set stays, and means nothing: nothing is executed.
        for capability in caps::all().difference(&kept) {
            let _ = caps::drop(None, CapSet::Bounding, *capability);
        }
        // Kernels before 4.3 have no ambient set.
        let _ = caps::clear(None, CapSet::Ambient);
        caps::clear(None, CapSet::Effective)?;
        caps::set(None, CapSet::Permitted, &kept)?;
        caps::clear(None, CapSet::Inheritable)
    }

    /// Puts in effect what is kept, until the result is dropped.
    #[must_use]
    pub fn raise(self) -> Raised {
        if self == Self::Attaching {
            // A failure shows as a refusal of what is then tried, and is told as that.
            let _ = caps::set(None, CapSet::Effective, &usable());
        }
        Raised(self)
    }
}

/// Capabilities are in effect as long as this lives.
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
            Powers::Attaching.settle().unwrap();
            let at_rest = caps::read(None, CapSet::Effective).unwrap();
            let kept = usable();
            let raised = Powers::Attaching.raise();
            let in_effect = caps::read(None, CapSet::Effective).unwrap();
            drop(raised);
            assert!(at_rest.is_empty());
            assert!(kept.is_subset(&before) && kept.len() <= NEEDED.len() + 2);
            assert_eq!(in_effect, kept);
            assert!(caps::read(None, CapSet::Effective).unwrap().is_empty());
            Powers::None.settle().unwrap();
            assert!(usable().is_empty());
            drop(Powers::None.raise());
            assert!(usable().is_empty());
        });
        settled.join().unwrap();
    }
}
