//! Unmasking of payload (RFC 6455, section 5.3), eight bytes at a time.

/// XORs `bytes`, which begin `at` bytes into their frame's payload, with the frame's key.
pub(in crate::decode) fn apply(bytes: &mut [u8], key: [u8; 4], at: u64) {
    let key = rotated(key, at);
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The key as it stands `at` bytes into the payload.
fn rotated(mut key: [u8; 4], at: u64) -> [u8; 4] {
    key.rotate_left((at % 4) as usize);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "transformed-octet-i = original-octet-i XOR masking-key-octet-(i MOD 4)"
    fn apply_plain(bytes: &mut [u8], key: [u8; 4], at: u64) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte ^= key[((at + i as u64) % 4) as usize];
        }
    }

    #[test]
    fn the_fast_way_equals_the_plain_one_at_every_length_and_phase() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let source: Vec<u8> = (0..=255).collect();
        for at in 0..9 {
            for start in 0..9 {
                for end in start..64 {
                    let (mut fast, mut plain) = (source.clone(), source.clone());
                    apply(&mut fast[start..end], key, at);
                    apply_plain(&mut plain[start..end], key, at);
                    assert_eq!(fast, plain, "at {at}, {start}..{end}");
                }
            }
        }
    }
}
