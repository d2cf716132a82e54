//! What `/proc` says of a process: who it is, which files it has mapped.
//!
//! The text formats are parsed by pure functions (`Documentation/filesystems/proc.rst`); the
//! functions that read files are thin.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// What identifies a process, as read at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id, in wstap's pid namespace.
    pub pid: u32,
    /// Process id of its parent; 0 where that is outside of wstap's pid namespace.
    pub parent: u32,
    /// Name of the main thread, at most 15 bytes. Bytes that are not UTF-8 are replaced.
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

    /// Whether this process still runs: not a later one with its pid, and not its zombie.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        start_ticks(&stat) == Some(self.start_ticks) && !matches!(state(&stat), Some('Z' | 'X'))
    }
}

/// Bytes of a command line that are read: a process may write whatever it likes there.
const ARGUMENTS_MAX: u64 = 16 << 10;

/// What process `pid` was started with, its own name first; what is not UTF-8 is replaced. Empty for
/// kernel threads. Of a very long command line only the beginning is read.
///
/// # Errors
///
/// The process does not exist.
pub fn arguments(pid: u32) -> io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/cmdline"))?.take(ARGUMENTS_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_end_matches('\0');
    Ok(if text.is_empty() { Vec::new() } else { text.split('\0').map(str::to_owned).collect() })
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

/// Whether `pid` runs a 32-bit program: no probe fits its code. `false` where that may not be read.
#[must_use]
pub fn is_32_bit(pid: u32) -> bool {
    let vector = fs::read(format!("/proc/{pid}/auxv"));
    vector.is_ok_and(|vector| has_short_words(&vector))
}

/// Whether the words of an auxiliary vector (`getauxval(3)`) have 32 bits. It is a list of types and
/// values, and all types are small: read as one word of 64 bits, a 32-bit type and its value are a
/// large number, unless the value is 0.
fn has_short_words(vector: &[u8]) -> bool {
    let (words, _) = vector.as_chunks::<8>();
    let mut types = words.iter().step_by(2).map(|word| u64::from_ne_bytes(*word));
    types.any(|number| number > u32::MAX.into())
}

/// The processes that descend from `pid`, in order of pid, without itself.
///
/// # Errors
///
/// `/proc` cannot be listed.
pub fn descendants(pid: u32) -> io::Result<Vec<Process>> {
    let all = all()?;
    let mut family = HashSet::from([pid]);
    loop {
        let before = family.len();
        family.extend(
            all.iter()
                .filter(|it| family.contains(&it.parent))
                .map(|it| it.pid)
                .collect::<Vec<_>>(),
        );
        if family.len() == before {
            break;
        }
    }
    Ok(all.into_iter().filter(|it| it.pid != pid && family.contains(&it.pid)).collect())
}

/// The process that thread `id` belongs to; `id` itself where that is a process. Users copy thread
/// ids from `top -H` and from logs.
///
/// # Errors
///
/// There is no such thread, or `/proc` may not be read.
pub fn of_thread(id: u32) -> io::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    tgid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable /proc/PID/status"))
}

/// The folder that a process has for its root, as wstap sees it; `/` where that may not be read.
fn root_of(pid: u32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/root")).unwrap_or_else(|_| "/".into())
}

/// `path` as a process with this root sees it. The kernel gives paths as the reader sees them.
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

/// A part of a file that a process has mapped executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First address and the address behind the last one. The name of the entry in
    /// `/proc/PID/map_files`, unless neighbours were joined.
    pub range: (u64, u64),
    /// Where in the file the range begins, bytes.
    pub offset: u64,
}

impl Segment {
    /// Whether `next` goes on where this one ends, in the file and in memory.
    fn continues_in(&self, next: &Self) -> bool {
        let length = self.range.1 - self.range.0;
        next.range.0 == self.range.1 && next.offset == self.offset + length
    }
}

