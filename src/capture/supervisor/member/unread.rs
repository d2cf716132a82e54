//! Files of a tapped process that could not be read. A TLS library in one of them is not tapped, so
//! each is counted, and reported once by its name.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::Duration;

use crate::capture::procfs::process::{FileId, Mapping, Process};

/// Files of one process that are read. The largest programs map some hundred.
pub(in crate::capture::supervisor) const FILES_MAX: usize = 4096;
/// Files of one process that are reported by name.
const NAMED_MAX: usize = 8;
/// An inspection that has taken longer is interrupted, and goes on later.
pub(in crate::capture::supervisor) const INSPECTION_MAX: Duration = Duration::from_millis(100);
/// A process is left alone for this many times what its last inspection took. So one with very many
/// mappings does not keep wstap from the others.
const REST: u32 = 10;
/// Only a process with more executable mappings than this is ever left alone. The largest programs
/// have some hundred.
const MANY: usize = 4096;

/// What to do about a file that was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture::supervisor) enum Next {
    /// Ask for it soon: it is being read.
    Soon,
    /// Ask for it when all processes are inspected next: its file system may answer by then.
    Later,
    /// Do not ask for it again: the answer would be the same.
    Never,
}

/// The files of one process that could not be read, and when the process may be inspected again.
#[derive(Debug, Default)]
pub(in crate::capture::supervisor) struct Unread {
    files: HashSet<FileId>,
    has_too_many: bool,
    rest_until_ns: u64,
}

impl Unread {
    /// How many there are.
    pub(in crate::capture::supervisor) fn count(&self) -> usize {
        self.files.len()
    }

    /// Notes why a file could not be read.
    pub(in crate::capture::supervisor) fn note(
        &mut self,
        process: &Process,
        file: &Mapping,
        error: &std::io::Error,
    ) -> Next {
        let next = match error.kind() {
            ErrorKind::WouldBlock => return Next::Soon,
            // The process has ended, or has just unmapped it.
            ErrorKind::NotFound => return Next::Never,
            ErrorKind::TimedOut => Next::Later,
            _ => Next::Never,
        };
        if self.files.insert(file.file) && self.files.len() <= NAMED_MAX {
            let (pid, comm, path) = (process.pid, &process.comm, file.path.display());
            let more = if self.files.len() == NAMED_MAX { "; others are not named" } else { "" };
            tracing::warn!(
                "pid {pid} ({comm}): {path} cannot be read: {error}; a TLS library in it is not \
                 tapped{more}"
            );
        }
        next
    }

    /// The file was read after all.
    pub(in crate::capture::supervisor) fn was_read(&mut self, file: FileId) {
        self.files.remove(&file);
    }

    /// It has more than [`FILES_MAX`] files.
    pub(in crate::capture::supervisor) fn has_too_many(&mut self, process: &Process) {
        if !std::mem::replace(&mut self.has_too_many, true) {
            let (pid, comm) = (process.pid, &process.comm);
            tracing::warn!(
                "pid {pid} ({comm}) has mapped more than {FILES_MAX} executable files; a TLS \
                 library in the others is not tapped"
            );
        }
    }

    /// When it may be inspected again, if that is not now.
    pub(in crate::capture::supervisor) fn rests_until(&self, now_ns: u64) -> Option<u64> {
        (self.rest_until_ns > now_ns).then_some(self.rest_until_ns)
    }

    /// An inspection of this many mappings has taken this long.
    pub(in crate::capture::supervisor) fn rest_after(
        &mut self,
        inspection: Duration,
        mappings: usize,
        now_ns: u64,
    ) {
        if mappings > MANY {
            let rest_ns = u64::try_from((inspection * REST).as_nanos()).unwrap_or(u64::MAX);
            self.rest_until_ns = now_ns.saturating_add(rest_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_counted_once_until_it_is_read() {
        let me = Process::read(std::process::id()).unwrap();
        let file = crate::capture::procfs::process::executable_files(me.pid).unwrap().remove(0);
        let mut unread = Unread::default();
        let hangs = std::io::Error::from(ErrorKind::TimedOut);
        assert_eq!(unread.note(&me, &file, &hangs), Next::Later);
        assert_eq!(unread.note(&me, &file, &hangs), Next::Later);
        assert_eq!(unread.count(), 1);
        assert_eq!(unread.note(&me, &file, &ErrorKind::WouldBlock.into()), Next::Soon);
        assert_eq!(unread.note(&me, &file, &ErrorKind::UnexpectedEof.into()), Next::Never);
        unread.was_read(file.file);
        assert_eq!(unread.count(), 0);
    }

    #[test]
    fn a_process_with_many_mappings_is_inspected_for_a_tenth_of_the_time() {
        let mut unread = Unread::default();
        unread.rest_after(Duration::from_millis(100), MANY, 5);
        assert_eq!(unread.rests_until(5), None);
        unread.rest_after(Duration::from_millis(100), MANY + 1, 5);
        assert_eq!(unread.rests_until(5), Some(1_000_000_005));
        assert_eq!(unread.rests_until(1_000_000_005), None);
    }
}
