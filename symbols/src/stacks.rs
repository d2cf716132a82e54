//! The C libraries that can be tapped, as a table: a new library is a row.
//!
//! What a row claims about arguments and results is the library's documented interface. Which of
//! these functions an image defines, and where, is left to [`crate::search`].

use crate::plan::{ArgIndex, CallResult, Direction, Stack, Transfer};

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

/// A function of a library's C interface.
pub(crate) struct FunctionRow {
    /// Its name, without a symbol version.
    pub(crate) name: &'static str,
    /// What it is to a tap.
    pub(crate) role: Role,
}

/// What a function is to a tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Moves plaintext.
    Transfer(Transfer),
    /// Ends the life of the handle in its first argument.
    Release,
    /// Shows plaintext that a later read returns again: never tapped, and nothing shared with it.
    Peek(Transfer),
}

/// Every library that can be found by the names of its functions.
pub(crate) const STACKS: &[StackRow] =
    &[StackRow { stack: Stack::OpenSsl, soname: "libssl.so", prefix: "SSL_", functions: OPENSSL }];

/// SSL_read(3), SSL_write(3), SSL_free(3), SSL_clear(3).
///
/// The `_ex` forms are siblings of the plain ones, not callers or callees, and exist since OpenSSL
/// 1.1.1; some applications call only these.
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

const COUNT_IN_FOURTH: CallResult = CallResult::Status { count: ArgIndex::known(3) };

const fn row(name: &'static str, role: Role) -> FunctionRow {
    FunctionRow { name, role }
}

const fn transfer(direction: Direction, result: CallResult) -> Role {
    Role::Transfer(common_form(direction, result))
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
    }
}
