//! The answer's vocabulary: what a [`Plan`] says about an image.
//!
//! Plain data, closed sets, labels through `as_str`. How a plan is found is left to the other
//! modules; how it is attached is left to the caller.

use std::fmt;

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
    /// rustls, a library of Rust.
    Rustls,
    /// Java's own library, which is written in Java.
    Jsse,
    /// Erlang's own library, which is written in Erlang.
    Erlang,
}

impl Stack {
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
    /// The library's code is compiled while the program runs, so the file has no instruction to
    /// probe.
    Managed,
    /// The process executes a copy of the code, not the file. Only its mappings tell.
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
            Self::Managed => "it is compiled while it runs, so there is no function to probe",
            Self::NotExecuted => "the process executes a copy of it in memory (large pages?)",
        }
    }
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

/// What a call of a probed function means for its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Plaintext passes between the application and the library.
    Transfer(Transfer),
    /// A call that passed an [`Action::Transfer`] returns here. Other calls may pass here as well:
    /// it is one of ours only if the stack pointer says so.
    TransferReturn(TransferReturn),
    /// A read returns from deep inside the library, where its arguments are still known: there is no
    /// [`Action::Transfer`] for it.
    Read(Read),
    /// The handle's life ends: freed, or cleared for another connection. The handle is the first
    /// argument.
    Release,
    /// A handshake makes progress; the handle is the first argument. If plaintext has already passed
    /// both ways with that handle, a new connection is using it now.
    Handshake,
    /// A Go method that moves plaintext was called. Never to be return-probed.
    ///
    /// In Go's register-based calling convention on x86-64 (Go's src/cmd/compile/abi-internal.md)
    /// the connection (`*tls.Conn`) is in RAX, the address of the buffer in RBX, its length in
    /// RCX. R14 is the goroutine, which is the key to the call's return: the thread is not.
    GoEnter(Direction),
    /// The method returns: a call that passed the [`Action::GoEnter`] of the same direction with
    /// the same R14. RAX is the number of bytes, a signed 64-bit integer; what is positive passed,
    /// even if there is an error as well. The other registers no longer hold the arguments.
    GoReturn(Direction),
    /// A Go method ends the life of its connection, which is in RAX.
    GoRelease,
    /// rustls's `CommonState::send_appdata_encrypt(&mut self, OutboundChunks, ..)` is called. The
    /// second argument points to four words: zero, address and length of the plaintext; or the
    /// address of an array of slices, its length, and which part of what they hold together.
    RustlsSend(Identity),
    /// The same returns: a call that passed its [`Action::RustlsSend`] with the same stack pointer.
    /// RAX is the number of bytes. No return probe: a panic could not pass one.
    RustlsSent,
    /// rustls's `CommonState::take_received_plaintext(&mut self, Payload)` is called. The second
    /// argument points to three words: a capacity, address and length of the plaintext.
    RustlsReceived(Identity),
    /// rustls's `CommonState::send_some_plaintext(&mut self, &[u8]) -> usize` is called, before
    /// 0.23. The second argument is the address of the plaintext. It returns with
    /// [`Action::RustlsSent`].
    RustlsWrite(Identity),
    /// rustls's `Reader::read(&mut self, &mut [u8]) -> io::Result<usize>` is called, before 0.23.
    /// The first argument points to the address of a part of the state, the second is the address
    /// of the buffer.
    RustlsRead(Distance),
    /// The same returns: a call that passed its [`Action::RustlsRead`] with the same stack pointer.
    /// Where RAX is 0, RDX is the number of bytes; else there are none.
    RustlsReadDone,
    /// The state of a rustls connection, in the first argument, is dropped.
    RustlsRelease(Identity),
}

/// How a rustls connection is identified.
///
/// Its state (`CommonState`) may move in memory at any time. The encrypter that the state points to
/// stays at one heap address until the keys change, so that address identifies the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Offset of the encrypter's address in `CommonState`, in bytes.
    pub offset: u16,
}

/// Offset from the inner struct to the identity pointer.
///
/// `Reader::read` receives the buffer inside `CommonState`, not the state itself. The pointer that
/// identifies the connection ([`Identity`]) lies at a fixed distance from that buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Distance {
    /// Bytes to add to the buffer's address; may be negative.
    pub bytes: i32,
}

/// Where a call keeps what a tap must read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transfer {
    /// Which way the plaintext goes.
    pub direction: Direction,
    /// The argument with the connection handle.
    pub handle: ArgIndex,
    /// The argument with the address of the plaintext.
    pub buffer: ArgIndex,
    /// The argument with the size of the buffer: an upper bound, never the count.
    pub length: ArgIndex,
    /// How to read the number of bytes that passed.
    pub result: CallResult,
    /// Which handles are connections.
    pub handles: Handles,
    /// There are no [`Action::TransferReturn`]s for it, so the end of a call must be seen by a return
    /// probe. A program that switches stacks inside such a call does not survive that.
    pub return_probe: bool,
}

/// Where everything about a read is at its probe. Registers are numbered as x86-64 machine code does
/// it: 0 is RAX, 3 is RBX.
///
/// RAX is the status, a signed 32-bit integer: positive on success. Otherwise nothing passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    /// The register with the connection handle.
    pub handle: u8,
    /// The register with the address of the plaintext.
    pub buffer: u8,
    /// The register with the address of a `size_t`: on success, the number of bytes.
    pub count: u8,
    /// The register whose lower half is not 0 in a peek, if peeks pass here, too: what a peek shows
    /// comes again with the next read.
    pub peek: Option<u8>,
}

/// How to read the end of a call where it is probed at an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransferReturn {
    /// Which way the plaintext goes.
    pub direction: Direction,
    /// How to read the number of bytes that passed; of the argument with the address of the count,
    /// what it was when the function was called.
    pub result: CallResult,
    /// The register with the function's result, as x86-64 machine code numbers it: 0 is RAX.
    pub register: u8,
    /// How far the stack pointer is above the one at the call's [`Action::Transfer`], in bytes.
    pub distance: i32,
}

/// Which handles of a function are TLS connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Handles {
    /// All.
    All,
    /// Those of NSPR that are layers over others. A handle points to a `PRFileDesc`, whose first
    /// word points to a table that begins with a `PRDescType` (NSPR's prio.h): 4 is a layer, such as
    /// TLS; the others are files, pipes and bare sockets.
    Layers,
}

/// Which way plaintext goes, as the application sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Written by the application.
    Sent,
    /// Read by the application.
    Received,
}

/// Place of an integer or pointer argument of a C function, counted from 0; at most 5, the last
/// one that x86-64 passes in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArgIndex(u8);

impl ArgIndex {
    /// `None` when `index` is above 5.
    #[must_use]
    pub const fn new(index: u8) -> Option<Self> {
        if index <= 5 { Some(Self(index)) } else { None }
    }

    /// For the constant tables of this crate, where a wrong index must not compile.
    pub(crate) const fn known(index: u8) -> Self {
        assert!(index <= 5, "only six arguments are passed in registers");
        Self(index)
    }

    /// The index, 0 to 5.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// How a call says how many bytes passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallResult {
    /// The return value, a signed 32-bit integer, is the number of bytes when it is positive;
    /// otherwise nothing passed.
    Count,
    /// The same with a signed 64-bit return value (`ssize_t`).
    LongCount,
    /// The return value, a signed 32-bit integer, is positive on success; then the `size_t` behind
    /// this argument is the number of bytes. Otherwise nothing passed.
    Status {
        /// The argument with the address of the count.
        count: ArgIndex,
    },
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
