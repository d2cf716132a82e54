//! Every byte is decoded, skipped on purpose or lost, and counted as such.

/// More connections than are followed.
mod bound;

/// TLS connections whose sockets are tapped as well.
mod busy;

/// Feeds with known faults, and what wstap loses of them.
pub(in crate::suite::root) mod feeds;

/// What was lost is counted to the byte.
mod loss;

/// Very many connections, lost ends, and more than can be decoded.
mod scale;

/// TLS objects that several processes use.
mod shared;

/// What is not needed is not copied.
mod steering;

/// The same on streams of HTTP/2, and what was lost there.
mod streams;

/// Writes that pass a part of what they were asked for, or nothing for now.
mod unfinished;
