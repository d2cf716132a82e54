//! The repository's own files, for tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

/// What is made here, not written: builds, findings of the fuzzer, and git's own.
const NOT_OURS: [&str; 4] = ["target", "artifacts", "node_modules", ".git"];

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files in a folder and in its sub-folders. Links are not followed.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let kind = entry.file_type().expect("a kind");
        let is_ours = !NOT_OURS.iter().any(|name| entry.file_name() == *name);
        if kind.is_dir() && is_ours {
            files.extend(files_below(&entry.path()));
        } else if kind.is_file() && is_ours {
            files.push(entry.path());
        }
    }
    files
}

/// The text of a file, or `None` where it is not text.
pub(crate) fn text(file: &Path) -> Option<String> {
    String::from_utf8(fs::read(file).expect("a file")).ok()
}
