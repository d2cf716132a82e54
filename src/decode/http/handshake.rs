//! What an upgrade request and its 101 agree upon (RFC 6455, section 4; RFC 7692, section 7.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::head::{Offer, ResponseHead, UpgradeHeader, path_of};
use super::subprotocol;
use crate::event::Direction;
use crate::matching::Hint;
use crate::observation::{Open, ProtocolError, Role};

/// RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Registered extensions under which payload and headers stay what they are (TR-369).
const UNCHANGING: [&str; 1] = ["bbf-usp-protocol"];

/// The terms of a WebSocket connection.
#[derive(Debug)]
pub(in crate::decode) struct Agreement {
    pub(in crate::decode) role: Role,
    host: Option<String>,
    /// The request target. Its query may hold secrets.
    target: Option<String>,
    /// The accepted subprotocol. It may be a secret.
    subprotocol: Option<String>,
    /// As the server wrote them.
    extensions: Option<String>,
    pub(in crate::decode) extension: Extension,
    /// The client leaves masks out by agreement.
    pub(in crate::decode) unmasked: bool,
    /// Rules that the server broke without making the connection unusable.
    pub(in crate::decode) violations: Vec<ProtocolError>,
}

/// What a server accepts.
#[derive(Clone, Debug, Default)]
pub(in crate::decode) struct Terms {
    pub(in crate::decode) subprotocol: Option<String>,
    /// As the server wrote them.
    pub(in crate::decode) extensions: Option<String>,
}

/// What the accepted extensions make of a message's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Extension {
    /// Nothing: payload is application data.
    None,
    /// permessage-deflate.
    Deflate {
        /// The client's window goes on from message to message.
        client_takeover: bool,
        /// The server's window goes on from message to message.
        server_takeover: bool,
    },
    /// Something that is not known here: no payload can be read.
    Foreign,
}

impl Agreement {
    /// What a 101 agrees to, given what was offered; `offer` is `None` if the request passed
    /// before wstap attached. Real clients tolerate each of the rules that a server may break
    /// here, so each is only counted.
    pub(in crate::decode) fn conclude(
        offer: Option<Offer>,
        response: &ResponseHead,
        request_direction: Direction,
    ) -> Self {
        let violations: Vec<_> = [
            response.malformed.then_some(ProtocolError::HeadMalformed),
            (response.upgrade != UpgradeHeader::WebSocket)
                .then_some(ProtocolError::UpgradeHeaderInvalid),
            broken_accept(offer.as_ref(), response.accept.as_deref()),
        ]
        .into_iter()
        .flatten()
        .collect();
        let terms = Terms {
            subprotocol: response.subprotocol.clone(),
            extensions: response.extensions.clone(),
        };
        let unmasked = response.unmasked;
        Self { unmasked, ..Self::agree(offer, terms, violations, request_direction) }
    }

    /// What the answer to an extended CONNECT agrees to (RFC 8441, section 5): there is no key to be
    /// proven.
    pub(in crate::decode) fn over_http2(
        offer: Offer,
        terms: Terms,
        request_direction: Direction,
    ) -> Self {
        Self::agree(Some(offer), terms, Vec::new(), request_direction)
    }

    fn agree(
        offer: Option<Offer>,
        terms: Terms,
        mut violations: Vec<ProtocolError>,
        request_direction: Direction,
    ) -> Self {
        if let Some(accepted) = &terms.subprotocol {
            // "if [...] the response includes a |Sec-WebSocket-Protocol| header field and this
            // header field indicates the use of a subprotocol that was not present in the
            // client's handshake [...] the client MUST _Fail the WebSocket Connection_"
            // (section 4.1).
            let offered = |offer: &Offer| offer.subprotocols.contains(accepted);
            if !offer.as_ref().is_none_or(offered) {
                violations.push(ProtocolError::SubprotocolNotOffered);
            }
        }
        let accepted = terms.extensions.as_deref().unwrap_or_default();
        for name in accepted.split(',').map(name_of).filter(|name| !name.is_empty()) {
            let is = |it: &String| it.eq_ignore_ascii_case(name);
            if !offer.as_ref().is_none_or(|offer| offer.extensions.iter().any(is)) {
                violations.push(ProtocolError::ExtensionNotOffered);
                break;
            }
        }
        let (extension, repeated) = Extension::parse(accepted);
        violations.extend(repeated.then_some(ProtocolError::ExtensionRepeated));
        let (host, target) = offer.map_or((None, None), |offer| (offer.host, offer.target));
        Self {
            role: match request_direction {
                Direction::Sent => Role::Client,
                Direction::Received => Role::Server,
            },
            host,
            target,
            subprotocol: terms.subprotocol,
            extensions: terms.extensions,
            extension,
            unmasked: false,
            violations,
        }
    }
}

