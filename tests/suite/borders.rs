use std::fs;
use std::path::{Path, PathBuf};

/// What each stage may not know. `symbols` is a crate of its own, so Cargo keeps its border.
const BORDERS: [(&str, &[&str]); 3] = [
    (
        "src/decode",
        &[
            "crate::capture",
            "crate::export",
            "crate::run",
            "crate::config",
            "crate::cli",
            "libbpf",
            "wstap_symbols",
            "prometheus",
            "tokio",
            "axum",
            "tracing",
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
            "std::time",
        ],
    ),
    (
        "src/capture",
        &["crate::export", "crate::run", "crate::config", "crate::cli", "prometheus", "axum"],
    ),
    ("src/export", &["crate::capture", "crate::run", "crate::config", "crate::cli", "libbpf"]),
];

/// Data flows one way, and so do dependencies.
#[test]
fn no_stage_knows_a_later_one_or_the_kernel() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    for (folder, forbidden) in BORDERS {
        let files = rust_files(&root.join(folder));
        assert!(files.len() > 3, "{folder} has moved");
        for file in files {
            let text = fs::read_to_string(&file).expect("a source file");
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                for name in forbidden.iter().filter(|name| line.contains(**name)) {
                    broken.push(format!("{}: {name}: {}", file.display(), line.trim()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}
