//! HTTP/1.1 as far as a tap needs it: where heads end, what they say about an upgrade, and how
//! long the bodies between them are. Bodies are stepped over, never kept.
//!
//! Which request an answer belongs to and what an upgrade means is left to `upgrade`.

use memchr::memchr_iter;

use super::head_lines::{HeadLines, Start};
use super::http2_opening::{self, Http2Opening};

/// What the first bytes of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Opening {
    Request,
    Response,
    Http2(Http2Opening),
    Neither,
    /// Too short to tell.
    NeedMore,
}

/// None of these can be the start of a WebSocket frame: as a first byte every one of their
/// letters has a reserved opcode, a fragmented control frame, or RSV3.
const METHODS: [&[u8]; 9] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"OPTIONS ",
    b"DELETE ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
];

/// Tells what begins with `bytes`.
pub(in crate::decode) fn opening(bytes: &[u8]) -> Opening {
    let mut undecided = false;
    let mut is = |start: &[u8]| {
        undecided |= bytes.len() < start.len() && start.starts_with(bytes);
        bytes.starts_with(start)
    };
    if METHODS.iter().any(|method| is(method)) {
        return Opening::Request;
    }
    if is(b"HTTP/1.") {
        return Opening::Response;
    }
    match http2_opening::opening(bytes) {
        Some(Some(begun)) => return Opening::Http2(begun),
        Some(None) => undecided = true,
        None => {}
    }
    if undecided { Opening::NeedMore } else { Opening::Neither }
}

/// Finds the blank line that ends a head, wherever the bytes are cut.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::decode) struct BlankLine {
    /// Bytes of the current line so far, saturating.
    line: usize,
    /// The first of them.
    first: u8,
}

impl BlankLine {
    /// The index just behind the blank line, if it ends in `bytes`.
    pub(in crate::decode) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut start = 0;
        for newline in memchr_iter(b'\n', bytes) {
            self.extend(&bytes[start..newline]);
            start = newline + 1;
            let blank = self.line == 0 || (self.line == 1 && self.first == b'\r');
            self.line = 0;
            if blank {
                return Some(start);
            }
        }
        self.extend(&bytes[start..]);
        None
    }

    fn extend(&mut self, part: &[u8]) {
        if self.line == 0
            && let Some(&first) = part.first()
        {
            self.first = first;
        }
        self.line = self.line.saturating_add(part.len());
    }
}

/// How the end of a body is found (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Framing {
    /// So many bytes; 0 for none.
    Length(u64),
    Chunked,
    UntilClose,
}

/// A head that cannot be parsed, or says two things at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid http/1.1 head")]
pub(in crate::decode) struct HeadInvalid;

/// What matters of a request's head.
#[derive(Debug)]
pub(in crate::decode) struct RequestHead {
    pub(in crate::decode) method: Method,
    pub(in crate::decode) framing: Framing,
    /// Present if it asks for an upgrade to WebSocket.
    pub(in crate::decode) offer: Option<Box<Offer>>,
}

/// Methods that change how the answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Method {
    Head,
    Connect,
    Other,
}

/// A request for an upgrade to WebSocket (RFC 6455, section 4.1).
#[derive(Debug, Default)]
pub(in crate::decode) struct Offer {
    pub(in crate::decode) key: Option<String>,
    pub(in crate::decode) host: Option<String>,
    /// The request target. Its query may hold secrets and never leaves the decoder.
    pub(in crate::decode) target: Option<String>,
    /// Raw tokens. They may be secrets and never leave the decoder.
    pub(in crate::decode) subprotocols: Vec<String>,
    /// Names only.
    pub(in crate::decode) extensions: Vec<String>,
}

/// What matters of a response's head.
#[derive(Debug)]
pub(in crate::decode) struct ResponseHead {
    /// 100 to 999.
    pub(in crate::decode) status: u16,
    /// As the head says, without regard to the request's method.
    pub(in crate::decode) framing: Framing,
    pub(in crate::decode) accept: Option<String>,
    pub(in crate::decode) subprotocol: Option<String>,
    /// The header lines joined by `, `.
    pub(in crate::decode) extensions: Option<String>,
    /// What it upgrades to.
    pub(in crate::decode) upgrade: UpgradeHeader,
    /// It breaks rules of HTTP/1.1.
    pub(in crate::decode) malformed: bool,
    /// NATS servers agree with their clients to leave masks out.
    pub(in crate::decode) unmasked: bool,
}

