//! Separate debug files: distributions strip symbols from programs and publish them there.
//!
//! GDB's manual ("Separate Debug Files") describes two ways to find one: a file named after the
//! build id, and a file near the image that the image itself names, with a checksum. Both are
//! searched in the root folder of the process.

use std::path::{Path, PathBuf};

use flate2::Crc;
use wstap_symbols::debug_link;

use super::file;
use super::file::progress::Progress;

/// The folder that distributions put them in.
const GLOBAL: &str = "/usr/lib/debug";

/// The debug file of the image with these `bytes`, which process `pid` has mapped from `path`.
pub(in crate::capture) fn find(
    pid: u32,
    path: &Path,
    bytes: &[u8],
    build_id: Option<&str>,
) -> Option<Vec<u8>> {
    let by_id = build_id.and_then(|id| read(pid, &named_by_id(id)?));
    by_id.or_else(|| {
        let link = debug_link(bytes)?;
        let files = named_by_link(path, &link.name);
        files.iter().filter_map(|file| read(pid, file)).find(|debug| {
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

fn read(pid: u32, path: &Path) -> Option<Vec<u8>> {
    file::open_inside(pid, path).ok()?.read_elf(&Progress::default()).ok()
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