/// A file that a process has mapped executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first of its ranges, as `/proc/PID/map_files` names it.
    pub first: (u64, u64),
    /// All of its executable ranges, in order of address.
    pub segments: Vec<Segment>,
    /// Which file it is, whatever its path leads to by now.
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
        let holds = |it: &&Segment| (it.range.0..it.range.1).contains(&address);
        self.segments.iter().find(holds).map(|it| address - it.range.0 + it.offset)
    }

    /// Whether the process has this place of the file mapped executable. A probe elsewhere never
    /// fires.
    #[must_use]
    pub fn executes(&self, offset: u64) -> bool {
        self.segments.iter().any(|it| {
            offset.checked_sub(it.offset).is_some_and(|into| into < it.range.1 - it.range.0)
        })
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

/// The files that `pid` has mapped executable, each once, in order of their first address.
///
/// # Errors
///
/// The process does not exist, or `/proc/PID/maps` may not be read.
pub fn executable_files(pid: u32) -> io::Result<Vec<Mapping>> {
    let maps = File::open(format!("/proc/{pid}/maps"))?;
    let mut files = parse_maps(BufReader::with_capacity(1 << 16, maps))?;
    let root = root_of(pid);
    for file in &mut files {
        file.path = inside(&root, std::mem::take(&mut file.path));
    }
    Ok(files)
}

/// Reads a `/proc/PID/maps`, in time that grows with its length and no faster: a process may have
/// as many mappings as it likes.
fn parse_maps(mut maps: impl BufRead) -> io::Result<Vec<Mapping>> {
    let mut files: Vec<Mapping> = Vec::new();
    let mut known: HashMap<FileId, usize> = HashMap::new();
    let mut line = Vec::new();
    while maps.read_until(b'\n', &mut line)? > 0 {
        // A path may hold any byte but NUL. A lossy name still leads to the file through map_files.
        let mapping = parse_mapping(String::from_utf8_lossy(&line).trim_end_matches('\n'));
        line.clear();
        let Some(mapping) = mapping else { continue };
        match known.entry(mapping.file) {
            Entry::Vacant(entry) => {
                entry.insert(files.len());
                files.push(mapping);
            }
            Entry::Occupied(entry) => join(&mut files[*entry.get()].segments, mapping.segments),
        }
    }
    Ok(files)
}

fn join(segments: &mut Vec<Segment>, more: Vec<Segment>) {
    for next in more {
        match segments.last_mut() {
            Some(last) if last.continues_in(&next) => last.range.1 = next.range.1,
            _ => segments.push(next),
        }
    }
}

/// A line of `/proc/PID/maps`:
/// `7f0c1a000000-7f0c1a05e000 r-xp 0001f000 fe:00 1234    /usr/lib/libssl.so.3 (deleted)`
pub(super) struct Line<'a> {
    /// First address and the address behind the last one, which is higher.
    pub(super) range: (u64, u64),
    /// `r`, `w`, `x` or dashes, and `s` where it is shared, `p` where it is not.
    pub(super) permissions: &'a [u8],
    /// Where in the file it begins, bytes.
    pub(super) offset: u64,
    pub(super) file: FileId,
    /// Path, or what the kernel says in place of one; may be empty.
    pub(super) name: &'a str,
}

impl<'a> Line<'a> {
    /// `None` where it is none.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let mut rest = line;
        let mut field = || {
            let (field, tail) = rest.split_once(' ')?;
            rest = tail.trim_start_matches(' ');
            Some(field)
        };
        let (start, end) = field()?.split_once('-')?;
        let permissions = field()?.as_bytes();
        let offset = field()?;
        let (major, minor) = field()?.split_once(':')?;
        let inode = field()?.parse().ok()?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let hex32 = |text| u32::from_str_radix(text, 16).ok();
        let range = (hex(start)?, hex(end)?);
        let device = rustix::fs::makedev(hex32(major)?, hex32(minor)?);
        let (offset, file) = (hex(offset)?, FileId { device, inode });
        // The kernel writes no other line. The code that follows relies on that.
        (range.0 < range.1).then_some(Self { range, permissions, offset, file, name: rest })
    }
}

