//! The native half of a histogram in protobuf.
//!
//! The `prometheus` crate's schema is older than native histograms, but its messages keep fields
//! that they cannot name and its encoder writes them. Only the protobuf format shows them.

use prometheus::proto;

use crate::export::metrics::histogram::{Histogram, NATIVE_SCHEMA, NATIVE_ZERO_THRESHOLD};

/// Field numbers of the native part of `io.prometheus.client.Histogram`, metrics.proto of
/// prometheus/client_model.
mod field {
    pub(in crate::export) const SCHEMA: u32 = 5;
    pub(in crate::export) const ZERO_THRESHOLD: u32 = 6;
    pub(in crate::export) const ZERO_COUNT: u32 = 7;
    pub(in crate::export) const POSITIVE_SPAN: u32 = 12;
    pub(in crate::export) const POSITIVE_DELTA: u32 = 13;
}

/// Adds the native buckets to the classic ones.
pub(in crate::export) fn add(out: &mut proto::Histogram, histogram: &Histogram) {
    let fields = out.special_fields.mut_unknown_fields();
    fields.add_varint(field::SCHEMA, zigzag(i64::from(NATIVE_SCHEMA)));
    fields.add_fixed64(field::ZERO_THRESHOLD, NATIVE_ZERO_THRESHOLD.to_bits());
    fields.add_varint(field::ZERO_COUNT, histogram.zero_count());
    for (offset, length) in spans(histogram.native()) {
        let mut span = vec![0x08]; // field 1, varint
        push_varint(&mut span, zigzag(i64::from(offset)));
        span.push(0x10); // field 2, varint
        push_varint(&mut span, u64::from(length));
        fields.add_length_delimited(field::POSITIVE_SPAN, span);
    }
    if histogram.native().is_empty() {
        // An empty span distinguishes an empty native histogram from a classic one.
        fields.add_length_delimited(field::POSITIVE_SPAN, vec![0x08, 0, 0x10, 0]);
    }
    let mut before = 0i64;
    for &(_, count) in histogram.native() {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        fields.add_varint(field::POSITIVE_DELTA, zigzag(count - before));
        before = count;
    }
}

/// Runs of neighbouring keys: how far each lies behind the end of the one before (the first:
/// behind key 0), and its length.
fn spans(native: &[(i32, u64)]) -> Vec<(i32, u32)> {
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let mut next = 0;
    for &(key, _) in native {
        match spans.last_mut() {
            Some((_, length)) if key == next => *length += 1,
            _ => spans.push((key - next, 1)),
        }
        next = key + 1;
    }
    spans
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_start_anew_after_a_hole() {
        assert_eq!(spans(&[(-3, 1), (-2, 5), (1, 1), (2, 1), (3, 9)]), [(-3, 2), (2, 3)]);
        assert_eq!(spans(&[]), []);
    }

    #[test]
    fn zigzag_and_varint_follow_the_protobuf_encoding() {
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
        assert_eq!(zigzag(i64::MIN), u64::MAX);
        let mut out = Vec::new();
        push_varint(&mut out, 300);
        assert_eq!(out, [0xac, 0x02]);
    }
}
