//! Looks for values that come back, and for reasons why they are no ids all the same.

pub(in crate::learning) mod doubts;
pub(in crate::learning) mod pairs;
pub(in crate::learning) mod splits;
pub(in crate::learning) mod trace;