impl RequestHead {
    /// Parses a complete head, its blank line included.
    pub(in crate::decode) fn parse(head: &[u8]) -> Result<Self, HeadInvalid> {
        let lines = HeadLines::request(head).ok_or(HeadInvalid)?;
        let Start::Request { method, target } = lines.start else { return Err(HeadInvalid) };
        let headers = Headers(&lines);
        // Servers exist that do not ask for "Connection: Upgrade", and clients that leave it out.
        let upgrades = method == "GET" && headers.upgrade() >= UpgradeHeader::Sloppy;
        let offer = upgrades.then(|| Box::new(Offer::of(target, &headers)));
        let framing = match headers.framing() {
            Err(HeadInvalid) if offer.is_some() => Framing::Length(0),
            framing => framing?.unwrap_or(Framing::Length(0)),
        };
        let method = match method {
            "HEAD" => Method::Head,
            "CONNECT" => Method::Connect,
            _ => Method::Other,
        };
        Ok(Self { method, framing, offer })
    }
}

/// What a head says of an upgrade, from no to yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::decode) enum UpgradeHeader {
    /// To something else than WebSocket.
    Other,
    /// Nothing.
    Absent,
    /// Something that a lenient peer takes for WebSocket.
    Sloppy,
    /// What section 4 of RFC 6455 asks for.
    WebSocket,
}

/// Tokens of a list that are looked at.
const TOKENS_MAX: usize = 64;

impl Offer {
    /// Bytes that it takes.
    pub(in crate::decode) fn held_bytes(&self) -> usize {
        let texts = [&self.key, &self.host, &self.target].into_iter().flatten();
        let lists = self.subprotocols.iter().chain(&self.extensions);
        texts.chain(lists).map(|text| size_of::<String>() + text.len()).sum()
    }

    fn of(target: &str, headers: &Headers<'_>) -> Self {
        let names = |list: &str| list.split(';').next().unwrap_or_default().trim().to_owned();
        Self {
            key: headers.text("sec-websocket-key").map(str::to_owned),
            host: headers.text("host").map(str::to_owned),
            target: Some(target.to_owned()),
            subprotocols: headers
                .tokens("sec-websocket-protocol")
                .take(TOKENS_MAX)
                .map(str::to_owned)
                .collect(),
            extensions: headers
                .tokens("sec-websocket-extensions")
                .take(TOKENS_MAX)
                .map(names)
                .collect(),
        }
    }
}

impl ResponseHead {
    /// Parses a complete head, its blank line included.
    pub(in crate::decode) fn parse(head: &[u8]) -> Result<Self, HeadInvalid> {
        let lines = HeadLines::response(head).ok_or(HeadInvalid)?;
        let Start::Status(status @ 100..1000) = lines.start else { return Err(HeadInvalid) };
        let headers = Headers(&lines);
        // RFC 9112, section 6.3: these never have a body, whatever their headers say.
        let framing = match status {
            100..=199 | 204 | 304 => Framing::Length(0),
            _ => headers.framing()?.unwrap_or(Framing::UntilClose),
        };
        Ok(Self {
            status,
            framing,
            accept: headers.text("sec-websocket-accept").map(str::to_owned),
            subprotocol: headers.text("sec-websocket-protocol").map(str::to_owned),
            extensions: headers.joined("sec-websocket-extensions"),
            upgrade: headers.upgrade(),
            malformed: lines.malformed,
            unmasked: headers.text("nats-no-masking").is_some_and(is_true),
        })
    }
}

fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}

/// The request target without query and fragment, and without scheme and authority if it is in
/// absolute form.
pub(in crate::decode) fn path_of(target: &str) -> &str {
    let path = match target.find("://") {
        Some(scheme) if !target.starts_with('/') => {
            let authority = &target[scheme + 3..];
            authority.find('/').map_or("/", |slash| &authority[slash..])
        }
        _ => target,
    };
    path.split(['?', '#']).next().unwrap_or_default()
}

