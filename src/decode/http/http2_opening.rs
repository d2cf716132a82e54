//! The first bytes of an HTTP/2 connection (RFC 9113, section 3.4).

/// What HTTP/2 begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) enum Http2Opening {
    /// The preface of a client.
    Preface,
    /// SETTINGS, with which a server begins.
    Settings,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.";

/// The header of SETTINGS that are no acknowledgement; the length stands in the third byte, because
/// no server sends more than a few settings of six bytes each.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const LENGTH_AT: usize = 2;

/// What of HTTP/2 begins with `bytes`: `None` if nothing does, `Some(None)` if they are too short to
/// tell.
pub(super) fn opening(bytes: &[u8]) -> Option<Option<Http2Opening>> {
    let [preface, settings] = [PREFACE.len(), SETTINGS.len()].map(|len| bytes.len().min(len));
    if bytes[..preface] == PREFACE[..preface] {
        return Some((preface == PREFACE.len()).then_some(Http2Opening::Preface));
    }
    let is_like = |(at, (byte, expected)): (usize, (&u8, &u8))| {
        if at == LENGTH_AT { byte.is_multiple_of(6) } else { byte == expected }
    };
    let is_like_settings = bytes[..settings].iter().zip(&SETTINGS).enumerate().all(is_like);
    is_like_settings.then(|| (settings == SETTINGS.len()).then_some(Http2Opening::Settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_told_from_anything_else() {
        let settings = b"\0\0\x0c\x04\0\0\0\0\0\0\x08";
        assert_eq!(opening(b"PRI * HTTP/2.0"), Some(Some(Http2Opening::Preface)));
        assert_eq!(opening(settings), Some(Some(Http2Opening::Settings)));
        assert_eq!([opening(b"PR"), opening(&settings[..8]), opening(b"")], [Some(None); 3]);
        let acknowledged = b"\0\0\0\x04\x01\0\0\0\0";
        assert_eq!([opening(b"PUT "), opening(acknowledged), opening(b"\0\0\x05")], [None; 3]);
    }
}
