//! Label values that are made from numbers of the wire, so that no peer can invent a series.

/// The close codes of the IANA registry "WebSocket Close Code Number".
pub(super) const CLOSE_CODES: [(u16, &str); 15] = [
    (1000, "1000"),
    (1001, "1001"),
    (1002, "1002"),
    (1003, "1003"),
    (1005, "1005"),
    (1006, "1006"),
    (1007, "1007"),
    (1008, "1008"),
    (1009, "1009"),
    (1010, "1010"),
    (1011, "1011"),
    (1012, "1012"),
    (1013, "1013"),
    (1014, "1014"),
    (1015, "1015"),
];

/// What other codes are folded into.
pub(super) const CLOSE_CODE_CLASSES: [&str; 3] = ["3xxx", "4xxx", "other"];

/// RFC 6455, section 7.4.2: 3000 to 3999 belong to libraries, 4000 to 4999 to applications.
pub(super) fn close_code_label(code: u16) -> &'static str {
    if let Some((_, label)) = CLOSE_CODES.iter().find(|&&(known, _)| known == code) {
        return label;
    }
    match code {
        3000..=3999 => "3xxx",
        4000..=4999 => "4xxx",
        _ => "other",
    }
}

/// Registered status codes keep their number; a peer cannot make series with others.
pub(super) fn status_label(status: u16) -> String {
    let registered = axum::http::StatusCode::from_u16(status)
        .is_ok_and(|status| status.canonical_reason().is_some());
    match (registered, status) {
        (true, _) => status.to_string(),
        (false, 100..=599) => format!("{}xx", status / 100),
        (false, _) => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_are_numbers_where_registered_and_classes_elsewhere() {
        for (code, label) in [
            (1000, "1000"),
            (1015, "1015"),
            (1004, "other"),
            (0, "other"),
            (2999, "other"),
            (3000, "3xxx"),
            (4999, "4xxx"),
            (5000, "other"),
            (u16::MAX, "other"),
        ] {
            assert_eq!(close_code_label(code), label, "{code}");
        }
    }

    #[test]
    fn statuses_are_numbers_where_registered_and_classes_elsewhere() {
        for (status, label) in
            [(200, "200"), (426, "426"), (299, "2xx"), (599, "5xx"), (600, "other"), (0, "other")]
        {
            assert_eq!(status_label(status), label, "{status}");
        }
    }
}
