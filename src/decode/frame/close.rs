//! Close frames and their codes (RFC 6455, sections 5.5.1 and 7.4).

use crate::observation::ProtocolError;

/// What a close frame's payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) struct CloseFrame {
    /// As it stands there, valid or not; `None` if there is none.
    pub(in crate::decode) code: Option<u16>,
    /// The first rule it breaks.
    pub(in crate::decode) violation: Option<ProtocolError>,
}

/// Reads the unmasked payload of a close frame.
pub(in crate::decode) fn parse(payload: &[u8]) -> CloseFrame {
    let (code, reason) = match *payload {
        [] => return CloseFrame { code: None, violation: None },
        [_] => return CloseFrame { code: None, violation: Some(ProtocolError::CloseLen1) },
        [high, low, ref reason @ ..] => (u16::from_be_bytes([high, low]), reason),
    };
    let violation = if !is_valid(code) {
        Some(ProtocolError::CloseCodeInvalid)
    } else if std::str::from_utf8(reason).is_err() {
        Some(ProtocolError::Utf8Close)
    } else {
        None
    };
    CloseFrame { code: Some(code), violation }
}

/// Whether a code may stand in a close frame (section 7.4.2, and the IANA registry).
pub(in crate::decode) fn is_valid(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_break_a_close_frame_has_its_name() {
        let violation = |payload: &[u8]| parse(payload).violation;
        assert_eq!(violation(&[]), None);
        assert_eq!(violation(&[3]), Some(ProtocolError::CloseLen1));
        assert_eq!(violation(&1000_u16.to_be_bytes()), None);
        assert_eq!(violation(b"\x03\xe8going away"), None);
        assert_eq!(violation(b"\x03\xe8\xff"), Some(ProtocolError::Utf8Close));
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            let frame = parse(&u16::to_be_bytes(code));
            assert_eq!(frame.violation, Some(ProtocolError::CloseCodeInvalid), "{code}");
            assert_eq!(frame.code, Some(code));
        }
    }
}
