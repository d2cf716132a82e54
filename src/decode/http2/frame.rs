//! Frames of HTTP/2 (RFC 9113, section 4.1) as a push parser: any chunking, no buffer of payload.
//!
//! [`FrameReader`] takes off what is not content: padding, priorities, the id of a promised stream.
//! What the frames mean is left to `way`.

/// Bytes of a frame header.
pub(super) const HEADER_BYTES: usize = 9;

/// Types of frames (RFC 9113, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// "Implementations MUST ignore and discard frames of unknown types" (section 4.1).
    Other,
}

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Payload bytes; below 2^24.
    pub(super) length: u32,
    pub(super) kind: Kind,
    flags: u8,
    /// Stream id; below 2^31.
    pub(super) stream: u32,
}

/// Payload bytes that a peer may be allowed to send in one frame (section 4.2); most implementations
/// stay with the least, which is 16,384.
const LIKELY_MAX: u32 = 1 << 20;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

impl Header {
    /// Reads a header. What is beyond [`HEADER_BYTES`] is not looked at; `None` if there are less.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, s, t, u, v] = bytes.first_chunk::<HEADER_BYTES>()?;
        Some(Self {
            length: u32::from_be_bytes([0, a, b, c]),
            kind: Kind::of(kind),
            flags,
            stream: u32::from_be_bytes([s & 0x7f, t, u, v]),
        })
    }

    /// A connection can go on behind such a frame. Where it cannot, RFC 9113 has the peer end the
    /// connection, so bytes that read like this are no header (section 6).
    pub(super) fn is_possible(&self) -> bool {
        let Self { length, stream, .. } = *self;
        match self.kind {
            Kind::Data | Kind::Headers | Kind::PushPromise | Kind::Continuation => stream != 0,
            Kind::Priority => stream != 0,
            Kind::RstStream => stream != 0 && length == 4,
            Kind::Settings if self.is_ack() => stream == 0 && length == 0,
            Kind::Settings => stream == 0 && length.is_multiple_of(6),
            Kind::Ping => stream == 0 && length == 8,
            Kind::GoAway => stream == 0 && length >= 8,
            Kind::WindowUpdate => length == 4,
            Kind::Other => true,
        }
    }

    /// Bytes that read like this are most probably a header: no flag that has no meaning, a
    /// frame of usual length, of a known type.
    pub(super) fn is_likely(&self) -> bool {
        let flags = match self.kind {
            Kind::Data => END_STREAM | PADDED,
            Kind::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            Kind::Settings | Kind::Ping => ACK,
            Kind::PushPromise => END_HEADERS | PADDED,
            Kind::Continuation => END_HEADERS,
            Kind::Priority | Kind::RstStream | Kind::GoAway | Kind::WindowUpdate => 0,
            Kind::Other => return false,
        };
        self.is_possible() && self.flags & !flags == 0 && self.length <= LIKELY_MAX
    }

    /// How much a likely header proves: one whose length is prescribed more than others.
    pub(super) fn evidence(&self) -> u32 {
        match self.kind {
            Kind::Ping | Kind::WindowUpdate | Kind::RstStream => 2,
            _ => 1,
        }
    }

    /// The sender has nothing more to say on this stream.
    pub(super) fn ends_stream(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers) && self.flags & END_STREAM != 0
    }

    /// No CONTINUATION follows.
    pub(super) fn ends_head(&self) -> bool {
        self.flags & END_HEADERS != 0
    }

    /// SETTINGS of the other side were received.
    pub(super) fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    fn is_padded(&self) -> bool {
        let may_be = matches!(self.kind, Kind::Data | Kind::Headers | Kind::PushPromise);
        may_be && self.flags & PADDED != 0
    }

    /// Bytes between the length of the padding and the content.
    fn before_content(&self) -> u32 {
        match self.kind {
            Kind::Headers if self.flags & PRIORITY != 0 => 5,
            Kind::PushPromise => 4,
            _ => 0,
        }
    }
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Other,
        }
    }
}

/// The next thing in a stream of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// A frame begins.
    Begin(Header),
    /// A piece of its content, never empty.
    Content(Header, &'a [u8]),
    /// It has passed, with its padding.
    End(Header),
}

/// How far a stretch of bytes that are not here reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// The frame that it began in.
    pub(super) header: Option<Header>,
    /// Content bytes of that frame.
    pub(super) content: u64,
    /// How many of them are padding is not known.
    pub(super) torn: bool,
    /// That frame ended in the stretch.
    pub(super) ended: bool,
    /// Bytes behind it: the next border is unknown if there are any.
    pub(super) beyond: u64,
}

/// Walks the frames of one direction.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    partial: [u8; HEADER_BYTES],
    have: usize,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    header: Header,
    /// Payload bytes that have not passed.
    left: u32,
    /// How many of them, at the end, are padding.
    padding: u32,
    /// The first of them says that.
    says_padding: bool,
    /// Bytes before the content.
    before: u32,
}

