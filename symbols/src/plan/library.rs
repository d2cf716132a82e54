//! A TLS library in an image: which it is, where it was found, and whether it can be tapped.

use super::{Companion, Probe};

/// One TLS library found in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Which library it is.
    pub stack: Stack,
    /// As much of the version as the image proves: `3.0.19` from the library's own version string,
    /// `3` from the symbol versions of a shared `libssl.so.3`.
    pub version: Option<String>,
    /// How the library got into the image.
    pub linkage: Linkage,
    /// Where its functions were found.
    pub symbols: SymbolSource,
    /// Whether it can be tapped; if not, `probes` is empty.
    pub verdict: Verdict,
    /// What to attach, by rising file offset, each offset once.
    pub probes: Vec<Probe>,
}

impl Library {
    /// Whether a tap sees plaintext: only then are there probes.
    #[must_use]
    pub fn is_tappable(&self) -> bool {
        matches!(self.verdict, Verdict::Tappable | Verdict::Experimental)
    }

    /// Why the library cannot be tapped, as a clause that names it; `None` if it can.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let name = self.stack.name();
        let what = self.version.as_ref().map(|version| format!("{name} {version}"));
        let what = what.unwrap_or_else(|| name.to_owned());
        let why = self.verdict.as_str();
        Some(match self.verdict {
            Verdict::Tappable | Verdict::Experimental => return None,
            Verdict::Stripped => format!("{what} inside, {why}"),
            _ => format!("{what}: {why}"),
        })
    }

    /// The most precise version that is known: the version of `companion`, if that is part of the
    /// same library and its version continues this one (`3` and `3.0.19`); else this library's own.
    #[must_use]
    pub fn version_beside<'a>(&'a self, companion: Option<&'a Companion>) -> Option<&'a str> {
        let own = self.version.as_deref();
        let companion = companion.filter(|it| {
            let continues = own.is_none_or(|own| {
                it.version.strip_prefix(own).is_some_and(|rest| rest.starts_with('.'))
            });
            it.stack == self.stack && self.linkage == Linkage::Shared && continues
        });
        companion.map(|it| it.version.as_str()).or(own)
    }
}

/// A TLS library, by the interface that it offers to its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stack {
    /// OpenSSL, and the libraries that offer the same functions under the same names.
    OpenSsl,
    /// BoringSSL, and the libraries that were made from it.
    BoringSsl,
    /// GnuTLS.
    GnuTls,
    /// NSS, probed at the I/O functions of NSPR. These also serve files and pipes, so a handle counts
    /// as a TLS connection only once its plaintext shows that it is one.
    Nspr,
    /// Mbed TLS.
    MbedTls,
    /// wolfSSL.
    WolfSsl,
    /// s2n-tls.
    S2n,
    /// Go's crypto/tls.
    Go,
    /// A copy of Go's crypto/tls in another package, such as utls.
    GoCopy,
    /// rustls, a library of Rust.
    Rustls,
    /// Java's own library, which is written in Java.
    Jsse,
    /// Erlang's own library, which is written in Erlang.
    Erlang,
}

impl Stack {
    /// The stacks that can be tapped.
    pub const TAPPED: [Self; 9] = [
        Self::OpenSsl,
        Self::BoringSsl,
        Self::GnuTls,
        Self::Nspr,
        Self::MbedTls,
        Self::WolfSsl,
        Self::S2n,
        Self::Go,
        Self::Rustls,
    ];

    /// The label, for example `openssl`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenSsl => "openssl",
            Self::BoringSsl => "boringssl",
            Self::GnuTls => "gnutls",
            Self::Nspr => "nspr",
            Self::MbedTls => "mbedtls",
            Self::WolfSsl => "wolfssl",
            Self::S2n => "s2n",
            Self::Go => "go",
            Self::GoCopy => "go-copy",
            Self::Rustls => "rustls",
            Self::Jsse => "jsse",
            Self::Erlang => "erlang",
        }
    }

    /// The name for people, as its makers write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenSsl => "OpenSSL",
            Self::BoringSsl => "BoringSSL",
            Self::GnuTls => "GnuTLS",
            Self::Nspr => "NSPR",
            Self::MbedTls => "Mbed TLS",
            Self::WolfSsl => "wolfSSL",
            Self::S2n => "s2n-tls",
            Self::Go => "crypto/tls of Go",
            Self::GoCopy => "the copy of crypto/tls in",
            Self::Rustls => "rustls",
            Self::Jsse => "Java's JSSE",
            Self::Erlang => "Erlang's ssl",
        }
    }
}

