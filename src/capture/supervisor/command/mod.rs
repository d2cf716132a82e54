//! A command that wstap starts itself, so that it is tapped from its first byte.
//!
//! The child process waits before it runs the command, until the kernel side taps it. From then on
//! the kernel side stops it whenever it runs a program or loads a library, and wstap lets it go on
//! when its probes are in place. No other process is ever stopped. If wstap is killed meanwhile, a
//! keeper lets the command go on ([`keeper`]).

mod keeper;
mod releases;

use std::ffi::{CString, OsString};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::capture::Error;
use crate::capture::confine::privilege::Powers;

pub(in crate::capture) use releases::Releases;

/// The child process that will run the command, and waits until it may.
#[derive(Debug)]
pub struct Launch {
    pid: u32,
    name: String,
    go: PipeWriter,
    begun: Receiver<io::Result<()>>,
}

impl Launch {
    /// Makes the child process. It inherits standard input, output and error, the limits of wstap at
    /// this moment, and no ambient capability.
    ///
    /// # Errors
    ///
    /// The kernel makes no more processes.
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
        let failed = |error| Error::Other(format!("cannot run {name}: {error}"));
        let (pid, begun, go) = fork(program, arguments, &name).map_err(failed)?;
        keeper::start(pid).map_err(failed)?;
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

type Forked = (u32, Receiver<io::Result<()>>, PipeWriter);

/// Makes the child on a thread of its own, because `Command::spawn` returns only when the child has
/// become the command. The thread then waits for its end.
fn fork(program: &OsString, arguments: &[OsString], name: &str) -> io::Result<Forked> {
    let (mut pid_from, pid_to) = io::pipe()?;
    let (go_from, go_to) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(arguments);
    let waiting = Waiting { name: CString::new(name)?, pid_to, go_from };
    let writer = go_to.as_raw_fd();
    // SAFETY: the closure only makes system calls, on descriptors that it owns.
    unsafe { command.pre_exec(move || waiting.wait(writer)) };
    let (sender, begun) = channel();
    thread::Builder::new().name("wstap-command".into()).spawn(move || {
        let spawned = command.spawn();
        // This closes the ends of the pipes that belong to the child.
        drop(command);
        match spawned {
            Ok(mut child) => {
                let _ = Powers::None.keep_only();
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

/// What the child does between fork and exec.
struct Waiting {
    /// The name of the command, which the child has from the beginning.
    name: CString,
    pid_to: PipeWriter,
    go_from: PipeReader,
}

impl Waiting {
    /// Runs in the child, where only system calls are safe. It fails if wstap ends before it has
    /// let the command run. Then the child ends, too.
    fn wait(&self, writer: RawFd) -> io::Result<()> {
        // SAFETY: this is the child's own copy of wstap's end of the pipe, and nothing else in the
        // child uses it. Only without it does the pipe end when wstap does.
        unsafe { rustix::io::close(writer) };
        let _ = rustix::thread::set_name(&self.name);
        // Kernels before 4.3 have no ambient set.
        let _ = rustix::thread::clear_ambient_capability_set();
        (&self.pid_to).write_all(&std::process::id().to_ne_bytes())?;
        (&self.go_from).read_exact(&mut [0])
    }
}
