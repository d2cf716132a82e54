//! What a program is going to map, learnt from earlier processes that ran it.
//!
//! A probe can be placed before its file is mapped. So when a process begins to run a program that
//! is known, its probes are placed at once, and they are mostly there before the dynamic loader is
//! done.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::capture::procfs::image::Image;
use crate::capture::procfs::large_pages;
use crate::capture::procfs::process::FileId;

/// Programs that are remembered. When there are more, all are forgotten, and learnt again.
const PROGRAMS_MAX: usize = 1024;
/// Images that are remembered of one program.
const IMAGES_MAX: usize = 16;

/// The images that had probes, by the program's file.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    programs: HashMap<FileId, Vec<Image>>,
}

impl Foresight {
    /// Process `pid` has probes in `image`, if there is anything to probe in it.
    pub(super) fn learn(&mut self, pid: u32, image: &Image) {
        if image.plan.loader_notifier.is_none() && image.plan.libraries.is_empty() {
            return;
        }
        let Some(program) = file_at(Path::new(&format!("/proc/{pid}/exe"))) else { return };
        if self.programs.len() >= PROGRAMS_MAX && !self.programs.contains_key(&program) {
            self.programs.clear();
        }
        let images = self.programs.entry(program).or_default();
        if images.len() < IMAGES_MAX && !images.iter().any(|known| known.file == image.file) {
            images.push(image.clone());
        }
    }

    /// The images in which earlier processes of the same program had probes, by the paths of
    /// process `pid`. Leaves out those that are another file by now.
    pub(super) fn images(&self, pid: u32) -> Vec<Image> {
        let program = file_at(Path::new(&format!("/proc/{pid}/exe")));
        let known = program.and_then(|program| self.programs.get(&program));
        let is_copied = known.is_some() && large_pages::copies_program(pid);
        let reached = known.into_iter().flatten().filter_map(|image| {
            // A breakpoint in the code would be copied along.
            if is_copied && Some(image.file) == program {
                return None;
            }
            let attach_path = path_in(pid, &image.path);
            let is_same = file_at(&attach_path) == Some(image.file);
            is_same.then(|| Image { attach_path, ..image.clone() })
        });
        reached.collect()
    }
}

/// What process `pid` sees at `path`, as wstap sees it.
fn path_in(pid: u32, path: &Path) -> PathBuf {
    let mut by_root = PathBuf::from(format!("/proc/{pid}/root"));
    by_root.push(path.strip_prefix("/").unwrap_or(path));
    by_root
}

fn file_at(path: &Path) -> Option<FileId> {
    let metadata = fs::metadata(path).ok()?;
    Some(FileId { device: metadata.dev(), inode: metadata.ino() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wstap_symbols::Plan;

    use super::*;

    fn image(path: &Path) -> Image {
        let plan = Plan { loader_notifier: Some(4), ..Plan::default() };
        let file = file_at(path).unwrap();
        Image { file, path: path.into(), attach_path: "/proc/1/gone".into(), plan: Arc::new(plan) }
    }

    #[test]
    fn the_next_process_of_a_program_is_expected_to_map_what_the_last_one_has_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("lib.so");
        fs::write(&library, "1").unwrap();
        let (mut foresight, me) = (Foresight::default(), std::process::id());
        assert!(foresight.images(me).is_empty());
        foresight.learn(me, &image(&library));
        foresight.learn(me, &image(&library));
        let expected = foresight.images(me);
        assert_eq!(expected.len(), 1);
        assert_eq!(fs::read(&expected[0].attach_path).unwrap(), b"1");

        // An update has replaced it: a probe in the other file would be at a wrong place.
        let update = folder.path().join("update");
        fs::write(&update, "2").unwrap();
        fs::rename(&update, &library).unwrap();
        assert!(foresight.images(me).is_empty());
    }
}
