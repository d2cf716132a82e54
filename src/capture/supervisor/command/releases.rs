//! Lets the command go on after the kernel side has stopped it.
//!
//! The kernel side asks for the stop and reports it, but the report may be read before the process
//! has stopped. A SIGCONT would then come too early and have no effect. So the process is continued
//! only once it is seen to be stopped. It cannot be stopped twice meanwhile.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::capture::procfs::process;

/// A stop that comes later than this after the release is not wstap's.
const LATE_NS: u64 = 10_000_000_000;
/// Most processes have stopped after one of these waits.
const PAUSES: [Duration; 3] =
    [Duration::ZERO, Duration::from_micros(50), Duration::from_micros(300)];

/// The stops that wstap waits for.
#[derive(Debug, Default)]
pub(in crate::capture) struct Releases {
    /// Processes that have not stopped yet, and when to stop waiting for that.
    awaited: BTreeMap<u32, u64>,
    /// The command, while it is to stay stopped.
    held_back: Option<u32>,
}

impl Releases {
    /// Lets process `pid` go on: now, or as soon as it has stopped.
    pub(in crate::capture) fn release(&mut self, pid: u32, now_ns: u64) {
        let resumed = PAUSES.into_iter().any(|pause| {
            thread::sleep(pause);
            resume_stopped(pid)
        });
        if !resumed {
            self.awaited.insert(pid, now_ns + LATE_NS);
        }
    }

    /// Continues processes that have stopped late. To be called often: it costs nothing when none is
    /// awaited.
    pub(in crate::capture) fn poll(&mut self, now_ns: u64) {
        self.awaited.retain(|&pid, &mut until_ns| now_ns < until_ns && !resume_stopped(pid));
    }

    /// Whether a stop has not come yet.
    pub(in crate::capture) fn are_awaited(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Notes whether process `pid` is to stay stopped for now.
    pub(in crate::capture) fn hold_back(&mut self, pid: u32, is_held_back: bool) {
        self.held_back = is_held_back.then_some(pid);
    }

    /// Whether process `pid` is to stay stopped for now.
    pub(in crate::capture) fn is_held_back(&self, pid: u32) -> bool {
        self.held_back == Some(pid)
    }

    /// Process `pid` has ended.
    pub(in crate::capture) fn forget(&mut self, pid: u32) {
        self.held_back.take_if(|it| *it == pid);
        self.awaited.remove(&pid);
    }
}

/// Continues the process if it is stopped; `false` if it is not.
fn resume_stopped(pid: u32) -> bool {
    if !process::is_stopped(pid) {
        return false;
    }
    // It may have ended. The kernel does not give its pid to another process before its parent, a
    // thread of wstap, has waited for it.
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::CONT);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn stop(pid: u32) {
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::STOP).unwrap();
        while !process::is_stopped(pid) {
            thread::yield_now();
        }
    }

    /// The report may be read before or after the signal has arrived.
    #[test]
    fn a_process_goes_on_whether_its_stop_comes_before_or_after_its_release() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let mut releases = Releases::default();
        stop(pid);
        releases.release(pid, 0);
        assert!(!process::is_stopped(pid));
        assert!(releases.awaited.is_empty());

        releases.release(pid, 0);
        stop(pid);
        releases.poll(1);
        assert!(!process::is_stopped(pid));
        assert!(releases.awaited.is_empty());

        // A stop that comes much later is not wstap's.
        releases.release(pid, 0);
        releases.poll(LATE_NS);
        stop(pid);
        releases.poll(LATE_NS + 1);
        assert!(process::is_stopped(pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
