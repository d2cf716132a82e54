//! What matters of a decoded head: an extended CONNECT (RFC 8441, section 4) and its answer.

use crate::decode::http::handshake::Terms;
use crate::decode::http::head::Offer;

/// Bytes of one head that are kept; longer fields are left out.
const KEPT_MAX: usize = 16 << 10;

/// The fields of a head that are looked at.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// 100 to 999 in an answer, 0 in a request.
    pub(super) status: u16,
    is_connect: bool,
    is_websocket: bool,
    authority: Option<String>,
    path: Option<String>,
    /// Header lines of the same name are joined by `, `.
    subprotocols: Option<String>,
    extensions: Option<String>,
    kept: usize,
}

impl Head {
    /// Takes one field. Names are in lower case (RFC 9113, section 8.2).
    pub(super) fn take(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b":method" => self.is_connect = value == b"CONNECT",
            b":protocol" => self.is_websocket = value.eq_ignore_ascii_case(b"websocket"),
            b":status" => self.status = number(value),
            b":authority" => self.keep(value, |it| &mut it.authority),
            // Of a request with both, `:authority` came first and counts.
            b"host" => self.keep_first(value, |it| &mut it.authority),
            b":path" => self.keep(value, |it| &mut it.path),
            b"sec-websocket-protocol" => self.keep(value, |it| &mut it.subprotocols),
            b"sec-websocket-extensions" => self.keep(value, |it| &mut it.extensions),
            _ => {}
        }
    }

    fn keep_first(&mut self, value: &[u8], field: impl Fn(&mut Self) -> &mut Option<String>) {
        if field(self).is_none() {
            self.keep(value, field);
        }
    }

    fn keep(&mut self, value: &[u8], field: impl Fn(&mut Self) -> &mut Option<String>) {
        self.kept = self.kept.saturating_add(value.len() + 2);
        let Ok(value) = std::str::from_utf8(value) else { return };
        if self.kept > KEPT_MAX || value.is_empty() {
            return;
        }
        match field(self) {
            Some(before) => *before = format!("{before}, {value}"),
            empty => *empty = Some(value.to_owned()),
        }
    }

    /// The request for a WebSocket, if it is one.
    pub(super) fn into_offer(self) -> Option<Box<Offer>> {
        if !self.is_connect || !self.is_websocket {
            return None;
        }
        Some(Box::new(Offer {
            key: None,
            host: self.authority,
            target: self.path,
            subprotocols: tokens(self.subprotocols.as_deref()).map(str::to_owned).collect(),
            extensions: tokens(self.extensions.as_deref())
                .map(|it| it.split(';').next().unwrap_or_default().trim().to_owned())
                .collect(),
        }))
    }

    /// What an answer agrees to.
    pub(super) fn into_terms(self) -> Terms {
        Terms { subprotocol: self.subprotocols, extensions: self.extensions }
    }
}

fn tokens(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|token| !token.is_empty())
}

/// A status code; 0 if it is none.
fn number(value: &[u8]) -> u16 {
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.parse().ok().filter(|status| (100..1000).contains(status)).unwrap_or(0)
}
