//! Memory that a process shares with others for writing. To the kernel it is a file without a place in any
//! folder, or one in `/dev/shm`.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use crate::capture::procfs::process::{FileId, Line};

/// Such memory, as a process has it. Forked processes have it at the same addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::capture) struct SharedMemory {
    /// First address and the address behind the last one.
    pub(in crate::capture) range: (u64, u64),
    /// Which memory it is.
    pub(in crate::capture) file: FileId,
}

/// What the kernel calls it: `mmap(2)` without a file, System V's, `memfd_create(2)`, `shm_open(3)`.
const NAMES: [&str; 4] = ["/dev/zero", "/SYSV", "/memfd:", "/dev/shm/"];

/// The largest that process `pid` has, because a program that keeps TLS objects there keeps everything
/// there. `None` if it has none.
///
/// # Errors
///
/// The process does not exist, or `/proc/PID/maps` may not be read.
pub(in crate::capture) fn of(pid: u32) -> io::Result<Option<SharedMemory>> {
    let maps = File::open(format!("/proc/{pid}/maps"))?;
    largest(BufReader::with_capacity(1 << 16, maps))
}

fn largest(mut maps: impl BufRead) -> io::Result<Option<SharedMemory>> {
    let (mut found, mut line) = (None::<SharedMemory>, Vec::new());
    let size = |memory: &SharedMemory| memory.range.1 - memory.range.0;
    while maps.read_until(b'\n', &mut line)? > 0 {
        let memory = parse(String::from_utf8_lossy(&line).trim_end());
        line.clear();
        let Some(memory) = memory else { continue };
        if found.is_none_or(|found| size(&memory) > size(&found)) {
            found = Some(memory);
        }
    }
    Ok(found)
}

/// One line, if it is such memory:
/// `7f5eac000000-7f5eb0000000 rw-s 00000000 00:01 1037    /dev/zero (deleted)`
fn parse(line: &str) -> Option<SharedMemory> {
    let Line { range, permissions, file, name, .. } = Line::parse(line)?;
    let is_shared = permissions.get(1) == Some(&b'w') && permissions.get(3) == Some(&b's');
    let is_memory = is_shared && NAMES.iter().any(|kind| name.starts_with(kind));
    is_memory.then_some(SharedMemory { range, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_memory_that_is_shared_for_writing_is_found() {
        let maps = "\
55e0c9a00000-55e0c9a2d000 r--p 00000000 fe:00 1001    /usr/bin/program
7f0c1a000000-7f0c1b000000 rw-s 00000000 00:01 1037    /dev/zero (deleted)
7f0c20000000-7f0c28000000 rw-s 00000000 00:01 1038    /dev/zero (deleted)
7f0c30000000-7f0c40000000 r--s 00000000 00:01 1039    /memfd:only to read (deleted)
7f0c50000000-7f0c90000000 rw-s 00000000 00:06 7       /dev/dri/card0
7f0c90000000-7f0cd0000000 rw-p 00000000 00:00 0
";
        let file = FileId { device: rustix::fs::makedev(0, 1), inode: 1038 };
        let expected = SharedMemory { range: (0x7f0c_2000_0000, 0x7f0c_2800_0000), file };
        assert_eq!(largest(maps.as_bytes()).unwrap(), Some(expected));
    }

    #[test]
    fn a_line_that_is_no_such_memory_is_passed_over() {
        for line in ["", "\n", "x", "2-1 rw-s 0 00:01 7 /dev/zero", "1-2 rw-s 0 zz:01 7 /dev/zero"]
        {
            assert_eq!(largest(line.as_bytes()).unwrap(), None, "{line:?}");
        }
    }
}
