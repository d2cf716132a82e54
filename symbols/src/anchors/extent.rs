//! Where a function without a symbol begins and ends.
//!
//! The unwind table says, but some large programs have next to none. There, functions are aligned,
//! follow the end of another, and first save and set the frame pointer.

use std::iter;

use iced_x86::Instruction;

use crate::elf::Image;
use crate::site::decode;

/// Most bytes of a function that are looked at.
const MAX_LEN: u64 = 16 * 1024;
/// Functions begin at multiples of this.
const ALIGNMENT: u64 = 16;

/// The start of the function that holds `place`.
pub(super) fn function_around(image: &Image<'_>, place: u64) -> Option<u64> {
    let near = |start: &u64| place - start <= MAX_LEN;
    image.function_start(place).filter(near).or_else(|| {
        let last = place & !(ALIGNMENT - 1);
        let aligned = iter::successors(Some(last), |start| start.checked_sub(ALIGNMENT));
        aligned.take_while(near).find(|&start| begins_framed(image, start))
    })
}

/// The instructions of the function at `entry`, in the order of addresses.
pub(super) fn instructions(image: &Image<'_>, entry: u64) -> impl Iterator<Item = Instruction> {
    let end = image.next_function(entry).unwrap_or(u64::MAX).min(entry.saturating_add(MAX_LEN));
    let inside = move |instruction: &Instruction| {
        let at = instruction.ip();
        at < end && (at == entry || !at.is_multiple_of(ALIGNMENT) || !begins_framed(image, at))
    };
    let next = |instruction: &Instruction| decode(image, instruction.next_ip());
    iter::successors(decode(image, entry), next).take_while(inside)
}

/// Whether a function with a frame pointer begins at `start`, after the end of another.
fn begins_framed(image: &Image<'_>, start: u64) -> bool {
    /// `push rbp; mov rbp, rsp`.
    const FRAME: &[u8] = &[0x55, 0x48, 0x89, 0xe5];
    /// Last bytes of a return, of a trap, and of the paddings.
    const ENDS: &[u8] = &[0xc3, 0xcc, 0x0b, 0x90, 0x00];
    let around = start.checked_sub(1).and_then(|before| image.code(before));
    around
        .and_then(<[u8]>::split_first)
        .is_some_and(|(end, begin)| ENDS.contains(end) && begin.starts_with(FRAME))
}
