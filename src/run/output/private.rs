//! Makes files that only their owner can read, and replaces none that is there unless that was asked
//! for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::run::Failure;

/// File mode: only the owner may read what has passed.
pub(in crate::run) const MODE: u32 = 0o600;

/// Makes the file at `path`, or with `force` takes the place of one that is there.
///
/// # Errors
///
/// A file is there already, or the system refuses.
pub(in crate::run) fn create(path: &Path, force: bool) -> Result<File, Failure> {
    make(path, force).map_err(|error| refusal(path, &error))
}

fn make(path: &Path, force: bool) -> io::Result<File> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && force => replace(path),
        made => made,
    }
}

/// Removes an old file instead of truncating it, so that a process that has it open cannot read the
/// recording. A pipe or a device is kept and written to.
fn replace(path: &Path) -> io::Result<File> {
    if !fs::symlink_metadata(path)?.is_file() {
        return OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path);
    }
    fs::remove_file(path)?;
    make(path, false)
}

fn refusal(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::Runtime(if error.kind() == ErrorKind::AlreadyExists {
        format!("{path} is there already; choose another name, or replace it with --force")
    } else {
        format!("cannot write to {path}: {error}")
    })
}
