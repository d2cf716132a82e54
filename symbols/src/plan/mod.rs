//! The answer's vocabulary: what a [`Plan`] says about an image.
//!
//! Plain data, closed sets, labels through `as_str`. How a plan is found is left to the other
//! modules; how it is attached is left to the caller. What is said of a library is in [`library`],
//! what a probe is there for in [`action`].

mod action;
mod library;
mod zlib;

use std::fmt;

pub use self::action::{
    Action, ArgIndex, CallResult, Direction, Distance, Handles, Identity, Read, Transfer,
    TransferReturn,
};
pub use self::library::{Library, Linkage, Stack, SymbolSource, Verdict};
pub use self::zlib::{Zlib, ZlibProbe};

/// What the caller wants of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Where probes go when there is a choice.
    pub site: SitePreference,
}

/// Where a probe goes when there is a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SitePreference {
    /// The site that costs the traced process least, as far as the code proves it equivalent.
    #[default]
    Cheapest,
    /// The first instruction of each exported function, whatever it costs.
    Symbol,
}

/// What to probe in one ELF image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The linker's identity of the image; `None` when it was built without one.
    pub build_id: Option<BuildId>,
    /// TLS libraries whose code is in the image. Most images have none, and an image that only
    /// imports functions from a library has none either.
    pub libraries: Vec<Library>,
    /// The version of a library whose other half the image is, see [`Companion`].
    pub companion: Option<Companion>,
    /// Only in a dynamic loader: the file offset of the function that it calls after it maps or
    /// unmaps a library. A probe there notices libraries that are loaded late.
    pub loader_notifier: Option<u64>,
    /// The program can be asked to copy its own code to large pages when it starts, as Node.js can. A
    /// breakpoint that is in the code then would be copied along, and end the program.
    pub may_copy_itself: bool,
    /// The zlib in the image, if there is one.
    pub zlib: Option<Zlib>,
}

/// The bytes of the note `NT_GNU_BUILD_ID`; displayed as lower-case hexadecimal.
///
/// Linkers write 8 to 20 bytes; at most [`BuildId::MAX_LEN`] are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BuildId(Vec<u8>);

impl BuildId {
    /// Longest id that is taken for one, in bytes.
    pub const MAX_LEN: usize = 64;

    /// `None` for an empty or an absurdly long id.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let plausible = !bytes.is_empty() && bytes.len() <= Self::MAX_LEN;
        plausible.then(|| Self(bytes.to_vec()))
    }

    /// The id as the linker wrote it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A shared object that moves no plaintext itself but knows the full version of the TLS library that
/// is loaded beside it. `libssl` knows only the major version of OpenSSL; `libcrypto` knows all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    /// Which library it belongs to.
    pub stack: Stack,
    /// The library's version.
    pub version: String,
}

/// One instruction to probe.
///
/// Every action wants an entry probe at `offset`. A [`Action::Transfer`] whose
/// [`Transfer::return_probe`] is set wants a return probe there, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The exported functions whose calls pass this instruction: one, or several where they share
    /// an internal function. Never empty, each name once.
    pub covers: Vec<&'static str>,
    /// Offset of the instruction in the file, in bytes: its address, minus `p_vaddr`, plus
    /// `p_offset` of the executable `PT_LOAD` that holds it.
    pub offset: u64,
    /// What a call means.
    pub action: Action,
    /// How the site was chosen.
    pub technique: Technique,
    /// Why this site, in one clause.
    pub reason: String,
}

impl Probe {
    /// Whether this is where a call ends; else it is where one begins.
    #[must_use]
    pub fn is_return(&self) -> bool {
        matches!(
            self.action,
            Action::TransferReturn(_)
                | Action::GoReturn(_)
                | Action::RustlsSent
                | Action::RustlsReadDone
        )
    }

    /// The function that stands for the probe in labels and logs: the first one covered.
    #[must_use]
    pub fn function(&self) -> &'static str {
        self.covers.first().copied().unwrap_or_default()
    }
}

/// How a probe's site was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Technique {
    /// The first instruction of the exported function.
    Symbol,
    /// A cheaper instruction near the start of the exported function.
    Prologue,
    /// An internal function that the exported ones share.
    Internal,
    /// An instruction at which a function returns; the kernel single-steps it.
    Return,
    /// An instruction that every return passes and the kernel emulates.
    ReturnJump,
}

impl Technique {
    /// The label: `symbol`, `prologue`, `internal`, `return` or `return-jump`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Symbol => "symbol",
            Self::Prologue => "prologue",
            Self::Internal => "internal",
            Self::Return => "return",
            Self::ReturnJump => "return-jump",
        }
    }
}
