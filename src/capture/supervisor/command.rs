//! A command that wstap starts itself, so that it is tapped from its first byte.
//!
//! The child waits before it runs the command until it is known to the kernel side, which then
//! stops it whenever what it has mapped changes, until its probes are in place. No other process is
//! ever stopped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::Error;
use crate::capture::confine::privilege::Powers;
use crate::capture::procfs::process;

/// A child that has not yet become the command.
#[derive(Debug)]
pub struct Launch {
    pid: u32,
    name: String,
    go: PipeWriter,
    begun: Receiver<io::Result<()>>,
}

impl Launch {
    /// Makes the child. It inherits standard input and output, and no ambient capability.
    ///
    /// # Errors
    ///
    /// There can be no more processes.
    ///
    /// # Panics
    ///
    /// Never: `command` has at least the program's name.
    pub fn prepare(command: &[OsString]) -> Result<Self, Error> {
        let [program, arguments @ ..] = command else {
            return Err(Error::Other("there is no command to run".into()));
        };
        let name = std::path::Path::new(program).file_name().unwrap_or(program);
        let name = name.to_string_lossy().into_owned();
        let (pid, begun, go) = fork(program, arguments)
            .map_err(|error| Error::Other(format!("cannot run {name}: {error}")))?;
        Ok(Self { pid, name, go, begun })
    }

    /// The child's process id, which will be the command's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The program's file name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets the child become the command.
    ///
    /// # Errors
    ///
    /// The command cannot be run.
    pub fn go(mut self) -> Result<(), Error> {
        let begun = self.go.write_all(&[1]);
        let begun = begun.and_then(|()| self.begun.recv().unwrap_or(Ok(())));
        begun.map_err(|error| Error::NoTarget(format!("cannot run {}: {error}", self.name)))
    }
}

/// So long after it was released a process is still watched for a stop that comes late.
const LATE_NS: u64 = 10_000_000_000;
/// A stop is in force within so long, mostly.
const PAUSES: [Duration; 3] =
    [Duration::ZERO, Duration::from_micros(50), Duration::from_micros(300)];

/// Lets processes that the kernel side stops go on.
///
/// It asks for the stop and reports why, but the stop may come into force after the report was
/// read: then a SIGCONT would come too early, and be lost. So a process is seen to be stopped first.
/// It cannot be stopped twice meanwhile.
#[derive(Debug, Default)]
pub(in crate::capture) struct Releases {
    /// Processes that were not seen to stop yet, and when that is given up.
    awaited: BTreeMap<u32, u64>,
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

    /// Looks for stops that came late. To be called often: it costs nothing when none is awaited.
    pub(in crate::capture) fn tend(&mut self, now_ns: u64) {
        self.awaited.retain(|&pid, &mut until_ns| now_ns < until_ns && !resume_stopped(pid));
    }

    /// Process `pid` has ended.
    pub(in crate::capture) fn forget(&mut self, pid: u32) {
        self.awaited.remove(&pid);
    }
}

/// `false` if it is not stopped.
fn resume_stopped(pid: u32) -> bool {
    if !process::is_stopped(pid) {
        return false;
    }
    // SAFETY: no memory is involved. That the process has ended meanwhile is no error; its pid is
    // not given to another one while the thread that waits for it has not returned.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGCONT) };
    true
}

type Forked = (u32, Receiver<io::Result<()>>, PipeWriter);

/// Forks on a thread of its own, which then waits for the child: spawning returns only when the
/// child has become the command.
fn fork(program: &OsString, arguments: &[OsString]) -> io::Result<Forked> {
    let (mut pid_from, pid_to) = io::pipe()?;
    let (go_from, go_to) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(arguments);
    let (waiting, writer) = (Waiting { pid_to, go_from }, go_to.as_raw_fd());
    // SAFETY: the closure only makes system calls, on descriptors that it owns.
    unsafe { command.pre_exec(move || waiting.wait(writer)) };
    let (sender, begun) = channel();
    thread::Builder::new().name("wstap-command".into()).spawn(move || {
        let spawned = command.spawn();
        // With it go this process's ends of the pipes.
        drop(command);
        match spawned {
            Ok(mut child) => {
                let _ = Powers::None.settle();
                let _ = sender.send(Ok(()));
                let _ = child.wait();
            }
            Err(error) => {
                let _ = sender.send(Err(error));
            }
        }
    })?;
    let mut pid = [0; 4];
    match pid_from.read_exact(&mut pid) {
        Ok(()) => Ok((u32::from_ne_bytes(pid), begun, go_to)),
        Err(error) => Err(begun.recv().ok().and_then(Result::err).unwrap_or(error)),
    }
}

/// What the child has between fork and exec.
struct Waiting {
    pid_to: PipeWriter,
    go_from: PipeReader,
}

impl Waiting {
    /// Runs in the child, where only system calls are safe.
    fn wait(&self, writer: RawFd) -> io::Result<()> {
        // SAFETY: no memory is involved. The descriptor is the child's copy of the parent's end:
        // without it the end of the parent is the end of the pipe. Should wstap be killed while
        // this process is stopped, the kernel lets it go on.
        unsafe {
            libc::close(writer);
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT);
            libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        }
        (&self.pid_to).write_all(&std::process::id().to_ne_bytes())?;
        (&self.go_from).read_exact(&mut [0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(pid: u32) {
        // SAFETY: no memory is involved; the process is a child that is not waited for yet.
        unsafe { libc::kill(pid.cast_signed(), libc::SIGSTOP) };
        while !process::is_stopped(pid) {
            thread::yield_now();
        }
    }

    /// The order in which reader and signal arrive is left to chance by the kernel.
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
        releases.tend(1);
        assert!(!process::is_stopped(pid));
        assert!(releases.awaited.is_empty());

        // Whoever stops it much later means it.
        releases.release(pid, 0);
        releases.tend(LATE_NS);
        stop(pid);
        releases.tend(LATE_NS + 1);
        assert!(process::is_stopped(pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
