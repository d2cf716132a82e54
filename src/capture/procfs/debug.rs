//! Separate debug files, where distributions put the symbols that they took out.
//!
//! Two customs (GDB's manual, "Separate Debug Files"): a file named after the build id, and one that
//! the image names, with a checksum, near the image. Both are looked for where the process would
//! find them, in its own root.

use std::fs::{File, Metadata};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Crc;
use memmap2::Mmap;
use wstap_symbols::debug_link;

/// Where distributions put them.
const GLOBAL: &str = "/usr/lib/debug";

/// The debug file of the image with these `bytes`, which process `pid` has mapped from `path`.
pub(in crate::capture) fn find(
    pid: u32,
    path: &Path,
    bytes: &[u8],
    build_id: Option<&str>,
) -> Option<Mmap> {
    let by_id = build_id.and_then(|id| map(pid, &named_by_id(id)?));
    by_id.or_else(|| {
        let link = debug_link(bytes)?;
        let files = named_by_link(path, &link.name);
        files.iter().filter_map(|file| map(pid, file)).find(|debug| {
            let mut crc = Crc::new();
            crc.update(debug);
            crc.sum() == link.crc
        })
    })
}

fn named_by_id(build_id: &str) -> Option<PathBuf> {
    let (folder, file) = build_id.split_at_checked(2).filter(|(_, file)| !file.is_empty())?;
    Some(Path::new(GLOBAL).join(".build-id").join(folder).join(format!("{file}.debug")))
}

fn named_by_link(image: &Path, name: &str) -> [PathBuf; 3] {
    let folder = image.parent().unwrap_or(Path::new("/"));
    let inside = folder.strip_prefix("/").unwrap_or(folder);
    [folder.join(name), folder.join(".debug").join(name), Path::new(GLOBAL).join(inside).join(name)]
}

/// Maps a file of the process's root.
fn map(pid: u32, path: &Path) -> Option<Mmap> {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    // In a container the path may lead anywhere: to a pipe, too, which would never open.
    let path = root.join(path.strip_prefix("/").unwrap_or(path));
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    file.metadata().ok().filter(Metadata::is_file)?;
    // SAFETY: the map is private and read only, and lives while one plan is made. As with the
    // image itself, someone who rewrites it in place meanwhile could at worst end wstap.
    unsafe { Mmap::map(&file) }.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_files_are_looked_for_where_gdb_looks() {
        let by_id = named_by_id("ab12cd").map(|path| path.display().to_string());
        assert_eq!(by_id.as_deref(), Some("/usr/lib/debug/.build-id/ab/12cd.debug"));
        assert_eq!(named_by_id("ab"), None);
        let by_link = named_by_link(Path::new("/usr/bin/server"), "server.debug");
        assert_eq!(
            by_link.map(|path| path.display().to_string()),
            [
                "/usr/bin/server.debug",
                "/usr/bin/.debug/server.debug",
                "/usr/lib/debug/usr/bin/server.debug"
            ]
        );
    }
}
