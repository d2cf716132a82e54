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
        let mut starts = aligned.take_while(near).take_while(|_| image.step());
        starts.find(|&start| begins_framed(image, start))
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
    let is_framed = image.code(start).is_some_and(|code| code.starts_with(FRAME));
    is_framed && (follows_end(image, start) || follows_jump(image, start))
}

/// Whether the byte before `start` ends a return or a trap, or is padding.
fn follows_end(image: &Image<'_>, start: u64) -> bool {
    const ENDS: &[u8] = &[0xc3, 0xcc, 0x0b, 0x90, 0x00];
    let before = start.checked_sub(1).and_then(|before| image.code(before)?.first());
    before.is_some_and(|byte| ENDS.contains(byte))
}

/// Whether the bytes before `start` are a jump, or a call that may never return, to some code: a
/// function whose end happens to be aligned has no padding after it.
fn follows_jump(image: &Image<'_>, start: u64) -> bool {
    const LEN: usize = 5;
    let jump = start.checked_sub(LEN as u64).and_then(|at| image.code(at)?.first_chunk::<LEN>());
    let Some(&[0xe8 | 0xe9, distance @ ..]) = jump else { return false };
    let target = start.wrapping_add_signed(i32::from_le_bytes(distance).into());
    image.code_offset(target).is_some()
}
