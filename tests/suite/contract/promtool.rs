use std::io::Write;
use std::process::{Command, Stdio};

use prometheus::TextEncoder;

use crate::suite::common::exporter::Fixture;
use crate::suite::common::programs;
use crate::suite::common::sources::{root, text};

/// Names of an older system that users' dashboards rely on: the linter dislikes them, and they
/// stay.
const KEPT_NAMES: [&str; 5] = [
    "turnaround_count",
    "turnaround_sum",
    "packet_send_count",
    "packet_recv_count",
    "identical_packets_count",
];

#[test]
fn promtool_finds_nothing_to_improve_in_our_own_names() {
    let Some(promtool) = programs::find("promtool") else { return };
    let mut fixture = Fixture::new();
    fixture.everything([1_000_000]);
    let families = fixture.metrics.registry().gather();
    let text = TextEncoder::new().encode_to_string(&families).expect("text");

    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let findings = String::from_utf8_lossy(&output.stderr);

    let is_kept = |line: &&str| KEPT_NAMES.iter().any(|name| line.starts_with(name));
    assert_eq!(findings.lines().find(|line| !is_kept(line)), None, "{findings}");
    // Exit code 3 says "style", 1 says "cannot read it": the kept names make it 3.
    assert_eq!(output.status.code(), Some(3), "{findings}");
}

/// People copy the jobs from the documents.
#[test]
fn promtool_accepts_the_jobs_that_documents_show() {
    let Some(promtool) = programs::find("promtool") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    for document in ["README.md", "deploy/README.md", "docs/operation/prometheus.md"] {
        let written = text(&root().join(document)).expect("the document");
        let blocks = written.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let jobs: Vec<_> = blocks.filter(|block| block.contains("scrape_configs:")).collect();
        assert!(!jobs.is_empty(), "{document} shows no job");
        for job in jobs {
            let file = folder.path().join("prometheus.yml");
            std::fs::write(&file, job).expect("a file");
            let mut check = Command::new(&promtool);
            let output = check.args(["check", "config", "--syntax-only"]).arg(file).output();
            let output = output.expect("promtool starts");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{document}: {job}\n{said}");
        }
    }
}
