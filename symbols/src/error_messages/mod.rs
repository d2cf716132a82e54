//! Finds functions that no symbol names, by the texts of their error messages.
//!
//! `strip` removes the symbols of a library that was linked into a program. The library's error
//! messages stay, and they say which function failed, or in which source file. The search finds such
//! a text in the constant data, then the code that uses the text's address, then the function around
//! that code. The function is accepted only if its code treats its arguments as the wanted function
//! does. What its arguments mean is left to [`crate::stacks`], where to probe it to
//! [`crate::placement`].

mod boringssl;
mod callers;
mod calls;
mod extent;
mod openssl;
mod references;

pub(crate) use self::boringssl::SOURCE_FILE as BORINGSSL_SOURCE;
pub(crate) use self::callers::callers;
pub(crate) use self::references::functions_with;
use crate::elf::Image;
use crate::search::Found;

/// Searches for the libraries that can be found by their messages.
pub(crate) fn by_messages(image: &Image<'_>) -> Vec<Found> {
    let found = openssl::search(image).or_else(|| boringssl::search(image));
    found.into_iter().filter(Found::moves_plaintext).collect()
}

/// Whether control can come to `function` from elsewhere: a part of a function that the compiler
/// moved away is no function.
fn is_entered(image: &Image<'_>, function: u64) -> bool {
    is_called(image, function) || image.holds_address(function)
}

/// Whether some code calls or jumps to `function` by its address.
pub(crate) fn is_called(image: &Image<'_>, function: u64) -> bool {
    image.code_segments().any(|(base, code)| branches(base, code, function).next().is_some())
}

/// Addresses of the calls and jumps with a 32-bit distance in `code` that lead to `function`. Bytes
/// that are part of other instructions may look like one.
fn branches(base: u64, code: &[u8], function: u64) -> impl Iterator<Item = u64> {
    /// Bytes of a call or jump.
    const LEN: usize = 5;
    memchr::memchr2_iter(0xe8, 0xe9, code).filter_map(move |at| {
        let [_, distance @ ..] = *code.get(at..)?.first_chunk::<LEN>()?;
        let next = base.wrapping_add((at + LEN) as u64);
        let target = next.wrapping_add_signed(i32::from_le_bytes(distance).into());
        (target == function).then(|| base.wrapping_add(at as u64))
    })
}
