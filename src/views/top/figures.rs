//! Figures as people read them: the same words as on the page.

/// A time in seconds: three digits and a unit.
pub(super) fn seconds(value: Option<f64>) -> String {
    let Some(value) = value else { return "-".to_owned() };
    match value {
        value if value <= 0.0 => "0 s".to_owned(),
        value if value < 1e-3 => format!("{} µs", three(value * 1e6)),
        value if value < 1.0 => format!("{} ms", three(value * 1e3)),
        value if value < 100.0 => format!("{} s", three(value)),
        value => span(value),
    }
}

/// Three digits of a number below 1,000.
fn three(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// A long time: `5s`, `2m 5s`, `3h 2m`.
pub(super) fn span(value: f64) -> String {
    let all = value.max(0.0).round() as u64;
    match all {
        0..60 => format!("{all}s"),
        60..3_600 => format!("{}m {}s", all / 60, all % 60),
        _ => format!("{}h {}m", all / 3_600, all / 60 % 60),
    }
}

/// A number of things in a second.
pub(super) fn rate(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 9.95 => format!("{value:.1}"),
        value => count(value.round() as u64),
    }
}

/// A number, shortened where it is long.
pub(super) fn count(value: u64) -> String {
    match value {
        0..100_000 => value.to_string(),
        100_000..10_000_000 => format!("{}k", value / 1_000),
        _ => format!("{}M", value / 1_000_000),
    }
}

/// A part of a whole.
pub(super) fn share(part: u64, all: u64) -> String {
    match (part, all) {
        (_, 0) => "-".to_owned(),
        (0, _) => "0%".to_owned(),
        _ => {
            let percent = 100.0 * part as f64 / all as f64;
            if percent < 9.95 { format!("{percent:.1}%") } else { format!("{percent:.0}%") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let shown = [0.0, 12.34e-6, 1.5e-3, 9.999e-3, 0.1234, 2.5, 99.0, 125.0, 7_320.0];
        let expected = [
            "0 s", "12.3 µs", "1.50 ms", "10.0 ms", "123 ms", "2.50 s", "99.0 s", "2m 5s", "2h 2m",
        ];
        assert_eq!(shown.map(|value| seconds(Some(value))), expected);
        assert_eq!(seconds(None), "-");
    }

    #[test]
    fn numbers_and_shares_are_short() {
        assert_eq!([0.0, 0.5, 12.4, 123_456.0].map(rate), ["0", "0.5", "12", "123k"]);
        assert_eq!([99_999, 12_345_678].map(count), ["99999", "12M"]);
        assert_eq!(
            [share(0, 0), share(0, 9), share(1, 200), share(1, 2)],
            ["-", "0%", "0.5%", "50%"]
        );
    }
}
