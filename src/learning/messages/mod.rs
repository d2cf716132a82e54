//! What passed, as the search sees it: a bounded sample, taken apart into fields, sorted by shape.

pub(in crate::learning) mod classes;
pub(in crate::learning) mod json;
mod packing;
pub(in crate::learning) mod places;
pub(in crate::learning) mod sample;
pub(in crate::learning) mod texts;
