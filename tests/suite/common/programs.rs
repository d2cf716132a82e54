//! Programs that tests run: found or skipped, and ended when the test is over.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command};

/// Where `make deps-test` unpacks Debian's packages.
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers/debian/usr/bin");

/// The path of `program`, or `None` where the test is to be skipped. Fails where `CI` is set.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(PathBuf::from(UNPACKED)).chain(env::split_paths(&path));
    let found = folders.map(|folder| folder.join(program)).find(|p| p.is_file());
    if found.is_none() {
        let on_ci = env::var("CI").is_ok_and(|value| value == "true");
        assert!(!on_ci, "{program} is not installed");
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Copies `program` to `to`, to be executed there.
///
/// Another process does it: a file that is open for writing cannot be executed (ETXTBSY), and what
/// this process has open, each child that another test's thread starts has open, too, until it
/// executes its own program.
pub(crate) fn copy(program: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = Command::new("cp").args([program.as_ref(), to.as_ref()]).status();
    assert!(status.expect("cp runs").success(), "{} cannot be copied", program.as_ref().display());
}

/// A child that does not outlive its test.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Its output, once, if that was piped.
    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
