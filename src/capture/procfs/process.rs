//! What `/proc` says of a process: who it is, which files it has mapped.
//!
//! The text formats are parsed by pure functions (`Documentation/filesystems/proc.rst`); the
//! functions that read files are thin.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Who a process is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id, in wstap's pid namespace.
    pub pid: u32,
    /// Process id of its parent; 0 where that is outside of wstap's pid namespace.
    pub parent: u32,
    /// Name of the main thread, at most 15 bytes; other than UTF-8 is replaced.
    pub comm: String,
    /// What `/proc/PID/exe` points to, as the process sees it; `None` for kernel threads and where it may not be read.
    pub exe: Option<PathBuf>,
    /// Start time in clock ticks since boot: with the pid, an identity that is never reused.
    pub start_ticks: u64,
}

/// `include/linux/sched.h`
const PF_KTHREAD: u32 = 0x0020_0000;

impl Process {
    /// Reads `/proc/PID`.
    ///
    /// # Errors
    ///
    /// The process does not exist, or `/proc` may not be read.
    pub fn read(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (Some(start_ticks), Some(parent)) = (start_ticks(&stat), parent(&stat)) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/stat"));
        };
        let comm = fs::read(format!("/proc/{pid}/comm"))?;
        let comm = String::from_utf8_lossy(comm.trim_ascii_end()).into_owned();
        let exe = fs::read_link(format!("/proc/{pid}/exe")).ok();
        let exe = exe.map(|exe| inside(&root_of(pid), exe));
        Ok(Self { pid, parent, comm, exe, start_ticks })
    }

    /// Whether this very process (not another one with its pid) still runs. A zombie does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        start_ticks(&stat) == Some(self.start_ticks) && !matches!(state(&stat), Some('Z' | 'X'))
    }
}

/// Whether a signal has stopped process `pid`.
#[must_use]
pub fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| state(&stat) == Some('T'))
}

/// Whether `pid` is a thread of the kernel's, which maps no file.
#[must_use]
pub fn is_kernel_thread(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| flags(&stat).is_some_and(|flags| flags & PF_KTHREAD != 0))
}

/// The folder that a process has for its root, as wstap sees it; `/` where that may not be read.
fn root_of(pid: u32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/root")).unwrap_or_else(|_| "/".into())
}

/// `path` as a process with this root sees it. The kernel spells paths for who reads them.
fn inside(root: &Path, path: PathBuf) -> PathBuf {
    match path.strip_prefix(root) {
        Ok(rest) if root != Path::new("/") => Path::new("/").join(rest),
        _ => path,
    }
}

/// Every process that `/proc` shows, in order of pid; those that vanish meanwhile are left out.
///
/// # Errors
///
/// `/proc` cannot be listed.
pub fn all() -> io::Result<Vec<Process>> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    Ok(pids.into_iter().filter_map(|pid| Process::read(pid).ok()).collect())
}

/// The fields of `/proc/PID/stat` after the command, which may itself contain `) `.
fn stat_fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}

fn state(stat: &str) -> Option<char> {
    stat_fields(stat)?.next()?.chars().next()
}

/// Field 4 of `proc_pid_stat(5)`.
fn parent(stat: &str) -> Option<u32> {
    stat_fields(stat)?.nth(1)?.parse().ok()
}

/// Field 9 of `proc_pid_stat(5)`.
fn flags(stat: &str) -> Option<u32> {
    stat_fields(stat)?.nth(6)?.parse().ok()
}

/// Field 22 of `proc_pid_stat(5)`.
fn start_ticks(stat: &str) -> Option<u64> {
    stat_fields(stat)?.nth(19)?.parse().ok()
}

/// A file that a process has mapped executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Address range, the name of the entry in `/proc/PID/map_files`.
    pub range: (u64, u64),
    /// Where in the file the range begins.
    pub offset: u64,
    /// Which file it is, whatever its path means by now.
    pub file: FileId,
    /// Its path in the process's mount namespace, without ` (deleted)`.
    pub path: PathBuf,
    /// The path no longer leads to it.
    pub deleted: bool,
}

impl Mapping {
    /// The place in the file that is mapped at `address`.
    #[must_use]
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        let (start, end) = self.range;
        (start..end).contains(&address).then(|| address - start + self.offset)
    }
}

/// Device and inode: one file, under whatever path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device number as `st_dev` has it.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

/// The files that `pid` has mapped executable, each once, in order of address.
///
/// # Errors
///
/// The process does not exist, or `/proc/PID/maps` may not be read.
pub fn executable_files(pid: u32) -> io::Result<Vec<Mapping>> {
    // A path may hold any byte but NUL; a lossy name still leads to the file through map_files.
    let maps = fs::read(format!("/proc/{pid}/maps"))?;
    let mut files = parse_maps(&String::from_utf8_lossy(&maps));
    let root = root_of(pid);
    for file in &mut files {
        file.path = inside(&root, std::mem::take(&mut file.path));
    }
    Ok(files)
}

