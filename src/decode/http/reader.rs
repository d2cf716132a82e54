//! One direction of an HTTP/1.1 connection: heads are collected, bodies are stepped over.

use std::borrow::Cow;

use super::head::{BlankLine, Chunks, Framing, HeadInvalid, Opening, opening};
use super::http2_opening::Http2Opening;

/// Longest opening that [`opening`] may ask for.
pub(in crate::decode) const OPENING_MAX: usize = 16;

/// One direction.
#[derive(Debug, Default)]
pub(in crate::decode) struct HttpReader {
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Head {
        begun: Begun,
        line: BlankLine,
        /// It was lost before; if this is no head, it still is.
        was_lost: bool,
    },
    /// In a body; so many bytes are left, at least 1.
    Body(u64),
    Chunked(Chunks),
    UntilClose,
    /// Lost: the next head is found at the start of a call.
    Adrift,
}

/// The first bytes of what may be a head.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::decode) struct Begun {
    pub(in crate::decode) bytes: Vec<u8>,
    /// A call began with them.
    pub(in crate::decode) from_call: bool,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Head { begun: Begun::default(), line: BlankLine::default(), was_lost: false }
    }
}

/// What came of reading on.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::decode) enum Read<'a> {
    /// A head is complete.
    Head(Opening, Cow<'a, [u8]>),
    /// What was there is used up, or a body ended.
    Passed,
    /// HTTP/2 begins here. What was kept of it is left to [`HttpReader::take_begun`], the rest is not
    /// used up.
    Http2(Http2Opening),
    /// What begins here is no head. What was kept of it is in there, the rest is not used up.
    NotAHead(Begun),
    /// The head does not fit.
    TooLong,
}

impl HttpReader {
    /// Takes a head, or some of a body, off the front of `bytes`, which are not empty.
    pub(in crate::decode) fn read<'a>(&mut self, bytes: &mut &'a [u8], limit: usize) -> Read<'a> {
        match &mut self.stage {
            Stage::Head { .. } => return self.read_head(bytes, limit),
            Stage::Body(left) => {
                let take = usize::try_from(*left).map_or(bytes.len(), |n| n.min(bytes.len()));
                *left -= take as u64;
                *bytes = &bytes[take..];
                if *left == 0 {
                    self.expect_head();
                }
            }
            Stage::Chunked(chunks) => match chunks.pass(bytes) {
                Ok(true) => self.expect_head(),
                Ok(false) => {}
                Err(HeadInvalid) => self.lose(),
            },
            Stage::UntilClose | Stage::Adrift => *bytes = &[],
        }
        Read::Passed
    }

    fn read_head<'a>(&mut self, bytes: &mut &'a [u8], limit: usize) -> Read<'a> {
        let Stage::Head { begun, line, was_lost } = &mut self.stage else { return Read::Passed };
        let buffer = &mut begun.bytes;
        // "a server [...] SHOULD ignore at least one empty line" (RFC 9112, section 2.2).
        if buffer.is_empty()
            && let [b'\r' | b'\n', rest @ ..] = bytes
        {
            *bytes = rest;
            begun.from_call = false;
            return Read::Passed;
        }
        let kind = opening_of(buffer, bytes);
        if let Opening::Http2(begun) = kind {
            return Read::Http2(begun);
        }
        if kind == Opening::Neither {
            let (kept, was_lost) = (std::mem::take(begun), *was_lost);
            self.lose();
            if was_lost {
                *bytes = &[];
                return Read::Passed;
            }
            return Read::NotAHead(kept);
        }
        let end = line.find(bytes);
        let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        if buffer.len() + part.len() > limit {
            return Read::TooLong;
        }
        *bytes = rest;
        if end.is_none() {
            buffer.extend_from_slice(part);
            return Read::Passed;
        }
        let mut head = Cow::Borrowed(part);
        if !buffer.is_empty() {
            buffer.extend_from_slice(part);
            head = Cow::Owned(std::mem::take(buffer));
        }
        self.expect_head();
        Read::Head(kind, head)
    }

    /// Steps over `n` bytes that are not here. Fails, and is lost, where it cannot be known what
    /// comes behind them.
    pub(in crate::decode) fn pass(&mut self, n: u64) -> Result<(), HeadInvalid> {
        let passed = match &mut self.stage {
            Stage::Body(left) if *left >= n => {
                *left -= n;
                if *left == 0 {
                    self.expect_head();
                }
                return Ok(());
            }
            Stage::Chunked(chunks) => chunks.pass_absent(n),
            Stage::UntilClose => Ok(()),
            Stage::Head { .. } | Stage::Body(_) | Stage::Adrift => Err(HeadInvalid),
        };
        if passed.is_err() {
            self.lose();
        }
        passed
    }

    /// A call begins with `bytes`: if the reader is lost, it may go on with a head.
    pub(in crate::decode) fn call_starts(&mut self, bytes: &[u8]) {
        if let Stage::Head { begun, .. } = &mut self.stage
            && begun.bytes.is_empty()
        {
            begun.from_call = true;
        }
        let kind = opening(bytes);
        let head = matches!(kind, Opening::Request | Opening::Response | Opening::NeedMore);
        if head && matches!(self.stage, Stage::Adrift) {
            let (begun, line) = (Begun::default(), BlankLine::default());
            self.stage = Stage::Head { begun, line, was_lost: true };
        }
    }

    pub(in crate::decode) fn expect_head(&mut self) {
        self.stage = Stage::default();
    }

    pub(in crate::decode) fn expect_body(&mut self, framing: Framing) {
        self.stage = match framing {
            Framing::Length(0) => Stage::default(),
            Framing::Length(length) => Stage::Body(length),
            Framing::Chunked => Stage::Chunked(Chunks::default()),
            Framing::UntilClose => Stage::UntilClose,
        };
    }

    /// Takes what was kept of a head that has begun.
    pub(in crate::decode) fn take_begun(&mut self) -> Vec<u8> {
        match &mut self.stage {
            Stage::Head { begun, .. } => std::mem::take(begun).bytes,
            _ => Vec::new(),
        }
    }

    pub(in crate::decode) fn lose(&mut self) {
        self.stage = Stage::Adrift;
    }

    /// The next head is only found at the start of a call.
    pub(in crate::decode) fn is_lost(&self) -> bool {
        matches!(self.stage, Stage::Adrift)
    }

    /// A head is expected, and nothing of it has passed.
    pub(in crate::decode) fn is_between_messages(&self) -> bool {
        matches!(&self.stage, Stage::Head { begun, .. } if begun.bytes.is_empty())
    }

    /// Bytes of a head that is not complete.
    pub(in crate::decode) fn held_bytes(&self) -> usize {
        match &self.stage {
            Stage::Head { begun, .. } => begun.bytes.len(),
            _ => 0,
        }
    }
}