/// One line, if it is an executable mapping of a file.
fn parse_mapping(line: &str) -> Option<Mapping> {
    let Line { range, permissions, offset, file, name } = Line::parse(line)?;
    if permissions.get(2) != Some(&b'x') || file.inode == 0 || !name.starts_with('/') {
        return None;
    }
    let (path, deleted) = match name.strip_suffix(" (deleted)") {
        Some(path) => (path, true),
        None => (name, false),
    };
    // The kernel writes no such line. The code that follows relies on that.
    offset.checked_add(range.1 - range.0)?;
    Some(Mapping {
        first: range,
        segments: vec![Segment { range, offset }],
        file,
        // Newlines are written as \012 in maps.
        path: PathBuf::from(path.replace("\\012", "\n")),
        deleted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(maps: &str) -> Vec<Mapping> {
        parse_maps(maps.as_bytes()).unwrap()
    }

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
    fn each_executable_file_is_listed_once_with_all_its_ranges() {
        let files = parse(MAPS);
        let paths: Vec<_> = files.iter().map(|m| m.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/usr/bin/my app", "/usr/lib/libssl.so.3"]);
        assert_eq!(files[1].first, (0x7f0c_1a00_0000, 0x7f0c_1a05_e000));
        let joined = Segment { range: (0x7f0c_1a00_0000, 0x7f0c_1a06_e000), offset: 0x1_f000 };
        assert_eq!(files[1].segments, [joined]);
        assert_eq!(files[1].file, FileId { device: rustix::fs::makedev(0xfe, 0), inode: 1002 });
        assert_eq!(files[1].file_offset(0x7f0c_1a00_0010), Some(0x1_f010));
        assert_eq!(files[1].file_offset(0x7f0c_1a06_dfff), Some(0x8_cfff));
        assert_eq!(files[1].file_offset(0x7f0c_1a06_e000), None);
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
        assert_eq!(parse("\n \nnonsense\n1-2 r-xp 0 fe:00\n1-2 r-xp 0 zz:00 7 /x\n"), []);
        assert_eq!(parse("2-1 r-xp 0 fe:00 7 /x\n1-2 r-xp ffffffffffffffff fe:00 7 /x\n"), []);
    }

    #[test]
    fn a_32_bit_program_is_known_by_the_width_of_its_auxiliary_vector() {
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let of_64_bits: Vec<u8> = words(&[33, 0x7f06_aa4d_a000, 51, 0xd30, 6, 4096, 0, 0]);
        assert!(!has_short_words(&of_64_bits));
        let of_32_bits: [u32; 8] = [32, 0xf7f2_e5e0, 33, 0xf7f2_e000, 23, 0, 0, 0];
        let of_32_bits: Vec<u8> = of_32_bits.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert!(has_short_words(&of_32_bits));
        assert!(!has_short_words(&[]));
        assert!(!is_32_bit(std::process::id()));
    }

    #[test]
    fn the_children_of_children_descend_from_a_process() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sh -c 'echo ready; read line; exit 0'; exit 0"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let found = descendants(shell.id()).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].parent, shell.id());
        let own = descendants(std::process::id()).unwrap();
        assert!(own.iter().any(|it| it.pid == found[0].pid), "{own:?}");
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    /// Where the text of a program was copied to memory that belongs to no file, as Node.js does
    /// for large pages, only the ends of the file's own mapping remain.
    #[test]
    fn a_place_is_executed_only_where_the_file_itself_is_mapped_executable() {
        let maps = "\
1000-2000 r-xp 00001000 fe:00 7 /usr/bin/node
2000-8000 r-xp 00000000 00:00 0
8000-9000 r-xp 00008000 fe:00 7 /usr/bin/node
9000-a000 r--p 00009000 fe:00 7 /usr/bin/node
";
        let node = &parse(maps)[0];
        let executed = [0xfff, 0x1000, 0x1fff, 0x2000, 0x7fff, 0x8000, 0x8fff, 0x9000];
        let executed = executed.map(|offset| node.executes(offset));
        assert_eq!(executed, [false, true, true, false, false, true, true, false]);
    }

    /// Both members of a kind: many ranges of one file, many files of one range.
    #[test]
    fn a_process_with_very_many_mappings_is_read_to_its_end() {
        use std::fmt::Write;
        let mut maps = String::new();
        for number in 0..60_000_u64 {
            let (start, inode) = (number << 13, if number % 2 == 0 { 1 } else { number });
            let end = start + 4096;
            writeln!(maps, "{start:x}-{end:x} r-xp 00000000 fe:00 {inode} /f{inode}").unwrap();
        }
        let files = parse(&maps);
        assert_eq!(files.len(), 30_000);
        assert_eq!(files[0].segments.len(), 30_001);
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
