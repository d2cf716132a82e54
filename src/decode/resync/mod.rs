//! Finds where frames begin when that is unknown: in mid-stream, after a hole, after a broken header.

pub(in crate::decode) mod candidate;
mod chains;
pub(in crate::decode) mod search;
pub(in crate::decode) mod tls_records;
