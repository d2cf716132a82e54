//! The C libraries that can be tapped, as a table: a new library is a row.
//!
//! What a row claims about arguments and results is the library's documented interface. Which of
//! these functions an image defines, and where, is left to [`crate::search`].

use crate::plan::{ArgIndex, CallResult, Direction, Handles, Stack, Transfer};

/// A library and the functions that matter in it.
pub(crate) struct StackRow {
    /// Which library.
    pub(crate) stack: Stack,
    /// What the library's `DT_SONAME` begins with when it is a shared object of its own.
    pub(crate) soname: &'static str,
    /// What every name in `functions` begins with.
    pub(crate) prefix: &'static str,
    /// Its functions; names are unique over the whole table.
    pub(crate) functions: &'static [FunctionRow],
}

impl StackRow {
    /// The row of the function of this name.
    pub(crate) fn row(&self, name: &str) -> Option<&'static FunctionRow> {
        self.functions.iter().find(|row| row.name == name)
    }
}

/// A function of a library's C interface.
pub(crate) struct FunctionRow {
    /// Its name, without a symbol version.
    pub(crate) name: &'static str,
    /// What it is to a tap.
    pub(crate) role: Role,
    /// Who calls it.
    pub(crate) scope: Scope,
}

/// Who calls a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Applications: it is part of the library's interface.
    Exported,
    /// Only the library itself, on behalf of exported functions.
    Internal,
}

/// What a function is to a tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Moves plaintext.
    Transfer(Transfer),
    /// Ends the life of the handle in its first argument.
    Release,
    /// Precedes all plaintext of the handle in its first argument.
    Handshake,
    /// Shows plaintext that a later read returns again: never tapped, and nothing shared with it.
    Peek(Transfer),
}

/// Every library that can be found by the names of its functions.
pub(crate) const STACKS: &[StackRow] = &[
    StackRow { stack: Stack::OpenSsl, soname: "libssl.so", prefix: "SSL_", functions: OPENSSL },
    StackRow { stack: Stack::GnuTls, soname: "libgnutls.so", prefix: "gnutls_", functions: GNUTLS },
    StackRow { stack: Stack::Nspr, soname: "libnspr4.so", prefix: "PR_", functions: NSPR },
    StackRow {
        stack: Stack::MbedTls,
        soname: "libmbedtls.so",
        prefix: "mbedtls_ssl_",
        functions: MBEDTLS,
    },
    StackRow {
        stack: Stack::WolfSsl,
        soname: "libwolfssl.so",
        prefix: "wolfSSL_",
        functions: WOLFSSL,
    },
    StackRow { stack: Stack::S2n, soname: "libs2n.so", prefix: "s2n_", functions: S2N },
];

/// SSL_read(3), SSL_write(3), SSL_free(3), SSL_clear(3).
///
/// The `_ex` forms exist since OpenSSL 1.1.1; some applications call only these. In OpenSSL they
/// are siblings of the plain forms, in LibreSSL and AWS-LC they call them. `SSL_write_ex2` (3.3)
/// is not here, because `SSL_write_ex` calls it: where the internal function is probed it is
/// covered, and elsewhere the few that call it directly are not seen.
const OPENSSL: &[FunctionRow] = &[
    row("SSL_read", transfer(Direction::Received, CallResult::Count)),
    row("SSL_read_ex", transfer(Direction::Received, COUNT_IN_FOURTH)),
    row("SSL_write", transfer(Direction::Sent, CallResult::Count)),
    row("SSL_write_ex", transfer(Direction::Sent, COUNT_IN_FOURTH)),
    row("SSL_peek", peek(CallResult::Count)),
    row("SSL_peek_ex", peek(COUNT_IN_FOURTH)),
    row("SSL_free", Role::Release),
    row("SSL_clear", Role::Release),
];

/// OpenSSL's row.
pub(crate) fn openssl() -> &'static StackRow {
    &STACKS[0]
}

/// BoringSSL, which offers OpenSSL's plain functions. It is told from OpenSSL only where its error
/// messages are what leads to it.
pub(crate) fn boringssl() -> &'static StackRow {
    &StackRow { stack: Stack::BoringSsl, soname: "libssl.so", prefix: "SSL_", functions: OPENSSL }
}

/// What BoringSSL's connections begin with; SSL_free(3) is not found there.
pub(crate) const BORINGSSL_HANDSHAKE: &FunctionRow = &row("SSL_do_handshake", Role::Handshake);

/// The arguments that point to the count in OpenSSL's internal functions: the fourth, and for
/// writing the fifth since 3.3, which put flags before it.
pub(crate) const INTERNAL_COUNT_ARGUMENTS: [ArgIndex; 2] = [ArgIndex::known(3), ArgIndex::known(4)];

/// The forms of the internal function for a direction, by [`INTERNAL_COUNT_ARGUMENTS`].
pub(crate) const fn openssl_internal(direction: Direction) -> &'static [FunctionRow] {
    match direction {
        Direction::Received => READ_INTERNAL,
        Direction::Sent => WRITE_INTERNAL,
    }
}

/// What resets a connection since 3.2, for a new one or by SSL_clear(3): the handle is its first
/// argument. Before, SSL_clear(3) itself does.
pub(crate) const OPENSSL_RESET: &FunctionRow =
    &internal("ossl_ssl_connection_reset", Role::Release);

