//! Which code uses which constant.
//!
//! Compilers form the address of a constant in one of two ways: relative to the instruction
//! pointer (`lea`), or, where the image has a fixed address below 2 GiB, as a number (`mov`).

use memchr::memmem;

use super::extent::function_around;
use crate::elf::Image;

/// Bytes of `lea reg, [rip + distance]` after its REX prefix: opcode, operands, distance.
const LEA_LEN: usize = 6;

/// Most copies of one text that are looked at. Linkers merge equal ones.
const MAX_STRINGS: usize = 8;
/// Most places that are looked at for one constant.
const MAX_PLACES: usize = 4096;
/// Longest path of a source file, in bytes.
const MAX_PATH: usize = 4096;

/// The places in the code that use one constant, by rising address.
pub(super) struct References(Vec<u64>);

impl References {
    /// Searches the code for uses of the constant at `address`.
    pub(super) fn to(image: &Image<'_>, address: u64) -> Self {
        let mut places = Vec::new();
        for (base, code) in image.code_segments() {
            places.extend(relative(code, base, address).take(MAX_PLACES));
            places.extend(absolute(code, base, address));
            places.truncate(MAX_PLACES);
        }
        places.sort_unstable();
        Self(places)
    }

    /// Nothing uses it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The functions that hold the places, by rising address, each once.
    pub(super) fn functions(&self, image: &Image<'_>) -> Vec<u64> {
        let mut functions: Vec<u64> =
            self.0.iter().filter_map(|&place| function_around(image, place)).collect();
        functions.sort_unstable();
        functions.dedup();
        functions
    }
}

/// The functions in whose code these bytes are, by rising address, up to a bound.
pub(crate) fn functions_with(image: &Image<'_>, bytes: &[u8], most: usize) -> Vec<u64> {
    let mut functions = Vec::new();
    for (base, code) in image.code_segments() {
        let places = memmem::find_iter(code, bytes).take(MAX_PLACES);
        functions
            .extend(places.filter_map(|at| image.function_start(base.wrapping_add(at as u64))));
    }
    functions.sort_unstable();
    functions.dedup();
    functions.truncate(most);
    functions
}

/// `lea` of 64 bits, to any register.
fn relative(code: &[u8], base: u64, target: u64) -> impl Iterator<Item = u64> {
    memchr::memchr_iter(0x8d, code).filter_map(move |at| {
        let is_wide = matches!(code.get(at.checked_sub(1)?)?, 0x48 | 0x4c);
        let [_, operands, distance @ ..] = *code.get(at..)?.first_chunk::<LEA_LEN>()?;
        let is_relative = operands & 0b1100_0111 == 0b0000_0101;
        if !is_wide || !is_relative {
            return None;
        }
        let next = base.wrapping_add((at + LEA_LEN) as u64);
        let named = next.wrapping_add_signed(i32::from_le_bytes(distance).into());
        (named == target).then(|| base.wrapping_add(at as u64))
    })
}

/// `mov` of a 32-bit number, to any register.
fn absolute(code: &[u8], base: u64, target: u64) -> Vec<u64> {
    let Ok(number) = u32::try_from(target) else { return Vec::new() };
    let number = number.to_le_bytes();
    let numbers = memmem::find_iter(code, &number);
    let moves = numbers.filter_map(|at| {
        let opcode = at.checked_sub(1)?;
        matches!(code.get(opcode)?, 0xb8..=0xbf).then(|| base.wrapping_add(opcode as u64))
    });
    moves.take(MAX_PLACES).collect()
}

/// Addresses of the constants that are exactly the string `text`.
pub(super) fn strings(image: &Image<'_>, text: &str) -> Vec<u64> {
    let terminated = [b"\0", text.as_bytes(), b"\0"].concat();
    let mut addresses = Vec::new();
    for (base, bytes) in image.constants() {
        let at_start = bytes.starts_with(&terminated[1..]).then_some(base);
        let inside = memmem::find_iter(bytes, &terminated);
        addresses.extend(at_start);
        addresses.extend(inside.map(|at| base.wrapping_add(at as u64 + 1)).take(MAX_STRINGS));
    }
    addresses.truncate(MAX_STRINGS);
    addresses
}

/// Addresses of the constants that are strings with this end: source files are named with the path
/// that the compiler was given.
pub(super) fn strings_ending(image: &Image<'_>, end: &str) -> Vec<u64> {
    let terminated = [end.as_bytes(), b"\0"].concat();
    let mut addresses = Vec::new();
    for (base, bytes) in image.constants() {
        addresses.extend(memmem::find_iter(bytes, &terminated).take(MAX_STRINGS).filter_map(
            |at| {
                let nearest = at.saturating_sub(MAX_PATH);
                let zero = memchr::memrchr(0, bytes.get(nearest..at)?);
                let start = zero.map_or(nearest, |zero| nearest + zero + 1);
                Some(base.wrapping_add(start as u64))
            },
        ));
        addresses.truncate(MAX_STRINGS);
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_name_a_constant_are_found() {
        // lea rdx, [rip + 0xf9] at 0x1000 names 0x1100; so does lea r9, [rip + 0xf2] at 0x1007.
        let code = [0x48, 0x8d, 0x15, 0xf9, 0, 0, 0, 0x4c, 0x8d, 0x0d, 0xf2, 0, 0, 0];
        let found: Vec<u64> = relative(&code, 0x1000, 0x1100).collect();
        assert_eq!(found, [0x1001, 0x1008]);
        assert_eq!(relative(&code, 0x1000, 0x1101).count(), 0);

        // mov edx, 0x1100; cmp eax, 0x1100 is no address.
        let code = [0xba, 0x00, 0x11, 0, 0, 0x3d, 0x00, 0x11, 0, 0];
        assert_eq!(absolute(&code, 0x1000, 0x1100), [0x1000]);
        assert!(absolute(&code, 0x1000, 1 << 40).is_empty());
    }

    #[test]
    fn an_instruction_cut_off_names_nothing() {
        let code = [0x48, 0x8d, 0x15, 0xf9, 0, 0];
        assert_eq!(relative(&code, 0x1000, 0x1100).count(), 0);
    }
}
