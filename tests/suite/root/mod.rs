//! What needs privilege: real processes under tap.

/// Every byte is decoded, skipped on purpose or lost, and counted as such.
mod exactness;

/// Files of what has passed: recordings, and what others read.
mod recordings;

/// One TLS library or build after the other, and connections without TLS.
mod stacks;

/// Which processes are tapped, from where to where, and what that needs.
mod targets;

/// What is said on the connections: messages, compression, protocols.
mod traffic;

/// What people look at: lines, tables, the page.
mod views;
