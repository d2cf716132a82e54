//! Bytes read as something else, whatever they are.

use wstap::event::Direction;

/// What is left of an input. Beyond its end there are zeroes.
pub(crate) struct Input<'a>(&'a [u8]);

/// A stretch of one direction.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub(crate) direction: Direction,
    /// Bit 14.
    pub(crate) flag: bool,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn piece(&mut self) -> Piece<'a> {
        let word = self.word();
        let (bytes, rest) = self.0.split_at(usize::from(word & 0x3FFF).min(self.0.len()));
        self.0 = rest;
        Piece {
            direction: Direction::BOTH[usize::from(word >> 15)],
            flag: word & 0x4000 != 0,
            bytes,
        }
    }

    pub(crate) fn pieces(&mut self) -> impl Iterator<Item = Piece<'a>> {
        std::iter::from_fn(|| (!self.is_empty()).then(|| self.piece()))
    }
}

/// Bytes of a call when a stream is cut up, at least 1; from the upper bits of the flags.
pub(crate) fn call_bytes(flags: u8) -> usize {
    [1, 2, 3, 5, 7, 16, 61, 255][usize::from(flags >> 3 & 7)]
}

/// A frame of less than 64 KiB; all masks are the same.
pub(crate) fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    let mask_bit = if masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(len @ 0..126) => frame.push(mask_bit | len as u8),
        Ok(len) => {
            frame.push(mask_bit | 126);
            frame.extend(len.to_be_bytes());
        }
        Err(_) => unreachable!("a piece has a length of 14 bits"),
    }
    if masked {
        frame.extend(KEY);
        frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        frame.extend(payload);
    }
    frame
}
