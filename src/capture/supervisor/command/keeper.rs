//! Lets the command go on if wstap ends while it is stopped, in whatever way wstap ends.
//!
//! The kernel side may stop the command until the last of wstap's BPF programs is gone. If wstap is
//! killed, that is when the kernel has closed its files. No thread of wstap runs then, and a signal
//! at its death (`PR_SET_PDEATHSIG`) may come before the last stop. So a process of its own waits
//! for that end. It sleeps until then, holds no capability, and ends with the command or with
//! wstap.

use std::ffi::CString;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_name};

/// How often the keeper checks whether the command is stopped, while wstap ends.
const PERIOD: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// For how many periods the keeper checks after wstap has ended. A stop that was asked for comes
/// within microseconds, on a busy machine within milliseconds.
const LAST_LOOKS: u32 = 100;

/// Starts the keeper of process `command`, a child of wstap.
///
/// # Errors
///
/// There can be no more processes or descriptors.
pub(super) fn start(command: u32) -> io::Result<()> {
    let (ends_with_wstap, alive) = io::pipe()?;
    let keeper = Keeper {
        ends_with_wstap,
        wstap: pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?,
        command: pidfd_open(pid(command)?, PidfdFlags::empty())?,
        stat: CString::new(format!("/proc/{command}/stat"))?,
    };
    // SAFETY: the child makes system calls only, on memory and descriptors that are there already,
    // and never returns.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => keeper.detach_and_run(),
        child => {
            // It ends at once, and its own child goes on. That one is not a child of wstap, so
            // nobody has to wait for it.
            let mut status = 0;
            // SAFETY: `status` is valid, and the child is not waited for by anyone else.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            // Never closed by wstap: the kernel closes it when wstap has ended. It comes before all
            // BPF programs, which have higher numbers.
            let _ = alive.into_raw_fd();
            if status == 0 { Ok(()) } else { Err(io::Error::other("no keeper can be started")) }
        }
    }
}

fn pid(pid: u32) -> io::Result<Pid> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// What the keeper waits for.
struct Keeper {
    ends_with_wstap: PipeReader,
    wstap: OwnedFd,
    command: OwnedFd,
    /// `/proc/PID/stat` of the command.
    stat: CString,
}

impl Keeper {
    fn detach_and_run(&self) -> ! {
        // SAFETY: as in `start`.
        let status = match unsafe { libc::fork() } {
            -1 => 1,
            0 => {
                self.run();
                0
            }
            _ => 0,
        };
        // SAFETY: nothing of wstap's is to be run at this end.
        unsafe { libc::_exit(status) }
    }

    /// Runs in the keeper's process, where only system calls are safe.
    fn run(&self) {
        self.let_go();
        let wstap_ends = self.ends_with_wstap.as_fd();
        // The keeper has closed its own copy of the other end, so the pipe ends when wstap does.
        if self.wait(wstap_ends, None) != Ended::Awaited {
            return;
        }
        while self.wait(self.wstap.as_fd(), Some(&PERIOD)) == Ended::Neither {
            self.resume();
        }
        for _ in 0..LAST_LOOKS {
            self.resume();
            if self.wait(self.command.as_fd(), Some(&PERIOD)) != Ended::Neither {
                return;
            }
        }
    }

    /// Gives up what it has inherited: signals that are meant for wstap, descriptors, capabilities.
    fn let_go(&self) {
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the set is initialised by the first call and read by the second.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::sigprocmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
        }
        let _ = set_name(c"wstap-keeper");
        let kept = [self.ends_with_wstap.as_fd(), self.wstap.as_fd(), self.command.as_fd()];
        close_all_but(kept);
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        let _ = set_capabilities(None, sets);
    }

    /// Waits for the end of `awaited` or of the command.
    fn wait(&self, awaited: BorrowedFd<'_>, timeout: Option<&Timespec>) -> Ended {
        let mut fds = [
            PollFd::from_borrowed_fd(awaited, PollFlags::IN),
            PollFd::from_borrowed_fd(self.command.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, timeout) {
            Ok(0) => Ended::Neither,
            Ok(_) if fds[1].revents().is_empty() => Ended::Awaited,
            _ => Ended::Command,
        }
    }

    fn resume(&self) {
        if self.is_stopped() {
            let _ = pidfd_send_signal(&self.command, Signal::CONT);
        }
    }

    fn is_stopped(&self) -> bool {
        let mut text = [0; 512];
        let Ok(stat) = openat(CWD, &self.stat, OFlags::RDONLY, Mode::empty()) else { return false };
        let Ok(length) = rustix::io::read(&stat, &mut text) else { return false };
        // The command's name is in parentheses and may contain any character.
        let after = text[..length].rsplit(|&byte| byte == b')').next();
        after.is_some_and(|fields| fields.starts_with(b" T"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Awaited,
    Command,
    Neither,
}

fn close_all_but<const N: usize>(kept: [BorrowedFd<'_>; N]) {
    use std::os::fd::AsRawFd;
    let mut kept = kept.map(|fd| fd.as_raw_fd().unsigned_abs());
    kept.sort_unstable();
    let mut first = 0;
    for fd in kept.into_iter().chain([u32::MAX]) {
        if fd > first {
            let last = if fd == u32::MAX { fd } else { fd - 1 };
            // SAFETY: this process has one thread, which uses none of these descriptors.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
        first = fd.saturating_add(1);
    }
}