impl FrameReader {
    /// Takes the next item off the front of `bytes`; `None` when they are used up. An item that
    /// took no bytes may follow one that took the last.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Item<'a>> {
        loop {
            let Some(current) = &mut self.current else {
                let header = self.header(bytes)?;
                self.current = Some(Current::new(header));
                return Some(Item::Begin(header));
            };
            let header = current.header;
            if current.left == 0 {
                self.current = None;
                return Some(Item::End(header));
            }
            if bytes.is_empty() {
                return None;
            }
            if let Some(content) = current.content_of(bytes) {
                return Some(Item::Content(header, content));
            }
        }
    }

    fn header(&mut self, bytes: &mut &[u8]) -> Option<Header> {
        let take = bytes.len().min(HEADER_BYTES - self.have);
        let (head, rest) = bytes.split_at(take);
        self.partial[self.have..self.have + take].copy_from_slice(head);
        self.have += take;
        *bytes = rest;
        if self.have < HEADER_BYTES {
            return None;
        }
        self.have = 0;
        Header::parse(&self.partial)
    }

    /// A header begins with the next byte, and nothing of it has passed.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none() && self.have == 0
    }

    /// Bytes of a header that have passed while it is not complete.
    pub(super) fn begun(&self) -> usize {
        self.have
    }

    /// Payload bytes of the current frame that have not passed.
    pub(super) fn left(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.left.into())
    }

    /// Moves over `n` bytes that are not here.
    pub(super) fn pass(&mut self, n: u64) -> Passed {
        let Some(current) = &mut self.current else {
            return Passed { header: None, content: 0, torn: false, ended: false, beyond: n };
        };
        let take = u32::try_from(n).unwrap_or(u32::MAX).min(current.left);
        let torn = take > 0 && std::mem::take(&mut current.says_padding);
        let mut content = take.min(current.left - current.padding);
        let before = content.min(current.before);
        current.before -= before;
        content -= before;
        current.left -= take;
        current.padding = current.padding.min(current.left);
        let passed = Passed {
            header: Some(current.header),
            content: content.into(),
            torn,
            ended: current.left == 0,
            beyond: n - u64::from(take),
        };
        if passed.ended {
            self.current = None;
        }
        passed
    }

    /// Forgets where it is: a header begins with the next byte.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }
}

impl Current {
    fn new(header: Header) -> Self {
        Self {
            header,
            left: header.length,
            padding: 0,
            says_padding: header.is_padded(),
            before: header.before_content(),
        }
    }

    /// Takes some of the payload off the front of `bytes`, which are not empty; returns it if it
    /// is content.
    fn content_of<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        if std::mem::take(&mut self.says_padding) {
            self.left -= 1;
            // Padding that is longer than the frame is an error of the whole connection.
            self.padding = u32::from(bytes[0]).min(self.left);
            *bytes = &bytes[1..];
            return None;
        }
        let content = self.left - self.padding;
        let (wanted, is_content) = match (content, self.before) {
            (0, _) => (self.padding, false),
            (_, 0) => (content, true),
            (_, before) => (before.min(content), false),
        };
        let take = bytes.len().min(wanted as usize);
        let (taken, rest) = bytes.split_at(take);
        *bytes = rest;
        self.left -= take as u32;
        if content == 0 {
            self.padding -= take as u32;
        } else if !is_content {
            self.before -= take as u32;
        }
        is_content.then_some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// Headers, contents and ends, whatever the cutting.
    fn items(bytes: &[u8], size: usize) -> Vec<(Kind, u32, Vec<u8>)> {
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        let mut content = Vec::new();
        for mut call in bytes.chunks(size) {
            while let Some(item) = reader.next(&mut call) {
                match item {
                    Item::Begin(_) => content.clear(),
                    Item::Content(_, bytes) => content.extend_from_slice(bytes),
                    Item::End(header) => {
                        frames.push((header.kind, header.stream, std::mem::take(&mut content)));
                    }
                }
            }
        }
        assert!(reader.is_idle());
        frames
    }

    #[test]
    fn padding_and_priorities_are_no_content_in_any_cutting() {
        let bytes = [
            frame(4, 0, 0, &[0, 8, 0, 0, 0, 1]),
            frame(1, 0x2c, 1, b"\x03\0\0\0\0\x10head\0\0\0"),
            frame(0, 8, 1, b"\x02data\0\0"),
            frame(0, 8, 1, b"\x00"),
            frame(0, 8, 1, b"\xff\0\0"),
            frame(0, 1, 1, b""),
            frame(5, 4, 1, b"\0\0\0\x02promise"),
            frame(0xfa, 0xff, 7, b"unknown"),
        ]
        .concat();
        let expected = vec![
            (Kind::Settings, 0, vec![0, 8, 0, 0, 0, 1]),
            (Kind::Headers, 1, b"head".to_vec()),
            (Kind::Data, 1, b"data".to_vec()),
            (Kind::Data, 1, Vec::new()),
            (Kind::Data, 1, Vec::new()),
            (Kind::Data, 1, Vec::new()),
            (Kind::PushPromise, 1, b"promise".to_vec()),
            (Kind::Other, 7, b"unknown".to_vec()),
        ];
        for size in 1..bytes.len() {
            assert_eq!(items(&bytes, size), expected, "{size} bytes a call");
        }
    }

    #[test]
    fn a_hole_is_content_up_to_the_padding_and_ends_with_its_frame() {
        let bytes = frame(0, 8, 1, b"\x02data\0\0");
        let mut reader = FrameReader::default();
        let mut head = &bytes[..11];
        while reader.next(&mut head).is_some() {}
        let passed = reader.pass(100);
        assert_eq!((passed.content, passed.torn, passed.ended), (3, false, true));
        assert_eq!(passed.beyond, 95);
        let mut head = &bytes[..9];
        while reader.next(&mut head).is_some() {}
        assert!(reader.pass(2).torn, "nobody knows how much of it is padding");
        let mut reader = FrameReader::default();
        let mut head = &bytes[..11];
        while reader.next(&mut head).is_some() {}
        assert_eq!(reader.pass(4).content, 3);
        let mut rest = &bytes[15..];
        assert!(matches!(reader.next(&mut rest), Some(Item::End(_))), "a hole into the padding");
    }
}
