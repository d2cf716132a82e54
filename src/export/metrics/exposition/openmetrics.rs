//! OpenMetrics text format 1.0, from what a registry gathers.
//!
//! Differences from the older text format that matter here: a counter's family is named without
//! the `_total` of its sample, a unit is stated where the family's name ends in it, bounds are
//! written as floats, and the end is marked. A counter *must* end in `_total` there; the five
//! metrics that keep an older system's names do not, so they are given type `unknown`: their
//! names and values stay the same in every format, and queries with `rate()` work on them alike.

use std::fmt::{self, Write};

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// Renders the families in the order given.
pub(in crate::export) fn encode(families: &[MetricFamily]) -> String {
    let mut out = String::new();
    for family in families {
        write_family(&mut out, family).expect("a String takes everything");
    }
    out.push_str("# EOF\n");
    out
}

fn write_family(out: &mut String, family: &MetricFamily) -> fmt::Result {
    let sample_name = family.name();
    let (name, kind) = match family.get_field_type() {
        MetricType::COUNTER => match sample_name.strip_suffix("_total") {
            Some(name) => (name, "counter"),
            None => (sample_name, "unknown"),
        },
        MetricType::GAUGE => (sample_name, "gauge"),
        MetricType::HISTOGRAM => (sample_name, "histogram"),
        MetricType::SUMMARY => (sample_name, "summary"),
        MetricType::UNTYPED => (sample_name, "unknown"),
    };
    writeln!(out, "# TYPE {name} {kind}")?;
    for unit in ["seconds", "bytes"] {
        if name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')) {
            writeln!(out, "# UNIT {name} {unit}")?;
        }
    }
    writeln!(out, "# HELP {name} {}", Escaped(family.help()))?;
    for metric in family.get_metric() {
        match family.get_field_type() {
            MetricType::COUNTER => {
                write_sample(out, sample_name, "", metric, None, metric.counter.value())?;
            }
            MetricType::GAUGE => {
                write_sample(out, sample_name, "", metric, None, metric.gauge.value())?;
            }
            MetricType::HISTOGRAM => write_histogram(out, name, metric)?,
            // Nothing here makes these two; a collector added later would be missed by its tests.
            MetricType::SUMMARY | MetricType::UNTYPED => {}
        }
    }
    Ok(())
}

fn write_histogram(out: &mut String, name: &str, metric: &Metric) -> fmt::Result {
    let count = metric.histogram.sample_count() as f64;
    for bucket in &metric.histogram.bucket {
        // Debug writes a float that is whole as `1.0`, which the format asks for in `le`.
        let le = format!("{:?}", bucket.upper_bound());
        write_sample(out, name, "_bucket", metric, Some(&le), bucket.cumulative_count() as f64)?;
    }
    write_sample(out, name, "_bucket", metric, Some("+Inf"), count)?;
    write_sample(out, name, "_count", metric, None, count)?;
    write_sample(out, name, "_sum", metric, None, metric.histogram.sample_sum())
}

fn write_sample(
    out: &mut String,
    name: &str,
    suffix: &str,
    metric: &Metric,
    le: Option<&str>,
    value: f64,
) -> fmt::Result {
    write!(out, "{name}{suffix}")?;
    let labels = metric.get_label().iter().map(|pair: &LabelPair| (pair.name(), pair.value()));
    let mut before = '{';
    for (name, value) in labels.chain(le.map(|le| ("le", le))) {
        write!(out, "{before}{name}=\"{}\"", Escaped(value))?;
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
    writeln!(out, " {value}")
}

/// Text with backslash, line feed and double quote escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' => f.write_str("\\\"")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

    use super::*;
    use crate::export::metrics::histogram::ANSWER_BOUNDS_NS;
    use crate::export::metrics::histogram::labelled::TimingVec;

    #[test]
    fn a_scrape_reads_as_the_format_asks() {
        let registry = Registry::new();
        let counter = IntCounter::new("turnaround_sum", "Old \"name\".").expect("legal");
        let family = Opts::new("wstap_lost_bytes_total", "Bytes.");
        let bytes = IntCounterVec::new(family, &["reason"]).expect("legal");
        let timings = TimingVec::new("wstap_x_seconds", "Times.", &["method"], &ANSWER_BOUNDS_NS)
            .expect("legal");
        registry.register(Box::new(counter.clone())).expect("new");
        registry.register(Box::new(bytes.clone())).expect("new");
        registry.register(Box::new(timings.clone())).expect("new");
        counter.inc_by(1_500);
        bytes.with_label_values(&["a\"b\\c\nd"]).inc_by(7);
        let mut series = timings.series(&[""]);
        series.observe(1_000_000_000);
        series.flush();

        let text = encode(&registry.gather());
        let (head, histogram) = text.split_once("# TYPE wstap_x_seconds").expect("histogram");
        assert_eq!(
            head,
            "# TYPE turnaround_sum unknown\n\
             # HELP turnaround_sum Old \\\"name\\\".\n\
             turnaround_sum 1500\n\
             # TYPE wstap_lost_bytes counter\n\
             # UNIT wstap_lost_bytes bytes\n\
             # HELP wstap_lost_bytes Bytes.\n\
             wstap_lost_bytes_total{reason=\"a\\\"b\\\\c\\nd\"} 7\n"
        );
        assert!(histogram.starts_with(" histogram\n# UNIT wstap_x_seconds seconds\n"));
        assert!(histogram.contains("\nwstap_x_seconds_bucket{method=\"\",le=\"1.6384\"} 1\n"));
        assert!(histogram.contains("\nwstap_x_seconds_bucket{method=\"\",le=\"+Inf\"} 1\n"));
        assert!(histogram.ends_with(
            "\nwstap_x_seconds_count{method=\"\"} 1\nwstap_x_seconds_sum{method=\"\"} 1\n# EOF\n"
        ));
    }
}
