//! What a call of a probed function means, and where its arguments and its result are.
//!
//! The BPF programs receive what is said here in the probe's cookie; packing it is left to the caller.

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
    /// A short call may be known to pass all that it was asked for. It must succeed, ask for at most 512 bytes,
    /// and for no more than a call on the same connection has passed whole. None may have failed since.
    pub passes_all_of_few: bool,
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
    /// The register with the function's result, as x86-64 machine code numbers it: 0 is RAX. `None`
    /// where only calls return that have failed.
    pub register: Option<u8>,
    /// How far the stack pointer is above the one at the call's [`Action::Transfer`], in bytes.
    pub distance: i32,
    /// If this is there, the call returns only where this condition holds for the flags; else it goes
    /// on. Conditions are numbered as x86-64 machine code does it: 4 is "equal".
    pub condition: Option<u8>,
    /// Calls of functions that are not probed return here as well.
    pub is_shared: bool,
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