struct Headers<'h>(&'h HeadLines<'h>);

impl<'h> Headers<'h> {
    fn values(&self, name: &str) -> impl Iterator<Item = &'h str> {
        self.0.values(name)
    }

    fn upgrade(&self) -> UpgradeHeader {
        let mut values = self.values("upgrade").filter(|value| !value.is_empty()).peekable();
        if self.has_token("upgrade", "websocket") {
            let asked = self.has_token("connection", "upgrade");
            if asked { UpgradeHeader::WebSocket } else { UpgradeHeader::Sloppy }
        } else if values.peek().is_none() {
            UpgradeHeader::Absent
        } else if values.any(|value| value.to_ascii_lowercase().contains("websocket")) {
            UpgradeHeader::Sloppy
        } else {
            UpgradeHeader::Other
        }
    }

    fn text(&self, name: &str) -> Option<&'h str> {
        self.values(name).next()
    }

    fn tokens(&self, name: &str) -> impl Iterator<Item = &'h str> {
        self.values(name).flat_map(|list| list.split(',')).map(str::trim).filter(|t| !t.is_empty())
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|it| it.eq_ignore_ascii_case(token))
    }

    fn joined(&self, name: &str) -> Option<String> {
        let lines: Vec<_> = self.values(name).filter(|line| !line.is_empty()).collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    fn framing(&self) -> Result<Option<Framing>, HeadInvalid> {
        if self.has_token("transfer-encoding", "chunked") {
            return Ok(Some(Framing::Chunked));
        }
        let mut lengths = self.tokens("content-length").map(|length| {
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            if digits { length.parse().map_err(|_| HeadInvalid) } else { Err(HeadInvalid) }
        });
        let Some(first) = lengths.next().transpose()? else { return Ok(None) };
        for other in lengths {
            if other? != first {
                return Err(HeadInvalid);
            }
        }
        Ok(Some(Framing::Length(first)))
    }
}

/// Steps over a chunked body (RFC 9112, section 7.1).
#[derive(Debug, Default)]
pub(in crate::decode) struct Chunks {
    stage: ChunkStage,
}

#[derive(Debug)]
enum ChunkStage {
    /// In the digits of a chunk size.
    Size { size: u64, digits: u8 },
    /// Behind them: an extension, and the end of the line.
    SizeEnd { size: u64 },
    /// In a chunk, or in the line end behind it.
    Data { left: u64 },
    /// In the trailer section, which ends with a blank line.
    Trailer(BlankLine),
}

impl Default for ChunkStage {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl Chunks {
    /// Steps over what belongs to the body; true once it has ended, with what is behind it left
    /// in `bytes`.
    pub(in crate::decode) fn pass(&mut self, bytes: &mut &[u8]) -> Result<bool, HeadInvalid> {
        loop {
            if let ChunkStage::Data { left } = &mut self.stage {
                let take = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *bytes = &bytes[take..];
                *left -= take as u64;
                if *left > 0 {
                    return Ok(false);
                }
                self.stage = ChunkStage::default();
            }
            if let ChunkStage::Trailer(line) = &mut self.stage {
                let end = line.find(bytes);
                *bytes = &bytes[end.unwrap_or(bytes.len())..];
                return Ok(end.is_some());
            }
            let Some((&byte, rest)) = bytes.split_first() else { return Ok(false) };
            *bytes = rest;
            self.size_line(byte)?;
        }
    }

    /// Steps over `n` bytes that are not here, if they are all inside of one chunk.
    pub(in crate::decode) fn pass_absent(&mut self, n: u64) -> Result<(), HeadInvalid> {
        match &mut self.stage {
            ChunkStage::Data { left } if *left > n => *left -= n,
            _ => return Err(HeadInvalid),
        }
        Ok(())
    }

