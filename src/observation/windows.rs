//! What becomes of looking for the window of a compressed direction.

/// Where a direction of a connection goes on from plaintext that was not seen, it is asked of the
/// process, and then either proven or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowResult {
    /// The direction waits for it.
    Asked,
    /// It was found. From here on messages are read.
    Proven,
    /// Refused: zlib was never called. The process compresses with something else, or its zlib
    /// cannot be found or probed.
    NoCall,
    /// Refused: zlib was called, and no stream has proven to be that of the direction.
    NoMatch,
    /// Refused: what was called has its state laid out in another way than zlib.
    UnknownLayout,
    /// Refused: too many directions wait at once.
    TooMany,
}

impl WindowResult {
    /// Every value, in declaration order.
    pub const ALL: &'static [Self] = &[
        Self::Asked,
        Self::Proven,
        Self::NoCall,
        Self::NoMatch,
        Self::UnknownLayout,
        Self::TooMany,
    ];

    /// `asked`, `proven` or `refused`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Proven => "proven",
            Self::NoCall | Self::NoMatch | Self::UnknownLayout | Self::TooMany => "refused",
        }
    }

    /// Why it was refused; `none` if it was not.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Asked | Self::Proven => "none",
            Self::NoCall => "no_call",
            Self::NoMatch => "no_match",
            Self::UnknownLayout => "unknown_layout",
            Self::TooMany => "too_many",
        }
    }
}
