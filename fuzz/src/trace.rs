//! What came of an input, in one number.

use std::fmt::{self, Debug, Write};

/// A set of kinds of results. An input with a new one has reached something new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trace(pub u64);

impl Trace {
    /// Adds a kind of result. Two kinds may share a bit; that only loses some guidance.
    pub(crate) fn add(&mut self, kind: &impl Debug) {
        self.0 |= 1 << (digest(kind) % 64);
    }

    /// The kinds of both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A number that differs, most likely, for what prints differently.
pub(crate) fn digest(value: &impl Debug) -> u64 {
    let mut digest = Digest(0xCBF2_9CE4_8422_2325);
    // A digest takes everything.
    let _ = write!(digest, "{value:?}");
    digest.0 ^ digest.0 >> 29
}

/// FNV-1a.
struct Digest(u64);

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        Ok(())
    }
}
