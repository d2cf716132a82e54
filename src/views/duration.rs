//! Durations as people read them.

use std::fmt;

/// Nanoseconds, shown with three digits behind the point and the unit that suits them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nanoseconds(pub u64);

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        let text = match self.0 {
            0..1_000_000 => format!("{:.3} us", ns / 1e3),
            // From here on the rounded figure would read "1000.000 ms".
            1_000_000..999_999_500 => format!("{:.3} ms", ns / 1e6),
            _ => format!("{:.3} s", ns / 1e9),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_suits_the_size() {
        for (ns, text) in [
            (0, "0.000 us"),
            (999, "0.999 us"),
            (999_999, "999.999 us"),
            (1_000_000, "1.000 ms"),
            (8_123_456, "8.123 ms"),
            (999_999_499, "999.999 ms"),
            (999_999_500, "1.000 s"),
            (61_000_000_000, "61.000 s"),
        ] {
            assert_eq!(Nanoseconds(ns).to_string(), text);
        }
    }

    #[test]
    fn it_can_be_aligned_in_a_column() {
        assert_eq!(format!("{:>10}", Nanoseconds(1_500)), "  1.500 us");
    }
}
