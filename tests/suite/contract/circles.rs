use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::suite::common::sources::{files_below, root, text};

/// The folders of `src/` whose modules import one way only. A module and its parent count as two.
const FOLDERS: [&str; 4] = ["capture", "decode", "learning", "matching"];

/// A module as the segments of its path behind `crate`.
type Module = Vec<String>;

/// Which modules each module imports from.
type Graph = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn imports_go_round_in_no_circle() {
    let broken: Vec<String> = FOLDERS.iter().filter_map(|folder| circle(&graph(folder))).collect();
    assert!(broken.is_empty(), "imports in a circle:\n{}", broken.join("\n"));
}

/// The rule itself is tested on modules that break it.
#[test]
fn a_circle_is_found_through_groups_and_parents() {
    let files = [
        ("a/mod.rs", "mod b;\nuse b::c::{\n    One,\n    Two,\n};\n"),
        ("a/b/c.rs", "use crate::a::b::d::{self, Three};\n"),
        ("a/b/d.rs", "use super::super::Four;\n"),
        ("a/e.rs", "use super::b::d;\n#[cfg(test)]\nmod tests {\n    use crate::a::f;\n}\n"),
        ("a/f.rs", "pub use super::e;\n"),
    ];
    let texts = files.iter().map(|(path, text)| (module(Path::new(path)), (*text).to_owned()));
    let graph = graph_of(texts.collect());
    let found = circle(&graph).expect("a circle");
    assert_eq!(found, "a -> a::b::c -> a::b::d -> a");
    let texts = files[1..].iter().map(|(path, text)| (module(Path::new(path)), (*text).to_owned()));
    assert_eq!(circle(&graph_of(texts.collect())), None);
}

fn graph(folder: &str) -> Graph {
    let source = root().join("src");
    let mut texts = BTreeMap::new();
    for file in files_below(&source.join(folder)) {
        let below = file.strip_prefix(&source).expect("a file of src/");
        let is_test = |name: &str| name == "tests" || name == "tests.rs";
        let is_rust = file.extension().is_some_and(|ending| ending == "rs");
        if is_rust && !below.iter().any(|name| is_test(&name.to_string_lossy())) {
            texts.insert(module(below), text(&file).expect("a source file"));
        }
    }
    assert!(texts.len() > 10, "{} modules", texts.len());
    graph_of(texts)
}

fn module(file: &Path) -> Module {
    let mut segments: Module =
        file.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect();
    segments.pop_if(|last| last == "mod");
    segments
}

fn graph_of(texts: BTreeMap<Module, String>) -> Graph {
    let imports = |from: &Module, text: &str| {
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let named = uses(code).into_iter().map(|path| absolute(from, &path));
        let modules = named.filter_map(|path| {
            (1..=path.len()).rev().map(|n| path[..n].to_vec()).find(|it| texts.contains_key(it))
        });
        modules.filter(|module| module != from).collect()
    };
    texts.iter().map(|(module, text)| (module.clone(), imports(module, text))).collect()
}

/// The paths that the `use` lines of a file name.
fn uses(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let before = rest[line..at].trim();
        rest = &rest[at + "use ".len()..];
        if before.is_empty() || before.starts_with("pub") {
            let statement = rest.split(';').next().unwrap_or_default();
            let statement: String = statement.split_whitespace().collect::<Vec<_>>().join(" ");
            expand(&statement, &mut paths);
        }
    }
    paths
}

/// Takes the groups of a `use` apart.
fn expand(path: &str, paths: &mut Vec<String>) {
    let (Some(open), Some(close)) = (path.find('{'), path.rfind('}')) else {
        paths.push(path.split(" as ").next().unwrap_or_default().trim().to_owned());
        return;
    };
    let (prefix, group) = (&path[..open], &path[open + 1..close]);
    let (mut depth, mut start) = (0, 0);
    for (at, byte) in group.bytes().chain([b',']).enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                expand(&format!("{prefix}{}", group[start..at].trim()), paths);
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// A path as seen from the crate's root.
fn absolute(from: &Module, path: &str) -> Module {
    let segments: Vec<&str> = path.split("::").map(str::trim).collect();
    let supers = segments.iter().take_while(|it| **it == "super").count();
    let mut base = match segments.first() {
        Some(&"crate") => Vec::new(),
        _ => from[..from.len().saturating_sub(supers)].to_vec(),
    };
    let named = segments.into_iter().filter(|it| !matches!(*it, "crate" | "super" | "self"));
    base.extend(named.map(str::to_owned));
    base
}

/// One circle, as a person reads it.
fn circle(graph: &Graph) -> Option<String> {
    graph.keys().find_map(|start| {
        let mut way = vec![start];
        leads_back(graph, start, &mut way, &mut BTreeSet::new()).then(|| {
            let names = way.iter().chain([&start]).map(|module| module.join("::"));
            names.collect::<Vec<_>>().join(" -> ")
        })
    })
}

fn leads_back<'g>(
    graph: &'g Graph,
    start: &Module,
    way: &mut Vec<&'g Module>,
    seen: &mut BTreeSet<&'g Module>,
) -> bool {
    let Some(here) = way.last().and_then(|last| graph.get(*last)) else { return false };
    for next in here {
        if next == start {
            return true;
        }
        if seen.insert(next) {
            way.push(next);
            if leads_back(graph, start, way, seen) {
                return true;
            }
            way.pop();
        }
    }
    false
}
