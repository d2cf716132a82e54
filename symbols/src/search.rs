//! Looks up which functions of [`crate::stacks`] an image's symbol tables define.
//!
//! Symbol tables are walked once, without a copy, and only until nothing is missing: `.dynsym`
//! answers for every shared library and for executables that export what they contain, and the
//! larger `.symtab` is then never touched.

use crate::elf::{Function, Image, SymbolTable};
use crate::plan::{Stack, SymbolSource};
use crate::stacks::{FunctionRow, Role, STACKS, StackRow};
use crate::user_offsets;

/// Most definitions of one library that are looked at. An honest image has each function once, or a
/// few times where several copies of a library were linked.
const MAX_DEFINITIONS: usize = 64;

/// The tables, in the order of the search.
const TABLES: [(SymbolTable, SymbolSource); 3] = [
    (SymbolTable::Dynsym, SymbolSource::Dynsym),
    (SymbolTable::Dynamic, SymbolSource::Dynamic),
    (SymbolTable::Symtab, SymbolSource::Symtab),
];

/// One definition of a known function.
#[derive(Clone, Copy)]
pub(crate) struct Definition {
    pub(crate) row: &'static FunctionRow,
    pub(crate) function: Function,
}

/// The functions of one library that an image defines, in the order of the table, none twice at
/// the same address.
pub(crate) struct Found {
    pub(crate) stack: &'static StackRow,
    pub(crate) source: SymbolSource,
    pub(crate) definitions: Vec<Definition>,
}

/// Searches the symbol tables for every library of the table.
pub(crate) fn by_symbols(image: &Image<'_>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (table, source) in TABLES {
        if !found.is_empty() && found.iter().all(Found::is_complete) {
            break;
        }
        image.functions(table, |name, function| {
            if let Some((stack, row)) = lookup(name) {
                add(&mut found, source, stack, Definition { row, function });
            }
        });
    }
    found.retain(|it| !is_facade(image, it.stack));
    found.iter_mut().for_each(Found::sort);
    found
}

/// Whether the image offers the functions of `stack` and hands all work to another library, where
/// the plaintext is seen.
fn is_facade(image: &Image<'_>, stack: &StackRow) -> bool {
    /// OpenSSL's interface to GnuTLS.
    const FACADE: &[u8] = b"libgnutls-openssl.so";
    stack.stack == Stack::OpenSsl && image.soname().is_some_and(|name| name.starts_with(FACADE))
}

/// Searches the symbols that were taken out of `image` and put into a file of their own.
///
/// Where a debug file is of another build, its addresses mean nothing. So functions must begin
/// there.
pub(crate) fn by_debug_file(image: &Image<'_>, debug: &Image<'_>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    debug.functions(SymbolTable::Symtab, |name, function| {
        if let Some((stack, row)) = lookup(name) {
            add(&mut found, SymbolSource::DebugFile, stack, Definition { row, function });
        }
    });
    for library in &mut found {
        library.definitions.retain(|it| user_offsets::begins_function(image, it.function.address));
        library.sort();
    }
    found
}

impl Found {
    /// In the order of the table.
    fn sort(&mut self) {
        let functions = self.stack.functions;
        let place = |d: &Definition| functions.iter().position(|row| row.name == d.row.name);
        self.definitions.sort_by_key(|definition| (place(definition), definition.function));
    }

    /// There is something to tap.
    pub(crate) fn moves_plaintext(&self) -> bool {
        self.definitions.iter().any(|d| matches!(d.row.role, Role::Transfer(_)))
    }

    /// Every function of the library has been seen.
    fn is_complete(&self) -> bool {
        let seen = |row: &FunctionRow| self.definitions.iter().any(|d| d.row.name == row.name);
        self.stack.functions.iter().all(seen)
    }
}

/// Several versions of a symbol, and the same symbol in two tables, are one definition.
fn add(
    found: &mut Vec<Found>,
    source: SymbolSource,
    stack: &'static StackRow,
    definition: Definition,
) {
    let Some(known) = found.iter_mut().find(|f| f.stack.stack == stack.stack) else {
        found.push(Found { stack, source, definitions: vec![definition] });
        return;
    };
    let address = definition.function.address;
    let repeated =
        |d: &Definition| d.function.address == address && d.row.name == definition.row.name;
    if !known.definitions.iter().any(repeated) && known.definitions.len() < MAX_DEFINITIONS {
        known.definitions.push(definition);
    }
}

/// The row for `name`, which static tables of old linkers spell with a version (`SSL_read@@V`).
fn lookup(name: &[u8]) -> Option<(&'static StackRow, &'static FunctionRow)> {
    // One comparison turns away nearly every symbol of a large executable.
    if !STACKS.iter().any(|stack| name.starts_with(stack.prefix.as_bytes())) {
        return None;
    }
    let name = name.split(|&byte| byte == b'@').next()?;
    STACKS.iter().find_map(|stack| {
        Some((stack, stack.functions.iter().find(|row| row.name.as_bytes() == name)?))
    })
}