/// The name of OpenSSL's internal function for reading.
pub(crate) const OPENSSL_READ_INTERNAL: &str = "ssl_read_internal";

const READ_INTERNAL: &[FunctionRow] =
    &[internal(OPENSSL_READ_INTERNAL, transfer(Direction::Received, COUNT_IN_FOURTH))];

/// The name of OpenSSL's internal function for writing.
pub(crate) const OPENSSL_WRITE_INTERNAL: &str = "ssl_write_internal";

const WRITE_INTERNAL: &[FunctionRow] = &[
    internal(OPENSSL_WRITE_INTERNAL, transfer(Direction::Sent, COUNT_IN_FOURTH)),
    internal(OPENSSL_WRITE_INTERNAL, transfer(Direction::Sent, COUNT_IN_FIFTH)),
];

/// The arguments of OpenSSL's `ssl3_write`, below all of these.
///
/// With `SSL_MODE_ENABLE_PARTIAL_WRITE` it may stop behind a TLS record. How long these may be hardly ever
/// changes during a connection (docs/return-sites.md). QUIC, which may stop anywhere, has a method of its own.
pub(crate) const OPENSSL_WRITER: Transfer =
    Transfer { passes_all_of_few: true, ..common_form(Direction::Sent, COUNT_IN_FOURTH) };

/// gnutls_record_recv(3), gnutls_record_send(3), gnutls_record_send2(3), gnutls_deinit(3).
///
/// `gnutls_record_send` calls `gnutls_record_send2` where that exists (3.6.3).
const GNUTLS: &[FunctionRow] = &[
    row("gnutls_record_recv", transfer(Direction::Received, CallResult::LongCount)),
    row("gnutls_record_recv_seq", transfer(Direction::Received, CallResult::LongCount)),
    row("gnutls_record_send", transfer(Direction::Sent, CallResult::LongCount)),
    row("gnutls_record_send2", transfer(Direction::Sent, CallResult::LongCount)),
    row("gnutls_deinit", Role::Release),
];

/// NSPR's prio.h: the input and output functions of NSS's connections, and of all other files.
const NSPR: &[FunctionRow] = &[
    row("PR_Read", through_layer(Direction::Received)),
    row("PR_Recv", through_layer(Direction::Received)),
    row("PR_Write", through_layer(Direction::Sent)),
    row("PR_Send", through_layer(Direction::Sent)),
    row("PR_Close", Role::Release),
];

/// Mbed TLS's ssl.h.
const MBEDTLS: &[FunctionRow] = &[
    row("mbedtls_ssl_read", transfer(Direction::Received, CallResult::Count)),
    row("mbedtls_ssl_write", transfer(Direction::Sent, CallResult::Count)),
    row("mbedtls_ssl_free", Role::Release),
    row("mbedtls_ssl_session_reset", Role::Release),
];

/// wolfSSL's ssl.h. `wolfSSL_send` and `wolfSSL_writev` call `wolfSSL_write`; `wolfSSL_recv` calls
/// `wolfSSL_read` in some versions, and what that calls in others.
const WOLFSSL: &[FunctionRow] = &[
    row("wolfSSL_read", transfer(Direction::Received, CallResult::Count)),
    row("wolfSSL_recv", transfer(Direction::Received, CallResult::Count)),
    row("wolfSSL_write", transfer(Direction::Sent, CallResult::Count)),
    row("wolfSSL_send", transfer(Direction::Sent, CallResult::Count)),
    row("wolfSSL_peek", peek(CallResult::Count)),
    row("wolfSSL_free", Role::Release),
    row("wolfSSL_clear", Role::Release),
];

/// s2n-tls's api/s2n.h. `s2n_sendv` is another way to send, used by few; it is not in the table,
/// because it takes an array of slices.
const S2N: &[FunctionRow] = &[
    row("s2n_recv", transfer(Direction::Received, CallResult::LongCount)),
    row("s2n_send", transfer(Direction::Sent, CallResult::LongCount)),
    row("s2n_connection_free", Role::Release),
    row("s2n_connection_wipe", Role::Release),
];

const COUNT_IN_FOURTH: CallResult = CallResult::Status { count: INTERNAL_COUNT_ARGUMENTS[0] };
const COUNT_IN_FIFTH: CallResult = CallResult::Status { count: INTERNAL_COUNT_ARGUMENTS[1] };

const fn row(name: &'static str, role: Role) -> FunctionRow {
    FunctionRow { name, role, scope: Scope::Exported }
}

const fn internal(name: &'static str, role: Role) -> FunctionRow {
    FunctionRow { name, role, scope: Scope::Internal }
}

const fn transfer(direction: Direction, result: CallResult) -> Role {
    Role::Transfer(common_form(direction, result))
}

/// Of NSPR: of its descriptors only layers can be TLS.
const fn through_layer(direction: Direction) -> Role {
    let common = common_form(direction, CallResult::Count);
    Role::Transfer(Transfer { handles: Handles::Layers, ..common })
}

const fn peek(result: CallResult) -> Role {
    Role::Peek(common_form(Direction::Received, result))
}

/// Of a function `(handle, buffer, length, ...)`.
const fn common_form(direction: Direction, result: CallResult) -> Transfer {
    Transfer {
        direction,
        handle: ArgIndex::known(0),
        buffer: ArgIndex::known(1),
        length: ArgIndex::known(2),
        result,
        passes_all_of_few: false,
        handles: Handles::All,
        return_probe: false,
    }
}