    fn size_line(&mut self, byte: u8) -> Result<(), HeadInvalid> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        self.stage = match (&self.stage, digit) {
            (&ChunkStage::Size { size, digits }, Some(digit)) if digits < 15 => {
                ChunkStage::Size { size: size << 4 | digit, digits: digits + 1 }
            }
            (ChunkStage::Size { digits: 0, .. }, _) | (ChunkStage::Size { .. }, Some(_)) => {
                return Err(HeadInvalid);
            }
            (&(ChunkStage::Size { size, .. } | ChunkStage::SizeEnd { size }), _) => {
                match (byte, size) {
                    (b'\n', 0) => ChunkStage::Trailer(BlankLine::default()),
                    (b'\n', _) => ChunkStage::Data { left: size + 2 },
                    _ => ChunkStage::SizeEnd { size },
                }
            }
            (ChunkStage::Data { .. } | ChunkStage::Trailer(_), _) => return Err(HeadInvalid),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_is_told_as_soon_as_it_can_be() {
        assert_eq!(opening(b""), Opening::NeedMore);
        assert_eq!(opening(b"H"), Opening::NeedMore);
        assert_eq!(opening(b"HE"), Opening::NeedMore);
        assert_eq!(opening(b"HEAD /"), Opening::Request);
        assert_eq!(opening(b"HTTP/1.1 101"), Opening::Response);
        assert_eq!(opening(b"PRI * HTTP/2.0"), Opening::Http2(Http2Opening::Preface));
        assert_eq!(opening(b"\x81"), Opening::Neither);
        assert_eq!(opening(b"GEx"), Opening::Neither);
    }

    #[test]
    fn a_blank_line_is_found_in_any_cutting() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for cut in 0..head.len() {
            let mut line = BlankLine::default();
            let end =
                line.find(&head[..cut]).or_else(|| line.find(&head[cut..]).map(|end| cut + end));
            assert_eq!(end, Some(head.len() - 4), "cut at {cut}");
        }
    }

    #[test]
    fn names_and_tokens_match_in_any_case_and_any_list() {
        let head = b"GET /feed?token=secret HTTP/1.1\r\nHOST: example.com\r\n\
            upgrade: h2c, WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
            sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Protocol: wamp, x\r\n\
            Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, foo\r\n\r\n";
        let offer = RequestHead::parse(head).unwrap().offer.unwrap();
        assert_eq!(offer.target.as_deref(), Some("/feed?token=secret"));
        assert_eq!(offer.host.as_deref(), Some("example.com"));
        assert_eq!(offer.subprotocols, ["mqtt", "wamp", "x"]);
        assert_eq!(offer.extensions, ["permessage-deflate", "foo"]);
    }

    #[test]
    fn other_upgrades_are_no_offer() {
        let head = b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
        assert!(RequestHead::parse(head).unwrap().offer.is_none());
    }

    #[test]
    fn a_target_in_absolute_form_is_reduced_to_its_path() {
        assert_eq!(path_of("wss://example.com/a/b?c#d"), "/a/b");
        assert_eq!(path_of("https://example.com"), "/");
        assert_eq!(path_of("/a?to=http://b"), "/a");
    }

    #[test]
    fn two_lengths_that_differ_are_invalid() {
        let head = b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(RequestHead::parse(head).unwrap_err(), HeadInvalid);
        let head = b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(RequestHead::parse(head).unwrap().framing, Framing::Length(3));
    }

    #[test]
    fn a_chunked_body_is_stepped_over_in_any_cutting() {
        let body = b"4;ext=1\r\nWiki\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nGET";
        for step in 1..body.len() {
            let mut chunks = Chunks::default();
            let mut left = 0;
            for (i, mut piece) in body.chunks(step).enumerate() {
                if chunks.pass(&mut piece).unwrap() {
                    left = body.len() - (i * step + step).min(body.len()) + piece.len();
                    break;
                }
            }
            assert_eq!(left, 3, "step {step}");
        }
    }

    #[test]
    fn a_chunk_size_beyond_60_bits_is_invalid() {
        let mut bytes: &[u8] = b"FFFFFFFFFFFFFFFF\r\n";
        assert_eq!(Chunks::default().pass(&mut bytes), Err(HeadInvalid));
    }
}
