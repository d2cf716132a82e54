//! Collects the processes that the kernel does not let wstap look into, and says what to do about it.
//! `ps` and `doctor` print it.

use std::io;

use crate::capture::confine::privilege;
use crate::capture::procfs::process::{self, Process};

/// The capability that lets wstap look into other users' processes.
const CAPABILITY: &str = "CAP_SYS_PTRACE";
/// At most this many processes are named in a sentence.
const NAMED_MAX: usize = 3;

/// The processes that the kernel does not let wstap look into.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// Pid and name, in order of pid.
    processes: Vec<(u32, String)>,
}

/// Why the kernel refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The processes belong to other users, and wstap lacks the capability.
    Capability,
    /// wstap has the capability, but something else forbids it, such as a security module.
    Protection,
}

impl Refused {
    /// Tries to look into every process.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be listed.
    pub(super) fn find() -> io::Result<Self> {
        let mut refused = Self::default();
        for process in process::all()? {
            if let Err(error) = process::executable_files(process.pid) {
                refused.note(&process, &error);
            }
        }
        Ok(refused)
    }

    /// Keeps the process if `error` is a refusal. A process that has ended meanwhile is not refused,
    /// and a kernel thread has nothing to look into.
    pub(super) fn note(&mut self, process: &Process, error: &io::Error) {
        let is_refusal = error.kind() == io::ErrorKind::PermissionDenied;
        if is_refusal && !process::is_kernel_thread(process.pid) {
            self.processes.push((process.pid, process.comm.clone()));
        }
    }

    /// Why processes were refused; `None` if none was.
    pub(super) fn cause(&self) -> Option<Cause> {
        if self.processes.is_empty() {
            return None;
        }
        let lacks = privilege::missing().iter().any(|missing| missing == CAPABILITY);
        Some(if lacks { Cause::Capability } else { Cause::Protection })
    }

    /// Says how many processes are refused, and why.
    pub(super) fn sentence(&self, cause: Cause) -> String {
        let count = self.processes.len();
        let processes = if count == 1 { "process" } else { "processes" };
        let refusal = format!("{count} {processes} may not be looked into");
        match cause {
            Cause::Capability => format!("{refusal} without {CAPABILITY}"),
            Cause::Protection => format!("{refusal} even with {CAPABILITY}: {}", self.names()),
        }
    }

    fn names(&self) -> String {
        let named = self.processes.iter().take(NAMED_MAX);
        let mut names: Vec<_> = named.map(|(pid, comm)| format!("pid {pid} ({comm})")).collect();
        if let Some(more) = self.processes.len().checked_sub(NAMED_MAX).filter(|&more| more > 0) {
            names.push(format!("and {more} more"));
        }
        names.join(", ")
    }
}

impl Cause {
    /// The one thing to do about it.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Capability => "run it with sudo",
            Self::Protection => {
                "nothing to do unless one of them is to be tapped; then see what protects it: a \
                 security module, or a user namespace outside of wstap's"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(count: u32) -> Refused {
        Refused { processes: (1..=count).map(|pid| (pid, format!("p{pid}"))).collect() }
    }

    #[test]
    fn a_missing_capability_is_named_and_sudo_gives_it() {
        assert_eq!(
            refused(2).sentence(Cause::Capability),
            "2 processes may not be looked into without CAP_SYS_PTRACE"
        );
        assert!(Cause::Capability.remedy().contains("sudo"));
    }

    #[test]
    fn who_has_the_capability_is_not_told_to_get_it() {
        assert_eq!(
            refused(1).sentence(Cause::Protection),
            "1 process may not be looked into even with CAP_SYS_PTRACE: pid 1 (p1)"
        );
        assert!(refused(3).sentence(Cause::Protection).ends_with("pid 2 (p2), pid 3 (p3)"));
        assert!(refused(5).sentence(Cause::Protection).ends_with("pid 3 (p3), and 2 more"));
        assert!(!Cause::Protection.remedy().contains("sudo"));
    }

    #[test]
    fn what_has_ended_and_what_has_no_files_is_not_refused() {
        let me = Process::read(std::process::id()).expect("this process");
        let mut refused = Refused::default();
        refused.note(&me, &io::ErrorKind::NotFound.into());
        assert!(refused.cause().is_none());
        // kthreadd, where the kernel's threads can be seen.
        if let Some(thread) = Process::read(2).ok().filter(|it| it.comm == "kthreadd") {
            refused.note(&thread, &io::ErrorKind::PermissionDenied.into());
            assert!(refused.cause().is_none());
        }
        refused.note(&me, &io::ErrorKind::PermissionDenied.into());
        assert!(refused.cause().is_some());
    }
}
