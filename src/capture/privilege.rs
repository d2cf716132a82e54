//! Which capabilities wstap needs, and which of them it lacks.

use caps::{CapSet, Capability};

use super::kernel::{self, Version};

/// What each capability is needed for, in the order in which a start needs them.
const NEEDED: [(Capability, &str); 4] = [
    (Capability::CAP_BPF, "load BPF programs"),
    (Capability::CAP_PERFMON, "let them read the target's memory"),
    (Capability::CAP_SYS_PTRACE, "look into another user's process in /proc"),
    (Capability::CAP_DAC_READ_SEARCH, "open its files whatever their mode"),
];

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

/// Names of the needed capabilities that are not in the effective set.
#[must_use]
pub fn missing() -> Vec<String> {
    let effective = caps::read(None, CapSet::Effective).unwrap_or_default();
    needed()
        .into_iter()
        .filter(|(capability, _)| !effective.contains(capability))
        .map(|(capability, _)| capability.to_string())
        .collect()
}
