use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::suite::common::sources::{files_below, root, text};

/// Files beside one another that a reader takes in at a glance.
const FILES_IN_A_FOLDER: usize = 12;

/// Lines of a source file.
const LINES_IN_A_FILE: usize = 500;

/// The root is left out: tools and readers look for its files there and nowhere else.
#[test]
fn no_folder_has_more_files_than_a_reader_takes_in() {
    let mut folders: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for file in files_below(root()) {
        let folder = file.parent().expect("a folder");
        if folder != root() {
            *folders.entry(folder.to_owned()).or_default() += 1;
        }
    }
    assert!(folders.len() > 50, "{} folders", folders.len());
    folders.retain(|_, files| *files > FILES_IN_A_FOLDER);
    assert!(folders.is_empty(), "more than {FILES_IN_A_FOLDER} files: {folders:#?}");
}

#[test]
fn no_source_file_is_longer_than_a_reader_follows() {
    let parts = ["src", "symbols/src", "bpf"].map(|part| files_below(&root().join(part)));
    let mut lengths: Vec<(PathBuf, usize)> = parts
        .into_iter()
        .flatten()
        .filter_map(|file| text(&file).map(|text| (file, text.lines().count())))
        .collect();
    assert!(lengths.len() > 100, "{} files", lengths.len());
    lengths.retain(|(_, lines)| *lines > LINES_IN_A_FILE);
    assert!(lengths.is_empty(), "more than {LINES_IN_A_FILE} lines: {lengths:#?}");
}

/// Packages come from wherever the machine that builds says. Lock files are written by tools.
#[test]
fn no_package_host_is_named() {
    // In two parts, so that this file does not name one either.
    let hosts = [
        ("deb.", "debian.org"),
        ("security.", "debian.org"),
        ("snapshot.", "debian.org"),
        ("index.", "crates.io"),
        ("static.", "crates.io"),
        ("files.", "pythonhosted.org"),
        ("pypi", ".org"),
        ("npmjs", ".org"),
        ("npmjs", ".com"),
        ("proxy.", "golang.org"),
        ("docker", ".io"),
        ("ghcr", ".io"),
        ("quay", ".io"),
    ];
    let hosts = hosts.map(|(first, second)| format!("{first}{second}"));
    for file in files_below(root()) {
        let is_lock = file.extension().is_some_and(|ending| ending == "lock");
        let Some(text) = text(&file).filter(|_| !is_lock) else { continue };
        let named = hosts.iter().find(|host| text.contains(*host));
        assert!(named.is_none(), "{} names {}", file.display(), named.expect("a host"));
    }
}
