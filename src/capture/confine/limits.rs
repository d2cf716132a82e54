//! Limits of wstap's own process, set once before anything is tapped.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Raises the number of files that may be open to the highest that is allowed: every probed file
/// takes some descriptors. To be called after a command was started, which inherits the limits.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Where it is refused wstap has fewer probes, and says so when it runs out.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

/// Forbids core dumps, and keeps other processes of the same user from reading this one: plaintext
/// will be in its memory. The limit alone would not do, because a core may be piped to a program
/// whatever it is (`core(5)`).
pub fn forbid_core_dumps() {
    let limit = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, limit);
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!("a core dump of wstap could hold plaintext: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_descriptors_that_are_allowed_can_be_used() {
        raise_descriptors();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
