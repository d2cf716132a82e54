//! Tests of the whole from outside, in one binary: one link instead of many. `suite` is the table
//! of contents.

#![allow(clippy::disallowed_methods, reason = "tests wait for other programs, with deadlines")]

mod suite;
