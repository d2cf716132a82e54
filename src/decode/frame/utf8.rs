//! UTF-8 validation of text that arrives in pieces (RFC 6455, section 8.1).

/// Checks a text piece by piece; a character may be cut anywhere.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::decode) struct Utf8 {
    /// A valid but incomplete character at the end of what was seen.
    cut: [u8; 4],
    cut_len: usize,
    broken: bool,
}

impl Utf8 {
    /// Takes the next piece of the text.
    pub(in crate::decode) fn push(&mut self, mut bytes: &[u8]) {
        while self.cut_len > 0 && !self.broken {
            let Some((&byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.complete_with(byte);
        }
        if self.broken {
            return;
        }
        let Err(error) = std::str::from_utf8(bytes) else { return };
        let cut = &bytes[error.valid_up_to()..];
        if error.error_len().is_some() || cut.len() >= self.cut.len() {
            self.broken = true;
            return;
        }
        self.cut[..cut.len()].copy_from_slice(cut);
        self.cut_len = cut.len();
    }

    /// Adds one byte to the character that was cut.
    fn complete_with(&mut self, byte: u8) {
        self.cut[self.cut_len] = byte;
        self.cut_len += 1;
        match std::str::from_utf8(&self.cut[..self.cut_len]) {
            Ok(_) => self.cut_len = 0,
            Err(error) if error.error_len().is_some() => self.broken = true,
            Err(_) => {}
        }
    }

    /// What was seen so far cannot be the start of valid UTF-8.
    pub(in crate::decode) fn is_broken(&self) -> bool {
        self.broken
    }

    /// What was seen so far is valid UTF-8 and ends with a whole character.
    pub(in crate::decode) fn is_complete(&self) -> bool {
        !self.broken && self.cut_len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_cutting_gives_the_verdict_of_the_whole(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..24),
                ".{0,12}".prop_map(String::into_bytes),
                (".{0,6}", any::<u8>(), ".{0,6}").prop_map(|(a, byte, b)| {
                    [a.as_bytes(), &[byte], b.as_bytes()].concat()
                }),
            ],
            step in 1_usize..5,
        ) {
            let mut pieces = Utf8::default();
            bytes.chunks(step).for_each(|piece| pieces.push(piece));
            prop_assert_eq!(pieces.is_complete(), std::str::from_utf8(&bytes).is_ok());
        }
    }

    #[test]
    fn a_character_cut_by_the_end_is_incomplete_but_not_broken() {
        let mut utf8 = Utf8::default();
        utf8.push(&"é".as_bytes()[..1]);
        assert!(!utf8.is_broken() && !utf8.is_complete());
    }
}
