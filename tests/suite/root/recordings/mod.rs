//! Files of what has passed: recordings, and what others read.

/// How a recording ends, and that what it has written is whole.
mod endings;

/// Files for Wireshark and for browsers, as their readers see them.
mod files;

/// What a recording keeps, and that it replays to the same numbers and lines.
mod replayed;

/// Disks and readers that are too slow.
mod slow;
