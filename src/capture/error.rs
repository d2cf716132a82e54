//! Why a target cannot be tapped, in sentences that name what is missing and what to do.

use std::path::Path;

use libbpf_rs::ErrorKind;

/// What went wrong on the privileged side.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such process (any more).
    #[error("no process with pid {0}")]
    NoSuchProcess(u32),
    /// The process has no TLS library that wstap can tap.
    #[error("{0}")]
    NoTls(String),
    /// There is no such program or control group to tap.
    #[error("{0}")]
    NoTarget(String),
    /// A capability is missing.
    #[error("{0}")]
    Privilege(String),
    /// The kernel is too old, or refuses.
    #[error("{0}")]
    Kernel(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// The kernel refused `attempt`, perhaps because a capability is missing.
    pub(super) fn privilege(attempt: &str, error: &dyn std::fmt::Display) -> Self {
        Self::Privilege(refusal(attempt, error, &super::confine::privilege::missing()))
    }

    /// Attaching to `path` failed.
    pub(super) fn attach(path: &Path, error: &libbpf_rs::Error) -> Self {
        match error.kind() {
            ErrorKind::PermissionDenied => {
                Self::privilege(&format!("attach probes to {}", path.display()), error)
            }
            _ => Self::Other(format!("failed to attach probes to {}: {error:#}", path.display())),
        }
    }
}

/// Does not suggest capabilities that are already held.
fn refusal(attempt: &str, error: &dyn std::fmt::Display, missing: &[String]) -> String {
    if missing.is_empty() {
        return format!(
            "not permitted to {attempt}: {error}. wstap has all capabilities that it needs, so \
             something else forbids it, such as a security module; `wstap doctor` tells more"
        );
    }
    format!(
        "not permitted to {attempt}: {error} (missing: {}); run it with sudo, or `wstap doctor` for \
         the least set of capabilities",
        missing.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_what_is_missing_and_asks_for_nothing_that_is_there() {
        let missing = ["CAP_BPF", "CAP_PERFMON"].map(String::from);
        let said = refusal("look into pid 1", &"EACCES", &missing);
        assert!(said.contains("missing: CAP_BPF, CAP_PERFMON") && said.contains("sudo"), "{said}");
        let said = refusal("look into pid 1", &"EACCES", &[]);
        assert!(said.contains("something else forbids it") && !said.contains("sudo"), "{said}");
    }
}
