//! Small damage to bytes.

use fastrand::Rng;

/// Values at which code that counts goes wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7D,
    0x7E,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    i64::MAX as u64,
    u64::MAX,
];

/// A member of the population, changed in one to eight places; at most `limit` bytes.
pub(crate) fn mutated(population: &[Vec<u8>], limit: usize, random: &mut Rng) -> Vec<u8> {
    let one_of = |random: &mut Rng| &population[random.usize(..population.len())];
    let mut input = one_of(random).clone();
    for _ in 0..1 << random.u32(..4) {
        match random.u8(..8) {
            0 => splice(&mut input, one_of(random), random),
            1 => insert(&mut input, random),
            2 => remove(&mut input, random),
            3 => repeat(&mut input, random),
            4 => edge(&mut input, random),
            _ => flip(&mut input, random),
        }
    }
    input.truncate(limit);
    input
}

fn place(input: &[u8], random: &mut Rng) -> usize {
    random.usize(..=input.len())
}

/// Up to 64 bytes from a place on, or to the end.
fn stretch(input: &[u8], random: &mut Rng) -> std::ops::Range<usize> {
    let from = place(input, random);
    let longest = if random.u8(..8) == 0 { input.len() } else { 64 };
    from..from.saturating_add(random.usize(..=longest)).min(input.len())
}

fn flip(input: &mut [u8], random: &mut Rng) {
    if !input.is_empty() {
        let at = random.usize(..input.len());
        input[at] ^= if random.bool() { 1 << random.u32(..8) } else { random.u8(1..) };
    }
}

fn edge(input: &mut [u8], random: &mut Rng) {
    let value = EDGES[random.usize(..EDGES.len())];
    let width = 1 << random.u32(..4);
    let bytes = if random.bool() { value.to_le_bytes() } else { value.to_be_bytes() };
    let at = place(input, random);
    let Some(target) = input.get_mut(at..at + width) else { return };
    let big_endian = bytes[0] == 0 && value != 0;
    target.copy_from_slice(if big_endian { &bytes[8 - width..] } else { &bytes[..width] });
}

fn insert(input: &mut Vec<u8>, random: &mut Rng) {
    let at = place(input, random);
    let bytes: Vec<u8> = (0..random.usize(1..=16)).map(|_| random.u8(..)).collect();
    input.splice(at..at, bytes);
}

fn remove(input: &mut Vec<u8>, random: &mut Rng) {
    let stretch = stretch(input, random);
    input.drain(stretch);
}

fn repeat(input: &mut Vec<u8>, random: &mut Rng) {
    let again = input[stretch(input, random)].to_vec();
    let at = place(input, random);
    input.splice(at..at, again);
}

fn splice(input: &mut Vec<u8>, other: &[u8], random: &mut Rng) {
    let from = &other[stretch(other, random)];
    let into = stretch(input, random);
    input.splice(into, from.iter().copied());
}
