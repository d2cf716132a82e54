//! What people look at, with real processes behind it.

/// Clients that make it hard for the listener.
mod crowd;

/// Clients that follow the live page.
mod followers;

/// What tells processes and connections of one target apart in the metrics.
mod instances;

/// Where HTTP is served, and for whom.
mod listener;

/// Lines of `wstap messages`: which ones, and where they end.
mod messages;

/// The list of processes: what tells them apart.
mod ps;

/// The panels of the dashboard, filled by a live process.
mod panels;

/// The page, in a browser.
mod page;

/// The page in several browsers at a time; too large for `make test`.
mod browsers;

/// The live view in a terminal.
mod top;