/// How a library's code got into an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Linkage {
    /// The image is the library: its `DT_SONAME` says so.
    Shared,
    /// The library was linked into an executable or into some other shared object.
    Static,
}

impl Linkage {
    /// The label: `shared` or `static`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Static => "static",
        }
    }
}

/// What in an image led to the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SymbolSource {
    /// The section `.dynsym`.
    Dynsym,
    /// The section `.symtab`, which `strip` removes.
    Symtab,
    /// The loader's own tables behind `PT_DYNAMIC`: there are no section headers.
    Dynamic,
    /// The library's error messages; no symbol table names the functions.
    Messages,
    /// Go's own table of functions, which `strip` cannot remove.
    GoTable,
    /// The section `.symtab` of a separate debug file.
    DebugFile,
    /// Offsets from the user's configuration file.
    UserOffsets,
}

impl SymbolSource {
    /// The label: `dynsym`, `symtab`, `dynamic`, `messages`, `pclntab`, `debug` or `config`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dynsym => "dynsym",
            Self::Symtab => "symtab",
            Self::Dynamic => "dynamic",
            Self::Messages => "messages",
            Self::GoTable => "pclntab",
            Self::DebugFile => "debug",
            Self::UserOffsets => "config",
        }
    }
}

/// Whether a library can be tapped, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// There is at least one function for each direction.
    Tappable,
    /// There is at least one function for each direction, but these functions are private to the
    /// library. Their arguments were checked in some versions; no version promises to keep them.
    Experimental,
    /// No function that reads plaintext was found: half a conversation is worth nothing.
    NoRead,
    /// No function that writes plaintext was found.
    NoWrite,
    /// The functions are there, but the image is for a machine whose calling convention is unknown.
    UnsupportedMachine,
    /// The functions receive their arguments on the stack, as Go before 1.17 did. A Go 1.17 can be
    /// configured to do so, too.
    StackArguments,
    /// The library is there, but no symbol leads to its functions, and nothing else does.
    Stripped,
    /// Functions with the right names exist, but the library's version is unknown, two versions are
    /// in the image, or the code does not do what those functions do.
    Unproven,
    /// A user gave offsets at which the image has no functions.
    NotFunctions,
    /// It is a copy of a library that is known, with types of its own.
    Copied,
    /// The kernel takes no probe where one of its functions begins, nor behind that: its instructions are
    /// padded with prefixes that the kernel refuses, or are rare ones.
    NoPlace,
    /// The library's code is compiled while the program runs, so the file has no instruction to
    /// probe.
    Managed,
    /// The process executes a copy of the code, not the file. Only its mappings show that.
    NotExecuted,
}

impl Verdict {
    /// One clause for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tappable => "tappable",
            Self::Experimental => "tappable, through functions that are no interface",
            Self::NoRead => "no function that reads plaintext was found",
            Self::NoWrite => "no function that writes plaintext was found",
            Self::UnsupportedMachine => "the machine is not supported",
            Self::StackArguments => "it passes arguments on the stack, as Go did before 1.17",
            Self::Stripped => "symbols stripped",
            Self::Unproven => "its functions are not as they are known",
            Self::NotFunctions => "no function begins at an offset that was given for it",
            Self::Copied => "only the original is tapped",
            Self::NoPlace => "the kernel takes no probe on the instructions of its functions",
            Self::Managed => "it is compiled while it runs, so there is no function to probe",
            Self::NotExecuted => "the process executes a copy of it in memory (large pages?)",
        }
    }
}