fn parse_maps(maps: &str) -> Vec<Mapping> {
    let mut files: Vec<Mapping> = Vec::new();
    for mapping in maps.lines().filter_map(parse_mapping) {
        if !files.iter().any(|known| known.file == mapping.file) {
            files.push(mapping);
        }
    }
    files
}

/// One line, if it is an executable mapping of a file:
/// `7f0c1a000000-7f0c1a05e000 r-xp 0001f000 fe:00 1234    /usr/lib/libssl.so.3 (deleted)`
fn parse_mapping(line: &str) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let (field, tail) = rest.split_once(' ')?;
        rest = tail.trim_start_matches(' ');
        Some(field)
    };
    let (start, end) = field()?.split_once('-')?;
    let permissions = field()?;
    let offset = field()?;
    let (major, minor) = field()?.split_once(':')?;
    let inode: u64 = field()?.parse().ok()?;
    if permissions.as_bytes().get(2) != Some(&b'x') || inode == 0 || !rest.starts_with('/') {
        return None;
    }
    let (path, deleted) = match rest.strip_suffix(" (deleted)") {
        Some(path) => (path, true),
        None => (rest, false),
    };
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let hex32 = |text| u32::from_str_radix(text, 16).ok();
    Some(Mapping {
        range: (hex(start)?, hex(end)?),
        offset: hex(offset)?,
        file: FileId { device: libc::makedev(hex32(major)?, hex32(minor)?), inode },
        // Newlines are written as \012 in maps.
        path: PathBuf::from(path.replace("\\012", "\n")),
        deleted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55e0c9a00000-55e0c9a2d000 r--p 00000000 fe:00 1001                       /usr/bin/my app
55e0c9a2d000-55e0c9b00000 r-xp 0002d000 fe:00 1001                       /usr/bin/my app
7f0c1a000000-7f0c1a05e000 r-xp 0001f000 fe:00 1002                       /usr/lib/libssl.so.3 (deleted)
7f0c1a05e000-7f0c1a06e000 r-xp 0007d000 fe:00 1002                       /usr/lib/libssl.so.3 (deleted)
7f0c1b000000-7f0c1b001000 rwxp 00000000 00:00 0 
7ffd1c000000-7ffd1c021000 rw-p 00000000 00:00 0                          [stack]
7ffd1c1f0000-7ffd1c1f2000 r-xp 00000000 00:00 0                          [vdso]
";

    #[test]
    fn each_executable_file_is_listed_once_with_its_first_range() {
        let files = parse_maps(MAPS);
        let paths: Vec<_> = files.iter().map(|m| m.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/usr/bin/my app", "/usr/lib/libssl.so.3"]);
        assert_eq!(files[1].range, (0x7f0c_1a00_0000, 0x7f0c_1a05_e000));
        assert_eq!(files[1].file, FileId { device: libc::makedev(0xfe, 0), inode: 1002 });
        assert_eq!(files[1].file_offset(0x7f0c_1a00_0010), Some(0x1_f010));
        assert_eq!(files[1].file_offset(0x7f0c_1a05_e000), None);
        assert_eq!([files[0].deleted, files[1].deleted], [false, true]);
    }

    #[test]
    fn a_path_is_spelt_as_the_process_sees_it() {
        let path = |root: &str, path: &str| inside(Path::new(root), path.into());
        assert_eq!(path("/", "/usr/bin/node"), Path::new("/usr/bin/node"));
        assert_eq!(path("/srv/jail", "/srv/jail/usr/bin/node"), Path::new("/usr/bin/node"));
        assert_eq!(path("/srv/jail", "/srv/jail-2/node"), Path::new("/srv/jail-2/node"));
    }

    #[test]
    fn a_line_that_is_no_mapping_is_passed_over() {
        assert_eq!(parse_maps("\n \nnonsense\n1-2 r-xp 0 fe:00\n1-2 r-xp 0 zz:00 7 /x\n"), []);
    }

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields_of_stat() {
        let stat = "42 (a) R (b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1";
        assert_eq!(start_ticks(stat), Some(777));
        assert_eq!(state(stat), Some('S'));
        assert_eq!(parent(stat), Some(1));
        assert_eq!(flags(stat), Some(4_194_560));
    }

    #[test]
    fn this_process_is_alive_and_has_its_own_executable_mapped() {
        let me = Process::read(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Process { start_ticks: me.start_ticks + 1, ..me.clone() }.is_alive());
        let files = executable_files(me.pid).unwrap();
        assert!(files.iter().any(|m| Some(&m.path) == me.exe.as_ref()));
    }
}
