//! `tests/recordings/NAME.rec` is a recording. In `expected`, `NAME.lines` is what `wstap replay --json`
//! prints of it, and `NAME.metrics` has the series that are not 0. `WSTAP_BLESS=1 cargo test golden` writes the latter two
//! anew.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::suite::common::sources::root;
use crate::suite::common::wstap::{Monitor, get, program, wait_for};

fn recordings() -> Vec<PathBuf> {
    let folder = fs::read_dir(root().join("tests/recordings")).expect("a folder");
    let files = folder.map(|entry| entry.expect("a file").path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|it| it == "rec")).collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    files
}

#[track_caller]
fn assert_golden(file: &Path, extension: &str, text: &str) {
    let name = Path::new(file.file_name().expect("a file")).with_extension(extension);
    let golden = file.with_file_name("expected").join(name);
    if std::env::var_os("WSTAP_BLESS").is_some() {
        fs::write(&golden, text).expect("a file");
        return;
    }
    let expected = fs::read_to_string(&golden).expect("a golden file");
    let differs = expected.lines().zip(text.lines()).find(|(expected, line)| expected != line);
    if let Some((expected, line)) = differs {
        panic!("{}:\nexpected {expected}\nis       {line}", golden.display());
    }
    assert_eq!(expected.lines().count(), text.lines().count(), "{}", golden.display());
}

#[test]
fn golden_recordings_replay_to_the_same_lines() {
    for file in recordings() {
        let output = program().arg("replay").arg(&file).arg("--json").output().expect("wstap runs");
        assert!(output.status.success(), "{output:?}");
        assert_golden(&file, "lines", &String::from_utf8(output.stdout).expect("text"));
    }
}

#[test]
fn golden_recordings_replay_to_the_same_metrics() {
    for file in recordings() {
        let mut command = program();
        command.arg("replay").arg(&file);
        let replay = Monitor::spawn_on_any_port(command);
        wait_for("the replay to end", || {
            let status: Value =
                serde_json::from_str(&get(replay.address, "/api/v1/status")).expect("JSON");
            (status["ready"] == true).then_some(())
        });
        let is_its_own = |name: &str| {
            ["process_", "wstap_build_info", "wstap_scrape"].iter().any(|it| name.starts_with(it))
        };
        let metrics = replay.metrics();
        let shown =
            metrics.all().iter().filter(|(name, value)| !is_its_own(name) && **value != 0.0);
        let text: String = shown.map(|(name, value)| format!("{name} {value}\n")).collect();
        assert_golden(&file, "metrics", &text);
    }
}
