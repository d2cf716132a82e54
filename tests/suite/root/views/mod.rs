//! What people look at, with real processes behind it.

/// Lines of `wstap messages`: which ones, and where they end.
mod messages;

/// The list of processes: what tells them apart.
mod ps;

/// The live view in a terminal.
mod top;
