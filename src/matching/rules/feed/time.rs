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
    /// Nanoseconds in the unit in which a number is a time of our days.
    fn ns_of(number: i64) -> Option<i64> {
        let unit = match number {
            ..EARLIEST_S => return None,
            EARLIEST_S..LATEST_S => Self::Seconds,
            LATEST_S..100_000_000_000_000 => Self::Milliseconds,
            100_000_000_000_000..100_000_000_000_000_000 => Self::Microseconds,
            _ => Self::Nanoseconds,
        };
        unit.ns()
    }

    /// Nanoseconds in one; none in a date.
    #[inline]
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
#[inline]
pub(super) fn parse(token: &[u8], unit: Option<TimeUnit>) -> Option<i64> {
    // Most are whole numbers of milliseconds.
    if unit.is_none()
        && let Some(whole) = half_and_half(token)
    {
        let whole = i64::try_from(whole).ok()?;
        return whole.checked_mul(TimeUnit::ns_of(whole)?);
    }
    parse_any(token, unit)
}

#[inline(never)]
fn parse_any(token: &[u8], unit: Option<TimeUnit>) -> Option<i64> {
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
    let unit_ns = match unit {
        None => TimeUnit::ns_of(whole),
        Some(unit) => unit.ns(),
    }?;
    let ns = whole.checked_mul(unit_ns)?;
    if count == text.len() {
        return Some(ns);
    }
    match text.get(count..) {
        Some([b'.', fraction @ ..]) => plus_fraction(ns, unit_ns, fraction),
        _ => None,
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

/// The number that `text` is, where it is nothing but digits: 1 to 19, so that it fits.
#[inline]
pub(super) fn whole_number(text: &[u8]) -> Option<u64> {
    match text.len() {
        // Two words that overlap say the same where they do, and zeros in front change nothing.
        4..8 => {
            let [first, last] =
                [text.first_chunk()?, text.last_chunk()?].map(|&it| u32::from_le_bytes(it));
            let missing_bits = 8 * (8 - text.len());
            let both = u64::from(first) | u64::from(last) << (32 - missing_bits);
            let zeros = each(b'0') & !(u64::MAX << missing_bits);
            digits((both << missing_bits) | zeros).map(value)
        }
        8 => eight_digits(text.first_chunk()?),
        9..=16 => half_and_half(text),
        _ => {
            let (number, count) = leading_digits(text)?;
            (count == text.len()).then_some(number)
        }
    }
}

/// The number that `text` is, where it is 9 to 16 digits and nothing else.
#[inline]
fn half_and_half(text: &[u8]) -> Option<u64> {
    if !(9..=16).contains(&text.len()) {
        return None;
    }
    let [first, last] = [text.first_chunk()?, text.last_chunk()?].map(|&it| u64::from_le_bytes(it));
    // What the second half says, too, is shifted out of the first one.
    let overlap_bits = 8 * (16 - text.len());
    let (first, last) = (digits(first)? << overlap_bits, digits(last)?);
    Some(value(first) * 100_000_000 + value(last))
}

/// The number that `text` begins with, and how many digits it has: 1 to 19, so that it fits.
fn leading_digits(text: &[u8]) -> Option<(u64, usize)> {
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
#[inline]
fn eight_digits(text: &[u8; 8]) -> Option<u64> {
    digits(u64::from_le_bytes(*text)).map(value)
}

/// Eight times the same byte.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// What each of eight digits is worth by itself, the first in the lowest byte.
#[inline]
fn digits(text: u64) -> Option<u64> {
    let digits = text ^ each(b'0');
    // What is 10 or more reaches the top bit with 118 more, or has it already.
    let is_other = (digits.wrapping_add(each(118)) | digits) & each(0x80) != 0;
    (!is_other).then_some(digits)
}

/// What eight digits are worth together.
#[inline]
fn value(digits: u64) -> u64 {
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    // Every second byte becomes a number of two digits; then two of these at a time become one of
    // four, and the two of these one of eight, in the upper half.
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let first_and_third = (pairs & PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let second_and_fourth = ((pairs >> 16) & PAIRS).wrapping_mul(1 + (10_000 << 32));
    first_and_third.wrapping_add(second_and_fourth) >> 32
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
        fn digits_are_the_number_that_they_are(
            number in (any::<u64>(), 0_u32..64).prop_map(|(number, bits)| number >> bits),
            zeros in 0_usize..9,
            end in "([^0-9].*)?",
        ) {
            let digits = format!("{}{number}", "0".repeat(zeros));
            let expected = (digits.len() <= 19).then_some((number, digits.len()));
            prop_assert_eq!(leading_digits(format!("{digits}{end}").as_bytes()), expected);
            let whole = expected.filter(|_| end.is_empty()).map(|(number, _)| number);
            prop_assert_eq!(whole_number(format!("{digits}{end}").as_bytes()), whole);
        }

        /// One byte among digits that is none makes it no number, wherever it stands.
        #[test]
        fn what_is_not_all_digits_is_no_number(
            mut text in prop::collection::vec(b'0'..=b'9', 1..20),
            at in any::<prop::sample::Index>(),
            other in any::<u8>(),
        ) {
            let at = at.index(text.len());
            text[at] = other;
            let whole = std::str::from_utf8(&text).ok().filter(|it| !it.starts_with('+'));
            prop_assert_eq!(whole_number(&text), whole.and_then(|it| it.parse().ok()));
        }
    }
}
