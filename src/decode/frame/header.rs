//! Frame headers of RFC 6455, section 5.2, as a push parser: any chunking, no buffer of payload.
//!
//! [`parse`] reads one header; [`FrameReader`] walks a stream of frames and says which stretch of bytes
//! belongs to which. Both know no roles, no messages and no extensions: rules that depend on
//! those are checked by whoever reads the headers.

use crate::observation::{Opcode, ProtocolError};

/// A header is at most 2 + 8 + 4 bytes long.
pub(in crate::decode) const HEADER_MAX: usize = 14;

/// RFC 6455, section 5.5: control frames carry at most 125 bytes.
pub(in crate::decode) const CONTROL_MAX: u64 = 125;

/// Bytes of a length that is not written in two or in eight bytes behind the header's second one.
const SHORT_MAX: u64 = 125;

/// What came of looking at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Parsed<T> {
    /// All of it was there.
    Done {
        /// What it says.
        value: T,
        /// How many bytes it took.
        used: usize,
    },
    /// It is not complete; at least so many bytes are missing.
    NeedMore(usize),
}

/// A frame header whose frame border can be relied upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) struct Header {
    pub(in crate::decode) fin: bool,
    pub(in crate::decode) rsv1: bool,
    /// RSV2 or RSV3: no registered extension uses them.
    pub(in crate::decode) rsv23: bool,
    pub(in crate::decode) opcode: Opcode,
    /// The top bit of the opcode: a control frame, also where the opcode is a reserved one.
    pub(in crate::decode) control: bool,
    pub(in crate::decode) mask: Option<[u8; 4]>,
    /// Payload bytes; below 2^63.
    pub(in crate::decode) length: u64,
    /// The length was encoded in the fewest bytes.
    pub(in crate::decode) minimal: bool,
}

/// Parses the header at the start of `bytes`.
///
/// Fails only where the length is impossible, which is one with its top bit set. Whatever other
/// rule a header breaks, its length says where the next one begins. Such rules are left to the
/// caller.
pub(in crate::decode) fn parse(bytes: &[u8]) -> Result<Parsed<Header>, ProtocolError> {
    let Some(&first) = bytes.first() else { return Ok(Parsed::NeedMore(2)) };
    let Some(&second) = bytes.get(1) else { return Ok(Parsed::NeedMore(1)) };

    let length7 = second & 0x7f;
    let masked = second & 0x80 != 0;
    let extended = match length7 {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let used = 2 + extended + if masked { 4 } else { 0 };
    let Some(rest) = bytes.get(2..used) else {
        return Ok(Parsed::NeedMore(used - bytes.len()));
    };
    let (extended, mask) = rest.split_at(extended);

    let (length, minimal) = match *extended {
        [] => (u64::from(length7), true),
        [a, b] => {
            let length = u64::from(u16::from_be_bytes([a, b]));
            (length, length > SHORT_MAX)
        }
        _ => {
            let length = extended.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
            (length, length > u64::from(u16::MAX))
        }
    };
    // "the most significant bit MUST be 0" (section 5.2).
    if length >> 63 != 0 {
        return Err(ProtocolError::LengthMsb);
    }
    let value = Header {
        fin: first & 0x80 != 0,
        rsv1: first & 0x40 != 0,
        rsv23: first & 0x30 != 0,
        opcode: Opcode::from_bits(first & 0x0f),
        control: first & 0x08 != 0,
        mask: mask.try_into().ok(),
        length,
        minimal,
    };
    Ok(Parsed::Done { value, used })
}

impl Opcode {
    /// The opcode of the four bits of section 5.2.
    fn from_bits(bits: u8) -> Self {
        match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => Self::Reserved,
        }
    }

    /// Text, binary and continuation: a frame of a message.
    pub(in crate::decode) fn is_data(self) -> bool {
        matches!(self, Self::Text | Self::Binary | Self::Continuation)
    }
}