/// What the first bytes of what is kept and what follows it are.
pub(in crate::decode) fn opening_of(kept: &[u8], bytes: &[u8]) -> Opening {
    let mut prefix = [0; OPENING_MAX];
    let first = kept.len().min(OPENING_MAX);
    let second = bytes.len().min(OPENING_MAX - first);
    prefix[..first].copy_from_slice(&kept[..first]);
    prefix[first..first + second].copy_from_slice(&bytes[..second]);
    opening(&prefix[..first + second])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_bodies_take_turns() {
        let mut reader = HttpReader::default();
        let mut bytes: &[u8] = b"\r\nGET / HTTP/1.1\r\n\r\nbodyGET";
        assert_eq!(reader.read(&mut bytes, 100), Read::Passed);
        assert_eq!(reader.read(&mut bytes, 100), Read::Passed);
        let head = Cow::Borrowed(&b"GET / HTTP/1.1\r\n\r\n"[..]);
        assert_eq!(reader.read(&mut bytes, 100), Read::Head(Opening::Request, head));
        reader.expect_body(Framing::Length(4));
        assert_eq!((reader.read(&mut bytes, 100), bytes), (Read::Passed, &b"GET"[..]));
        assert!(reader.is_between_messages());
    }

    #[test]
    fn a_lost_lane_goes_on_with_a_call_that_begins_a_head() {
        let mut reader = HttpReader::default();
        assert!(reader.pass(5).is_err());
        reader.call_starts(b"no head");
        assert!(!reader.is_between_messages());
        reader.call_starts(b"HTTP/1.1 101");
        assert!(reader.is_between_messages());
    }

    /// What begins like a head and is none is passed over like any call of a lost lane, however it is cut.
    #[test]
    fn a_lost_lane_stays_lost_where_a_call_only_begins_like_a_head() {
        for cut in 1..4 {
            let mut reader = HttpReader::default();
            assert!(reader.pass(5).is_err());
            let (first, second) = b"GEXT".split_at(cut);
            reader.call_starts(first);
            for mut piece in [first, second] {
                assert_eq!(reader.read(&mut piece, 100), Read::Passed, "cut at {cut}");
                assert!(piece.is_empty());
            }
            assert!(reader.is_lost(), "cut at {cut}");
        }
    }

    #[test]
    fn a_head_that_does_not_fit_is_too_long_in_any_cutting() {
        let head = b"GET / HTTP/1.1\r\n\r\n";
        for size in 1..=head.len() {
            let read = |limit: usize| {
                let mut reader = HttpReader::default();
                let mut reads = head
                    .chunks(size)
                    .map(|mut piece| reader.read(&mut piece, limit))
                    .collect::<Vec<_>>();
                reads.pop()
            };
            assert_eq!(read(head.len() - 1), Some(Read::TooLong));
            assert!(matches!(read(head.len()), Some(Read::Head(Opening::Request, _))));
        }
    }
}
