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
    /// `attempt` was refused for want of privilege.
    pub(super) fn privilege(attempt: &str, error: &dyn std::fmt::Display) -> Self {
        let missing = super::privilege::missing();
        let missing = if missing.is_empty() {
            String::from("all capabilities that wstap knows to need are there")
        } else {
            format!("missing: {}", missing.join(", "))
        };
        Self::Privilege(format!(
            "not permitted to {attempt}: {error} ({missing}); run it with sudo, or `wstap doctor` \
             for the least set of capabilities"
        ))
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
