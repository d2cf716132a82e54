//! File systems that may never answer.
//!
//! A request to a FUSE daemon cannot be given up once the daemon has read it: a thread that waits for
//! the answer cannot be killed, and its process cannot end (`request_wait_answer` in
//! fs/fuse/dev.c). Any user may run such a daemon, so no file of FUSE is opened. Its files are known
//! by their device number, without asking the file system.

use std::collections::BTreeSet;
use std::fs;

/// The device numbers of the FUSE file systems that process `pid` sees.
pub(in crate::capture::procfs) fn fuse_devices(pid: u32) -> BTreeSet<u64> {
    let mounts = fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    parse(&String::from_utf8_lossy(&mounts))
}

/// `text` is a `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`):
/// `30 23 0:26 / /mnt rw,nosuid shared:1 - fuse.sshfs host: rw,user_id=0`
fn parse(text: &str) -> BTreeSet<u64> {
    text.lines()
        .filter_map(|line| {
            let (mount, source) = line.split_once(" - ")?;
            let kind = source.split(' ').next()?;
            let is_fuse = kind == "fuse" || kind == "fuseblk" || kind.starts_with("fuse.");
            let (major, minor) = mount.split(' ').nth(2)?.split_once(':')?;
            is_fuse.then_some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_fuse_are_known_by_their_type() {
        let mounts = "\
30 23 0:26 / /sys/fs/fuse/connections rw shared:1 - fusectl fusectl rw
31 23 0:40 / /mnt/a rw,nosuid shared:1 - fuse.sshfs host: rw,user_id=0
32 23 0:41 / /mnt/b rw - fuse /dev/fuse rw,user_id=1000
33 23 8:17 / /mnt/c rw - fuseblk /dev/sdb1 rw
34 23 0:42 / /mnt/d rw - virtiofs tag rw
nonsense
35 23 zero / /x rw - fuse x rw
";
        let device = rustix::fs::makedev;
        assert_eq!(parse(mounts), BTreeSet::from([device(0, 40), device(0, 41), device(8, 17)]));
    }
}
