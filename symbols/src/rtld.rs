//! Where the dynamic loader says that it has changed its list of libraries.

use crate::elf::{Image, SymbolTable};

/// Both glibc and musl export it, for debuggers: it does nothing, and is called whenever a library
/// was mapped or unmapped (`elf/dl-debug.c`, `ldso/dynlink.c`).
const NOTIFIER: &[u8] = b"_dl_debug_state";

/// File offset of the loader's notification function; `None` in any image but a dynamic loader.
pub(crate) fn notifier(image: &Image<'_>) -> Option<u64> {
    // The loader is `ld-linux-*.so` in glibc and the C library itself in musl.
    let soname = image.soname()?;
    if !soname.starts_with(b"ld") && !soname.starts_with(b"libc.") {
        return None;
    }
    let mut address = None;
    image.functions(SymbolTable::Dynsym, |name, function| {
        if name == NOTIFIER {
            address = Some(function.address);
        }
    });
    image.code_offset(address?)
}
