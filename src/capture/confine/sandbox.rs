//! A sandbox for the time after the start, when wstap only reads the ring buffer, answers HTTP and
//! writes to standard output.
//!
//! Landlock forbids access to files and TCP connections; seccomp forbids to start, trace or load
//! anything. Both bind the thread that enters and the threads that it creates. Where the kernel
//! lacks one of them, the other still applies: the sandbox is the second line of defence, after the
//! dropped capabilities.

use std::collections::BTreeMap;
use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// What a thread still has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Attach to processes that begin later: inspect them and open their files.
    Attach,
    /// Use only what is open already.
    Serve,
}

/// Confines this thread and all threads that it creates from now on. There is no way out.
///
/// # Errors
///
/// The kernel supports the sandbox and refuses to set it up.
pub fn enter(task: Task) -> io::Result<()> {
    if task == Task::Serve {
        // It also forbids access to other processes, which a thread that attaches needs.
        restrict_files()?;
    }
    // The order matters: installing a filter is a system call, which earlier filters judge.
    install(without_clone3()?)?;
    install(without(task)?)
}

/// Rules that the running kernel does not support are left out.
fn restrict_files() -> io::Result<()> {
    let abi = ABI::V6;
    // wstap reads its own figures there, and whether targets are alive.
    let proc = PathFd::new("/proc").map_err(io::Error::other)?;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(abi)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|ruleset| ruleset.add_rule(PathBeneath::new(proc, AccessFs::from_read(abi))))
        .and_then(RulesetCreated::restrict_self)
        .map(|_| ())
        .map_err(io::Error::other)
}

/// System calls that start programs, trace, load code, or change mounts, users and clocks.
const FORBIDDEN: [libc::c_long; 35] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    libc::SYS_personality,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
];

/// System calls that only attaching needs.
const FOR_ATTACHING: [libc::c_long; 2] = [libc::SYS_bpf, libc::SYS_perf_event_open];

fn without(task: Task) -> io::Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    rules.extend(FORBIDDEN.map(|call| (call, Vec::new())));
    if task == Task::Serve {
        rules.extend(FOR_ATTACHING.map(|call| (call, Vec::new())));
    }
    // New threads are allowed, new processes are not.
    let thread = libc::CLONE_THREAD as u64;
    let no_thread =
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), 0);
    let rule = no_thread.and_then(|condition| SeccompRule::new(vec![condition]));
    rules.insert(libc::SYS_clone, vec![rule.map_err(io::Error::other)?]);
    #[cfg(target_arch = "x86_64")]
    rules.extend([libc::SYS_fork, libc::SYS_vfork].map(|call| (call, Vec::new())));
    filter(rules, libc::EPERM)
}

/// A filter cannot see the flags of `clone3`, which are in memory. Where it is missing, the C library
/// uses `clone`.
fn without_clone3() -> io::Result<BpfProgram> {
    filter(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
}

fn filter(rules: BTreeMap<i64, Vec<SeccompRule>>, error: i32) -> io::Result<BpfProgram> {
    let architecture = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let answer = SeccompAction::Errno(error.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture)
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)
}

fn install(filter: BpfProgram) -> io::Result<()> {
    // It sets "no new privileges" first.
    seccompiler::apply_filter(&filter).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, net, process, thread};

    /// In a thread of its own: there is no way out.
    fn inside<R: Send + 'static>(task: Task, body: impl FnOnce() -> R + Send + 'static) -> R {
        let outcome = thread::spawn(move || {
            enter(task).expect("a sandbox");
            body()
        });
        outcome.join().expect("no panic")
    }

    #[test]
    fn nothing_can_be_started_but_threads() {
        for task in [Task::Serve, Task::Attach] {
            let (program, in_thread) = inside(task, || {
                let program = process::Command::new("/bin/true").spawn();
                (program.is_err(), thread::spawn(|| 7).join().expect("no panic"))
            });
            assert!(program, "{task:?}");
            assert_eq!(in_thread, 7, "{task:?}");
        }
    }

    #[test]
    fn one_that_only_serves_reads_and_writes_no_file_and_connects_to_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "text").unwrap();
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (read, written, own, connected) = inside(Task::Serve, move || {
            let read = fs::read(&file).is_ok();
            let written = fs::write(&file, "other").is_ok();
            let own = fs::read("/proc/self/stat").is_ok();
            (read, written, own, net::TcpStream::connect(address).is_ok())
        });
        assert!(own);
        // Landlock may be older than TCP rules (6.7), or not there at all.
        if has_landlock(4) {
            assert_eq!((read, written, connected), (false, false, false));
        }
    }

    fn has_landlock(version: i64) -> bool {
        // SAFETY: with these arguments the call only returns a number (landlock_create_ruleset(2)).
        let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) };
        abi >= version
    }

    #[test]
    fn one_that_attaches_reads_files() {
        assert!(inside(Task::Attach, || fs::read("/etc/passwd").is_ok()));
    }
}