/// What is wrong with the `Sec-WebSocket-Accept` of a response.
fn broken_accept(offer: Option<&Offer>, accept: Option<&str>) -> Option<ProtocolError> {
    let Some(accept) = accept else { return Some(ProtocolError::AcceptMissing) };
    let Some(key) = &offer?.key else { return Some(ProtocolError::HandshakeInvalid) };
    (accept_of(key) != accept).then_some(ProtocolError::AcceptMismatch)
}

impl Agreement {
    /// What may be told of it.
    pub(in crate::decode) fn open(&self) -> Open<'_> {
        Open {
            host: self.host.as_deref(),
            path: self.target.as_deref().map(path_of),
            subprotocol: self.subprotocol.as_deref().map(subprotocol::label),
            extensions: self.extensions.as_deref(),
            mid_stream: false,
        }
    }

    /// What tells the application protocol.
    pub(in crate::decode) fn hint(&self) -> Hint<'_> {
        Hint {
            role: self.role,
            subprotocol: self.subprotocol.as_deref(),
            path: self.target.as_deref(),
            mid_stream: false,
        }
    }

    /// The direction of the server's answer.
    pub(in crate::decode) fn answered(&self) -> Direction {
        match self.role {
            Role::Server => Direction::Sent,
            Role::Client | Role::Unknown => Direction::Received,
        }
    }
}

impl Extension {
    /// Reads a response's `Sec-WebSocket-Extensions`. Also says whether permessage-deflate stands
    /// there more than once; clients then go by the first.
    fn parse(accepted: &str) -> (Self, bool) {
        let changes_payload = |it: &&str| {
            let name = name_of(it);
            !name.is_empty() && !UNCHANGING.iter().any(|known| known.eq_ignore_ascii_case(name))
        };
        let mut extensions = accepted.split(',').filter(changes_payload);
        let Some(first) = extensions.next() else { return (Self::None, false) };
        let is_deflate = |it: &str| name_of(it).eq_ignore_ascii_case("permessage-deflate");
        let mut repeated = false;
        for other in extensions {
            if !is_deflate(other) {
                return (Self::Foreign, repeated);
            }
            repeated = true;
        }
        if is_deflate(first) { (Self::deflate(first), repeated) } else { (Self::Foreign, false) }
    }

    fn deflate(agreed: &str) -> Self {
        let has = |parameter: &str| {
            agreed.split(';').skip(1).any(|it| {
                it.split('=').next().unwrap_or_default().trim().eq_ignore_ascii_case(parameter)
            })
        };
        Self::Deflate {
            client_takeover: !has("client_no_context_takeover"),
            server_takeover: !has("server_no_context_takeover"),
        }
    }
}

fn name_of(extension: &str) -> &str {
    extension.split(';').next().unwrap_or_default().trim()
}

/// The `Sec-WebSocket-Accept` that proves a server has read `key`.
fn accept_of(key: &str) -> String {
    let digest = Sha1::new().chain_update(key.trim()).chain_update(GUID).finalize();
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_of_rfc_6455_section_1_3_is_reproduced() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn takeover_is_the_default_and_is_switched_off_per_side() {
        let deflate = |client_takeover, server_takeover| Extension::Deflate {
            client_takeover,
            server_takeover,
        };
        let parse = |accepted| Extension::parse(accepted).0;
        assert_eq!(parse(""), Extension::None);
        assert_eq!(parse("permessage-deflate"), deflate(true, true));
        assert_eq!(
            parse("Permessage-Deflate; Server_No_Context_Takeover; client_max_window_bits=\"12\""),
            deflate(true, false)
        );
        assert_eq!(
            parse("permessage-deflate;client_no_context_takeover;server_max_window_bits=9"),
            deflate(false, true)
        );
        assert_eq!(parse("x-webkit-deflate-frame"), Extension::Foreign);
        assert_eq!(parse("permessage-deflate, x-own"), Extension::Foreign);
        assert_eq!(parse("bbf-usp-protocol; version=\"1.2\""), Extension::None);
        assert_eq!(parse("permessage-deflate, bbf-usp-protocol"), deflate(true, true));
        let twice = "permessage-deflate; server_no_context_takeover, permessage-deflate";
        assert_eq!(Extension::parse(twice), (deflate(true, false), true));
    }
}
