use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::suite::common::sources::{files_below, root};

/// The parts of `src/` in the order in which data flows. A part may use itself and what stands in
/// an earlier row, never what stands in the same or in a later one.
/// (`symbols` is a crate of its own, so Cargo keeps its border.)
const ORDER: [&[&str]; 8] = [
    &["event", "observation", "terminal"],
    &["capture", "matching"],
    &["decode", "learning"],
    &["export"],
    &["views"],
    &["cli"],
    &["config"],
    &["run"],
];

/// `observation` tells when and where something happened in the words of `event`.
const ALLOWED_IN_A_ROW: [(&str, &str); 1] = [("observation", "event")];

/// What a part may not use although no folder says so: the pure parts have no clock, no file, no
/// thread and no kernel, and what is served knows no BPF.
const OUTSIDE: [(&str, &[&str]); 7] = [
    ("event", PURE),
    ("observation", PURE),
    ("decode", PURE),
    ("matching", PURE),
    ("learning", PURE),
    ("export", &["libbpf", "wstap_symbols"]),
    ("views", &["libbpf", "wstap_symbols", "prometheus", "axum"]),
];

const PURE: &[&str] = &[
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
];

/// `decode` hands messages to `matching`; nothing else of the pure core or the rim is shared.
const STRANGERS: [(&str, &str); 3] =
    [("decode", "capture"), ("learning", "capture"), ("export", "capture")];

/// One use of a name by a line of a file.
struct Use {
    part: String,
    line: String,
}

#[test]
fn parts_use_only_what_stands_before_them() {
    let mut broken = Vec::new();
    for found in uses() {
        let Some(named) = parts_named(&found.line) else { continue };
        broken.extend(
            named
                .iter()
                .filter(|other| !may_use(&found.part, other))
                .map(|other| format!("{} uses {other}: {}", found.part, found.line)),
        );
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_pure_parts_know_no_clock_no_file_and_no_kernel() {
    let forbidden: BTreeMap<&str, &[&str]> = OUTSIDE.into_iter().collect();
    let broken: Vec<String> = uses()
        .into_iter()
        .filter(|found| {
            let names = forbidden.get(found.part.as_str()).copied().unwrap_or_default();
            names.iter().any(|name| found.line.contains(name))
        })
        .map(|found| format!("{}: {}", found.part, found.line))
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The rule itself is tested on lines that break it.
#[test]
fn a_use_against_the_order_is_found() {
    assert!(!may_use("decode", "export"));
    assert!(!may_use("capture", "decode"));
    assert!(!may_use("capture", "matching"));
    assert!(!may_use("decode", "capture"));
    assert!(!may_use("export", "capture"));
    assert!(!may_use("event", "observation"));
    assert!(may_use("decode", "matching"));
    assert!(may_use("run", "views"));
    let named = parts_named("    use crate::{capture::Error, decode::decoder};").expect("a use");
    assert_eq!(named, BTreeSet::from(["capture".to_owned(), "decode".to_owned()]));
    assert!(parts_named("// use crate::capture::Error;").is_none());
}

fn may_use(part: &str, other: &str) -> bool {
    if part == other || ALLOWED_IN_A_ROW.contains(&(part, other)) {
        return true;
    }
    row(other) < row(part) && !STRANGERS.contains(&(part, other))
}

fn row(part: &str) -> usize {
    ORDER
        .iter()
        .position(|row| row.contains(&part))
        .unwrap_or_else(|| panic!("{part} has no row in ORDER: a new part of src/ needs one"))
}

/// The parts of the crate that a line of code names, if it names any.
fn parts_named(line: &str) -> Option<BTreeSet<String>> {
    if line.trim_start().starts_with("//") {
        return None;
    }
    let mut named = BTreeSet::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => named.extend(group.split(',').filter_map(first_name)),
            None => named.extend(first_name(rest)),
        }
    }
    Some(named)
}

/// The module that a path begins with; nothing for an item of the crate's root.
fn first_name(path: &str) -> Option<String> {
    let path = path.trim_start();
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    let name = &path[..end];
    let known = ORDER.iter().any(|row| row.contains(&name));
    known.then(|| name.to_owned())
}

/// Every line of code of every part. The program (`main.rs`) and the root (`lib.rs`) see all.
fn uses() -> Vec<Use> {
    let source = root().join("src");
    let mut found = Vec::new();
    let rust = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "rs");
    for file in files_below(&source).into_iter().filter(rust) {
        let below = file.strip_prefix(&source).expect("a file of src/");
        let first = below.iter().next().expect("a name").to_string_lossy();
        let part = first.trim_end_matches(".rs");
        if matches!(part, "main" | "lib") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        found.extend(code.map(|line| Use { part: part.to_owned(), line: line.trim().to_owned() }));
    }
    let parts: BTreeSet<&str> = found.iter().map(|found| found.part.as_str()).collect();
    let expected: BTreeSet<&str> = ORDER.iter().flat_map(|row| row.iter().copied()).collect();
    assert_eq!(parts, expected, "the parts of src/ and the rows of ORDER");
    found
}
