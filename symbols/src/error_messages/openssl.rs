//! OpenSSL without symbols.
//!
//! Since 3.0 every error is raised with the name of the function (`ERR_set_debug(file, line,
//! __func__)`). 1.1.1 raises it with a number for the function and the name of the file
//! (`ERR_put_error(lib, func, reason, file, line)`, numbers in openssl/sslerr.h).
//!
//! Both internal functions can fail, so they are found; the exported ones can be inlined into, or
//! removed by the linker. SSL_free(3) says nothing and is not found. But the function that resets
//! a connection can fail; SSL_new(3) calls it too, so it stands at the beginning of every
//! connection, and an address that is used again is seen there.

use super::references::{References, strings, strings_ending};
use super::{calls, is_entered};
use crate::elf::{Function, Image};
use crate::plan::{ArgIndex, Direction, SymbolSource};
use crate::search::{Definition, Found};
use crate::site;
use crate::stacks::{self, FunctionRow, INTERNAL_COUNT_ARGUMENTS, StackRow};

/// One direction's functions, and how their errors name them.
struct Names {
    direction: Direction,
    internal: &'static str,
    exported: &'static str,
    /// `SSL_F_SSL_READ_INTERNAL` and the like.
    internal_code: u64,
    exported_code: u64,
}

const NAMES: [Names; 2] = [
    Names {
        direction: Direction::Received,
        internal: "ssl_read_internal",
        exported: "SSL_read",
        internal_code: 523,
        exported_code: 223,
    },
    Names {
        direction: Direction::Sent,
        internal: "ssl_write_internal",
        exported: "SSL_write",
        internal_code: 524,
        exported_code: 208,
    },
];

/// `SSL_F_SSL_CLEAR`.
const RESET_CODE: u64 = 164;

/// `ERR_LIB_SSL`.
const LIBRARY_CODE: u64 = 20;
/// The source file of all these functions.
const SOURCE_FILE: &str = "ssl/ssl_lib.c";

/// Searches for both directions.
pub(super) fn search(image: &Image<'_>) -> Option<Found> {
    let stack = stacks::openssl();
    let definitions = by_names(image, stack).or_else(|| by_codes(image, stack))?;
    Some(Found { stack, source: SymbolSource::Messages, definitions })
}

/// Since 3.0.
fn by_names(image: &Image<'_>, stack: &'static StackRow) -> Option<Vec<Definition>> {
    let mut definitions = Vec::new();
    for names in &NAMES {
        let internal = users(image, names.internal);
        if internal.is_empty() {
            return None;
        }
        let exported = users(image, names.exported);
        definitions.extend(internal.iter().filter_map(|&function| {
            define(image, stack, names, function, exported.contains(&function))
        }));
    }
    definitions.extend(reset(image, stack));
    Some(definitions)
}

/// The function that resets a connection, which since 3.2 is not SSL_clear itself.
fn reset(image: &Image<'_>, stack: &'static StackRow) -> Option<Definition> {
    [stacks::OPENSSL_RESET, stack.row("SSL_clear")?].into_iter().find_map(|row| {
        let function = users(image, row.name).into_iter().find(|&f| is_entered(image, f))?;
        Some(Definition { row, function: Function { address: function, size: 0 } })
    })
}

/// The functions that use a text.
fn users(image: &Image<'_>, text: &str) -> Vec<u64> {
    let mut users: Vec<u64> = strings(image, text)
        .into_iter()
        .flat_map(|address| References::to(image, address).functions(image))
        .collect();
    users.sort_unstable();
    users.dedup();
    users
}

/// 1.1.1.
fn by_codes(image: &Image<'_>, stack: &'static StackRow) -> Option<Vec<Definition>> {
    let mut definitions = Vec::new();
    for file in strings_ending(image, SOURCE_FILE) {
        for function in References::to(image, file).functions(image) {
            let codes: Vec<u64> = calls::constants(image, function)
                .filter(|passed| passed[0] == Some(LIBRARY_CODE) && passed[3] == Some(file))
                .filter_map(|passed| passed[1])
                .collect();
            definitions.extend(NAMES.iter().filter_map(|names| {
                codes.contains(&names.internal_code).then_some(())?;
                let exported = codes.contains(&names.exported_code);
                define(image, stack, names, function, exported)
            }));
            let resets = codes.contains(&RESET_CODE) && is_entered(image, function);
            let row = stack.row("SSL_clear").filter(|_| resets);
            let function = Function { address: function, size: 0 };
            definitions.extend(row.map(|row| Definition { row, function }));
        }
    }
    (!definitions.is_empty()).then_some(definitions)
}

/// A function that raises the errors of the internal one: that itself, or one that the compiler
/// inlined it into.
///
/// The exported one raises errors of its own too, and returns a count, which it gets from the
/// protocol's method in a local variable. Every other one reports through a pointer that it hands
/// on to the method. Either must be seen in the code.
fn define(
    image: &Image<'_>,
    stack: &'static StackRow,
    names: &Names,
    address: u64,
    exported: bool,
) -> Option<Definition> {
    is_entered(image, address).then_some(())?;
    let function = Function { address, size: 0 };
    let row: &'static FunctionRow = if exported {
        site::counts_in_frame(image, address).then_some(())?;
        stack.row(names.exported)?
    } else {
        let count = site::count_argument(image, address)?;
        let known = INTERNAL_COUNT_ARGUMENTS
            .iter()
            .position(|&arg| Some(arg) == ArgIndex::new(count.get()))?;
        stacks::openssl_internal(names.direction).get(known)?
    };
    Some(Definition { row, function })
}
