//! What an upgrade request and its 101 agree upon (RFC 6455, section 4; RFC 7692, section 7.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use super::head::{Offer, ResponseHead, path_of};
use super::subprotocol;
use crate::event::Direction;
use crate::matching::Hint;
use crate::observation::{Open, ProtocolError, Role};

/// RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

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
    /// before wstap attached. Fails if the 101 does not make a WebSocket connection.
    pub(in crate::decode) fn conclude(
        offer: Option<Offer>,
        response: &ResponseHead,
        request_direction: Direction,
    ) -> Result<Self, ProtocolError> {
        let accept = response.accept.as_deref().ok_or(ProtocolError::HandshakeInvalid)?;
        if let Some(offer) = &offer {
            let key = offer.key.as_deref().ok_or(ProtocolError::HandshakeInvalid)?;
            if accept_of(key) != accept {
                return Err(ProtocolError::AcceptMismatch);
            }
        }
        let mut violations = Vec::new();
        if let Some(accepted) = &response.subprotocol {
            // "if [...] the response includes a |Sec-WebSocket-Protocol| header field and this
            // header field indicates the use of a subprotocol that was not present in the
            // client's handshake [...] the client MUST _Fail the WebSocket Connection_"
            // (section 4.1).
            let offered = |offer: &Offer| offer.subprotocols.contains(accepted);
            if !offer.as_ref().is_none_or(offered) {
                violations.push(ProtocolError::SubprotocolNotOffered);
            }
        }
        let accepted = response.extensions.as_deref().unwrap_or_default();
        for name in accepted.split(',').map(name_of).filter(|name| !name.is_empty()) {
            let is = |it: &String| it.eq_ignore_ascii_case(name);
            if !offer.as_ref().is_none_or(|offer| offer.extensions.iter().any(is)) {
                violations.push(ProtocolError::ExtensionNotOffered);
                break;
            }
        }
        let (host, target) = offer.map_or((None, None), |offer| (offer.host, offer.target));
        Ok(Self {
            role: match request_direction {
                Direction::Sent => Role::Client,
                Direction::Received => Role::Server,
            },
            host,
            target,
            subprotocol: response.subprotocol.clone(),
            extensions: response.extensions.clone(),
            extension: Extension::parse(accepted),
            unmasked: response.unmasked,
            violations,
        })
    }
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
    /// Reads a response's `Sec-WebSocket-Extensions`.
    fn parse(accepted: &str) -> Self {
        let mut extensions = accepted.split(',').filter(|it| !it.trim().is_empty());
        let Some(only) = extensions.next() else { return Self::None };
        if extensions.next().is_some() || !name_of(only).eq_ignore_ascii_case("permessage-deflate")
        {
            return Self::Foreign;
        }
        let has = |parameter: &str| {
            only.split(';').skip(1).any(|it| {
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
        let parse = Extension::parse;
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
        assert_eq!(parse("permessage-deflate, bbf-usp-protocol"), Extension::Foreign);
    }
}
