//! The tests, in the order in which to read them.
//!
//! A test whose name begins with `root_` needs privilege: it taps real processes. One that begins
//! with `heavy_` also needs what `make test-stacks` installs. A test that needs a tool which is
//! not installed says `skipped` and why, except where `CI` is set: there it fails.

/// What tests start and ask: peers, wstap itself, other programs. No tests.
pub(crate) mod common;

/// What needs no privilege: the layout of the code, refusals, documents, the exporter.
mod contract;

/// What needs privilege: real processes under tap.
mod root;
