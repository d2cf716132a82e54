//! Opens files that belong to others, without waiting, and reads them without mapping them.
//!
//! A tapped process chooses what its paths lead to. A pipe would never open, a device might do
//! something when it is opened, and a mapped file that its owner truncates would end wstap with
//! SIGBUS. So a path is looked up first, opened only if it leads to a regular file, and read into
//! memory of wstap's own. A file system may still not answer: callers open and read on a thread
//! that nobody waits for ([`super::planner`]).

pub(in crate::capture::procfs) mod mounts;
pub(in crate::capture::procfs) mod progress;
pub(in crate::capture) mod shared_memory;

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use self::progress::Progress;
use super::process::{FileId, Mapping};

/// Longest file that is read, bytes. The largest known programs have less than half of that.
const FILE_MAX_BYTES: u64 = 1 << 30;

/// How many bytes are asked for at once. Each time they have come, the file system has answered.
const PIECE_BYTES: u64 = 1 << 20;

/// What every ELF file begins with.
const ELF_MAGIC: [u8; 4] = *b"\x7fELF";

/// A regular file that is open for reading.
#[derive(Debug)]
pub(in crate::capture) struct Opened {
    file: File,
    pub(in crate::capture) metadata: Metadata,
}

impl Opened {
    /// Opens what `found` refers to. It was looked up with `O_PATH`, so nothing has happened to it
    /// yet.
    fn new(found: OwnedFd) -> io::Result<Self> {
        let found = File::from(found);
        if !found.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(CWD, path, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        Ok(Self { file, metadata })
    }

    /// Which file it is.
    pub(in crate::capture) fn id(&self) -> FileId {
        FileId { device: self.metadata.dev(), inode: self.metadata.ino() }
    }

    /// Its bytes if it is an ELF file, else none: other files hold no machine code that wstap could
    /// probe. `progress` hears of each piece.
    ///
    /// # Errors
    ///
    /// It is longer than [`FILE_MAX_BYTES`], it became shorter meanwhile, or it cannot be read.
    pub(in crate::capture) fn read_elf(mut self, progress: &Progress) -> io::Result<Vec<u8>> {
        let length = self.metadata.len();
        let mut magic = [0; ELF_MAGIC.len()];
        if length < magic.len() as u64 {
            return Ok(Vec::new());
        }
        self.file.read_exact(&mut magic).map_err(|error| shorter(&error))?;
        if magic != ELF_MAGIC {
            return Ok(Vec::new());
        }
        if length > FILE_MAX_BYTES {
            let text = format!("it has {length} bytes, and wstap reads files of at most 1 GiB");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        let mut bytes = Vec::new();
        // Bounded above, so it fits in a `usize` wherever wstap runs.
        bytes.try_reserve_exact(length as usize).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.extend(magic);
        while (bytes.len() as u64) < length {
            let piece = PIECE_BYTES.min(length - bytes.len() as u64);
            if self.file.by_ref().take(piece).read_to_end(&mut bytes)? == 0 {
                return Err(shortened());
            }
            progress.has_answered();
        }
        Ok(bytes)
    }
}

fn shorter(error: &io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => shortened(),
        kind => kind.into(),
    }
}

fn shortened() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while wstap read it")
}

/// Opens the file of a mapping: through the mapping itself where that is permitted, because it
/// works for deleted and replaced files too, else through the process's own root. Also returns the
/// path by which the kernel finds the file.
///
/// # Errors
///
/// The file is gone or replaced, is no regular file, or may not be opened.
pub(in crate::capture) fn open_mapped(
    pid: u32,
    mapping: &Mapping,
) -> io::Result<(PathBuf, Opened)> {
    let (start, end) = mapping.first;
    let by_mapping = PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    if let Ok(found) = openat(CWD, &by_mapping, flags, Mode::empty()) {
        return Ok((by_mapping, Opened::new(found)?));
    }
    let opened = open_inside(pid, &mapping.path)?;
    if opened.id() != mapping.file {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the path leads to another file than the mapped one (replaced on disk?)",
        ));
    }
    Ok((path_inside(pid, &mapping.path), opened))
}

/// Opens a file by its path in process `pid`'s own root. Links in it cannot lead out of there.
///
/// # Errors
///
/// It does not exist, is no regular file, or may not be opened.
pub(in crate::capture) fn open_inside(pid: u32, path: &Path) -> io::Result<Opened> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = openat(CWD, format!("/proc/{pid}/root"), flags | OFlags::DIRECTORY, Mode::empty())?;
    let found = openat2(root.as_fd(), path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    Opened::new(found)
}

fn path_inside(pid: u32, path: &Path) -> PathBuf {
    Path::new(&format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn open(path: &Path) -> io::Result<Opened> {
        open_inside(std::process::id(), path)
    }

    #[test]
    fn only_regular_files_are_opened_and_none_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        for path in [&fifo, folder.path(), Path::new("/dev/zero"), Path::new("/dev/tty")] {
            assert!(open(path).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn what_is_no_elf_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for text in ["", "\x7fE", "\x7fELX", "#!/bin/sh\n"] {
            fs::write(&path, text).unwrap();
            assert_eq!(
                open(&path).unwrap().read_elf(&Progress::default()).unwrap(),
                b"",
                "{text:?}"
            );
        }
        fs::write(&path, "\x7fELF and more").unwrap();
        assert_eq!(
            open(&path).unwrap().read_elf(&Progress::default()).unwrap(),
            b"\x7fELF and more"
        );
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error_and_so_is_one_that_is_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let shorten = |length: u64| {
            fs::write(&path, [&b"\x7fELF"[..], &[0; 8192]].concat()).unwrap();
            let opened = open(&path).unwrap();
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
            opened.read_elf(&Progress::default()).map_err(|error| error.kind())
        };
        for length in [0, 3, 4, 4096, 8195] {
            assert_eq!(shorten(length), Err(io::ErrorKind::UnexpectedEof), "{length}");
        }
        fs::write(&path, b"\x7fELF").unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(FILE_MAX_BYTES + 1).unwrap();
        let error = open(&path).unwrap().read_elf(&Progress::default()).unwrap_err();
        assert!(error.to_string().contains("1 GiB"), "{error}");
    }

    #[test]
    fn a_link_to_a_file_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "\x7fELF").unwrap();
        symlink("file", folder.path().join("link")).unwrap();
        assert_eq!(
            open(&folder.path().join("link")).unwrap().read_elf(&Progress::default()).unwrap(),
            b"\x7fELF"
        );
    }
}
