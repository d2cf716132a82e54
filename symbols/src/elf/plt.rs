//! Where calls through the procedure linkage table end up.
//!
//! A shared library often calls its own exported functions through the table, so that a program
//! can replace them. Each entry jumps through a word that the loader fills in, and the relocation
//! for that word names the symbol. A symbol that the image defines itself is taken to be the one
//! that is called.

use super::loader::Dynamic;
use crate::work::Meter;

/// `endbr64`, with which entries begin in code for CET.
const LANDING_PAD: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
/// `jmp *distance(%rip)`, before the distance.
const JUMP_THROUGH: &[u8] = &[0xff, 0x25];
/// The prefix `bnd`, which some linkers write.
const BOUND: &[u8] = &[0xf2];

/// The address of the word through which the entry at `address` with these bytes jumps.
pub(super) fn word_of_entry(bytes: &[u8], address: u64) -> Option<u64> {
    let after_pad = bytes.strip_prefix(LANDING_PAD).unwrap_or(bytes);
    let jump = after_pad.strip_prefix(BOUND).unwrap_or(after_pad);
    let distance = *jump.strip_prefix(JUMP_THROUGH)?.first_chunk()?;
    let jump_len = JUMP_THROUGH.len() + distance.len();
    let end = bytes.len() - jump.len() + jump_len;
    let next = address.wrapping_add(end as u64);
    Some(next.wrapping_add_signed(i32::from_le_bytes(distance).into()))
}

/// The address of the function that the loader binds to `word`, if the image defines it.
pub(super) fn bound_function(dynamic: &Dynamic<'_>, word: u64, meter: &Meter) -> Option<u64> {
    let symbol = dynamic.relocations(meter).find(|relocation| relocation.r_offset == word)?.r_sym;
    let symbol = dynamic.symbol(symbol, meter)?;
    (symbol.st_shndx != 0 && symbol.is_function()).then_some(symbol.st_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_entry_names_its_word() {
        let plain = [0xff, 0x25, 0x10, 0, 0, 0, 0x68, 0, 0, 0, 0];
        assert_eq!(word_of_entry(&plain, 0x1000), Some(0x1016));
        let cet = [0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0x10, 0, 0, 0];
        assert_eq!(word_of_entry(&cet, 0x1000), Some(0x101b));
        assert_eq!(word_of_entry(&[0x55], 0x1000), None);
        assert_eq!(word_of_entry(&plain[..5], 0x1000), None);
        assert_eq!(word_of_entry(&plain, u64::MAX), Some(0x15));
    }
}
