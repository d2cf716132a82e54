//! What tests start and ask. There are no tests here.

/// An exporter that serves observations made by hand.
pub(crate) mod exporter;

/// Control groups.
pub(crate) mod groups;

/// Programs in other languages that talk WebSocket and keep a log of what they said.
pub(crate) mod peers;

/// Breakpoints in the code of a process.
pub(crate) mod probed;

/// Finds the programs that tests run, and ends them when the test is over.
pub(crate) mod programs;

/// The repository's own files.
pub(crate) mod sources;

/// wstap itself, run as a user runs it.
pub(crate) mod wstap;
