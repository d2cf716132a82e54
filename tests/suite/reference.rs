use std::fmt::Write;
use std::path::Path;

use prometheus::proto::MetricFamily;

use crate::traffic::Fixture;

/// `docs/metrics.md` is written by hand around a table that is not: it must say what is served.
/// `WSTAP_BLESS=1 cargo test reference` writes the table anew.
#[test]
fn the_metrics_reference_lists_what_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let document = std::fs::read_to_string(&path).expect("the reference");
    let (before, rest) = document.split_once("<!-- table -->\n").expect("where the table begins");
    let (_, after) = rest.split_once("<!-- end -->").expect("where the table ends");

    let mut fixture = Fixture::new();
    fixture.everything([1_000_000]);
    let mut table = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for family in fixture.metrics.registry().gather() {
        writeln!(table, "{}", row(&family)).expect("a String takes everything");
    }
    let expected = format!("{before}<!-- table -->\n{table}<!-- end -->{after}");
    if std::env::var_os("WSTAP_BLESS").is_some() {
        std::fs::write(&path, &expected).expect("a file");
        return;
    }
    assert!(document == expected, "docs/metrics.md is out of date; its table should be\n{table}");
}

fn row(family: &MetricFamily) -> String {
    let labels = family.get_metric()[0].get_label();
    let labels: Vec<_> = labels.iter().map(|label| format!("`{}`", label.name())).collect();
    let kind = format!("{:?}", family.get_field_type()).to_lowercase();
    let help = family.help().replace('_', "\\_");
    format!("| `{}` | {kind} | {} | {help} |", family.name(), labels.join(", "))
}