/// The next thing in a stream of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Item<'a> {
    /// A frame begins.
    Header(Header),
    /// A piece of the frame's payload, still masked. Every frame ends with exactly one `last`
    /// piece, which may be empty.
    Payload {
        /// The bytes.
        bytes: &'a [u8],
        /// Payload offset of the first of them.
        at: u64,
        /// The frame ends here.
        last: bool,
    },
}

/// How far a stretch of bytes that are not here reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) struct Passed {
    /// Bytes that were payload of the current frame.
    pub(in crate::decode) payload: u64,
    /// The current frame ended in the stretch.
    pub(in crate::decode) ended: bool,
    /// Bytes behind that: they began in or before a header, so the next border is unknown.
    pub(in crate::decode) beyond: u64,
}

/// Walks the frames of one direction.
#[derive(Debug, Default)]
pub(in crate::decode) struct FrameReader {
    partial: [u8; HEADER_MAX],
    have: usize,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    length: u64,
    done: u64,
}

impl FrameReader {
    /// Takes the next item off the front of `bytes`; `None` when they are used up.
    ///
    /// After an error the reader stands before the broken header: what it had kept of it is in
    /// [`FrameReader::partial`], the rest is still in `bytes`.
    pub(in crate::decode) fn next<'a>(
        &mut self,
        bytes: &mut &'a [u8],
    ) -> Result<Option<Item<'a>>, ProtocolError> {
        if let Some(current) = &mut self.current {
            let left = current.length - current.done;
            if bytes.is_empty() && left > 0 {
                return Ok(None);
            }
            let take = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (head, tail) = bytes.split_at(take);
            *bytes = tail;
            let at = current.done;
            current.done += take as u64;
            let last = current.done == current.length;
            if last {
                self.current = None;
            }
            return Ok(Some(Item::Payload { bytes: head, at, last }));
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let header = match self.header(bytes)? {
            Some(header) => header,
            None => return Ok(None),
        };
        self.current = Some(Current { length: header.length, done: 0 });
        Ok(Some(Item::Header(header)))
    }

    /// The header at the start of `bytes`, and its length, if it begins a frame that is all there: most
    /// are, and need no state.
    pub(in crate::decode) fn whole(&self, bytes: &[u8]) -> Option<(Header, usize)> {
        if !self.is_idle() {
            return None;
        }
        let Ok(Parsed::Done { value, used }) = parse(bytes) else { return None };
        ((bytes.len() - used) as u64 >= value.length).then_some((value, used))
    }

    fn header(&mut self, bytes: &mut &[u8]) -> Result<Option<Header>, ProtocolError> {
        if self.have == 0
            && let Parsed::Done { value, used } = parse(bytes)?
        {
            *bytes = &bytes[used..];
            return Ok(Some(value));
        }
        loop {
            match parse(&self.partial[..self.have])? {
                Parsed::Done { value, .. } => {
                    self.have = 0;
                    return Ok(Some(value));
                }
                Parsed::NeedMore(_) if bytes.is_empty() => return Ok(None),
                Parsed::NeedMore(missing) => {
                    let take = missing.min(bytes.len());
                    let (head, tail) = bytes.split_at(take);
                    self.partial[self.have..self.have + take].copy_from_slice(head);
                    self.have += take;
                    *bytes = tail;
                }
            }
        }
    }

    /// Moves over `n` bytes that are not here.
    pub(in crate::decode) fn pass(&mut self, n: u64) -> Passed {
        let Some(current) = &mut self.current else {
            return Passed { payload: 0, ended: false, beyond: n };
        };
        let payload = n.min(current.length - current.done);
        current.done += payload;
        let ended = current.done == current.length;
        if ended {
            self.current = None;
        }
        Passed { payload, ended, beyond: n - payload }
    }

    /// Forgets where it was; the next byte is the first of a header.
    pub(in crate::decode) fn restart(&mut self) {
        self.have = 0;
        self.current = None;
    }

    /// The kept bytes of a header that is not complete, or that turned out to be broken.
    pub(in crate::decode) fn partial(&self) -> &[u8] {
        &self.partial[..self.have]
    }

    /// Payload bytes of the current frame that are still to come; `None` between frames.
    pub(in crate::decode) fn left(&self) -> Option<u64> {
        self.current.as_ref().map(|current| current.length - current.done)
    }

    /// Stands between two frames, with nothing of the next one seen.
    pub(in crate::decode) fn is_idle(&self) -> bool {
        self.have == 0 && self.current.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(bytes: &[u8]) -> (Header, usize) {
        match parse(bytes) {
            Ok(Parsed::Done { value, used }) => (value, used),
            other => panic!("{bytes:02x?}: {other:?}"),
        }
    }

    #[test]
    fn the_examples_of_rfc_6455_section_5_7_parse() {
        let (hello, used) = done(&[0x81, 0x05]);
        assert_eq!((hello.fin, hello.opcode, hello.mask, hello.length, used), {
            (true, Opcode::Text, None, 5, 2)
        });
        let (masked, used) = done(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!((masked.mask, masked.length, used), (Some([0x37, 0xfa, 0x21, 0x3d]), 5, 6));
        assert_eq!(done(&[0x82, 0x7e, 0x01, 0x00]).0.length, 256);
        assert_eq!(done(&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]).0.length, 65_536);
        let (fragment, _) = done(&[0x01, 0x03]);
        assert_eq!((fragment.fin, fragment.opcode), (false, Opcode::Text));
    }

    #[test]
    fn a_cut_header_says_how_many_bytes_are_missing() {
        let header = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        assert_eq!(parse(&[]), Ok(Parsed::NeedMore(2)));
        assert_eq!(parse(&header[..1]), Ok(Parsed::NeedMore(1)));
        for cut in 2..header.len() {
            assert_eq!(parse(&header[..cut]), Ok(Parsed::NeedMore(header.len() - cut)));
        }
        assert_eq!(done(&header).1, header.len());
    }

    #[test]
    fn lengths_that_could_be_shorter_are_told_apart() {
        assert!(!done(&[0x82, 0x7e, 0, 125]).0.minimal);
        assert!(done(&[0x82, 0x7e, 0, 126]).0.minimal);
        assert!(!done(&[0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff]).0.minimal);
        assert!(done(&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]).0.minimal);
    }

    #[test]
    fn only_an_impossible_length_hides_the_next_border() {
        for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
            let (header, used) = done(&[0xf0 | opcode, 7]);
            assert_eq!((header.opcode, header.length, used), (Opcode::Reserved, 7, 2));
            assert_eq!(header.control, opcode > 7);
        }
        assert_eq!(done(&[0x89, 0x7e, 0x01, 0x00]).0.length, 256);
        let msb = [0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(parse(&msb), Err(ProtocolError::LengthMsb));
    }

    #[test]
    fn an_empty_frame_ends_with_an_empty_last_piece() {
        let mut reader = FrameReader::default();
        let mut bytes: &[u8] = &[0x80, 0x00];
        assert!(matches!(reader.next(&mut bytes), Ok(Some(Item::Header(_)))));
        let end = Item::Payload { bytes: &[], at: 0, last: true };
        assert_eq!(reader.next(&mut bytes), Ok(Some(end)));
        assert_eq!(reader.next(&mut bytes), Ok(None));
    }

    #[test]
    fn passing_over_bytes_stops_at_the_frame_border() {
        let mut reader = FrameReader::default();
        let mut bytes: &[u8] = &[0x82, 0x05, 1, 2];
        while let Ok(Some(_)) = reader.next(&mut bytes) {}
        assert_eq!(reader.left(), Some(3));
        assert_eq!(reader.pass(2), Passed { payload: 2, ended: false, beyond: 0 });
        assert_eq!(reader.pass(4), Passed { payload: 1, ended: true, beyond: 3 });
        assert!(reader.is_idle());
    }
}
