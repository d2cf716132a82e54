//! The start line and the header lines of a head, as far as they can be made out.
//!
//! `httparse` reads heads that keep to the rules. Peers exist that send, and read, others: too many
//! header lines, folded ones, spaces before a colon, names and values with bytes that no rule
//! allows. Where it refuses, the lines are taken apart here. Only the headers that tell of an
//! upgrade or of a body are kept. What they mean is left to `head`.

use std::borrow::Cow;

/// Heads with more header lines than this are taken apart here.
const HEADERS_MAX: usize = 128;

/// Headers that are kept of one head.
const KEPT_MAX: usize = 64;

/// The headers that anybody looks at.
const LOOKED_AT: [&str; 10] = [
    "upgrade",
    "connection",
    "host",
    "content-length",
    "transfer-encoding",
    "nats-no-masking",
    "sec-websocket-key",
    "sec-websocket-accept",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
];

/// What stands in a head.
#[derive(Debug)]
pub(super) struct HeadLines<'b> {
    /// The first line, taken apart at its spaces.
    pub(super) start: Start<'b>,
    headers: Vec<(&'b str, Cow<'b, [u8]>)>,
    /// The head breaks rules of HTTP/1.1.
    pub(super) malformed: bool,
}

/// The words of a start line that matter.
#[derive(Debug)]
pub(super) enum Start<'b> {
    Request { method: &'b str, target: &'b str },
    Status(u16),
}

impl<'b> HeadLines<'b> {
    /// Reads a request's head; `None` if it has no method and target.
    pub(super) fn request(head: &'b [u8]) -> Option<Self> {
        let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut slots);
        if let Ok(httparse::Status::Complete(_)) = request.parse(head)
            && let (Some(method), Some(target)) = (request.method, request.path)
        {
            return Some(Self::parsed(Start::Request { method, target }, request.headers));
        }
        Self::apart(head, |mut words| {
            Some(Start::Request { method: words.next()?, target: words.next()? })
        })
    }

    /// Reads a response's head; `None` if it has no status code.
    pub(super) fn response(head: &'b [u8]) -> Option<Self> {
        let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut slots);
        if let Ok(httparse::Status::Complete(_)) = response.parse(head)
            && let Some(status) = response.code
        {
            return Some(Self::parsed(Start::Status(status), response.headers));
        }
        Self::apart(head, |mut words| {
            let code = words.nth(1)?.get(..3)?;
            let is_number = code.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| code.parse().ok().map(Start::Status)).flatten()
        })
    }

    /// The values of all header lines with this name, trimmed, as far as they are UTF-8.
    pub(super) fn values<'h>(&'h self, name: &str) -> impl Iterator<Item = &'h str> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .filter_map(|(_, value)| std::str::from_utf8(value).ok())
            .map(str::trim)
    }

    fn parsed(start: Start<'b>, headers: &[httparse::Header<'b>]) -> Self {
        let kept = headers.iter().filter(|header| is_looked_at(header.name)).take(KEPT_MAX);
        let headers = kept.map(|header| (header.name, Cow::Borrowed(header.value))).collect();
        Self { start, headers, malformed: false }
    }

    fn apart(
        head: &'b [u8],
        start: impl FnOnce(std::str::SplitAsciiWhitespace<'b>) -> Option<Start<'b>>,
    ) -> Option<Self> {
        let mut lines = head.split(|&byte| byte == b'\n');
        let first = lines.next()?;
        let readable = first.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let start = start(readable.split_ascii_whitespace())?;
        let mut found = Self { start, headers: Vec::new(), malformed: true };
        let mut folds = false;
        for line in lines {
            match line.first() {
                Some(b' ' | b'\t') if folds => found.fold(line),
                Some(b' ' | b'\t') => {}
                _ => folds = found.line(line),
            }
        }
        Some(found)
    }

    /// Takes a header line in, if it is one that is looked at.
    fn line(&mut self, line: &'b [u8]) -> bool {
        let Some(colon) = memchr::memchr(b':', line) else { return false };
        let name = std::str::from_utf8(line[..colon].trim_ascii()).unwrap_or_default();
        if !is_looked_at(name) || self.headers.len() == KEPT_MAX {
            return false;
        }
        self.headers.push((name, Cow::Borrowed(line[colon + 1..].trim_ascii())));
        true
    }

    /// "obs-fold": the value of the line before goes on.
    fn fold(&mut self, line: &[u8]) {
        if let Some((_, value)) = self.headers.last_mut() {
            let value = value.to_mut();
            value.push(b' ');
            value.extend_from_slice(line.trim_ascii());
        }
    }
}

fn is_looked_at(name: &str) -> bool {
    LOOKED_AT.iter().any(|it| it.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(head: &str) -> (bool, Vec<String>) {
        let lines = HeadLines::response(head.as_bytes()).unwrap();
        assert!(matches!(lines.start, Start::Status(101)), "{head}");
        let values = lines.values("Sec-WebSocket-Accept").map(str::to_owned).collect();
        (lines.malformed, values)
    }

    #[test]
    fn what_httparse_refuses_is_taken_apart() {
        let many = "X: 1\r\n".repeat(150);
        for (malformed, head) in [
            (false, "HTTP/1.1 101 Switching\r\nsec-websocket-accept: a=\r\n\r\n"),
            (false, "HTTP/1.0 101\nsec-websocket-accept:a=\n\n"),
            (true, &format!("HTTP/1.1 101 S\r\n{many}Sec-WebSocket-Accept: a=\r\n\r\n")),
            (true, "HTTP/1.1 101 S\r\nX: 1\r\n 2\r\nSec-WebSocket-Accept: a=\r\n\r\n"),
            (true, "HTTP/1.1 101 S\r\nSec-WebSocket-Accept : a=\r\n\r\n"),
            (true, "HTTP/1.1 101 S\r\nX (Y): 1\r\nSec-WebSocket-Accept: a=\r\n\r\n"),
            (true, "HTTP/1.1 101 S\r\nX: \x01\r\nSec-WebSocket-Accept: a=\r\n\r\n"),
            (true, "HTTP/1.1 101 S\r\nno colon\r\nSec-WebSocket-Accept:\r\n\ta=\r\n\r\n"),
            (true, "HTTP/1.1   101   S\r\nX\r\nSec-WebSocket-Accept: a=\r\n\r\n"),
        ] {
            let (is_malformed, values) = accepts(head);
            assert_eq!(values.iter().map(|it| it.trim()).collect::<Vec<_>>(), ["a="], "{head}");
            assert_eq!(is_malformed, malformed, "{head}");
        }
    }

    #[test]
    fn a_head_without_a_start_line_is_none() {
        assert!(HeadLines::response(b"HTTP/1.1 \r\n\r\n").is_none());
        assert!(HeadLines::response(b"HTTP/1.1 1x1\r\n\r\n").is_none());
        assert!(HeadLines::response(b"HTTP/1.1 \xff101\r\n\r\n").is_none());
        assert!(HeadLines::request(b"GET\r\n\r\n").is_none());
    }
}
