//! What is asked of the capture side.

/// A process in which zlib should be looked at, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowRequest {
    /// The process.
    pub tgid: u32,
    /// A direction of it waits for a window.
    pub is_wanted: bool,
}
