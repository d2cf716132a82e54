//! A time as messages write it: a number of seconds, or parts of seconds, since 1970, or RFC 3339.

use serde::Deserialize;

/// What a number counts.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(in crate::matching::rules) enum TimeUnit {
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "us")]
    Microseconds,
    #[serde(rename = "ns")]
    Nanoseconds,
    /// A date and a time of day, as text (RFC 3339, section 5.6).
    #[serde(rename = "rfc3339")]
    Rfc3339,
}

/// Seconds since 1970 of 3 March 1973. A smaller number counts something else than time.
const EARLIEST_S: i64 = 100_000_000;

/// Seconds since 1970 of the year 5138: 1,000 x [`EARLIEST_S`], so that no number can have two units.
const LATEST_S: i64 = 1_000 * EARLIEST_S;

const NS: i64 = 1_000_000_000;

impl TimeUnit {
    /// The unit in which a number is a time of our days.
    fn of(number: i64) -> Option<Self> {
        Some(match number {
            ..EARLIEST_S => return None,
            EARLIEST_S..LATEST_S => Self::Seconds,
            LATEST_S..100_000_000_000_000 => Self::Milliseconds,
            100_000_000_000_000..100_000_000_000_000_000 => Self::Microseconds,
            _ => Self::Nanoseconds,
        })
    }

    /// Nanoseconds in one; none in a date.
    fn ns(self) -> Option<i64> {
        match self {
            Self::Seconds => Some(NS),
            Self::Milliseconds => Some(1_000_000),
            Self::Microseconds => Some(1_000),
            Self::Nanoseconds => Some(1),
            Self::Rfc3339 => None,
        }
    }
}

/// Nanoseconds since 1970 of a raw token; `None` where it is no time. Without a unit that is found by
/// the size of the number.
pub(super) fn parse(token: &[u8], unit: Option<TimeUnit>) -> Option<i64> {
    let text = without_quotes(token);
    match unit {
        Some(TimeUnit::Rfc3339) => date(text),
        Some(unit) => number(text, Some(unit)),
        None => number(text, None).or_else(|| date(text)),
    }
}

fn date(text: &[u8]) -> Option<i64> {
    let at: jiff::Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    at.as_nanosecond().try_into().ok()
}

/// A number, with a fraction or without.
fn number(text: &[u8], unit: Option<TimeUnit>) -> Option<i64> {
    let (whole, count) = leading_digits(text)?;
    let whole = i64::try_from(whole).ok()?;
    let unit_ns = unit.or_else(|| TimeUnit::of(whole))?.ns()?;
    let ns = whole.checked_mul(unit_ns)?;
    match text.get(count..) {
        None | Some([]) => Some(ns),
        Some([b'.', fraction @ ..]) => plus_fraction(ns, unit_ns, fraction),
        Some(_) => None,
    }
}

/// Digits behind the point, each worth a tenth of the one before it.
fn plus_fraction(mut ns: i64, unit_ns: i64, digits: &[u8]) -> Option<i64> {
    let mut worth = unit_ns;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        worth /= 10;
        ns = ns.checked_add(i64::from(digit - b'0') * worth)?;
    }
    Some(ns)
}

/// The number that `text` begins with, and how many digits it has: 1 to 19, so that it fits.
pub(super) fn leading_digits(text: &[u8]) -> Option<(u64, usize)> {
    const MOST: usize = 19;
    let mut number = 0_u64;
    let mut rest = text;
    // What is said of more digits than fit is not asked for.
    while let Some((eight, behind)) = rest.split_first_chunk()
        && let Some(value) = eight_digits(eight)
    {
        number = number.wrapping_mul(100_000_000).wrapping_add(value);
        rest = behind;
    }
    let mut count = text.len() - rest.len();
    for &byte in rest {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number.wrapping_mul(10).wrapping_add(digit.into());
        count += 1;
    }
    (1..=MOST).contains(&count).then_some((number, count))
}

/// The value of eight digits, all at once; `None` where one of the bytes is none.
fn eight_digits(text: &[u8; 8]) -> Option<u64> {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let digits = u64::from_le_bytes(*text) ^ each(b'0');
    // What is 10 or more reaches the top bit with 118 more, or has it already.
    if (digits.wrapping_add(each(118)) | digits) & each(0x80) != 0 {
        return None;
    }
    // Every second byte becomes a number of two digits; then two of these at a time become one of
    // four, and the two of these one of eight, in the upper half.
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let first_and_third = (pairs & PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let second_and_fourth = ((pairs >> 16) & PAIRS).wrapping_mul(1 + (10_000 << 32));
    Some(first_and_third.wrapping_add(second_and_fourth) >> 32)
}

/// What stands between the quotes, or all where there are none.
pub(super) fn without_quotes(token: &[u8]) -> &[u8] {
    let inside = token.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inside.unwrap_or(token)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-05-01T12:00:00Z
    const NOON_NS: i64 = 1_777_636_800 * NS;

    fn found(token: &str) -> Option<i64> {
        parse(token.as_bytes(), None)
    }

    #[test]
    fn the_unit_is_found_by_the_size_of_the_number() {
        for token in [
            "1777636800",
            "1777636800000",
            "1777636800000000",
            "1777636800000000000",
            "\"1777636800000\"",
            "\"1777636800.000000\"",
            "\"2026-05-01T12:00:00Z\"",
            "\"2026-05-01T14:00:00.000+02:00\"",
        ] {
            assert_eq!(found(token), Some(NOON_NS), "{token}");
        }
    }

    #[test]
    fn a_fraction_counts_down_to_nanoseconds() {
        assert_eq!(found("1777636800.5"), Some(NOON_NS + NS / 2));
        assert_eq!(found("1777636800000.25"), Some(NOON_NS + 250_000));
        assert_eq!(found("1777636800.12345678999"), Some(NOON_NS + 123_456_789));
        assert_eq!(found("\"2026-05-01T12:00:00.000000001Z\""), Some(NOON_NS + 1));
    }

    #[test]
    fn a_unit_that_is_given_is_believed() {
        assert_eq!(parse(b"5", Some(TimeUnit::Milliseconds)), Some(5_000_000));
        assert_eq!(parse(b"1777636800", Some(TimeUnit::Rfc3339)), None);
        assert_eq!(parse(b"\"2026-05-01T12:00:00Z\"", Some(TimeUnit::Seconds)), None);
    }

    #[test]
    fn what_is_no_time_is_none() {
        for token in [
            "7",
            "-1777636800",
            "\"\"",
            "\"noon\"",
            "1e9",
            "1777636800.x",
            "99999999999999999999",
            ".",
        ] {
            assert_eq!(found(token), None, "{token}");
        }
    }

    proptest! {
        #[test]
        fn digits_are_the_number_that_they_are(number in any::<u64>(), zeros in 0_usize..9, end in "([^0-9].*)?") {
            let digits = format!("{}{number}", "0".repeat(zeros));
            let expected = (digits.len() <= 19).then_some((number, digits.len()));
            prop_assert_eq!(leading_digits(format!("{digits}{end}").as_bytes()), expected);
        }
    }
}
