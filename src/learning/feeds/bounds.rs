//! How much must have been seen of a flow before anything is said of it.

/// Messages of which less is known prove nothing.
pub(super) const LEAST_MESSAGES: usize = 20;

/// Of the numbers, this share must be in order: in percent.
pub(super) const LEAST_SHARE: usize = 85;
